//! What a message costs of the heap. A process of its own: all its allocations are counted, those
//! of both ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it must be"
)]

mod patience;

use std::alloc::System;
use std::convert::Infallible;
use std::hint::black_box;
use std::path::Path;

use patience::PATIENCE;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, Writer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many messages of `len` bytes are sent before they are waited for: what has room in the eight
/// blocks that a writer keeps, however slow the reader is. At least once a block is used again only
/// after a receipt, and may have one message in it.
fn round(delivery: Delivery, len: usize) -> usize {
    if delivery == Delivery::AtLeastOnce {
        6
    } else {
        (512 * 1024 / len).min(1000)
    }
}

struct Touch;

impl Handler for Touch {
    type Error = Infallible;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        black_box((message.len(), message.first(), message.last()));
        Ok(())
    }
}

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Copied,
    Owned,
    Encoded,
}

impl Way {
    fn send(self, writer: &Writer, message: Vec<u8>) {
        match self {
            Self::Copied => writer.try_send(&message).unwrap(),
            Self::Owned => writer.try_send(message).unwrap(),
            Self::Encoded => {
                writer
                    .try_send_with(|buffer| buffer.extend_from_slice(&message))
                    .unwrap();
            }
        }
    }
}

/// How often memory was asked for while messages were sent and handled. They are the user's, and
/// are made before.
fn allocations(writer: &Writer, len: usize, way: Way, round: usize) -> usize {
    let mut allocations = 0;
    for _ in 0..100 {
        let messages = vec![vec![7; len]; round];
        let region = Region::new(ALLOCATOR);
        for message in messages {
            way.send(writer, message);
        }
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        let change = region.change();
        allocations += change.allocations + change.reallocations;
    }
    allocations
}

fn run(path: &Path, delivery: Delivery) -> Vec<String> {
    let reader = Reader::builder(path)
        .bind()
        .unwrap()
        .start_handler(Touch)
        .unwrap();
    let writer = Writer::builder(path).delivery(delivery).start().unwrap();
    let mut found = Vec::new();
    for way in [Way::Copied, Way::Owned, Way::Encoded] {
        for len in [1, 100, 1024, 4096] {
            // Threads start, and buffers grow to their size, whenever chance wants it; but that
            // comes to an end.
            let counts = (0..30).map(|_| allocations(&writer, len, way, round(delivery, len)));
            if !counts.into_iter().any(|count| count == 0) {
                found.push(format!("{delivery:?}, {way:?}, {len} bytes"));
            }
        }
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    reader.shutdown(PATIENCE).unwrap();
    found
}

#[test]
fn a_message_of_up_to_4_kib_asks_for_no_memory_at_either_end() {
    let directory = tempfile::tempdir().unwrap();
    let found = [Delivery::AtMostOnce, Delivery::AtLeastOnce]
        .map(|delivery| run(&directory.path().join(format!("{delivery:?}")), delivery))
        .concat();
    assert!(found.is_empty(), "it did with {found:#?}");
}
