//! Memory of which the queue has no more need, on its way out of the lock.
//! Pure but for what a payload's owner does when it is dropped.

use bytes::Bytes;

use super::super::block::Block;
use crate::observer::guarded;

/// Payloads that were handed over and are done with. Each may have an owner of the user's, whose
/// drop may call the writer: so it must not happen under the lock.
#[derive(Debug, Default)]
pub(in super::super) struct Payloads(Vec<Bytes>);

impl Payloads {
    pub(super) fn add(&mut self, payload: Bytes) {
        self.0.push(payload);
    }

    /// Drops them, and keeps the memory of the list.
    pub(in super::super) fn drop_all(&mut self) {
        for payload in self.0.drain(..) {
            let _ = guarded(|| drop(payload));
        }
    }
}

/// All that the thread drops once it has left the lock.
#[derive(Debug, Default)]
pub(in super::super) struct Unused {
    pub(super) payloads: Payloads,
    #[expect(clippy::vec_box, reason = "blocks travel in their boxes")]
    pub(super) blocks: Vec<Box<Block>>,
    pub(super) lanes: Vec<Vec<u8>>,
}

impl Unused {
    pub(in super::super) fn drop_all(&mut self) {
        self.payloads.drop_all();
        self.blocks.clear();
        self.lanes.clear();
    }
}
