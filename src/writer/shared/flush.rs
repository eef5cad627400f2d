//! One call of `flush`: whether all that was accepted before it has come as far as it asks.
//! Pure: looks at how far the queue and the acknowledgements have come. No I/O, no waiting, no
//! clock.

use std::mem;

use crate::writer::ack_tracker::{AckLevel, AckTracker, Place};
use crate::writer::queue::Watermarks;
use crate::writer::settings::{Delivery, FlushLevel};

/// What a [`flush`](crate::Writer::flush) found when its messages had come to the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushed {
    /// How many connections the writer has lost so far before it was known that all messages on
    /// them had come to the level. It only grows: a caller that compares it with that of an
    /// earlier call learns whether messages may have been lost in between. Always 0 at the
    /// level `Written` and with [`Delivery::AtLeastOnce`], where nothing is lost so.
    pub losses: u64,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Flush {
    level: FlushLevel,
    delivery: Delivery,
    /// All messages with lower numbers are meant.
    target: u64,
    /// Losses up to this number are those of earlier messages.
    losses: u64,
    /// Where they end in what was written, once they are.
    written: Option<Written>,
    /// A receipt must be requested.
    must_request: bool,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    place: Place,
    /// How many losses had been counted then.
    losses: u64,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reached,
    /// So many messages are missing.
    Left(u64),
    /// Nothing more can come, and a connection ended before it was known of all that was written on
    /// it.
    Lost,
}

impl Flush {
    /// A flush of the messages below `target`. It reports losses beyond the first `losses`.
    pub(crate) fn new(level: FlushLevel, delivery: Delivery, target: u64, losses: u64) -> Self {
        Self {
            level,
            delivery,
            target,
            losses,
            written: None,
            must_request: ack_level(level, delivery) == Some(AckLevel::Acked),
        }
    }

    /// Whether a receipt must be requested now, behind all that was accepted.
    pub(crate) fn take_request(&mut self) -> bool {
        mem::take(&mut self.must_request)
    }

    pub(crate) fn look(&mut self, watermarks: Watermarks, acks: &AckTracker) -> Verdict {
        let Some(level) = ack_level(self.level, self.delivery) else {
            let come = if self.level == FlushLevel::Written {
                watermarks.unwritten
            } else {
                watermarks.unsettled
            };
            return left_or_reached(self.target.saturating_sub(come));
        };
        let unwritten = self.target.saturating_sub(watermarks.unwritten);
        if self.written.is_none() && unwritten > 0 {
            return Verdict::Left(unwritten);
        }
        let written = *self.written.get_or_insert_with(|| {
            let place = acks.written();
            self.must_request |= level == AckLevel::Acked && !acks.is_requested(place);
            Written {
                place,
                losses: acks.losses(level),
            }
        });
        let is_lost = acks.may_have_lost(level, written.place, written.losses);
        if self.delivery == Delivery::AtLeastOnce && is_lost {
            // It goes out again, or has on a newer connection, of which no further notice may come.
            self.written = None;
            return match self.target.saturating_sub(watermarks.unsettled) {
                0 => Verdict::Reached,
                _ if unwritten == 0 => self.look(watermarks, acks),
                left => Verdict::Left(left),
            };
        }
        match acks.left(level, written.place) {
            0 if self.delivery == Delivery::AtLeastOnce => Verdict::Reached,
            0 if is_lost || written.losses > self.losses => Verdict::Lost,
            left => left_or_reached(left),
        }
    }
}

fn left_or_reached(left: u64) -> Verdict {
    if left == 0 {
        Verdict::Reached
    } else {
        Verdict::Left(left)
    }
}

/// What must be known of what was written. With receipts for all, the queue itself knows what was
/// handled.
pub(crate) fn ack_level(level: FlushLevel, delivery: Delivery) -> Option<AckLevel> {
    match (level, delivery) {
        (FlushLevel::Written, _) | (FlushLevel::Handled, Delivery::AtLeastOnce) => None,
        (FlushLevel::Read, _) => Some(AckLevel::Read),
        (FlushLevel::Handled, Delivery::AtMostOnce) => Some(AckLevel::Acked),
    }
}
