//! Pages about the crate as a whole.
//!
//! * [`architecture`]: what the crate is made of, for readers of its code.
//! * [`calls`], with the feature `calls`: to ask a running daemon, and when not to.
//! * [`comparison`]: what others do, what they do when things go wrong, and when to choose them.
//! * [`cookbook`]: programs to be copied, from many daemons to the size of a queue.
//! * [`crash_proof`]: what a process that dies had to say last, arrives.
//! * [`delivery`]: what is promised of messages, and how to lose fewer.
//! * [`ecosystem`]: log libraries, Prometheus and the `metrics` crate, encoders.
//! * [`from_go`]: for those who come from the Go library uds-ipc, or use both.
//! * [`from_tracing_appender`] and [`from_zeromq`]: for those who come from tracing-appender,
//!   ZeroMQ or nng.
//! * [`production`]: where a writer lives, processes, containers, the size of the queue, and what
//!   to watch.
//! * [`promises`]: each promise, and the tests that show it.
//! * [`settings`]: every setting with its default, and how an address is written.
//! * [`sockets`]: where a socket lies, and who may connect.
//! * [`streams`]: which stream to take, and what each promises: TCP, pipes, streams of your own.
//! * [`speed`]: what each step of a message costs, and which settings to change.
//! * [`stability`]: what may change from one version to the next, and what may not.
//! * [`systemd`]: a collector as a service, with a socket that systemd makes.
//! * [`tool`]: the command-line tool.
//! * [`wire`]: every byte on the wire, for whoever writes an end in another language.

pub mod architecture;
#[cfg(feature = "calls")]
pub mod calls;
pub mod comparison;
pub mod cookbook;
pub mod crash_proof;
pub mod delivery;
pub mod ecosystem;
pub mod from_go;
pub mod from_tracing_appender;
pub mod from_zeromq;
pub mod production;
pub mod promises;
pub mod settings;
pub mod sockets;
pub mod speed;
pub mod stability;
pub mod streams;
#[cfg(all(unix, feature = "systemd"))]
pub mod systemd;
pub mod tool;
pub mod wire;
