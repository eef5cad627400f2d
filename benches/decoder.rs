//! The reader's decoder alone: 256 KiB of frames, as one read may bring, and a look at each
//! message's length and at its first and last byte. The counterpart of the Go library's
//! `ProtocolOverhead`, which goes from end to end.
//!
//! ```text
//! cargo bench --bench decoder
//! ```
//!
//! It is compiled from the crate's own files: so it is measured as it is, and the crate opens it to
//! nobody.

#![expect(
    dead_code,
    unused_imports,
    clippy::expect_used,
    reason = "not all of those files is called here, and a bench that fails should say where"
)]

#[path = "../src/buffer_pool.rs"]
mod buffer_pool;
#[path = "../src/reader/connection/decoder.rs"]
mod decoder;
#[path = "../src/num.rs"]
mod num;
#[path = "../src/wire/mod.rs"]
mod wire;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use buffer_pool::Pool;
use decoder::{Decoder, Frame};
use num::to_u64;
use wire::frame::Prefix;

/// As much as the reader reads at a time.
const READ_SIZE: usize = 256 * 1024;

fn protocol_overhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ProtocolOverhead");
    for (name, len) in [
        ("1 B", 1),
        ("100 B", 100),
        ("1 KiB", 1024),
        ("10 KiB", 10 * 1024),
    ] {
        let message: Vec<_> = (0..=u8::MAX).cycle().take(len).collect();
        let frame = [Prefix::new(len).as_slice(), &message].concat();
        let count = READ_SIZE / frame.len();
        let frames = frame.repeat(count);
        let pool = Pool::new(1, READ_SIZE);
        group.throughput(Throughput::ElementsAndBytes {
            elements: to_u64(count),
            bytes: to_u64(count * len),
        });
        group.bench_function(name, |bencher| {
            let mut decoder = Decoder::new(READ_SIZE);
            bencher.iter(|| {
                let mut input = black_box(&frames[..]);
                let mut messages = 0;
                while let Some(Frame::Message(message)) =
                    decoder.next(&mut input, &pool).expect("frames")
                {
                    black_box((message.len(), message.first(), message.last()));
                    messages += 1;
                }
                assert_eq!(messages, count);
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = protocol_overhead
}
criterion_main!(benches);
