//! Blocks and slots that are not in use, kept for the next that are needed.
//! Pure: no I/O, no threads, no clock.

use std::sync::Arc;

use crate::writer::arena::Arena;
use crate::writer::queue::block::{Block, Leftover};
use crate::writer::queue::deferred_drop::{Payloads, Unused};
use crate::writer::slot::Slot;

/// How many of each are kept while there is nothing to do.
const MOST_AT_REST: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// Where slots come from that outlive the process.
    arena: Option<Arc<Arena>>,
    /// Empty ones.
    #[expect(
        clippy::vec_box,
        reason = "blocks travel through the channel in their boxes"
    )]
    blocks: Vec<Box<Block>>,
    slots: Vec<Slot>,
}

impl Spare {
    pub(crate) fn new(arena: Option<Arc<Arena>>) -> Self {
        Self {
            arena,
            ..Self::default()
        }
    }

    /// Boxes `block`.
    pub(crate) fn boxed(&mut self, block: Block) -> Box<Block> {
        match self.blocks.pop() {
            Some(mut used) => {
                *used = block;
                used
            }
            None => Box::new(block),
        }
    }

    /// The slot that was used last, which is the likeliest to be in a cache.
    pub(crate) fn slot(&mut self) -> Slot {
        self.slots
            .pop()
            .unwrap_or_else(|| Slot::from(self.arena.as_ref()))
    }

    pub(crate) fn keep_slot(&mut self, slot: Option<Slot>) {
        let slot = slot.filter(|slot| slot.is_in(self.arena.as_ref()));
        self.slots.extend(slot);
    }

    /// From now on slots come from another arena.
    pub(crate) fn renew(&mut self, arena: Arc<Arena>) {
        self.slots.clear();
        self.arena = Some(arena);
    }

    /// Keeps what of a used block can be used again. At work there is never more than was in use at
    /// once.
    pub(crate) fn keep(&mut self, mut used: Box<Block>, payloads: &mut Payloads) {
        match used.take_leftover() {
            Leftover::Payload(payload) => payloads.add(payload),
            Leftover::Slot(slot) => self.keep_slot(slot),
            // The next long message has its slots from the arena, without the lock: those that were
            // kept here would be missing there.
            Leftover::Slots(pieces) => drop(pieces),
        }
        self.blocks.push(used);
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Moves up to `most` of each to `unused` that are not worth keeping while there is nothing to
    /// do.
    pub(crate) fn take_surplus(&mut self, most: usize, unused: &mut Unused) {
        let kept = |len: usize| len - len.saturating_sub(MOST_AT_REST).min(most);
        let (blocks, slots) = (kept(self.blocks.len()), kept(self.slots.len()));
        unused.blocks.extend(self.blocks.drain(blocks..));
        unused.slots.extend(self.slots.drain(slots..));
    }
}
