//! What happens on the threads of a writer or reader, told to whoever asked to be told.
//! Values.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::address::Address;
use crate::metrics::Tally;
use crate::peer::{Credentials, Peer};

/// What a writer tells its observer: transitions only, never one a message.
///
/// The observer runs on the writer's own thread. While it runs nothing is written; it may send with `try_send`, and its calls
/// of `flush` and `shutdown` on the same writer are refused. Its panics are caught and counted.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriterEvent {
    /// The writer tries to connect: at its start, and after a loss. The tries that follow are not told.
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
        /// The reader's process when it began to listen.
        reader: Credentials,
    },
    /// Connecting failed. Told once, and again when the cause changes.
    #[non_exhaustive]
    ConnectFailed {
        /// Where to.
        address: Address,
        /// Why.
        cause: ConnectError,
        /// How long until the next try. Later ones wait longer.
        retry_in: Duration,
    },
    /// The connection is gone. What the kernel had not taken whole is kept, and sent on the next.
    #[non_exhaustive]
    Lost {
        /// Where it led.
        address: Address,
        /// How it ended.
        cause: LostCause,
        /// The reader had not read all that the kernel held for it: up to a socket buffer of messages that were counted as sent
        /// were not received. At least once they are sent again. Only Linux tells.
        unread: bool,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// A message was given up, because three connections in a row ended in the middle of it.
    #[non_exhaustive]
    GivenUp {
        /// Where it was to go.
        address: Address,
        /// Its length, in bytes. A reader with a lower limit is the usual cause.
        len: u64,
    },
    /// The reader gives no receipt, for the write timeout now. Messages are kept, and no more are taken once the queue is full. Told only at
    /// least once; once for a connection, and again after an answer.
    #[non_exhaustive]
    NoReceipt {
        /// Where it leads.
        address: Address,
        /// How long it was waited for. A reader that knows no receipts is one cause, a handler that blocks is another.
        waited: Duration,
    },
    /// The writer's thread ends.
    #[non_exhaustive]
    Stopped {
        /// Where it wrote to.
        address: Address,
        /// What was left in the queue.
        left: Tally,
    },
}

/// For a log: what happened and why, in one line.
impl fmt::Display for WriterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { address } => write!(f, "connecting to {address}"),
            Self::Connected { address, reader } => write!(f, "connected to {address} ({reader})"),
            Self::ConnectFailed { address, cause, retry_in } => {
                write!(f, "no connection to {address}: {}; next try {}", Chain(cause), Soon(*retry_in))
            }
            Self::Lost { address, cause, unread, retry_in } => {
                let unread = if *unread { ", with messages unread" } else { "" };
                write!(
                    f,
                    "lost the connection to {address}{unread}: {}; next try {}",
                    Chain(cause),
                    Soon(*retry_in)
                )
            }
            Self::GivenUp { address, len } => {
                write!(
                    f,
                    "gave up a message of {len} bytes to {address}: three connections ended in the middle of it"
                )
            }
            Self::NoReceipt { address, waited } => {
                write!(
                    f,
                    "no receipt from {address} for {waited:?}: its handler is slow, or it gives none; messages are kept"
                )
            }
            Self::Stopped { address, left } => {
                write!(f, "stopped writing to {address}, with {} messages left", left.messages)
            }
        }
    }
}

/// Why a writer could not connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The system's word, such as "connection refused" where no reader runs.
    #[error("the system refuses it")]
    Io(#[source] io::Error),
    /// The reader did not accept within the connect timeout: its backlog is full.
    #[error("the reader does not accept: its backlog is full")]
    BacklogFull,
    /// Somebody else listens there than `expect_peer_uid` asks for. Nothing was sent to it.
    #[error("the socket belongs to uid {found}, not to the expected uid {expected}")]
    WrongPeer {
        /// The uid that was asked for.
        expected: u32,
        /// The uid of the process that listens.
        found: u32,
    },
}

