//! `WriterEvent`, what happens on a writer's thread, and the causes in it.

use core::net::IpAddr;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use thiserror::Error;

#[cfg(all(unix, feature = "systemd"))]
use super::NotifyError;
#[cfg(feature = "serde")]
use super::form;
use super::{Chain, NextTry, Severity};
use crate::address::Address;
use crate::metrics::Tally;
use crate::peer::Identity;
use crate::system_error::SystemError;

/// What a writer tells its observer: transitions only, never one a message.
///
/// The observer runs on the writer's own thread. While it runs nothing is written; it may send with
/// `try_send`, and its calls of `flush` and `shutdown` on the same writer are refused. Its panics
/// are caught and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "event", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum WriterEvent {
    /// The writer tries to connect: at its start, and after a loss. The tries that follow are not
    /// told.
    #[non_exhaustive]
    Connecting {
        /// Where to.
        address: Address,
    },
    /// There is a connection.
    #[non_exhaustive]
    Connected {
        /// Where to.
        address: Address,
        /// Who listens there: over a Unix socket the reader's process when it began to listen.
        reader: Identity,
    },
    /// Connecting failed. Told once, and again when the cause changes.
    #[non_exhaustive]
    ConnectFailed {
        /// Where to.
        address: Address,
        /// Why.
        cause: ConnectError,
        /// How long until the next try; later ones wait longer. `None` where there is none.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::seconds_if_any"))]
        retry_in: Option<Duration>,
    },
    /// The connection is gone. What the kernel had not taken whole is kept, and sent on the next.
    #[non_exhaustive]
    Lost {
        /// Where it led.
        address: Address,
        /// How it ended.
        cause: LostCause,
        /// The reader had not read all that the kernel held for it: up to a socket buffer of
        /// messages that were counted as sent were not received. With `AtLeastOnce` they are sent
        /// again. Only Linux tells.
        unread: bool,
        /// How long until the next try. `None` where there is none: the stream was
        /// [given](crate::Writer::over), and the writer ends with it.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::seconds_if_any"))]
        retry_in: Option<Duration>,
    },
    /// A message was given up: the reader said in a receipt that it refuses it, or, with
    /// `AtMostOnce`, three connections in a row ended just behind its length.
    #[non_exhaustive]
    GivenUp {
        /// Where it was to go.
        address: Address,
        /// Its length, in bytes. A reader with a lower limit is the usual cause.
        len: u64,
    },
    /// The reader has given no receipt for the write timeout, or has closed its sending side and
    /// can give none. Messages are kept, and refused once the queue is full. Emitted with
    /// `AtLeastOnce` only: once for a connection, and again after an answer.
    #[non_exhaustive]
    NoReceipt {
        /// Where it leads.
        address: Address,
        /// How long it was waited for. A reader that knows no receipts is one cause, a handler
        /// that blocks is another.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::seconds"))]
        waited: Duration,
    },
    /// What is queued would be lost if this process died, though the writer is to be
    /// [`crash_proof`](crate::WriterBuilder::crash_proof). Told once, and again when the cause
    /// changes; all else is as it should be.
    #[non_exhaustive]
    NotCrashProof {
        /// Where it leads.
        address: Address,
        /// Why.
        cause: CrashProofError,
    },
    /// The process before this one had died, and what it had left in its queue is in this writer's:
    /// by [`descriptor_store`](crate::WriterBuilder::descriptor_store). Told once, at the start.
    #[non_exhaustive]
    Inherited {
        /// Where it leads.
        address: Address,
        /// What was accepted. What found no room is counted as any message that finds none.
        messages: Tally,
        /// How many messages were left out, with `AtMostOnce`: they may have been sent, or in
        /// part, and may be lost.
        skipped: u64,
        /// Whether all else was taken. Otherwise it could not be read, or was more than 4 GiB.
        is_whole: bool,
    },
    /// systemd does not keep the queue for the next process, though
    /// [`descriptor_store`](crate::WriterBuilder::descriptor_store) is set. Told once.
    #[cfg(all(unix, feature = "systemd"))]
    #[non_exhaustive]
    NotifyFailed {
        /// Where the writer leads.
        address: Address,
        /// Why.
        error: NotifyError,
    },
    /// The writer's thread ends. When its time was over that may be after
    /// [`shutdown`](crate::Writer::shutdown) has returned.
    #[non_exhaustive]
    Stopped {
        /// Where it wrote to.
        address: Address,
        /// What was left in the queue.
        left: Tally,
    },
}

