//! The command-line tool, as its users run it: processes, standard streams, signals, exit codes.
//! What the library promises is tested elsewhere.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bench;
mod calls;
mod check;
mod lines;
mod manual;
#[path = "../patience/mod.rs"]
mod patience;
mod recording;
mod stage;
mod top;
