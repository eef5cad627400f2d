//! The clients in Python take each kind of address.

use std::path::Path;
use std::sync::{Arc, Mutex};

use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

use super::programs::{Language, Receiver, Sender, line};
use crate::collector::{assert_good, play_over_tcp};
use crate::stage::PATIENCE;

const LINES: u64 = 1000;

/// Each kind, at a place of its own.
fn addresses(place: &Path) -> Vec<String> {
    let folder = place.to_str().expect("a temporary folder is text");
    play_over_tcp(place);
    let mut all = vec![
        format!("{folder}/path"),
        format!("unix:{folder}/unix"),
        std::fs::read_to_string(place.join("address")).unwrap(),
    ];
    if cfg!(target_os = "linux") {
        all.push(format!("@{folder}"));
    }
    all
}

fn lines() -> Vec<Vec<u8>> {
    (0..LINES).map(|number| line(number).into_bytes()).collect()
}

#[test]
fn python_sends_to_each_kind_of_address() {
    let place = tempfile::tempdir().unwrap();
    let Some(client) = Language::Python.client("send", place.path()) else {
        return;
    };
    for address in addresses(place.path()) {
        let received = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&received);
        let bound = Reader::builder(&address).bind().unwrap();
        let reader =
            bound.start(move |message: &[u8]| store.lock().unwrap().push(message.to_vec()));
        let reader = reader.unwrap();
        for is_at_least_once in [false, true] {
            let mut sender = Sender::start(&client, address.as_ref(), is_at_least_once);
            for line in lines() {
                sender.hand(&line);
            }
            sender.end();
        }
        assert_good(&reader.shutdown(PATIENCE).unwrap());
        let mut received = received.lock().unwrap().clone();
        // Two connections, of which the second may be read before the first has ended.
        received.sort();
        let mut wanted = [lines(), lines()].concat();
        wanted.sort();
        assert!(received == wanted, "{address}");
    }
}

#[test]
fn python_receives_at_each_kind_of_address() {
    let place = tempfile::tempdir().unwrap();
    let Some(client) = Language::Python.client("receive", place.path()) else {
        return;
    };
    for (at, address) in addresses(place.path()).into_iter().enumerate() {
        let output = place.path().join(format!("stored {at}"));
        let receiver = Receiver::start(&client, address.as_ref(), &output);
        for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
            let writer = Writer::builder(&address)
                .delivery(delivery)
                .start()
                .unwrap();
            for line in lines() {
                writer.send_timeout(line, PATIENCE).unwrap();
            }
            writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
            let report = writer.shutdown(PATIENCE).unwrap();
            assert_eq!(report.metrics.resent.messages, 0, "{address}");
        }
        assert!(
            receiver.stored() == [lines(), lines()].concat(),
            "{address}"
        );
        receiver.stop();
    }
}
