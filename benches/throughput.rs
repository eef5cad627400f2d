//! Messages from a writer's `try_send` to a reader's handler, counted at the handler; nothing may be dropped.
//!
//! ```text
//! cargo bench --bench throughput
//! ```

#![expect(clippy::expect_used, reason = "a bench that fails should say where")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uds_ipc::{Reader, Writer};

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends `count` messages, and returns when the handler has had all of them.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn send_and_receive(writer: &Writer, reader: &Reader, message: &[u8], count: u64) -> Duration {
    let before = reader.metrics().received.messages;
    let start = Instant::now();
    for _ in 0..count {
        if writer.try_send(message).is_err() {
            writer.send_timeout(message, PATIENCE).expect("the reader reads");
        }
    }
    while reader.metrics().received.messages < before + count {
        std::thread::yield_now();
    }
    start.elapsed()
}

fn end_to_end(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("bench.sock");
    let reader = Reader::builder(&path)
        .bind()
        .expect("a socket")
        .start(|_| Ok::<_, Infallible>(()))
        .expect("a reader");
    let writer = Writer::new(&path).expect("a writer");
    let mut group = criterion.benchmark_group("end to end");
    for len in [16, 100, 1024, 10 * 1024, 100 * 1024] {
        let message = vec![7; len];
        group.throughput(Throughput::ElementsAndBytes {
            elements: 1,
            bytes: u64::try_from(len).expect("a small number"),
        });
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter_custom(|count| send_and_receive(&writer, &reader, &message, count));
        });
    }
    group.finish();
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.metrics.sent, report.metrics.accepted, "something was dropped");
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
