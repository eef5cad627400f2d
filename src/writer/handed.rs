//! A buffer that was handed over to be sent, and its way back out of the queue.
//! Pure: no I/O, no threads, no clock.

use std::mem;
use std::ops::Deref;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};

/// A buffer that may have an owner of the user's. What that one does when the buffer is given up
/// may be to call the writer, so it must not happen where the queue gives it up, which is under the
/// lock.
#[derive(Debug)]
pub(super) struct Handed {
    bytes: Bytes,
    back: Sender<Bytes>,
}

/// Where buffers come out of which the queue has no more need.
#[derive(Debug)]
pub(super) struct Returns {
    sender: Sender<Bytes>,
    receiver: Receiver<Bytes>,
}

impl Returns {
    pub(super) fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver }
    }

    pub(super) fn hand(&self, bytes: Bytes) -> Handed {
        Handed {
            bytes,
            back: self.sender.clone(),
        }
    }

    /// Whoever takes from it drops what comes out, with no lock held.
    pub(super) fn receiver(&self) -> Receiver<Bytes> {
        self.receiver.clone()
    }
}

impl Deref for Handed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let _ = self.back.send(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
impl From<Bytes> for Handed {
    fn from(bytes: Bytes) -> Self {
        Returns::new().hand(bytes)
    }
}
