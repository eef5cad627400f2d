//! The promises of the crate, over real sockets. One file a subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails where something is not as it must be, and its patience has an end"
)]

#[path = "../again/mod.rs"]
mod again;
#[cfg(feature = "async")]
mod async_writer;
mod at_least_once;
mod batches;
mod callbacks_at_the_end;
mod callbacks_of_readers;
mod callbacks_of_writers;
#[cfg(feature = "calls")]
mod calls;
#[cfg(feature = "tokio-util")]
mod codec;
mod connecting;
// Memory can be passed only there.
#[cfg(target_os = "linux")]
mod crash_proof;
mod delivery;
mod encoders;
mod failing_handlers;
#[cfg(feature = "metrics")]
mod figures;
mod flush_levels;
mod framing;
mod hostile;
mod life_cycle;
mod limits;
mod listen_on;
mod logs;
#[cfg(feature = "async")]
mod message_sink;
// A cable between two machines takes what only Linux has.
#[cfg(target_os = "linux")]
mod network;
#[path = "../patience/mod.rs"]
mod patience;
mod receipts;
mod receiving;
mod scale;
mod sending;
#[path = "../shared/mod.rs"]
mod shared;
mod socket_file;
mod stopping;
mod strangers;
mod streams;
mod support;
mod types;
