//! Payloads, blocks and slots that the queue has done with: dropped after the lock is released.
//! Pure but for what a payload's owner does when it is dropped.

use bytes::Bytes;

use crate::panic_guard::guarded;
use crate::writer::queue::block::Block;
use crate::writer::slot::Slot;

/// Payloads that were handed over and are done with. Each may have an owner of the user's, whose
/// drop may call the writer: so it must not happen under the lock.
#[derive(Debug, Default)]
pub(crate) struct Payloads(Vec<Bytes>);

impl Payloads {
    pub(crate) fn add(&mut self, payload: Bytes) {
        self.0.push(payload);
    }

    pub(crate) fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Drops them, and keeps the memory of the list.
    pub(crate) fn drop_all(&mut self) {
        for payload in self.0.drain(..) {
            let _ = guarded(|| drop(payload));
        }
    }
}

/// All that the thread drops once it has left the lock.
#[derive(Debug, Default)]
pub(crate) struct Unused {
    pub(crate) payloads: Payloads,
    #[expect(clippy::vec_box, reason = "blocks travel in their boxes")]
    pub(crate) blocks: Vec<Box<Block>>,
    pub(crate) slots: Vec<Slot>,
}

impl Unused {
    pub(crate) fn drop_all(&mut self) {
        self.payloads.drop_all();
        self.blocks.clear();
        self.slots.clear();
    }
}
