//! What a program sees that sends at a pace: how long a send keeps it, and how soon its message is
//! handled.

use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use uds_ipc::{FlushLevel, Writer};

use crate::PATIENCE;
use crate::common::ReaderProcess;
use crate::reader::{NOTE_DELAYS, figures, nanoseconds};

/// Between two messages.
const PACE: Duration = Duration::from_micros(100);

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("PacedLatency");
    for (name, linger) in [
        ("", Duration::from_micros(200)),
        (", no linger", Duration::ZERO),
    ] {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("s");
        let mut reader = ReaderProcess::start(NOTE_DELAYS, &path);
        let writer = Writer::builder(&path)
            .linger(linger)
            .start()
            .expect("a writer");
        let mut sends = Vec::new();
        group.bench_function(format!("try_send{name}"), |bencher| {
            bencher.iter_custom(|count| {
                let [_, before, ..] = figures(&sends);
                send(&writer, count, &mut sends);
                let [_, after, ..] = figures(&sends);
                Duration::from_nanos(after - before)
            });
        });
        tell(figures(&sends));
        let mut delays = [0; 5];
        group.bench_function(format!("one way{name}"), |bencher| {
            bencher.iter_custom(|count| {
                let [had, before, ..] = reader.figures::<5>();
                send(&writer, count, &mut Vec::new());
                delays = reader.figures();
                let [has, after, ..] = delays;
                assert_eq!(has - had, count, "all that was sent has come");
                Duration::from_nanos(after - before)
            });
        });
        tell(delays);
    }
}

/// Sends at the pace, and waits until the handler has had all; notes how long each send took, and
/// the two looks at the clock.
fn send(writer: &Writer, count: u64, sends: &mut Vec<u64>) {
    let mut next = Instant::now();
    for _ in 0..count {
        next += PACE;
        while let Some(wait) = next.checked_duration_since(Instant::now()) {
            thread::park_timeout(wait);
        }
        let mut message = [7; 100];
        message[..8].copy_from_slice(&nanoseconds().to_le_bytes());
        let start = Instant::now();
        writer.try_send(&message).expect("there is room");
        sends.push(u64::try_from(start.elapsed().as_nanos()).expect("it is over"));
    }
    writer
        .flush(FlushLevel::Handled, PATIENCE)
        .expect("the reader reads");
}

fn tell([count, _, p50, p99, longest]: [u64; 5]) {
    if count > 0 {
        println!(
            "                        {p50} ns (p50), {p99} ns (p99), {longest} ns at most, of {count}\n"
        );
    }
}
