//! What concerns whole processes: their signals and forks, and what arrives when they are killed,
//! stopped, or silent. Each role is a process of its own, started by a test of the same name from
//! this very program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails where something is not as it must be, and its patience has an end"
)]

mod activation;
#[path = "../again/mod.rs"]
mod again;
#[cfg(target_os = "linux")]
mod arenas;
#[cfg(feature = "calls")]
mod calls;
mod clients;
mod collector;
#[cfg(target_os = "linux")]
mod deaths;
mod delivery;
mod end_of_program;
#[path = "../patience/mod.rs"]
mod patience;
#[path = "../shared/mod.rs"]
mod shared;
// Elsewhere the kernel throws away what was queued when a reader hangs up.
#[cfg(target_os = "linux")]
mod idle;
mod load;
mod mute_peers;
mod notify;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(target_os = "linux")]
mod refusals;
mod signals_and_forks;
mod stage;
#[cfg(target_os = "linux")]
mod stored;
#[cfg(target_os = "linux")]
mod systemd;
mod tcp;
#[cfg(target_os = "linux")]
mod watches;
