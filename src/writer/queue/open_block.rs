//! The block that messages are added to one by one, under the lock: the last part of a slot.
//! Pure: no I/O, no threads, no clock.

use crate::metrics::Tally;
use crate::wire::frame::MAX_PREFIX_LEN;
use crate::writer::slot::{Filler, Frames, Slot};

/// Messages that stand behind all that is sealed.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    filler: Filler,
    /// Where the first of them begins.
    from: usize,
    tally: Tally,
}

impl OpenBlock {
    pub(crate) fn new() -> Self {
        Self {
            filler: Filler::NONE,
            from: 0,
            tally: Tally::default(),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tally.messages == 0
    }

    pub(crate) fn frames_len(&self) -> usize {
        self.filler.at() - self.from
    }

    /// Whether the slot has room for a message of `len` bytes.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        MAX_PREFIX_LEN + len <= self.filler.room()
    }

    /// Adds a copy of `message`, for which there must be room.
    #[inline]
    pub(crate) fn push(&mut self, message: &[u8]) {
        let is_pushed = self.filler.push(message);
        debug_assert!(is_pushed, "there is no room");
        self.tally += Tally::one(message.len());
    }

    /// Takes the messages out.
    pub(crate) fn take(&mut self) -> (Frames, Tally) {
        let frames = self.filler.written(self.from);
        self.from = self.filler.at();
        (frames, std::mem::take(&mut self.tally))
    }

    /// Begins anew at the start of the slot, if nothing is left in it.
    pub(crate) fn restart(&mut self) -> bool {
        let restarts = self.is_empty() && self.filler.restart();
        if restarts {
            self.from = 0;
        }
        restarts
    }

    /// Leaves its slot, once it is empty.
    pub(crate) fn leave(&mut self) {
        debug_assert!(self.is_empty(), "there are messages in it");
        *self = Self::new();
    }

    /// Goes on in another slot, once it is empty. Returns the one it had, if nothing is left in
    /// that.
    pub(crate) fn replace(&mut self, slot: Slot) -> Option<Slot> {
        debug_assert!(self.is_empty(), "there are messages in it");
        let before = std::mem::replace(&mut self.filler, Filler::open(slot));
        self.from = 0;
        before.into_slot()
    }
}
