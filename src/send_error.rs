//! Why a message was not taken.
//! Values; those of the other calls are in `error`.

use std::fmt;

use thiserror::Error;

#[cfg(feature = "async")]
use crate::error::FlushError;

/// Why a message was not accepted. An owned message is in it, as good as new; `M` is `()` for a
/// borrowed one.
///
/// ```
/// use uds_ipc::{SendError, Writer};
///
/// let writer = Writer::builder("/tmp/nobody-is-there.sock").max_queued_messages(1).start()?;
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
        "the queue is full: send later, wait with send_timeout, or raise max_queued_messages or max_queued_bytes"
    )]
    Full(M),
    /// The message is longer than the writer sends.
    #[error(
        "the message is {len} bytes long, above the limit of {limit}: split it, or raise max_message_len and max_queued_bytes"
    )]
    #[non_exhaustive]
    TooLarge {
        /// The message.
        message: M,
        /// Its length, in bytes.
        len: usize,
        /// The most there can be, in bytes: the lower of `max_message_len` and `max_queued_bytes`.
        limit: usize,
    },
    /// The message is empty. On the wire a length of zero is no message.
    #[error("the message is empty: send at least one byte")]
    Empty(M),
    /// The writer has ended.
    #[error("the writer was shut down, or its only stream has ended: it takes no more messages")]
    Closed(M),
    /// This process was made by `fork`, and has the writer but not its thread. Nothing is counted.
    #[error(
        "this process was made by fork, and the writer's thread is not in it: start a writer after the fork"
    )]
    InForkedChild(M),
}

impl<M> SendError<M> {
    /// What was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message)
            | Self::TooLarge { message, .. }
            | Self::Empty(message)
            | Self::Closed(message)
            | Self::InForkedChild(message) => message,
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

    /// The same with another form of the message.
    pub(crate) fn map<N>(self, form: impl FnOnce(M) -> N) -> SendError<N> {
        match self {
            Self::Full(message) => SendError::Full(form(message)),
            Self::TooLarge {
                message,
                len,
                limit,
            } => SendError::TooLarge {
                message: form(message),
                len,
                limit,
            },
            Self::Empty(message) => SendError::Empty(form(message)),
            Self::Closed(message) => SendError::Closed(form(message)),
            Self::InForkedChild(message) => SendError::InForkedChild(form(message)),
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

/// Why a [`MessageSink`](crate::MessageSink) failed. It can be used again.
#[cfg(feature = "async")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SinkError<M> {
    /// A message was not accepted; never for lack of room, but for a handle of
    /// [`shed_at`](crate::Writer::shed_at).
    #[error(transparent)]
    Send(SendError<M>),
    /// The flush, or the close, did not reach its end. The messages are the writer's all the same.
    #[error(transparent)]
    Flush(#[from] FlushError),
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
            Self::InForkedChild(_) => f.write_str("InForkedChild(..)"),
        }
    }
}
