//! Reads the receipts of the reader and, for a flush, how far the reader has read.
//! A part of the worker.

use crate::event::{BadReceipt, LostCause};
use crate::sys::Received;
use crate::writer::thread::kernel::{Kernel, Socket};
use crate::writer::thread::worker::{Worker, is_reset};

/// How much of the receipts is read at a time: they are a few bytes each.
const RECEIPTS_SIZE: usize = 256;

/// How often it is read at a time. A reader that answers without end must not keep the thread from
/// all else; an honest one never has so much to say.
const MOST_READS: usize = 64;

impl<K: Kernel> Worker<K> {
    /// Takes the receipts that are there.
    pub(crate) fn receive(&mut self) {
        if let Err(bad) = self.take_receipts() {
            self.lost(LostCause::BadReceipt(bad));
        } else if self.has_peer_ended && self.ends_with_way_back() {
            self.on_peer_end();
        } else if self.write_error.is_some() && !self.shared.lock().acks.is_owed() {
            // That was the last.
            if let Some(error) = self.write_error.take() {
                self.lost(LostCause::Failed(error));
            }
        } else if self.shared.lock().acks.is_stopping() {
            self.on_peer_stops();
        }
    }

    pub(crate) fn take_receipts(&mut self) -> Result<(), BadReceipt> {
        let mut buffer = [0; RECEIPTS_SIZE];
        for _ in 0..MOST_READS {
            let Some(stream) = &self.stream else {
                return Ok(());
            };
            let received = stream.receive(&mut buffer);
            let mut locked = self.shared.lock();
            match received {
                Ok(Received::Some(len)) => {
                    let was_refused = locked.acks.is_next_refused();
                    let (covered, believed) = locked
                        .acks
                        .on_receipts(buffer.get(..len).unwrap_or_default());
                    let is_owed = locked.acks.is_owed();
                    // A message that is refused has ended too.
                    let is_news = covered > 0 || !was_refused && locked.acks.is_next_refused();
                    if locked.end().is_none() && covered > 0 {
                        locked.queue.confirm(covered);
                    }
                    self.shared.notify_all(&mut locked);
                    drop(locked);
                    self.state.on_receipt(self.kernel.now(), is_news, is_owed);
                    believed?;
                    // The end of the way back may stand behind it.
                    if len < RECEIPTS_SIZE && !self.ends_with_way_back() {
                        return Ok(());
                    }
                }
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::End) => {
                    locked.acks.on_deaf();
                    drop(locked);
                    self.state.on_deaf();
                    self.has_peer_ended = true;
                    return Ok(());
                }
                Err(error) => {
                    locked.acks.on_deaf();
                    drop(locked);
                    self.was_reset |= is_reset(&error);
                    self.has_peer_ended = true;
                    if self.ends_with_way_back() {
                        self.write_error.get_or_insert(error.into());
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Notes how far the peer has read, if a caller waits for that.
    pub(crate) fn look_what_was_read(&mut self) {
        let Some(stream) = self.stream.as_ref().filter(|_| self.state.watches_reads()) else {
            return;
        };
        let unread = stream.unread();
        // In this order: a peer that has died has nothing left to read, and has not read it.
        self.was_reset |= stream.lost_unread(self.has_ended());
        if let (Some(unread), false) = (unread, self.was_reset) {
            let mut locked = self.shared.lock();
            // Only on change: a notified caller looks, and has the thread look again.
            if locked.acks.on_unread(unread) {
                self.shared.notify_all(&mut locked);
            }
        }
    }
}