impl ConnectError {
    /// Whether `other` has the same cause, so that it need not be told again.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Io(one), Self::Io(other)) => {
                (one.kind(), one.raw_os_error()) == (other.kind(), other.raw_os_error())
            }
            (Self::BacklogFull, Self::BacklogFull) => true,
            (Self::WrongPeer { found: one, .. }, Self::WrongPeer { found: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// How a connection of a writer ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LostCause {
    /// The reader closed it while nothing was being written.
    #[error("the reader closed the connection")]
    Closed,
    /// A write failed: usually "broken pipe", when the reader closed it meanwhile.
    #[error("writing failed")]
    Failed(#[source] io::Error),
    /// The reader took no byte for the write timeout.
    #[error("the reader took no byte for {0:?}")]
    WriteTimeout(Duration),
    /// The reader's receipt cannot be true: whatever is there is no reader of this kind.
    #[error("the reader's receipt cannot be true")]
    BadReceipt(#[source] BadReceipt),
}

/// What is wrong with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
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
    /// It is no 64-bit varint.
    #[error("it is no varint")]
    Invalid,
}

/// What a reader tells its observer: transitions only, never one a message.
///
/// The observer runs on one of the reader's threads, and may run on several at once. It holds up only what that thread serves; calls of
/// `shutdown` on the same reader are refused. Its panics are caught and counted.
#[derive(Debug)]
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
    /// A peer was turned away before a byte of it was read.
    #[non_exhaustive]
    Refused {
        /// Who.
        peer: Peer,
        /// Why.
        cause: RefuseCause,
    },
    /// The handler returned an error. Told for the first one on a connection, and again after it went without for a
    /// second; all are counted.
    #[non_exhaustive]
    HandlerFailed {
        /// Whose message it was.
        peer: Peer,
        /// What the handler returned.
        error: Box<dyn Error + Send + Sync>,
    },
    /// The handler panicked. Told as sparingly as its errors.
    #[non_exhaustive]
    HandlerPanicked {
        /// Whose message it was.
        peer: Peer,
        /// What it panicked with, where that is text.
        message: String,
    },
    /// The system is short of something: no connection is accepted for a while. Those that are open go on.
    #[non_exhaustive]
    AcceptPaused {
        /// Where it listens.
        address: Address,
        /// The system's word, such as "too many open files".
        error: io::Error,
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
        error: io::Error,
    },
    /// The socket's file is gone or another is in its place: new writers do not find this reader any more.
    #[non_exhaustive]
    Displaced {
        /// Where it was.
        address: Address,
    },
}

/// For a log: what happened and why, in one line.
impl fmt::Display for ReaderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { peer } => write!(f, "{peer} opened"),
            Self::Closed { peer, cause } => write!(f, "{peer} closed: {}", Chain(cause)),
            Self::Refused { peer, cause } => write!(f, "{peer} refused: {cause}"),
            Self::HandlerFailed { peer, error } => {
                write!(f, "the handler failed on {peer}: {}", Chain(&**error))
            }
            Self::HandlerPanicked { peer, message } => write!(f, "the handler panicked on {peer}: {message}"),
            Self::AcceptPaused { address, error } => write!(f, "accepting at {address} pauses: {error}"),
            Self::AcceptResumed { address } => write!(f, "accepting at {address} goes on"),
            Self::ThreadFailed { address, error } => {
                write!(f, "no further thread could be had for {address}: {error}")
            }
            Self::Displaced { address } => {
                write!(f, "the socket {address} is gone or replaced: new writers do not find this reader")
            }
        }
    }
}

/// A wait, in words.
struct Soon(Duration);

impl fmt::Display for Soon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("at once") } else { write!(f, "in {} ms", self.0.as_millis()) }
    }
}

/// An error with all its causes.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Why a reader's connection ended.
#[derive(Debug, Error)]
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
    /// The end of a batch failed, and the peer asks for receipts: it gets none, so that it can send the batch again.
    #[error("the end of a batch failed, and the peer asks for receipts")]
    NotStored,
    /// Reading failed.
    #[error("reading failed")]
    Failed(#[source] io::Error),
}

/// Why a peer was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefuseCause {
    /// The peer check said no, or panicked.
    #[error("the peer check refused it")]
    Check,
    /// Its user has as many connections as one user may have.
    #[error("its user has the {limit} connections that one user may have")]
    TooManyOfUser {
        /// The reader's `max_connections_per_user`.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_a_line_of_a_log_with_its_causes() {
        let address = Address::new("/run/a.sock").unwrap();
        let cause = LostCause::Failed(io::Error::from(io::ErrorKind::BrokenPipe));
        let retry_in = Duration::from_millis(10);
        let lost = WriterEvent::Lost { address, cause, unread: true, retry_in };
        assert_eq!(
            lost.to_string(),
            "lost the connection to /run/a.sock, with messages unread: writing failed: broken pipe; next try in 10 ms"
        );
        let credentials = Credentials { uid: 7, gid: 8, pid: Some(9) };
        let peer = Peer { connection: 3, credentials };
        let closed = ReaderEvent::Closed { peer, cause: CloseCause::TooLarge { len: 11, limit: 10 } };
        assert_eq!(
            closed.to_string(),
            "connection 3 (uid 7, gid 8, pid 9) closed: the peer announced a message of 11 bytes, above the limit of 10: \
             raise max_message_len if it is wanted"
        );
    }
}
