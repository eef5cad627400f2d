//! What a message expects of a JetStream stream, and the wrong ways to expect it, which the tests
//! must catch. Pure: no I/O, no clock.

use super::{Outcome, Trouble};
use crate::runs::{Behind, Piece, Position};

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

/// Whether the stream is asked to acknowledge the message at `index` of the piece. That of the last
/// one says that all are stored: each is stored only behind the one before it. That of the first one
/// says why, where the stream takes nothing.
pub(crate) fn asks_for_ack(piece: &Piece, index: usize) -> bool {
    index == 0 || index + 1 == piece.messages.len()
}

/// What came of a piece, out of what the stream said of those of its messages that asked, in order:
/// the index of each, and where it is stored. `rest` is why no more was handed over.
pub(crate) fn outcome(
    answers: Vec<(usize, Result<Position, Trouble>)>,
    rest: Option<Trouble>,
) -> Outcome {
    let mut last: Option<(usize, Position)> = None;
    let mut missing = 0;
    let mut trouble = None;
    for (index, answer) in answers {
        match answer {
            Ok(position) => {
                // Nobody else's message comes between those of a piece. Servers from 2.10.19 to
                // 2.12.3 let one pass behind another that they refused for want of room.
                if let Some((before, its)) = last {
                    let stored = position.sequence.saturating_sub(its.sequence);
                    let stored = usize::try_from(stored).unwrap_or(usize::MAX);
                    missing += (index - before).saturating_sub(stored);
                } else if matches!(trouble, Some(Trouble::Refused(_))) {
                    missing += 1;
                }
                last = Some((index, position));
            }
            Err(why) => trouble = trouble.or(Some(why)),
        }
    }
    Outcome {
        stored: last.map(|(_, position)| position),
        missing,
        trouble: trouble.or(rest),
    }
}

/// A wrong way.
#[cfg(any(test, feature = "faults"))]
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Whatever is not acknowledged is sent again, and the window for duplicates is relied upon.
    /// Where each producer stands is what this relay has seen acknowledged.
    Naive(std::collections::HashMap<String, Position>),
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
    pub(crate) fn told(&mut self, name: &str, position: Position, last: u64) -> Position {
        match self {
            Self::Naive(seen) => seen.get(name).copied().unwrap_or_default(),
            Self::Foretold(sequence) => {
                *sequence = last;
                position
            }
        }
    }

    pub(crate) fn acknowledged(&mut self, name: &str, position: Position) {
        if let Self::Naive(seen) = self {
            seen.insert(name.to_owned(), position);
        }
    }

    /// Whether a duplicate counts as stored.
    pub(crate) fn trusts_the_window(&self) -> bool {
        matches!(self, Self::Naive(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Position {
        Position {
            number: 10 * sequence,
            sequence,
        }
    }

    fn refused() -> Trouble {
        Trouble::Refused("no room".to_owned())
    }

    fn moved() -> Trouble {
        Trouble::Moved("elsewhere".to_owned())
    }

    #[test]
    fn the_last_one_says_that_all_are_stored() {
        let outcome = outcome(vec![(0, Ok(at(7))), (3, Ok(at(10)))], None);
        assert_eq!(outcome.stored.unwrap().sequence, 10);
        assert!(outcome.missing == 0 && outcome.trouble.is_none());
    }

    #[test]
    fn what_was_not_stored_counts_from_the_first_trouble() {
        let outcome = outcome(vec![(0, Ok(at(7))), (3, Err(moved()))], Some(refused()));
        assert_eq!(outcome.stored.unwrap().sequence, 7);
        assert!(matches!(outcome.trouble, Some(Trouble::Moved(_))));
        assert_eq!(outcome.missing, 0);
    }

    /// An earlier run's bytes came late, and were stored just before.
    #[test]
    fn one_that_was_there_already_is_not_missing() {
        let outcome = outcome(vec![(0, Err(moved())), (1, Ok(at(8)))], None);
        assert_eq!(outcome.missing, 0);
    }

    #[test]
    fn a_stream_that_stores_what_follows_a_refused_message_is_found_out() {
        let in_the_middle = outcome(vec![(0, Ok(at(7))), (4, Ok(at(9)))], None);
        assert_eq!(in_the_middle.missing, 2);
        let at_the_beginning = outcome(vec![(0, Err(refused())), (4, Ok(at(9)))], None);
        assert_eq!(at_the_beginning.missing, 1);
    }
}
