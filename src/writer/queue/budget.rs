//! When the queue is full: its bounds, and what counts in them.
//! Pure: no I/O, no threads, no clock.

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::writer::settings::Limits;

/// The channel allocates all its places at once: a user's bounds beyond any memory must not.
const MOST_PLACES: u64 = 64 * 1024;

/// There is a place for each message of this size, from which on they have blocks of their own.
/// When blocks are sealed in between that are not full, the places may be taken before there is no
/// more room: then the oldest block goes to the outbox.
const PLACE_SIZE: u64 = 8 * 1024;

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What is in the queue, or may come without being asked for again.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    /// Accepted and not ended, wherever it is, but for what is in the lanes.
    pub(crate) held: Tally,
    /// Promised to threads, of which their lanes may have a part by now.
    pub(crate) leased: Tally,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        let nothing = Tally::default();
        Self {
            limits,
            held: nothing,
            leased: nothing,
        }
    }

    /// Whether there is room for a message.
    #[inline]
    pub(crate) fn fits(&self, len: usize) -> bool {
        self.fits_beside(self.held, len)
    }

    /// Whether there would be, if no more than `held` were held.
    #[inline]
    pub(crate) fn fits_beside(&self, held: Tally, len: usize) -> bool {
        let taken = held + self.leased;
        taken.messages < self.limits.messages
            && taken.bytes.saturating_add(to_u64(len)) <= self.limits.bytes
    }

    /// Whether `freed` is a good part of the whole.
    pub(crate) fn is_much(&self, freed: Tally) -> bool {
        freed.messages >= self.limits.messages / 2 || freed.bytes >= self.limits.bytes / 2
    }

    /// Whether half of it is free.
    pub(crate) fn is_half_free(&self) -> bool {
        let free = self.free();
        free.messages >= self.limits.messages / 2 && free.bytes >= self.limits.bytes / 2
    }

    /// What there is room for.
    pub(crate) fn free(&self) -> Tally {
        let taken = self.held + self.leased;
        Tally {
            messages: self.limits.messages.saturating_sub(taken.messages),
            bytes: self.limits.bytes.saturating_sub(taken.bytes),
        }
    }
}

/// How many sealed blocks there can be.
pub(crate) fn places(limits: Limits) -> usize {
    let by_bytes = limits.bytes / PLACE_SIZE + 8;
    usize::try_from(
        by_bytes
            .min(limits.messages.saturating_add(2))
            .min(MOST_PLACES),
    )
    .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::settings::Overflow;

    #[test]
    fn a_huge_capacity_allocates_no_places_for_it() {
        let limits = |messages, bytes| Limits {
            messages,
            bytes,
            overflow: Overflow::Refuse,
        };
        assert_eq!(places(limits(u64::MAX, u64::MAX)), 65_536);
        assert_eq!(places(limits(10_000, 64 << 20)), 8_200);
        assert_eq!(places(limits(1, 1)), 3);
    }
}
