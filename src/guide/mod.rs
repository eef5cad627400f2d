//! Pages about the crate as a whole.
//!
//! * [`architecture`]: what the crate is made of, for readers of its code.
//! * [`crash_proof`]: what a process that dies had to say last, arrives.
//! * [`delivery`]: what is promised of messages, and how to lose fewer.
//! * [`ecosystem`]: log libraries, Prometheus and the `metrics` crate, encoders.
//! * [`from_go`]: for those who come from the Go library uds-ipc, or use both.
//! * [`production`]: where a writer lives, processes, containers, the size of the queue, and what
//!   to watch.
//! * [`promises`]: each promise, and the tests that show it.
//! * [`sockets`]: where a socket lies, and who may connect.
//! * [`streams`]: which stream to take, and what each promises: TCP, pipes, streams of your own.
//! * [`speed`]: what each step of a message costs, and which settings to change.
//! * [`systemd`]: a collector as a service, with a socket that systemd makes.
//! * [`wire`]: every byte on the wire, for whoever writes an end in another language.

pub mod architecture;
pub mod crash_proof;
pub mod delivery;
pub mod ecosystem;
pub mod from_go;
pub mod production;
pub mod promises;
pub mod sockets;
pub mod speed;
pub mod streams;
#[cfg(all(unix, feature = "systemd"))]
pub mod systemd;
pub mod wire;
