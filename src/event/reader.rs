//! `ReaderEvent`, what happens on a reader's threads, and the causes in it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

#[cfg(all(unix, feature = "systemd"))]
use super::NotifyError;
#[cfg(feature = "serde")]
use super::form;
use super::{Chain, Severity};
use crate::address::Address;
use crate::metrics::Tally;
use crate::peer::Peer;
use crate::system_error::SystemError;

/// What a reader tells its observer: transitions only, never one a message.
///
/// The observer runs on one of the reader's threads, and may run on several at once. It holds up
/// only what that thread serves; calls of `shutdown` on the same reader are refused. Its panics are
/// caught and counted.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "event", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ReaderEvent {
    /// A peer connected and was let in.
    #[non_exhaustive]
    Opened {
        /// Who.
        peer: Peer,
    },
    /// A connection ended.
    #[non_exhaustive]
    Closed {
        /// Whose.
        peer: Peer,
        /// Why.
        cause: CloseCause,
    },
    /// A peer was refused before a byte of it was read.
    #[non_exhaustive]
    Refused {
        /// Who.
        peer: Peer,
        /// Why.
        cause: RefuseCause,
    },
    /// A writer's process had died, and what it had left in its queue was handled: told before that
    /// connection's [`Closed`](Self::Closed).
    #[non_exhaustive]
    Recovered {
        /// Whose it was.
        peer: Peer,
        /// What was handled.
        messages: Tally,
        /// Nothing else was there: no message above `max_message_len`, no nonsense, and the reader
        /// was not stopped meanwhile.
        is_whole: bool,
    },
    /// The handler returned an error. Told for the first one on a connection, and again after it
    /// went without for a second; all are counted.
    #[non_exhaustive]
    HandlerFailed {
        /// Whose message it was.
        peer: Peer,
        /// What the handler returned.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::chain"))]
        error: Arc<dyn Error + Send + Sync>,
    },
    /// The handler panicked. Told as sparingly as its errors.
    #[non_exhaustive]
    HandlerPanicked {
        /// Whose message it was.
        peer: Peer,
        /// What it panicked with, where that is text.
        message: String,
    },
    /// The system is short of something: no connection is accepted for a while. Those that are open
    /// go on.
    #[non_exhaustive]
    AcceptPaused {
        /// Where it listens.
        address: Address,
        /// The system's word, such as "too many open files".
        error: SystemError,
    },
    /// Connections are accepted again.
    #[non_exhaustive]
    AcceptResumed {
        /// Where it listens.
        address: Address,
    },
    /// A further thread was needed and could not be had.
    #[non_exhaustive]
    ThreadFailed {
        /// Where it listens.
        address: Address,
        /// The system's word.
        error: SystemError,
    },
    /// The socket's file is gone, another is in its place, or a directory above it was renamed: new
    /// writers do not find this reader any more. Noticed at once on Linux, and within five seconds
    /// elsewhere, and where the user has no `inotify(7)` instance left.
    #[non_exhaustive]
    Displaced {
        /// Where it was.
        address: Address,
    },
    /// systemd could not be told how the [service](crate::systemd::Service) is. Told once, and
    /// again after something could be told.
    #[cfg(all(unix, feature = "systemd"))]
    #[non_exhaustive]
    NotifyFailed {
        /// Where it listens.
        address: Address,
        /// Why.
        error: NotifyError,
    },
}

impl ReaderEvent {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Opened { .. } => Severity::Debug,
            Self::Closed { cause, .. } => cause.severity(),
            Self::AcceptResumed { .. } => Severity::Info,
            Self::Recovered { .. } => Severity::Warning,
            Self::Refused { .. } | Self::ThreadFailed { .. } => Severity::Warning,
            #[cfg(all(unix, feature = "systemd"))]
            Self::NotifyFailed { .. } => Severity::Warning,
            Self::HandlerFailed { .. }
            | Self::HandlerPanicked { .. }
            | Self::AcceptPaused { .. }
            | Self::Displaced { .. } => Severity::Error,
        }
    }
}

