//! What the connection has come to: how much of what was written on it the reader has read, and
//! dealt with. Pure: bytes come in. No I/O, no threads, no clock. A peer that says what cannot be
//! is found out here.

use super::outbox::Taken;
use crate::event::BadReceipt;
use crate::num::to_u64;
use crate::wire::receipt::ReceiptDecoder;

/// The books of one connection after the other.
#[derive(Debug, Default)]
pub(super) struct AckTracker {
    /// The number of the connection; 0 before the first.
    connection: u64,
    written: Place,
    /// How many of the bytes the peer has read, at least.
    read: u64,
    /// How many of the messages, at least: known when it has read all.
    read_messages: u64,
    /// How many of the messages the peer's handler has dealt with, as its receipts say.
    handled: u64,
    /// How many messages stood before the last question that the kernel took.
    asked_after: u64,
    /// No answer to it has come.
    is_owed: bool,
    /// The peer has closed its sending side: no receipt will come.
    is_deaf: bool,
    receipts: ReceiptDecoder,
    /// The reader has said that it refuses the message behind those.
    refuses_next: bool,
    before: Before,
    /// Connections that ended before the peer had read all that was written.
    lost_unread: u64,
    /// Connections that ended before a receipt covered all that was written.
    lost_unhandled: u64,
}

/// A place in what was written on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    messages: u64,
    bytes: u64,
}

/// What became of the connection before this one.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    connection: u64,
    read: u64,
    read_messages: u64,
    handled: u64,
}

/// A place on a certain connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    connection: u64,
    place: Place,
}

/// How far something that was written must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    Read,
    Handled,
}

/// Whether what stands before a mark has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Yes,
    /// So many messages may not have.
    NotYet(u64),
    /// Its connection ended before; nobody knows.
    Never,
}

impl AckTracker {
    pub(super) fn on_connected(&mut self) {
        let before = std::mem::take(self);
        *self = Self {
            connection: before.connection + 1,
            before: before.before,
            lost_unread: before.lost_unread,
            lost_unhandled: before.lost_unhandled,
            ..Self::default()
        };
    }

    /// The kernel took `len` bytes.
    pub(super) fn on_written(&mut self, len: usize, taken: &Taken) {
        if let Some(messages) = taken.asked_after {
            self.asked_after = self.written.messages + messages;
            self.is_owed = true;
        }
        self.written.messages += taken.whole.messages;
        self.written.bytes += to_u64(len);
    }

    /// The kernel holds at most that many bytes that the peer has not read. Says whether that is
    /// news.
    pub(super) fn on_unread(&mut self, len: u64) -> bool {
        let read = self.written.bytes.saturating_sub(len);
        let is_more = read > self.read;
        self.read = self.read.max(read);
        if self.read == self.written.bytes {
            self.read_messages = self.written.messages;
        }
        is_more
    }

    /// Whether messages were written that no receipt covers.
    pub(super) fn has_unhandled(&self) -> bool {
        self.handled < self.written.messages
    }

    /// Whether the reader has said that it refuses the message behind those that it has dealt with.
    pub(super) fn is_next_refused(&self) -> bool {
        self.refuses_next
    }

    /// No receipt will come any more.
    pub(super) fn on_deaf(&mut self) {
        self.is_deaf = true;
    }

    /// Whether a receipt is to come.
    pub(super) fn is_owed(&self) -> bool {
        self.is_owed && !self.is_deaf
    }

    /// The peer sent these bytes; says how many more messages they cover, up to the first that
    /// cannot be true.
    pub(super) fn on_receipts(&mut self, bytes: &[u8]) -> (u64, Result<(), BadReceipt>) {
        let before = self.handled;
        let believed = self.believe(bytes);
        (self.handled - before, believed)
    }

    fn believe(&mut self, mut bytes: &[u8]) -> Result<(), BadReceipt> {
        loop {
            let next = self.receipts.next(&mut bytes);
            let Some(receipt) = next.map_err(|_| BadReceipt::Invalid)? else {
                return Ok(());
            };
            let count = receipt.count;
            let (written, handled) = (self.written.messages, self.handled);
            if count > written {
                return Err(BadReceipt::TooHigh { count, written });
            }
            if count < handled {
                return Err(BadReceipt::Fell {
                    count,
                    before: handled,
                });
            }
            self.handled = count;
            self.refuses_next = receipt.refuses_next;
            self.is_owed &= count < self.asked_after;
        }
    }

    /// The connection is over. Whether the peer `has_read` everything that was written is known
    /// where it closed in order.
    pub(super) fn on_lost(&mut self, has_read: bool) {
        if has_read {
            self.on_unread(0);
        }
        self.lost_unread += u64::from(self.read_messages.max(self.handled) < self.written.messages);
        self.lost_unhandled += u64::from(self.has_unhandled());
        self.before = self.now();
        (self.is_owed, self.is_deaf) = (false, true);
    }

    /// How many connections ended too early for `beyond`.
    pub(super) fn lost(&self, beyond: Beyond) -> u64 {
        match beyond {
            Beyond::Read => self.lost_unread,
            Beyond::Handled => self.lost_unhandled,
        }
    }

    /// The place behind all that was written so far. What a lost connection left open is told by
    /// [`AckTracker::lost`].
    pub(super) fn mark(&self) -> Mark {
        let place = if self.is_over() {
            Place::default()
        } else {
            self.written
        };
        Mark {
            connection: self.connection,
            place,
        }
    }

    /// Whether the last question stands behind the mark, so that its answer covers all before it.
    pub(super) fn is_asked(&self, mark: Mark) -> bool {
        mark.connection == self.connection && self.asked_after >= mark.place.messages
    }

    pub(super) fn reached(&self, beyond: Beyond, mark: Mark) -> Reached {
        let Before {
            read,
            read_messages,
            handled,
            ..
        } = if mark.connection == self.connection {
            self.now()
        } else if mark.connection == self.before.connection {
            self.before
        } else {
            return Reached::Never;
        };
        let come = match beyond {
            Beyond::Read if read >= mark.place.bytes => mark.place.messages,
            // What was handled was read.
            Beyond::Read => read_messages.max(handled),
            Beyond::Handled => handled,
        };
        if come >= mark.place.messages {
            Reached::Yes
        } else if mark.connection == self.connection && !self.is_over() {
            Reached::NotYet(mark.place.messages - come)
        } else {
            Reached::Never
        }
    }

    fn now(&self) -> Before {
        let Self {
            connection,
            read,
            read_messages,
            handled,
            ..
        } = *self;
        Before {
            connection,
            read,
            read_messages,
            handled,
        }
    }

    fn is_over(&self) -> bool {
        self.before.connection == self.connection && self.connection > 0
    }
}
