//! What arrives over TCP when a process is killed, or stopped as planned, under load.

use std::sync::Arc;
use std::time::Duration;

use crate::collector::{address, collect, collect_each, kept_by, play_over_tcp, received_by};
use crate::delivery::{self, eager, outlive_readers, outlive_writers, send_and_publish};
use crate::load::Load;
use crate::stage::{PATIENCE, Role, stage, wait_until};

/// How often a reader is ended while its writer goes on sending. One more lives to the end.
const ENDS: usize = 15;

/// As over a Unix socket.
fn lose_nothing(name: &str, end: impl FnMut(Role)) {
    let place = tempfile::tempdir().unwrap();
    play_over_tcp(place.path());
    delivery::lose_nothing(ENDS, name, place.path(), end);
}

#[test]
fn over_tcp_readers_that_are_killed_lose_nothing_that_waits_for_receipts() {
    const NAME: &str = "tcp::over_tcp_readers_that_are_killed_lose_nothing_that_waits_for_receipts";
    if let Some(place) = stage() {
        return collect(&place, Duration::MAX);
    }
    lose_nothing(NAME, Role::kill);
}

#[test]
fn over_tcp_readers_that_stop_lose_nothing_that_waits_for_receipts() {
    const NAME: &str = "tcp::over_tcp_readers_that_stop_lose_nothing_that_waits_for_receipts";
    if let Some(place) = stage() {
        return collect(&place, Duration::MAX);
    }
    lose_nothing(NAME, |reader| assert!(reader.end().success()));
}

/// Without receipts: what was on its way to a reader that was killed is lost, and nothing else.
#[test]
fn over_tcp_readers_that_are_killed_cost_what_was_on_its_way_without_receipts() {
    const NAME: &str =
        "tcp::over_tcp_readers_that_are_killed_cost_what_was_on_its_way_without_receipts";
    if let Some(place) = stage() {
        return collect_each(&place);
    }
    let place = tempfile::tempdir().unwrap();
    play_over_tcp(place.path());
    let writer = Arc::new(eager(&address(place.path())).start().unwrap());
    let load = Load::start(&writer);
    let last = outlive_readers(ENDS, NAME, place.path(), &writer, Role::kill);
    wait_until("the last reader has kept some", || {
        kept_by(place.path(), ENDS) > 0
    });
    let sent = load.stop();
    let report = writer.shutdown(PATIENCE).unwrap();
    assert!(last.end().success());

    let metrics = report.metrics;
    assert_eq!((report.left.messages, metrics.accepted.messages), (0, sent));
    assert_eq!(
        (metrics.sent, metrics.resent.messages),
        (metrics.accepted, 0)
    );
    let received = received_by(place.path(), ENDS + 1);
    assert!(
        received
            .iter()
            .flatten()
            .is_sorted_by(|one, next| one < next),
        "nothing twice, all in order"
    );
    for (process, numbers) in received.iter().enumerate() {
        let (first, last) = (*numbers.first().unwrap(), *numbers.last().unwrap());
        let count = u64::try_from(numbers.len()).unwrap();
        assert_eq!(last - first + 1, count, "reader {process} lived: no gap");
    }
    assert_eq!(received.concat().last(), Some(&(sent - 1)));
}

#[test]
fn over_tcp_a_killed_writer_has_sent_what_it_counted() {
    const NAME: &str = "tcp::over_tcp_a_killed_writer_has_sent_what_it_counted";
    if let Some(place) = stage() {
        return send_and_publish(&place);
    }
    let place = tempfile::tempdir().unwrap();
    play_over_tcp(place.path());
    // Receipts that nobody reads any more make the kernel throw away what it has yet to send.
    outlive_writers(NAME, place.path(), ["once"; 2]);
}
