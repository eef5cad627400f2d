//! The relay with a real nats-server and a real redis-server, on loopback and in temporary folders.
//!
//! `UDS_IPC_RELAY_FAULTS=200` puts so many faults into the tests of them, `UDS_IPC_RELAY_LINES` names
//! a folder of log files whose lines are sent; others are made up.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails where something is not as it must be"
)]

mod faults;
mod files;
mod life;
mod limits;
mod page;
mod redis;
mod settings;
mod support;
mod units;
