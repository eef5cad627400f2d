//! One call of `flush`: whether all that was accepted before it has come as far as it asks.
//! Pure: looks at how far the queue and the acks have come. No I/O, no waiting, no clock.

use std::mem;

use super::ack_tracker::{AckTracker, Beyond, Mark, Reached};
use super::outbox::Delivery;
use super::queue::Fronts;

/// How far messages must have come for a [`flush`](crate::Writer::flush) to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// The kernel has them. It says nothing of the reader. At least once it may become untrue
    /// again, since what is not confirmed is sent anew after a loss; so may `Read`.
    Written,
    /// The reader has taken them from the kernel. It works with any reader, on Linux only.
    Read,
    /// The reader's handler has dealt with them, as a receipt says. It needs a reader of this
    /// crate, whatever the [`Delivery`] of this writer.
    Handled,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Flush {
    level: Level,
    delivery: Delivery,
    /// All messages with lower numbers are meant.
    target: u64,
    /// The place behind them, once they are written.
    mark: Option<Mark>,
    /// How many lost connections earlier calls have told of.
    told: u64,
    /// A receipt must be asked for.
    must_ask: bool,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    /// So many messages are missing.
    Left(u64),
    /// A connection ended before that was known of what was written on it.
    Lost,
}

/// What calls of `flush` have told so far of lost connections, so that each loss is told, and none
/// twice to one caller after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    unread: u64,
    unhandled: u64,
}

impl Told {
    fn of(&mut self, beyond: Beyond) -> &mut u64 {
        match beyond {
            Beyond::Read => &mut self.unread,
            Beyond::Handled => &mut self.unhandled,
        }
    }
}

impl Flush {
    pub(super) fn new(level: Level, delivery: Delivery, target: u64, told: &mut Told) -> Self {
        let beyond = Self::beyond(level, delivery);
        let told = beyond.map_or(0, |beyond| *told.of(beyond));
        Self {
            level,
            delivery,
            target,
            mark: None,
            told,
            must_ask: beyond == Some(Beyond::Handled),
        }
    }

    /// What must be known of what was written. With receipts for all, the queue itself knows what
    /// was handled.
    fn beyond(level: Level, delivery: Delivery) -> Option<Beyond> {
        match (level, delivery) {
            (Level::Written, _) | (Level::Handled, Delivery::AtLeastOnce) => None,
            (Level::Read, _) => Some(Beyond::Read),
            (Level::Handled, Delivery::AtMostOnce) => Some(Beyond::Handled),
        }
    }

    /// Whether a receipt must be asked for now, behind all that was accepted.
    pub(super) fn take_question(&mut self) -> bool {
        mem::take(&mut self.must_ask)
    }

    pub(super) fn look(&mut self, fronts: Fronts, acks: &AckTracker, told: &mut Told) -> Verdict {
        let Some(beyond) = Self::beyond(self.level, self.delivery) else {
            let come = if self.level == Level::Written {
                fronts.unwritten
            } else {
                fronts.unsettled
            };
            let left = self.target.saturating_sub(come);
            return if left == 0 {
                Verdict::Reached
            } else {
                Verdict::Left(left)
            };
        };
        let unwritten = self.target.saturating_sub(fronts.unwritten);
        if self.mark.is_none() && unwritten > 0 {
            return Verdict::Left(unwritten);
        }
        if self.mark.is_none()
            && self.delivery == Delivery::AtMostOnce
            && acks.lost(beyond) > self.told
        {
            return Self::lost(beyond, acks, told);
        }
        let mark = *self.mark.get_or_insert_with(|| {
            let mark = acks.mark();
            self.must_ask |= beyond == Beyond::Handled && !acks.is_asked(mark);
            mark
        });
        match acks.reached(beyond, mark) {
            Reached::Yes => Verdict::Reached,
            Reached::NotYet(messages) => Verdict::Left(messages),
            // It goes out again.
            Reached::Never if self.delivery == Delivery::AtLeastOnce => {
                self.mark = None;
                match self.target.saturating_sub(fronts.unsettled) {
                    // Only what came behind does, and whoever waits would not be told again.
                    0 => Verdict::Reached,
                    // It has, on a newer connection, of which nobody may tell again either.
                    _ if unwritten == 0 => self.look(fronts, acks, told),
                    left => Verdict::Left(left),
                }
            }
            Reached::Never => Self::lost(beyond, acks, told),
        }
    }

    fn lost(beyond: Beyond, acks: &AckTracker, told: &mut Told) -> Verdict {
        *told.of(beyond) = acks.lost(beyond);
        Verdict::Lost
    }
}
