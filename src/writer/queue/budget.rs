//! The bounds of the queue, and what counts in them.
//! Pure: no I/O, no threads, no clock.

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::writer::settings::Limits;

/// What is in the queue, or may come without being asked for again.
#[derive(Debug)]
pub(crate) struct Room {
    limits: Limits,
    /// Accepted and not ended, wherever it is, but for what is in the lanes.
    pub(crate) held: Tally,
    /// Promised to write slots.
    pub(crate) reserved: Tally,
    /// Promised to threads, of which their lanes may have a part by now.
    pub(crate) leased: Tally,
}

impl Room {
    pub(crate) fn new(limits: Limits) -> Self {
        let nothing = Tally::default();
        Self {
            limits,
            held: nothing,
            reserved: nothing,
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
        let taken = held + self.reserved + self.leased;
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
        let taken = self.held + self.reserved + self.leased;
        Tally {
            messages: self.limits.messages.saturating_sub(taken.messages),
            bytes: self.limits.bytes.saturating_sub(taken.bytes),
        }
    }
}
