//! Pages about the whole rather than one item.
//!
//! * [`architecture`]: what the crate is made of, for those who read or change it.
//! * [`delivery`]: what is promised of messages, and how to lose fewer.
//! * [`promises`]: each promise, and the tests that show it.
//! * [`sockets`]: where a socket lies, and who may connect.
//! * [`speed`]: what a message costs where, and what to turn.
//! * [`systemd`]: a collector as a service, with a socket of systemd's.

pub mod architecture;
pub mod delivery;
pub mod promises;
pub mod sockets;
pub mod speed;
#[cfg(feature = "systemd")]
pub mod systemd;
