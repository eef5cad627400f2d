//! Receipts, as a peer sees them that asks with empty frames: how many messages of its connection
//! were dealt with.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use uds_ipc::{Handler, Peer, Reader};

use crate::support::{
    Collector, PATIENCE, Place, connect, frame, is_closed, read_to_end, receipt, wait_until,
};

const ASK: &[u8] = &[0];

/// The first frame of a connection that delivers at least once.
const OPENING: &[u8] = &[0x80, 0x00];

/// The beginning of a message that is longer than the limit.
const TOO_LONG: &[u8] = &[0xe9, 0x07, b'x'];
const LIMIT: usize = 1_000;

/// All that comes until the reader has closed, in order or not.
fn read_until_closed(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    // Bytes that the reader has left unread make an error of the end.
    while matches!(stream.read(&mut byte), Ok(1)) {
        bytes.extend_from_slice(&byte);
    }
    bytes
}

#[test]
fn an_empty_frame_is_answered_with_the_number_of_messages_so_far() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut stream = connect(&place.socket());
    stream.write_all(ASK).unwrap();
    assert_eq!(receipt(&mut stream), 0);
    for round in 1..=300 {
        stream
            .write_all(&[&frame(b"message")[..], ASK].concat())
            .unwrap();
        // The number can only be that of all messages before the request: no other was sent.
        assert_eq!(receipt(&mut stream), round);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).is_empty(), "nothing comes unasked");
    collector.stop();
}

#[test]
fn a_connection_that_never_asks_gets_no_byte() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut stream = connect(&place.socket());
    stream.write_all(&frame(b"message")).unwrap();
    collector.wait_for(1);
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).is_empty());
    collector.stop();
}

#[test]
fn messages_that_failed_in_the_handler_were_dealt_with_too() {
    let place = Place::new();
    let reader = Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start(|message| match message {
            b"panic" => std::panic::resume_unwind(Box::new("on purpose")),
            b"fail" => Err("on purpose"),
            _ => Ok(()),
        })
        .unwrap();
    let mut stream = connect(&place.socket());
    stream
        .write_all(&[&frame(b"panic")[..], &frame(b"fail"), &frame(b"fine"), ASK].concat())
        .unwrap();
    assert_eq!(receipt(&mut stream), 3);
    assert_eq!(
        reader.shutdown(PATIENCE).unwrap().metrics.received.messages,
        3
    );
}

#[test]
fn the_opening_is_answered_as_any_request_in_one_piece_or_two() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut stream = connect(&place.socket());
    stream.write_all(OPENING).unwrap();
    assert_eq!(receipt(&mut stream), 0);

    let mut stream = connect(&place.socket());
    stream.write_all(&OPENING[..1]).unwrap();
    wait_until("the first half was read", || {
        collector.reader.metrics().open == 2
    });
    stream.write_all(&OPENING[1..]).unwrap();
    assert_eq!(receipt(&mut stream), 0);
    assert!(collector.stop().is_empty());
}

#[test]
fn a_peer_that_has_asked_hears_that_its_next_message_is_refused_for_good() {
    let place = Place::new();
    let collector =
        Collector::start_with(&place.socket(), |builder| builder.max_message_len(LIMIT));
    let messages = frame(b"message").repeat(300);
    for (bytes, said) in [
        ([OPENING, TOO_LONG].concat(), &[0x80, 0x00][..]),
        (
            [&frame(b"message")[..], ASK, TOO_LONG].concat(),
            &[0x81, 0x00],
        ),
        ([ASK, &messages, TOO_LONG].concat(), &[0xac, 0x82, 0x00]),
    ] {
        let mut stream = connect(&place.socket());
        stream.write_all(&bytes).unwrap();
        assert_eq!(read_until_closed(&mut stream), said);
    }
    // Asked and answered before.
    let mut stream = connect(&place.socket());
    stream
        .write_all(&[&frame(b"message")[..], ASK].concat())
        .unwrap();
    assert_eq!(receipt(&mut stream), 1);
    stream
        .write_all(&[&frame(b"message")[..], TOO_LONG].concat())
        .unwrap();
    assert_eq!(read_until_closed(&mut stream), [0x82, 0x00]);
    assert_eq!(collector.reader.metrics().protocol_errors.too_large, 4);
    assert_eq!(collector.stop().len(), 303);
}