impl WriterEvent {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            // The last is what becomes of an idle connection.
            Self::Connecting { .. }
            | Self::Connected { .. }
            | Self::Lost {
                cause: LostCause::Closed,
                unread: false,
                ..
            } => Severity::Debug,
            Self::Stopped { left, .. } if left.messages == 0 => Severity::Info,
            Self::ConnectFailed { .. }
            | Self::Lost { unread: false, .. }
            | Self::NoReceipt { .. }
            | Self::NotCrashProof { .. }
            | Self::Inherited { .. } => Severity::Warning,
            #[cfg(all(unix, feature = "systemd"))]
            Self::NotifyFailed { .. } => Severity::Warning,
            Self::Lost { unread: true, .. } | Self::GivenUp { .. } | Self::Stopped { .. } => {
                Severity::Error
            }
        }
    }
}

/// For a log: what happened and why, in one line.
impl fmt::Display for WriterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { address } => write!(f, "connecting to {address}"),
            Self::Connected { address, reader } => write!(f, "connected to {address} ({reader})"),
            Self::ConnectFailed {
                address,
                cause,
                retry_in,
            } => {
                write!(
                    f,
                    "no connection to {address}: {}; {}",
                    Chain(cause),
                    NextTry(*retry_in)
                )
            }
            Self::Lost {
                address,
                cause,
                unread,
                retry_in,
            } => {
                let unread = if *unread {
                    ", with messages unread"
                } else {
                    ""
                };
                write!(
                    f,
                    "lost the connection to {address}{unread}: {}; {}",
                    Chain(cause),
                    NextTry(*retry_in)
                )
            }
            Self::GivenUp { address, len } => {
                write!(
                    f,
                    "gave up a message of {len} bytes to {address}: the reader refuses it, most likely for its length"
                )
            }
            Self::NoReceipt { address, waited } => {
                write!(
                    f,
                    "no receipt from {address} for {waited:?}: its handler is slow, or it gives none; messages are kept"
                )
            }
            Self::NotCrashProof { address, cause } => {
                write!(
                    f,
                    "what is queued for {address} would be lost if this process died: {}",
                    Chain(cause)
                )
            }
            Self::Inherited {
                address,
                messages,
                skipped,
                is_whole,
            } => {
                write!(
                    f,
                    "the process before this one died, and left {messages} for {address}"
                )?;
                if *skipped > 0 {
                    write!(f, "; {skipped} more may have been sent, or are lost")?;
                }
                if !is_whole {
                    f.write_str("; the rest could not be read, and is lost")?;
                }
                Ok(())
            }
            #[cfg(all(unix, feature = "systemd"))]
            Self::NotifyFailed { address, error } => {
                write!(
                    f,
                    "the service manager does not keep what is queued for {address}: {}",
                    Chain(error)
                )
            }
            Self::Stopped { address, left } => {
                write!(
                    f,
                    "stopped writing to {address}, with {} messages left",
                    left.messages
                )
            }
        }
    }
}

/// Why a writer could not connect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ConnectError {
    /// The system's word, such as "connection refused" where no reader runs.
    #[error("{}", refusal(_0))]
    Io(#[source] SystemError),
    /// The reader did not accept within the connect timeout: its backlog is full.
    #[error("the reader does not accept: its backlog is full")]
    BacklogFull,
    /// Nobody answered within the connect timeout, over TCP.
    #[error("nobody answered within the connect timeout")]
    TimedOut,
    /// The name has no loopback address. Nothing was sent.
    #[error(
        "{found} is no loopback address, and TCP neither tells who is there nor encrypts: lead the stream through ssh, stunnel or WireGuard, or set allow_remote"
    )]
    #[non_exhaustive]
    NotLoopback {
        /// The first of them.
        found: IpAddr,
    },
    /// The stream that a connector gave has no way back for receipts, and the writer delivers
    /// `AtLeastOnce`. Nothing was sent.
    #[error("the stream has no way back for receipts: deliver AtMostOnce, or connect a socket")]
    OneWay,
    /// Who listens there is not the user of `expect_peer_uid`, or is not known. Nothing was sent.
    #[error("the reader is not of the expected uid {expected} ({found})")]
    #[non_exhaustive]
    WrongPeer {
        /// The uid that was asked for.
        expected: u32,
        /// Who listens there.
        found: Identity,
    },
}

