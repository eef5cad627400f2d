//! How fast it is: a counterpart to each benchmark of the Go library, under the same name, and what
//! that has none for.
//!
//! ```text
//! cargo bench --bench suite
//! cargo bench --bench suite -- MessageSizes
//! UDS_IPC_LINES=/var/log/app cargo bench --bench suite -- 'log lines'
//! ```
//!
//! | Go | here | what it measures |
//! | --- | --- | --- |
//! | `ReaderWriter` | `ReaderWriter` | from `try_send` to the handler: 1, 10 and 100 KiB with a queue of 1,000 and of 10,000 messages |
//! | `BasicThroughput` | `BasicThroughput` | the same with 1 KiB and the default settings |
//! | `MessageSizes` | `MessageSizes` | the same for 16 B to 100 KiB, and log lines |
//! | `BufferOptimization` | `BufferOptimization` | the same with 8 KiB: the system's own socket buffer, 256 KiB, and the default |
//! | `MultipleWriters` | `MultipleWriters` | the same with 1 KiB: 1, 8 and 64 writers, a thread each |
//! | | `MultipleProducers` | the same with 100 B: 1, 2, 4 and 8 threads that share a writer |
//! | `HandlerLatency` | `HandlerLatency` | the same with 1 KiB and a handler that is at work for 0, 10 and 100 µs |
//! | | `PacedLatency` | 10,000 messages a second: how long `try_send` takes, and how long until the handler has the message |
//! | `WriteOnly` | `WriteOnly` | `try_send` and `try_send_with` alone: 100 B and 1 KiB, from 1 and 4 threads |
//! | `ReadOnly` | `ReadOnly` | a reader alone, on a socket that was filled before |
//! | `ProtocolOverhead` | `ProtocolOverhead` | the decoder alone |
//! | `MemoryAllocation` | the bench `memory` | heap allocations for each message |
//!
//! Where messages go from end to end, the reader is a process of its own; each message must have
//! come to its handler, which looks at its length and at its first and last byte, and the clock
//! stops when the handler has had the last one. The writer waits for room where there is none:
//! nothing is dropped. The Go library's `WriteOnly`, `MemoryAllocation` and `ReadOnly` have a
//! reader and a writer at work beside what they measure.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that fails should say where, and tells what it saw and when"
)]

#[path = "../common/mod.rs"]
mod common;
mod end_to_end;
mod latency;
mod messages;
#[path = "../../tests/patience/mod.rs"]
mod patience;
mod pipe;
mod read_only;
mod reader;
mod write_only;

use std::time::Duration;

use criterion::Criterion;

pub(crate) use patience::PATIENCE;

fn main() {
    if let Some((role, path)) = common::role() {
        return reader::read(&role, &path);
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    end_to_end::benches(&mut criterion);
    latency::benches(&mut criterion);
    write_only::benches(&mut criterion);
    read_only::benches(&mut criterion);
    criterion.final_summary();
}
