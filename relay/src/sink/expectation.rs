//! What a message expects of a JetStream stream, and the wrong ways to expect it, which the tests
//! must catch. Pure: no I/O, no clock.

use crate::runs::{Behind, Piece};

/// What must hold for a message to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// The last message of its subject is at this sequence; 0: it has none.
    Sequence(u64),
    /// The last message of the stream is this one of its producer's.
    Message(u64),
    /// None.
    #[cfg(any(test, feature = "faults"))]
    Nothing,
    /// The last message of the stream is at this sequence.
    #[cfg(any(test, feature = "faults"))]
    StreamSequence(u64),
}

/// What the message at `index` of the piece expects.
pub(crate) fn of(piece: &Piece, index: usize) -> Expectation {
    let before = index
        .checked_sub(1)
        .and_then(|index| piece.messages.get(index));
    match (before, piece.behind) {
        (Some(before), _) => Expectation::Message(before.number),
        (None, Behind::Stored(position)) => Expectation::Sequence(position.sequence),
        (None, Behind::Sent(number)) => Expectation::Message(number),
    }
}

/// Whether the stream is asked to acknowledge the message at `index` of the piece. The last one's
/// acknowledgement says that all are stored: each is stored only behind the one before it. The
/// answer for the first one says why, where the stream takes nothing.
pub(crate) fn asks_for_ack(piece: &Piece, index: usize) -> bool {
    index == 0 || index + 1 == piece.messages.len()
}

/// A wrong way.
#[cfg(any(test, feature = "faults"))]
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Whatever is not acknowledged is sent again, and the window for duplicates is relied upon.
    /// Where each producer stands is what this relay has seen acknowledged.
    Naive(std::collections::HashMap<String, crate::runs::Position>),
    /// The stream's last sequence is asked for once, and foretold for all that is sent.
    Foretold(u64),
}

#[cfg(any(test, feature = "faults"))]
impl Wrong {
    pub(crate) fn from_environment() -> Option<Self> {
        match std::env::var("UDS_IPC_RELAY_WRONG").as_deref() {
            Ok("naive") => Some(Self::Naive(std::collections::HashMap::default())),
            Ok("foretold") => Some(Self::Foretold(0)),
            Ok(_) | Err(_) => None,
        }
    }

    pub(crate) fn expectation(&mut self) -> Expectation {
        match self {
            Self::Naive(_) => Expectation::Nothing,
            Self::Foretold(last) => {
                *last += 1;
                Expectation::StreamSequence(*last - 1)
            }
        }
    }

    /// What it takes for the answer of the stream, whose last message is at `last`.
    pub(crate) fn told(
        &mut self,
        name: &str,
        position: crate::runs::Position,
        last: u64,
    ) -> crate::runs::Position {
        match self {
            Self::Naive(seen) => seen.get(name).copied().unwrap_or_default(),
            Self::Foretold(sequence) => {
                *sequence = last;
                position
            }
        }
    }

    pub(crate) fn acknowledged(&mut self, name: &str, position: crate::runs::Position) {
        if let Self::Naive(seen) = self {
            seen.insert(name.to_owned(), position);
        }
    }

    /// Whether a duplicate counts as stored.
    pub(crate) fn trusts_the_window(&self) -> bool {
        matches!(self, Self::Naive(_))
    }
}
