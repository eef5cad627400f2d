//! Encoders that write into the buffer of a send: what they wrote is what comes.

use prost::Message as _;
use serde::{Deserialize, Serialize};
use uds_ipc::{EncodeError, SendError};

use crate::support::{Collector, Place, finish, writer, writer_with};

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    id: u64,
    text: String,
}

/// Short ones, and some that are handed over with their buffer.
const LENGTHS: [usize; 6] = [0, 1, 100, 20_000, 70_000, 3];

#[test]
fn what_encoders_write_is_what_decoders_read() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    let records = LENGTHS.map(|len| Record {
        id: 1 << len.min(60),
        text: "é".repeat(len),
    });
    for Record { id, text } in records.clone() {
        let (event, record) = (
            Event {
                id,
                text: text.clone(),
            },
            Record { id, text },
        );
        writer.try_send_with(|buffer| event.encode(buffer)).unwrap();
        writer
            .try_send_with(|buffer| serde_json::to_writer(buffer, &record))
            .unwrap();
        writer
            .try_send_with(|buffer| rmp_serde::encode::write(buffer, &record))
            .unwrap();
        writer
            .try_send_with(|buffer| ciborium::into_writer(&record, buffer))
            .unwrap();
    }
    finish(&writer);
    let messages = collector.stop();
    assert_eq!(messages.len(), 4 * LENGTHS.len());
    for (record, messages) in records.iter().zip(messages.chunks(4)) {
        let event = Event::decode(&*messages[0]).unwrap();
        assert_eq!((event.id, &event.text), (record.id, &record.text));
        let read: [Record; 3] = [
            serde_json::from_slice(&messages[1]).unwrap(),
            rmp_serde::from_slice(&messages[2]).unwrap(),
            ciborium::from_reader(&*messages[3]).unwrap(),
        ];
        assert!(read.iter().all(|read| read == record));
    }
}

#[test]
fn an_encoder_that_fails_sends_nothing_and_its_error_comes_back() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let place = Place::new();
    let (writer, _) = writer_with(&place.socket(), |builder| builder.max_queued_messages(1));
    let error = writer.try_send_with(|buffer| serde_json::to_writer(buffer, &(1, Fails)));
    assert!(matches!(error, Err(EncodeError::Encoder(error)) if error.to_string() == "no"));
    assert_eq!(writer.metrics().accepted.messages, 0);
    writer.try_send_with(|buffer| buffer.push(1)).unwrap();
    let full = writer.try_send_with(|buffer| buffer.push(2));
    assert_eq!(full, Err(EncodeError::Send(SendError::Full(()))));
    let _ = writer.shutdown(std::time::Duration::ZERO).unwrap();
}
