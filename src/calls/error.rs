//! What becomes of a call that gets no answer, and of an answer that is not sent.
//! Values.

use thiserror::Error;

use crate::system_error::SystemError;

/// Why a call got no answer, or no further one.
///
/// What matters next is whether the call may have been done:
/// [`may_have_been_done`](Self::may_have_been_done). Nothing is ever sent a second time by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The responder did not begin the call.
    #[error("the responder refused the call: {reason}")]
    #[non_exhaustive]
    Refused {
        /// Why, for the program.
        refusal: Refusal,
        /// Why, in the responder's words.
        reason: String,
    },
    /// The handler answered that the call failed.
    #[error("the call failed: {error}")]
    #[non_exhaustive]
    Failed {
        /// In the handler's words, without a limit to what they say.
        error: String,
    },
    /// The handler ended without an answer: it dropped the reply handle, or panicked.
    #[error("the handler ended without an answer")]
    Unanswered,
    /// The time was over. The responder was told that nobody waits any more.
    #[error("no answer came in time ({})", sent_or_not(*sent))]
    #[non_exhaustive]
    Timeout {
        /// Whether the call had gone out.
        sent: bool,
    },
    /// The connection was lost.
    #[error("the connection was lost ({})", sent_or_not(*sent))]
    #[non_exhaustive]
    Lost {
        /// Whether the call had gone out whole: then nobody knows whether it was done.
        sent: bool,
        /// Why. `None` where the responder ended it.
        source: Option<SystemError>,
    },
    /// There was no connection in all the time that the call had.
    #[error("cannot connect to the responder")]
    #[non_exhaustive]
    NotConnected {
        /// What the last try met.
        source: SystemError,
    },
    /// The call is longer than [`max_call_len`](super::CallerBuilder::max_call_len).
    #[error(
        "the call is {len} bytes long, above the limit of {limit}: raise max_call_len at both ends"
    )]
    #[non_exhaustive]
    TooLarge {
        /// Its length with all that is sent of it, in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// As many calls are open as may be.
    #[error("{limit} calls are open already: wait for some, or raise max_open_calls")]
    #[non_exhaustive]
    TooManyOpen {
        /// The limit.
        limit: usize,
    },
    /// The calls that are open, or the answers that nobody has taken, hold as many bytes as they
    /// may.
    #[error(
        "calls or answers hold {limit} bytes already: take answers sooner, or raise max_bytes_in_flight"
    )]
    #[non_exhaustive]
    TooManyBytes {
        /// The limit.
        limit: usize,
        /// Whether the call had gone out: it was an answer that found no room.
        sent: bool,
    },
    /// The call has several answers, and was made for one.
    #[error("the call has several answers: make it with call_many")]
    SeveralAnswers,
    /// It was made in a process that `fork` made, with the caller of its parent.
    #[error("this process was made by fork: make a caller after the fork")]
    InForkedChild,
}

impl CallError {
    /// Whether the handler may have been called: `false` says for certain that the call has done
    /// nothing. To make it again may help after [`NotConnected`](Self::NotConnected),
    /// [`Lost`](Self::Lost), [`Timeout`](Self::Timeout), and the refusals
    /// [`Stopping`](Refusal::Stopping) and [`Busy`](Refusal::Busy); after the others it would
    /// fail again. [`Failed`](Self::Failed) is the handler's answer: whether it had done
    /// something before, it says.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Unanswered | Self::SeveralAnswers => true,
            Self::Timeout { sent, .. }
            | Self::Lost { sent, .. }
            | Self::TooManyBytes { sent, .. } => *sent,
            Self::Refused { .. }
            | Self::NotConnected { .. }
            | Self::TooLarge { .. }
            | Self::TooManyOpen { .. }
            | Self::InForkedChild => false,
        }
    }
}

fn sent_or_not(sent: bool) -> &'static str {
    if sent {
        "unknown whether it was done"
    } else {
        "it was not sent"
    }
}

/// Why a responder did not begin a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It stops.
    Stopping,
    /// This peer may not call this method.
    NotAllowed,
    /// As many calls are open, or as many bytes in flight, as may be.
    Busy,
}

/// Why an answer was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Nobody waits for it any more: the caller's time was over, it gave up, or it has gone.
    #[error("nobody waits for the answer any more")]
    NotWanted,
    /// The answer is longer than [`max_reply_len`](super::ResponderBuilder::max_reply_len). The
    /// caller was told that the call failed.
    #[error(
        "the answer is {len} bytes long, above the limit of {limit}: raise max_reply_len at both ends, or send it in parts"
    )]
    #[non_exhaustive]
    TooLarge {
        /// Its length with all that is sent of it, in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer has not read what it asked for, in all the time that the setting
    /// [`write_timeout`](super::ResponderBuilder::write_timeout) gives it. Its connection was
    /// closed.
    #[error("the caller does not read its answers")]
    PeerDoesNotRead,
    /// It was given in a process that `fork` made, to a call that its parent got.
    #[error("this process was made by fork: the parent answers the call")]
    InForkedChild,
}