/// Why what is queued does not outlive its process.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CrashProofError {
    /// The system has no memory that other processes can read and cannot write.
    #[error("this system has no memory that one process alone can write and others can read")]
    Unsupported,
    /// The limit of the size of files is below what the queue may hold: the system would end the
    /// process for it.
    #[error(
        "the queue is larger than the {limit} bytes that a file of this process may have: raise RLIMIT_FSIZE (LimitFSIZE=), or lower max_queued_bytes"
    )]
    #[non_exhaustive]
    FileSizeLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The system refused the memory, as where a filter of system calls forbids `memfd_create(2)`.
    #[error("the system refuses memory for it")]
    Io(#[source] SystemError),
    /// The connection is no Unix socket of Linux.
    #[error("only over a Unix socket of Linux memory can be passed")]
    OtherStream,
    /// The reader is in the same process, and dies with it.
    #[error("the reader is in this process, and dies with it")]
    OwnProcess,
    /// The kernel did not pass the memory to the reader, as when too many descriptors are on their
    /// way.
    #[error("the kernel did not pass the memory to the reader")]
    NotPassed,
    /// All of the memory is in use, and what comes meanwhile is not in it. It has room for twice
    /// what the queue may hold; but many threads that wait for room with long messages take some
    /// too, and there may be no more than a million parts, nor 16 GiB.
    #[error("the memory for it is full: messages that are queued now are not in it")]
    Exhausted,
}

/// What the system's word means for a connection that is to be made.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of most there is no more to say than the system does"
)]
fn refusal(error: &SystemError) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "there is no such socket, until a reader starts there",
        ErrorKind::ConnectionRefused => "nobody listens there, until a reader starts",
        ErrorKind::PermissionDenied => {
            "this user may not connect: the reader's socket_mode and group say who may, and the directories above"
        }
        _ => "the connection cannot be made",
    }
}

/// How a connection of a writer ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum LostCause {
    /// The reader closed it while nothing was being written.
    #[error("the reader closed the connection")]
    Closed,
    /// A write failed: usually "broken pipe", when the reader closed it meanwhile.
    #[error("writing failed")]
    Failed(#[source] SystemError),
    /// The reader took no byte for the write timeout.
    #[error("the reader took no byte for {0:?}")]
    WriteTimeout(#[cfg_attr(feature = "serde", serde(serialize_with = "form::seconds"))] Duration),
    /// The reader's receipt cannot be true: whatever is there is no reader of this kind.
    #[error("the reader's receipt cannot be true")]
    BadReceipt(#[source] BadReceipt),
}

/// What is wrong with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum BadReceipt {
    /// It covers more than was written on its connection.
    #[error("it covers {count} messages, and {written} were written")]
    #[non_exhaustive]
    TooHigh {
        /// How many messages it covers.
        count: u64,
        /// How many were written.
        written: u64,
    },
    /// It covers less than one before it.
    #[error("it covers {count} messages, and one before it {before}")]
    #[non_exhaustive]
    Fell {
        /// How many messages it covers.
        count: u64,
        /// How many the one before it covered.
        before: u64,
    },
    /// It says what the one before it said, once too often: no writer asks that often.
    #[error("it says the same as {repeats} before it, unasked")]
    #[non_exhaustive]
    Repeated {
        /// How many receipts said so since the last request.
        repeats: u32,
    },
    /// It is no 64-bit varint.
    #[error("it is no varint")]
    Invalid,
}