#[test]
fn a_peer_that_never_asked_or_sends_no_frames_hears_of_no_refusal() {
    let place = Place::new();
    let collector =
        Collector::start_with(&place.socket(), |builder| builder.max_message_len(LIMIT));
    for bytes in [
        [&frame(b"message")[..], TOO_LONG].concat(),
        [&frame(b"message")[..], &[0xff; 10]].concat(),
    ] {
        let mut stream = connect(&place.socket());
        stream.write_all(&bytes).unwrap();
        assert!(read_until_closed(&mut stream).is_empty());
    }
    let mut stream = connect(&place.socket());
    stream
        .write_all(&[OPENING, &frame(b"message"), &[0xff; 10]].concat())
        .unwrap();
    assert_eq!(read_until_closed(&mut stream), [1], "a plain receipt");
    collector.stop();
}

#[test]
fn a_reader_that_refuses_a_message_waits_for_no_room_to_say_so() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.max_message_len(LIMIT).idle_timeout(Duration::MAX)
    });
    let mut greedy = connect(&place.socket());
    for count in 1..=2_000 {
        greedy
            .write_all(&[&frame(b"greedy")[..], ASK].concat())
            .unwrap();
        collector.wait_for(count);
    }
    greedy.write_all(TOO_LONG).unwrap();
    wait_until("it is hung up on", || collector.reader.metrics().open == 0);
    assert_eq!(collector.reader.metrics().protocol_errors.too_large, 1);
    collector.stop();
}

/// Fails at the end of each batch for as long as it is told to.
#[derive(Default)]
struct Store {
    fails: AtomicBool,
    ends: AtomicUsize,
}

impl Handler for Store {
    type Error = &'static str;

    fn message(&self, _: &[u8], _: &Peer) -> Result<(), Self::Error> {
        Ok(())
    }

    fn batch_end(&self, _: &Peer) -> Result<(), Self::Error> {
        self.ends.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            Err("the disk is full")
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_batch_that_was_not_stored_gets_no_receipt_and_ends_the_connection() {
    let place = Place::new();
    let store = Arc::new(Store::default());
    let reader = Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start_handler(Arc::clone(&store))
        .unwrap();
    let mut stream = connect(&place.socket());
    stream
        .write_all(&[&frame(b"stored")[..], ASK].concat())
        .unwrap();
    assert_eq!(receipt(&mut stream), 1);
    store.fails.store(true, Ordering::SeqCst);
    stream
        .write_all(&[&frame(b"not stored")[..], ASK].concat())
        .unwrap();
    assert!(is_closed(&mut stream));
    assert_eq!(reader.metrics().handler_errors, 1);

    // One that does not ask goes on: closing it would only lose more.
    let mut stream = connect(&place.socket());
    for round in 1..=3 {
        let ends = store.ends.load(Ordering::SeqCst);
        stream.write_all(&frame(b"not stored either")).unwrap();
        wait_until("the batch has ended", || {
            store.ends.load(Ordering::SeqCst) > ends
        });
        assert_eq!(reader.metrics().received.messages, 2 + round);
    }
    // Until it does ask, after all.
    stream.write_all(ASK).unwrap();
    assert!(is_closed(&mut stream));
    let _ = reader.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_refused_message_behind_a_batch_that_was_not_stored_is_not_told() {
    let place = Place::new();
    let store = Arc::new(Store::default());
    store.fails.store(true, Ordering::SeqCst);
    let reader = Reader::builder(place.socket())
        .max_message_len(LIMIT)
        .bind()
        .unwrap()
        .start_handler(Arc::clone(&store))
        .unwrap();
    let mut stream = connect(&place.socket());
    let bytes = [OPENING, &frame(b"not stored"), TOO_LONG].concat();
    stream.write_all(&bytes).unwrap();
    assert!(read_until_closed(&mut stream).is_empty());
    let _ = reader.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_peer_that_asks_and_does_not_read_gets_its_answer_when_it_does() {
    const QUESTIONS: usize = 2_000;
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.idle_timeout(Duration::MAX)
    });
    let mut greedy = connect(&place.socket());
    for count in 1..=QUESTIONS {
        // One by one, so that each gets an answer of its own, as long as there is room for one.
        greedy
            .write_all(&[&frame(b"greedy")[..], ASK].concat())
            .unwrap();
        collector.wait_for(count);
    }
    let mut other = connect(&place.socket());
    other
        .write_all(&[&frame(b"other")[..], ASK].concat())
        .unwrap();
    assert_eq!(receipt(&mut other), 1);
    // It asks no more: once there is room, what was dropped for want of it is made up for.
    let mut answers = 1;
    while receipt(&mut greedy) != 2_000 {
        answers += 1;
    }
    assert!(answers < QUESTIONS, "there was always room");
    assert_eq!(collector.reader.metrics().open, 2);
    collector.stop();
}
