//! Where messages go: what every engine offers to the relay.

pub(crate) mod expectation;
pub(crate) mod files;
pub(crate) mod jetstream;
pub(crate) mod redis;

use std::future::Future;

use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::runs::{Piece, Position};

/// An engine that keeps messages in order, for each producer.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Whether a further piece of a run may be sent before the engine has answered for the last.
    const MAY_EXTEND: bool;

    /// Makes sure that the engine is there and fit; makes the stream, where that is wanted. Called
    /// first, and every second or so.
    fn probe(&self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Asks where a producer stands. Number and sequence come out of one answer.
    fn ask(&self, name: &str) -> impl Future<Output = Result<Position, Trouble>> + Send;

    /// Sends a piece: returns when the next one may be sent behind it. An error: nothing of it was
    /// handed over. Each message may be stored only behind the one before it, the first one only as
    /// [`Piece::behind`] says.
    fn send(&self, piece: Piece) -> impl Future<Output = Result<Answer, Trouble>> + Send;

    /// The most bytes of a body that the engine takes.
    fn longest(&self) -> usize;

    /// What has a sequence below this was removed by the engine's limits, or its operator.
    fn first(&self) -> u64 {
        0
    }
}

/// What becomes of a piece, once that is known.
pub(crate) type Answer = BoxFuture<'static, Outcome>;

/// What became of a piece.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where those of its messages are that are known to be stored, in order; those before each are
    /// stored too.
    pub(crate) stored: Vec<Position>,
    /// Why the rest may not be.
    pub(crate) trouble: Option<Trouble>,
}

impl Outcome {
    /// Nothing is known of it.
    pub(crate) fn unknown(trouble: Trouble) -> Self {
        Self {
            stored: Vec::new(),
            trouble: Some(trouble),
        }
    }
}

/// Why something is not stored, or nobody knows.
#[derive(Clone, Debug, Error)]
pub(crate) enum Trouble {
    /// The engine is not there, or does not answer: it is asked again.
    #[error("{0}")]
    Unreachable(String),
    /// The producer stands elsewhere: stored by an earlier run, or somebody else's message came
    /// between.
    #[error("the stream stands elsewhere: {0}")]
    Moved(String),
    /// The engine is there, and takes no message now.
    #[error("refused: {0}")]
    Refused(String),
    /// The producer's place in the engine has what is none of the relay's: only its operator can
    /// help. Other producers go on.
    #[error("{0}")]
    Blocked(String),
    /// Message `number` is too long for the engine, for ever.
    #[error("message {number} is too long: {why}")]
    TooLong { number: u64, why: String },
}

impl Trouble {
    /// For the figures.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Moved(_) => "moved",
            Self::Refused(_) => "refused",
            Self::Blocked(_) => "blocked",
            Self::TooLong { .. } => "too_long",
        }
    }
}
