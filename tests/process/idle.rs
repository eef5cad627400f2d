//! What arrives when connections are closed for silence again and again.

use std::path::Path;
use std::thread;
use std::time::Duration;

use uds_ipc::{Delivery, Writer, WriterReport};

use crate::collector::{collect, received_by, repeats};
use crate::load::message;
use crate::stage::{PATIENCE, Role, moments, stage, wait_until};

const IDLE_TIMEOUT: Duration = Duration::from_millis(30);
const WRITERS: u64 = 8;
const ROUNDS: u64 = 60;

/// Writer number `writer` counts from here.
fn first_of(writer: u64) -> u64 {
    writer << 32
}

/// Sends a few messages now and then; returns how many, and how that ended.
fn send_now_and_then(path: &Path, writer: u64, mut moments: fastrand::Rng) -> (u64, WriterReport) {
    let delivery = if writer % 2 == 0 {
        Delivery::AtMostOnce
    } else {
        Delivery::AtLeastOnce
    };
    let (number, writer) = (first_of(writer), Writer::builder(path).delivery(delivery));
    let writer = writer
        .backoff_min(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(5));
    let writer = writer.start().unwrap();
    let mut sent = 0;
    for _ in 0..ROUNDS {
        for _ in 0..moments.u64(1..4) {
            writer.try_send(&message(number + sent)).unwrap();
            sent += 1;
        }
        // Around the moment at which the reader hangs up, and often close to it.
        let share = moments.f64() - 0.5;
        let pause = IDLE_TIMEOUT.mul_f64(1.0 + if moments.bool() { share } else { share / 20.0 });
        thread::park_timeout(pause);
    }
    wait_until("it was hung up on", || writer.metrics().connects > 1);
    (sent, writer.shutdown(PATIENCE).unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are of interest")]
fn connections_closed_for_silence_cost_nothing() {
    if let Some(place) = stage() {
        return collect(&place, IDLE_TIMEOUT);
    }
    let place = tempfile::tempdir().unwrap();
    let reader = Role::start_part(
        "idle::connections_closed_for_silence_cost_nothing",
        place.path(),
        "0",
    );
    let (path, mut moments) = (place.path().join("s"), moments());
    let seeds: Vec<_> = (0..WRITERS).map(|_| moments.fork()).collect();
    let ended: Vec<_> = thread::scope(|scope| {
        let writers = seeds.into_iter().zip(0..);
        let writers = writers.map(|(seed, writer)| {
            let path = &path;
            scope.spawn(move || send_now_and_then(path, writer, seed))
        });
        let writers: Vec<_> = writers.collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("it sent all"))
            .collect()
    });
    assert!(reader.end().success());

    let received = received_by(place.path(), 1).concat();
    for ((sent, report), writer) in ended.into_iter().zip(0..) {
        let metrics = report.metrics;
        assert_eq!(report.left.messages, 0, "{metrics:#?}");
        assert_eq!(
            (metrics.accepted.messages, metrics.sent),
            (sent, metrics.accepted)
        );
        assert_eq!(
            metrics.failed.total().messages + metrics.lost_with_unread,
            0,
            "{metrics:#?}"
        );
        let first = first_of(writer);
        let of_it = received
            .iter()
            .copied()
            .filter(|number| (first..first_of(writer + 1)).contains(number));
        assert_eq!(
            repeats(of_it.collect(), first..first + sent),
            0,
            "{metrics:#?}"
        );
        println!(
            "writer {writer}: {sent} messages on {} connections",
            metrics.connects
        );
    }
}
