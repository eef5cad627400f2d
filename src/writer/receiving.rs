//! The other half of what the writer's thread does: it asks the reader, and takes what that tells,
//! by its receipts and by what it has read.

use std::io::IoSlice;

use super::block::EMPTY_FRAME;
use super::kernel::{Kernel, Socket};
use super::outbox::Taken;
use super::worker::{Worker, is_reset};
use crate::event::{BadReceipt, LostCause};
use crate::sys::{Received, Sent};
use crate::wire::frame::AT_LEAST_ONCE;

/// How much of the receipts is read at a time: they are a few bytes each.
const RECEIPTS_SIZE: usize = 256;

/// How often it is read at a time. A reader that answers without end must not keep the thread from
/// all else; an honest one never has so much to say.
const MOST_READS: usize = 64;

impl<K: Kernel> Worker<K> {
    /// Opens the connection: a reader that cannot store a batch must know by then whether it will
    /// come again. It is also the first question for a receipt.
    pub(super) fn announce(&mut self) {
        let now = self.kernel.now();
        self.state.on_kept_alive(now);
        // Nothing is written before it, so that what is missing of it follows from that.
        let opened = self.shared.inner.lock().ledger.written_len();
        let opened = usize::try_from(opened).unwrap_or(usize::MAX);
        let missing = AT_LEAST_ONCE.get(opened..).unwrap_or_default();
        match self.send(missing) {
            Some(Sent::Some(len)) if len < missing.len() => {
                self.state.on_opening_begun();
                let ledger = &mut self.shared.inner.lock().ledger;
                ledger.on_written(len, &Taken::default());
            }
            Some(Sent::Some(len)) => self.asked(len),
            Some(Sent::Blocked) => self.state.on_blocked(now),
            Some(Sent::NoMemory) => self.state.on_no_memory(now),
            None => {}
        }
    }

    pub(super) fn keep_alive(&mut self) {
        let now = self.kernel.now();
        self.state.on_kept_alive(now);
        // A full socket has no need of it.
        if let Some(Sent::Some(len)) = self.send(EMPTY_FRAME) {
            self.asked(len);
        }
    }

    /// Sends `bytes` by themselves, between two frames. `None` when the peer takes nothing any
    /// more.
    fn send(&mut self, bytes: &[u8]) -> Option<Sent> {
        match self.stream.as_ref()?.send(&[IoSlice::new(bytes)]) {
            Ok(sent) => Some(sent),
            Err(error) => {
                self.refused(error);
                None
            }
        }
    }

    /// An empty frame went out, the last `len` bytes of it now.
    fn asked(&mut self, len: usize) {
        self.state.on_asked(self.kernel.now());
        self.shared.inner.lock().ledger.on_asked(len);
    }

    /// Takes the receipts that are there.
    pub(super) fn receive(&mut self) {
        if let Err(bad) = self.take_receipts() {
            self.lost(LostCause::BadReceipt(bad));
        } else if self.refused.is_some() && !self.shared.inner.lock().ledger.is_owed() {
            // That was the last.
            if let Some(error) = self.refused.take() {
                self.lost(LostCause::Failed(error));
            }
        }
    }

    pub(super) fn take_receipts(&mut self) -> Result<(), BadReceipt> {
        let mut buffer = [0; RECEIPTS_SIZE];
        for _ in 0..MOST_READS {
            let Some(stream) = &self.stream else {
                return Ok(());
            };
            let received = stream.receive(&mut buffer);
            let mut inner = self.shared.inner.lock();
            match received {
                Ok(Received::Some(len)) => {
                    let (covered, believed) = inner
                        .ledger
                        .on_receipts(buffer.get(..len).unwrap_or_default());
                    let is_owed = inner.ledger.is_owed();
                    if inner.end().is_none() && covered > 0 {
                        inner.queue.confirm(covered);
                    }
                    self.shared.tell(&mut inner);
                    drop(inner);
                    self.state
                        .on_receipt(self.kernel.now(), covered > 0, is_owed);
                    believed?;
                    if len < RECEIPTS_SIZE {
                        return Ok(());
                    }
                }
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::End) => {
                    inner.ledger.on_deaf();
                    return Ok(());
                }
                Err(error) => {
                    inner.ledger.on_deaf();
                    self.was_reset |= is_reset(&error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Notes how far the peer has read, if somebody waits for that.
    pub(super) fn look_what_was_read(&mut self) {
        let Some(stream) = self.stream.as_ref().filter(|_| self.state.looks_at_reads()) else {
            return;
        };
        let unread = stream.unread();
        // In this order: a peer that has died has nothing left to read, and has not read it.
        self.was_reset |= stream.lost_unread();
        if unread.is_none_or(|unread| unread == 0) && !self.was_reset {
            self.state.on_taste_read(self.kernel.now());
        }
        if let (Some(unread), false) = (unread, self.was_reset) {
            let mut inner = self.shared.inner.lock();
            // Only news: whoever is told looks, and has the thread look again.
            if inner.ledger.on_unread(unread) {
                self.shared.tell(&mut inner);
            }
        }
    }
}
