//! From `try_send` to a handler in another process.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use uds_ipc::WriterBuilder;

use crate::messages::Messages;
use crate::pipe::Pipe;
use crate::reader::{TOUCH, TOUCH_IN_10_US, TOUCH_IN_100_US};

const KIB: usize = 1024;

pub(crate) fn benches(criterion: &mut Criterion) {
    basic_throughput(criterion);
    message_sizes(criterion);
    reader_writer(criterion);
    buffer_optimization(criterion);
    multiple_producers(criterion);
    multiple_writers(criterion);
    handler_latency(criterion);
}

fn default(builder: WriterBuilder) -> WriterBuilder {
    builder
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pipe: &mut Pipe,
    messages: &Messages,
) {
    group.throughput(messages.throughput());
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| pipe.send(messages, count));
    });
}

fn basic_throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("BasicThroughput");
    measure(
        &mut group,
        "1 KiB",
        &mut Pipe::new(TOUCH, default),
        &Messages::of(KIB),
    );
}

fn message_sizes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("MessageSizes");
    let mut pipe = Pipe::new(TOUCH, default);
    for len in [16, 100] {
        measure(
            &mut group,
            &format!("{len} B"),
            &mut pipe,
            &Messages::of(len),
        );
    }
    for kib in [1, 4, 10, 16, 64, 100] {
        measure(
            &mut group,
            &format!("{kib} KiB"),
            &mut pipe,
            &Messages::of(kib * KIB),
        );
    }
    measure(&mut group, "log lines", &mut pipe, &Messages::log_lines());
}

fn reader_writer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ReaderWriter");
    for kib in [1, 10, 100] {
        for capacity in [1_000, 10_000] {
            let mut pipe = Pipe::new(TOUCH, |builder| builder.max_queued_messages(capacity));
            let name = format!("{kib} KiB, a queue of {capacity}");
            measure(&mut group, &name, &mut pipe, &Messages::of(kib * KIB));
        }
    }
}

fn buffer_optimization(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("BufferOptimization");
    let messages = Messages::of(8 * KIB);
    measure(
        &mut group,
        "the default",
        &mut Pipe::new(TOUCH, default),
        &messages,
    );
    for (name, size) in [("the system's own", None), ("256 KiB", Some(256 * KIB))] {
        let mut pipe = Pipe::new(TOUCH, |builder| builder.send_buffer_size(size));
        measure(&mut group, name, &mut pipe, &messages);
    }
}

fn multiple_producers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("MultipleProducers");
    for producers in [1, 2, 4, 8] {
        let mut pipe = Pipe::with(TOUCH, 1, producers, default);
        measure(
            &mut group,
            &producers.to_string(),
            &mut pipe,
            &Messages::of(100),
        );
    }
}

fn multiple_writers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("MultipleWriters");
    for writers in [1, 8, 64] {
        let mut pipe = Pipe::with(TOUCH, writers, 1, default);
        measure(
            &mut group,
            &writers.to_string(),
            &mut pipe,
            &Messages::of(KIB),
        );
    }
}

/// The handler works, where Go's sleeps: so the time is what it says.
fn handler_latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("HandlerLatency");
    for (name, role) in [
        ("no work", TOUCH),
        ("10 µs", TOUCH_IN_10_US),
        ("100 µs", TOUCH_IN_100_US),
    ] {
        measure(
            &mut group,
            name,
            &mut Pipe::new(role, default),
            &Messages::of(KIB),
        );
    }
}
