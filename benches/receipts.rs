//! What receipts cost, and what a loop over batches costs: messages of 100 bytes with delivery at
//! most once and at least once, to a handler and to a thread that takes batches, in turns. Nothing
//! may be dropped, and with receipts the clock stops only when the last one has come. With the
//! default queue, and with one of twice as many messages: until they are confirmed they take room
//! in it.
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
use std::hint::black_box;
use std::path::Path;
use std::thread;
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
        thread::yield_now();
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// What takes the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Handler,
    /// A thread that takes batches, and confirms each.
    Loop,
}

struct End {
    delivery: Delivery,
    by: By,
    writer: Writer,
    reader: Reader,
    rates: Vec<f64>,
}

impl End {
    fn new(directory: &Path, max_queued_messages: usize, delivery: Delivery, by: By) -> Self {
        let path = directory.join(format!("{delivery:?}-{by:?}"));
        let bound = Reader::builder(&path).bind().expect("a socket");
        let reader = match by {
            By::Handler => bound.start(|_| Ok::<_, Infallible>(())).expect("a reader"),
            By::Loop => {
                let (reader, batches) = bound.start_batches().expect("a reader");
                thread::spawn(move || {
                    for batch in batches {
                        batch.messages().for_each(|message| {
                            black_box(message);
                        });
                        batch.done();
                    }
                });
                reader
            }
        };
        let writer = Writer::builder(&path)
            .delivery(delivery)
            .max_queued_messages(max_queued_messages);
        Self {
            delivery,
            by,
            writer: writer.start().expect("a writer"),
            reader,
            rates: Vec::new(),
        }
    }
}

/// Compares all with the handler without receipts, with queues of so many messages.
fn compare(max_queued_messages: usize, rounds: usize, count: u32) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let mut ends = [
        (Delivery::AtMostOnce, By::Handler),
        (Delivery::AtLeastOnce, By::Handler),
        (Delivery::AtMostOnce, By::Loop),
        (Delivery::AtLeastOnce, By::Loop),
    ]
    .map(|(delivery, by)| End::new(directory.path(), max_queued_messages, delivery, by));
    for _ in 0..rounds {
        for end in &mut ends {
            let rate = round(&end.writer, &end.reader, end.delivery, count);
            end.rates.push(rate);
        }
    }
    println!("max_queued_messages {max_queued_messages}, medians of {rounds} rounds in turns:");
    let first = ends
        .first()
        .map(|end| end.rates.clone())
        .unwrap_or_default();
    for end in ends {
        let report = end.writer.shutdown(PATIENCE).expect("not in a callback");
        assert_eq!(
            report.metrics.sent, report.metrics.accepted,
            "something was dropped"
        );
        let ratios = end
            .rates
            .iter()
            .zip(&first)
            .map(|(rate, first)| rate / first);
        println!(
            "  {:?}, {:?}: {:.2} of the first ({:.1} million messages a second)",
            end.delivery,
            end.by,
            median(ratios.collect()),
            median(end.rates.clone()) / 1e6,
        );
    }
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
