//! What can go wrong in a call of the user's: one type a moment.
//! Values. What goes wrong later, on a thread, is an event.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

#[cfg(feature = "systemd")]
use crate::activation::ActivationError;
use crate::address::{Address, AddressError};
use crate::descriptor_kind::DescriptorKind;

/// A setting that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting} is {value}: it must be {bound}")]
#[non_exhaustive]
pub struct SettingError {
    /// The setter's name.
    pub setting: &'static str,
    /// What it was given.
    pub value: String,
    /// What it may be.
    pub bound: &'static str,
}

impl SettingError {
    /// Makes the error unless `value` `is_good`.
    pub(crate) fn check(
        setting: &'static str,
        value: impl fmt::Debug,
        is_good: bool,
        bound: &'static str,
    ) -> Result<(), Self> {
        if is_good {
            Ok(())
        } else {
            Err(Self {
                setting,
                value: format!("{value:?}"),
                bound,
            })
        }
    }

    /// Makes the error unless a thread can have this name.
    pub(crate) fn check_thread_name(name: &str) -> Result<(), Self> {
        Self::check(
            "thread_name",
            name,
            !name.contains('\0'),
            "without NUL bytes",
        )
    }
}

/// Why a writer or reader could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no such address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The system refused a thread, or the descriptors to wait with.
    #[error("cannot start the thread for {address}")]
    #[non_exhaustive]
    System {
        /// Where the writer or reader was to be.
        address: Address,
        /// The system's word.
        source: io::Error,
    },
}

/// Why a message was not accepted. An owned message is in it, as good as new; `M` is `()` for a
/// borrowed one.
///
/// ```
/// use uds_ipc::{SendError, Writer};
///
/// let writer = Writer::builder("/tmp/nobody-is-there.sock").queue_capacity(1).start()?;
/// writer.try_send("the first waits for a connection")?;
/// let error = writer.try_send(String::from("the second")).unwrap_err();
/// assert!(matches!(error, SendError::Full(_)));
/// assert_eq!(error.into_message(), "the second");
/// # writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// There is no room in the queue (`send_timeout`: nor was there any in time).
    #[error(
        "the queue is full: send later, wait with send_timeout, or raise queue_capacity or queue_size"
    )]
    Full(M),
    /// The message is longer than the writer sends.
    #[error(
        "the message is {len} bytes long, above the limit of {limit}: split it, or raise max_message_len and queue_size"
    )]
    #[non_exhaustive]
    TooLarge {
        /// The message.
        message: M,
        /// Its length, in bytes.
        len: usize,
        /// The most there can be, in bytes: the lower of `max_message_len` and `queue_size`.
        limit: usize,
    },
    /// The message is empty. On the wire a length of zero is no message.
    #[error("the message is empty: send at least one byte")]
    Empty(M),
    /// The writer was shut down.
    #[error("the writer was shut down: it takes no more messages")]
    Closed(M),
}

impl<M> SendError<M> {
    /// What was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message)
            | Self::TooLarge { message, .. }
            | Self::Empty(message)
            | Self::Closed(message) => message,
        }
    }

    /// Whether there was no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the writer was shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    pub(crate) fn without_message(self) -> SendError<()> {
        match self {
            Self::Full(_) => SendError::Full(()),
            Self::TooLarge { len, limit, .. } => SendError::TooLarge {
                message: (),
                len,
                limit,
            },
            Self::Empty(_) => SendError::Empty(()),
            Self::Closed(_) => SendError::Closed(()),
        }
    }
}

/// Why a message was not sent that an encoder was to write: see
/// [`try_send_with`](crate::Writer::try_send_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError<E> {
    /// The encoder failed. Nothing was sent.
    #[error("the message could not be encoded")]
    Encoder(#[source] E),
    /// The message was refused.
    #[error(transparent)]
    Send(SendError<()>),
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::TooLarge { len, limit, .. } => f
                .debug_struct("TooLarge")
                .field("len", len)
                .field("limit", limit)
                .finish_non_exhaustive(),
            Self::Empty(_) => f.write_str("Empty(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

/// Why a flush did not reach its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The time was over first. That loses nothing.
    #[error("the time was over, and {left} messages were not there yet")]
    #[non_exhaustive]
    Timeout {
        /// How many of the messages that this flush waited for are missing: unwritten ones while
        /// there are any, else those that are not known to have come to the level.
        left: u64,
    },
    /// The writer ended first, and left messages behind.
    #[error("the writer ended with {left} of these messages left")]
    #[non_exhaustive]
    Stopped {
        /// How many of the messages that this flush waited for were left.
        left: u64,
    },
    /// A connection ended during the call, before it was known that all messages on it had come to
    /// the level: some may be lost. All that can still come has. Never with `AtLeastOnce`, which
    /// sends them again.
    #[error(
        "a connection was lost before the reader had all messages on it, as far as is known: deliver AtLeastOnce where none may be lost"
    )]
    #[non_exhaustive]
    Lost {
        /// How many connections the writer has lost so, in all: see
        /// [`Flushed::losses`](crate::Flushed::losses).
        losses: u64,
    },
    /// This system does not tell what the reader has read: only Linux does.
    #[error("this system does not tell what a reader has read: ask for Written or Handled")]
    Unsupported,
    /// It was called from inside the writer's own observer, for which it would have to wait.
    #[error("flush was called from inside this writer's own observer: call it from another thread")]
    InCallback,
}

/// Why a shutdown was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// It was called from inside a callback of the same object, for whose end it would have to
    /// wait.
    #[error(
        "shutdown was called from inside a callback of the same object: call it from another thread"
    )]
    InCallback,
    /// It was called in a process made by `fork`, which has the object but not its threads.
    #[error(
        "shutdown was called in a forked child, which has no thread to shut down: start after the fork"
    )]
    InForkedChild,
}

/// Why there is no socket to listen on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is no such address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Somebody accepts there already.
    #[error("the address {address} is in use: stop the other reader or choose another address")]
    #[non_exhaustive]
    InUse {
        /// Where.
        address: Address,
    },
    /// The sockets that systemd passed to this process are not as they must be.
    #[cfg(feature = "systemd")]
    #[error("cannot take over a socket")]
    Activation(#[from] ActivationError),
    /// What was given to [`listen_on`](crate::ReaderBuilder::listen_on) is no Unix stream socket
    /// that listens.
    #[error("what was given to listen on is {kind}: it must be a Unix stream socket that listens")]
    #[non_exhaustive]
    NotListening {
        /// What it is.
        kind: DescriptorKind,
    },
    /// What lies at the path is no stream socket. It was left as it is.
    #[error("{address} is {kind}, not a stream socket: remove it or choose another path")]
    #[non_exhaustive]
    NotASocket {
        /// Where.
        address: Address,
        /// What it is, in words.
        kind: &'static str,
    },
    /// Others could replace a socket in this directory: all may write to it and it has no sticky
    /// bit, or (when it was to be made) it is another user's.
    #[error("others can replace a socket in {}: take their right to write away, or choose another directory", directory.display())]
    #[non_exhaustive]
    UnsafeDirectory {
        /// Which directory.
        directory: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    #[non_exhaustive]
    Io {
        /// What was being done, in words.
        doing: &'static str,
        /// What to.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl BindError {
    /// What the system refused while `doing` something to what is at `path`.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}
