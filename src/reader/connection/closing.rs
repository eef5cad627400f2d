//! Why a connection is to be closed, and how a turn at it ended.
//! Values, and what they come to.

use super::decoder::Position;
use crate::event::CloseCause;

/// Why a connection is being closed from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reader) enum Closing {
    /// Its time is over.
    Overdue,
    /// The reader stops.
    Stop,
    /// The memory it holds is needed.
    NoMemory,
    /// A batch of it was not stored.
    NotStored,
}

/// How a turn at a connection ended.
#[derive(Debug)]
pub(in crate::reader) enum TurnEnd {
    /// It has no more for now.
    Park,
    /// It has had its share, and there may be more.
    Again,
    /// There is no memory for more.
    OverBudget,
    Close(CloseCause),
    Refuse,
    /// The reader's time to stop was over in the middle of it.
    Cut,
}

/// Why a stream that has come to its end did so.
pub(in crate::reader) fn end_cause(closing: Option<Closing>, position: Position) -> CloseCause {
    match (closing, position) {
        (Some(Closing::Stop), _) => CloseCause::Stopped,
        (Some(Closing::NoMemory), _) => CloseCause::NoMemory,
        (Some(Closing::NotStored), _) => CloseCause::NotStored,
        (Some(Closing::Overdue), Position::BetweenFrames) => CloseCause::Idle,
        (Some(Closing::Overdue), Position::InPrefix | Position::InPayload { .. }) => {
            CloseCause::TooSlow
        }
        (None, Position::BetweenFrames) => CloseCause::EndOfStream,
        (None, Position::InPrefix | Position::InPayload { .. }) => CloseCause::Truncated,
    }
}
