//! Why the reader closes a connection, and how a turn at one ended.
//! Pure: values, and the cause that is told of them.

use super::decoder::Position;
use crate::event::CloseCause;

/// Why the reader closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reader) enum Closing {
    /// It was silent, or its frame came, for too long.
    Overdue,
    /// The reader stops.
    Stop,
    /// The memory of its half message is needed.
    NoMemory,
    /// The handler could not store what came on it.
    NotStored,
}

/// How a turn at a connection ended.
#[derive(Debug)]
pub(in crate::reader) enum TurnEnd {
    /// All that was there is handled: the connection waits for more.
    Park,
    /// The connection has had its share, and there may be more.
    Again,
    /// Half messages hold all the memory that they may: the connection waits for some of it.
    OverBudget,
    /// Batches of the connection are out: it waits until enough of them are settled.
    Wait,
    /// It is to end, and waits until all of them are settled.
    Ending,
    /// Batches hold all the memory that they may: it waits until some are settled.
    AllOut,
    Close(CloseCause),
    /// The peer was turned away.
    Refuse,
    /// The time to stop was over in the middle of the turn.
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
