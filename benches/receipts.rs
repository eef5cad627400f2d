//! What receipts cost: messages of 100 bytes with delivery at most once and at least once, in
//! turns, counted at the handler. Nothing may be dropped, and with receipts the clock stops only
//! when the last one has come. With the default queue, and with one of twice as many messages:
//! until they are confirmed they take room in it.
//!
//! ```text
//! cargo bench --bench receipts
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that fails should say where, and tells what it saw"
)]

#[path = "../tests/patience/mod.rs"]
mod patience;

use std::convert::Infallible;
use std::time::Instant;

use patience::PATIENCE;
use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

/// Sends `count` messages, and waits until the handler has had them all. Returns how many that is a
/// second.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn round(writer: &Writer, reader: &Reader, delivery: Delivery, count: u32) -> f64 {
    let message = [7; 100];
    let end = reader.metrics().received.messages + u64::from(count);
    let start = Instant::now();
    for _ in 0..count {
        if writer.try_send(&message).is_err() {
            writer
                .send_timeout(&message, PATIENCE)
                .expect("the reader reads");
        }
    }
    if delivery == Delivery::AtLeastOnce {
        writer
            .flush(FlushLevel::Handled, PATIENCE)
            .expect("the reader answers");
    }
    while reader.metrics().received.messages < end {
        std::thread::yield_now();
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Compares the two with queues of so many messages.
fn compare(max_queued_messages: usize, rounds: usize, count: u32) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let mut ends = [Delivery::AtMostOnce, Delivery::AtLeastOnce].map(|delivery| {
        let path = directory.path().join(format!("{delivery:?}"));
        let bound = Reader::builder(&path).bind().expect("a socket");
        let reader = bound.start(|_| Ok::<_, Infallible>(())).expect("a reader");
        let writer = Writer::builder(&path)
            .delivery(delivery)
            .max_queued_messages(max_queued_messages);
        (
            delivery,
            writer.start().expect("a writer"),
            reader,
            Vec::new(),
        )
    });
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let [without, with] = &mut ends;
        for (delivery, writer, reader, rates) in [&mut *without, &mut *with] {
            rates.push(round(writer, reader, *delivery, count));
        }
        ratios.extend(
            with.3
                .last()
                .zip(without.3.last())
                .map(|(with, without)| with / without),
        );
    }
    let [without, with] = ends.map(|(_, writer, _reader, rates)| {
        let report = writer.shutdown(PATIENCE).expect("not in a callback");
        assert_eq!(
            report.metrics.sent, report.metrics.accepted,
            "something was dropped"
        );
        median(rates) / 1e6
    });
    println!(
        "max_queued_messages {max_queued_messages}: {without:.1} million messages a second without receipts, {with:.1} with: {:.2} of it \
         (medians of {rounds} rounds, in turns)",
        median(ratios)
    );
}

fn main() {
    // `cargo bench -- --test` only asks whether it runs.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, count) = if is_test {
        (1, 10_000)
    } else {
        (21, 2_000_000)
    };
    for max_queued_messages in [10_000, 20_000] {
        compare(max_queued_messages, rounds, count);
    }
}
