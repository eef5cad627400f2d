//! How often a message asks for heap memory, and for how much, at each end: two processes that
//! count all their allocations. The counterpart of the Go library's `MemoryAllocation`.
//!
//! ```text
//! cargo bench --bench memory
//! ```
//!
//! Messages come as fast as they can, and wait for room where there is none. A block of 128 KiB is
//! allocated when more of them are in use at once than ever before, since the thread last had
//! nothing to do: so what is seen depends on how full the queue gets. `tests/allocations.rs` shows
//! that below that a message asks for nothing.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that fails should say where, and tells what it saw"
)]

mod common;
#[path = "../tests/patience/mod.rs"]
mod patience;

use std::alloc::System;
use std::convert::Infallible;
use std::hint::black_box;
use std::path::Path;

use common::ReaderProcess;
use patience::PATIENCE;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    if let Some((_, path)) = common::role() {
        return read(&path);
    }
    // `cargo bench -- --test` only asks whether it runs.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let count = if is_test { 1_000 } else { 1_000_000 };
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        for len in [1, 100, 1024, 4096] {
            for way in [Way::Copied, Way::Owned, Way::Encoded] {
                memory_allocation(delivery, len, way, count);
            }
        }
    }
}

/// How often this process has asked for memory so far, and for how many bytes.
fn asked() -> [u64; 2] {
    let stats = ALLOCATOR.stats();
    let bytes = stats.bytes_allocated;
    [stats.allocations + stats.reallocations, bytes]
        .map(|figure| u64::try_from(figure).expect("a size"))
}

fn read(path: &Path) {
    let touch = |message: &[u8]| {
        black_box((message.len(), message.first(), message.last()));
        Ok::<_, Infallible>(())
    };
    let reader = Reader::builder(path)
        .bind()
        .expect("a socket")
        .start(touch)
        .expect("a reader");
    common::answer(|| {
        let [times, bytes] = asked();
        [times, bytes, reader.metrics().received.messages]
    });
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Copied,
    /// The allocation of the message itself, which is the user's, is not counted.
    Owned,
    Encoded,
}

impl Way {
    fn send(self, writer: &Writer, message: &[u8]) {
        let is_sent = match self {
            Self::Copied => writer.send_timeout(message, PATIENCE).is_ok(),
            Self::Owned => writer.send_timeout(message.to_vec(), PATIENCE).is_ok(),
            Self::Encoded => {
                let encode = |buffer: &mut Vec<u8>| buffer.extend_from_slice(message);
                writer.send_timeout_with(encode, PATIENCE).is_ok()
            }
        };
        assert!(is_sent, "the reader reads");
    }

    /// How often that asks for memory that is the user's.
    fn own(self) -> u64 {
        u64::from(matches!(self, Self::Owned))
    }
}

fn memory_allocation(delivery: Delivery, len: u64, way: Way, count: u32) {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("s");
    let mut reader = ReaderProcess::start("read", &path);
    let writer = Writer::builder(&path)
        .delivery(delivery)
        .start()
        .expect("a writer");
    let message = vec![7; usize::try_from(len).expect("a size")];
    let mut round = || {
        let (here, there) = (asked(), reader.figures::<3>());
        for _ in 0..count {
            way.send(&writer, &message);
        }
        writer
            .flush(FlushLevel::Handled, PATIENCE)
            .expect("the reader reads");
        let there = minus(reader.figures(), there);
        (minus(asked(), here), there)
    };
    // The first is for what is needed once.
    round();
    let ([times, bytes], [times_there, bytes_there, received]) = round();
    assert_eq!(received, u64::from(count), "all that was sent has come");
    let each = |sum: u64| f64::from(u32::try_from(sum).unwrap_or(u32::MAX)) / f64::from(count);
    let own = way.own() * u64::from(count);
    println!(
        "MemoryAllocation/{len} B, {way:?}, {delivery:?}: {:.4} allocations of {:.1} bytes by the writer, {:.4} of {:.1} by the reader",
        each(times - own),
        each(bytes - own * len),
        each(times_there),
        each(bytes_there),
    );
}

fn minus<const N: usize>(after: [u64; N], before: [u64; N]) -> [u64; N] {
    std::array::from_fn(|at| after[at] - before[at])
}
