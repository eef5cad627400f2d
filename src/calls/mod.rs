//! Calls and their answers, beside the pipe: with the feature `calls`.
//!
//! A daemon that sends telemetry may also be asked: for its figures, to log more, to drain now. A
//! [`Responder`] answers, at a socket of its own; a [`Caller`] asks, from any number of threads
//! over one connection. [The page on calls](crate::guide::calls) says when to use them, and what is
//! promised when either end dies.
//!
//! ```
//! use std::time::Duration;
//! use uds_ipc::calls::{Caller, Responder};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("admin.sock");
//! // The daemon.
//! let responder = Responder::builder(&path).bind()?.start(|call, reply| {
//!     let _ = match call.method() {
//!         "version" => reply.send(env!("CARGO_PKG_VERSION")),
//!         other => reply.fail(format!("there is no method {other:?}")),
//!     };
//! })?;
//!
//! // Whoever asks.
//! let caller = Caller::new(&path)?;
//! let version = caller.call("version", "", Duration::from_secs(5))?;
//! assert_eq!(version, env!("CARGO_PKG_VERSION").as_bytes());
//! # responder.shutdown(Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On the wire each is a Protocol Buffers message in a frame, in both directions:
//! `src/calls/calls.proto` is all that a client in another language needs.

mod caller;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod message;
mod responder;
#[cfg(test)]
mod simulation;

#[cfg(feature = "async")]
pub use caller::{AsyncCaller, AsyncReplies};
pub use caller::{Caller, CallerBuilder, CallerFigures, Replies};
pub use error::{CallError, Refusal, ReplyError};
pub use responder::{
    BoundResponder, Call, ConnectionInfo, OpenCall, Reply, Responder, ResponderBuilder,
    ResponderFigures, ResponderReport,
};