impl CloseCause {
    /// How much it matters that a connection ended so.
    fn severity(&self) -> Severity {
        match self {
            Self::EndOfStream | Self::Idle | Self::Stopped => Severity::Debug,
            Self::TooLarge { .. }
            | Self::InvalidPrefix
            | Self::Truncated
            | Self::TooSlow
            | Self::Failed(_) => Severity::Warning,
            Self::NoMemory | Self::NotStored => Severity::Error,
        }
    }
}

/// For a log: what happened and why, in one line.
impl fmt::Display for ReaderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { peer } => write!(f, "{peer} opened"),
            Self::Closed { peer, cause } => write!(f, "{peer} closed: {}", Chain(cause)),
            Self::Refused { peer, cause } => write!(f, "{peer} refused: {cause}"),
            Self::Recovered {
                peer,
                messages,
                is_whole,
            } => {
                let rest = if *is_whole {
                    ""
                } else {
                    "; not all could be handled"
                };
                write!(f, "{peer}: its process died, and left {messages}{rest}")
            }
            Self::HandlerFailed { peer, error } => {
                write!(f, "the handler failed on {peer}: {}", Chain(&**error))
            }
            Self::HandlerPanicked { peer, message } => {
                write!(f, "the handler panicked on {peer}: {message}")
            }
            Self::AcceptPaused { address, error } => {
                write!(f, "accepting at {address} pauses: {error}")
            }
            Self::AcceptResumed { address } => write!(f, "accepting at {address} goes on"),
            Self::ThreadFailed { address, error } => {
                write!(f, "no further thread could be had for {address}: {error}")
            }
            Self::Displaced { address } => {
                write!(
                    f,
                    "the socket {address} is gone or replaced: new writers do not find this reader"
                )
            }
            #[cfg(all(unix, feature = "systemd"))]
            Self::NotifyFailed { address, error } => {
                write!(
                    f,
                    "the service manager does not hear of {address}: {}",
                    Chain(error)
                )
            }
        }
    }
}

/// Why a reader's connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer closed it, between two frames.
    #[error("the peer closed the connection")]
    EndOfStream,
    /// Nothing came for the idle timeout.
    #[error("nothing came for the idle timeout")]
    Idle,
    /// The reader is stopping, and had read all there was.
    #[error("the reader is stopping")]
    Stopped,
    /// The peer announced a message above the limit.
    #[error(
        "the peer announced a message of {len} bytes, above the limit of {limit}: raise max_message_len if it is wanted"
    )]
    #[non_exhaustive]
    TooLarge {
        /// The length announced, in bytes.
        len: u64,
        /// The reader's `max_message_len`, in bytes.
        limit: u64,
    },
    /// The peer sent a length prefix that is no 64-bit varint: it speaks something else.
    #[error("the peer sent an invalid length prefix: it is not a stream of varint frames")]
    InvalidPrefix,
    /// The stream ended inside a frame. The half frame was discarded.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The rest of a frame did not come in time. The half frame was discarded.
    #[error("the rest of a frame did not come in time")]
    TooSlow,
    /// All the memory for half messages was taken, and this connection's had waited longest.
    #[error("the memory for half messages was exhausted, and this one was the slowest")]
    NoMemory,
    /// The handler failed, on a message or at the end of a batch, and the peer asks for receipts:
    /// it gets none for what was not stored, so that it can send that again, or knows that it is
    /// lost.
    #[error("the handler could not store what came, and the peer asks for receipts")]
    NotStored,
    /// Reading failed.
    #[error("reading failed")]
    Failed(#[source] SystemError),
}

/// Why a peer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum RefuseCause {
    /// The peer check said no, or panicked.
    #[error("the peer check refused it")]
    Check,
    /// Its user has as many connections as one user may have.
    #[error("its user has the {limit} connections that one user may have")]
    #[non_exhaustive]
    TooManyOfUser {
        /// The reader's `max_connections_per_user`.
        limit: usize,
    },
}
