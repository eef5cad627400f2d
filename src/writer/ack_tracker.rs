//! How much of what was written the reader has read, and acknowledged.
//! Pure: bytes come in. No I/O, no threads, no clock. It rejects receipts that cannot be
//! true.
//!
//! Places count from the writer's beginning, over all connections, so that one that was noted on an
//! earlier connection can be compared. When a connection ends, whatever was written on it is past:
//! the place of what is known moves behind it, and the loss is counted.

use crate::event::BadReceipt;
use crate::num::to_u64;
use crate::wire::receipt::{ReceiptDecoder, Word};
use crate::writer::queue::outbox::Taken;

/// How many receipts may say nothing new between two requests. A reader that answers each request
/// once never comes near.
const MOST_REPEATS: u32 = 1024;

#[derive(Debug, Default)]
pub(crate) struct AckTracker {
    written: Place,
    progress: Progress,
    /// How far it had come when the last connection was lost.
    before_loss: Progress,
    losses: Losses,
    connection: Connection,
}

/// What holds for one connection.
#[derive(Debug, Default)]
struct Connection {
    /// Messages that were written before it. Receipts count from here.
    start: u64,
    /// Messages that stood before the last request for a receipt.
    requested: u64,
    /// No answer to that has come.
    is_owed: bool,
    /// The peer has closed its sending side: no receipt will come.
    is_deaf: bool,
    receipts: ReceiptDecoder,
    /// Receipts that said nothing new since the last request.
    repeats: u32,
    /// What the reader has said beside the last count.
    word: Word,
    /// It has ever said that it stops.
    is_stopping: bool,
}

/// A place in what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    messages: u64,
    bytes: u64,
}

/// How far the peer has come, at least.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    read: Place,
    acked: u64,
}

/// How many connections ended before all that was written on them was known to be read, and to be
/// acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    read: u64,
    acked: u64,
}

/// How far something that was written must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckLevel {
    Read,
    Acked,
}

impl Progress {
    /// How many messages before `target` may not have come to `level`.
    fn left(self, level: AckLevel, target: Place) -> u64 {
        let come = match level {
            AckLevel::Read if self.read.bytes >= target.bytes => target.messages,
            // What was acknowledged was read.
            AckLevel::Read => self.read.messages.max(self.acked),
            AckLevel::Acked => self.acked,
        };
        target.messages.saturating_sub(come)
    }
}

impl AckTracker {
    pub(crate) fn on_connected(&mut self) {
        self.connection = Connection {
            start: self.written.messages,
            requested: self.written.messages,
            ..Connection::default()
        };
    }

    /// The kernel took `len` bytes.
    pub(crate) fn on_written(&mut self, len: usize, taken: &Taken) {
        if let Some(messages) = taken.requested_after {
            self.connection.requested = self.written.messages + messages;
            self.connection.is_owed = true;
            self.connection.repeats = 0;
        }
        self.written.messages += taken.whole.messages;
        self.written.bytes += to_u64(len);
    }

    /// The kernel holds at most that many bytes that the peer has not read. Says whether that is
    /// news.
    pub(crate) fn on_unread(&mut self, len: u64) -> bool {
        let read = &mut self.progress.read;
        let bytes = self.written.bytes.saturating_sub(len);
        let is_more = bytes > read.bytes;
        read.bytes = read.bytes.max(bytes);
        if read.bytes == self.written.bytes {
            read.messages = self.written.messages;
        }
        is_more
    }

    /// Whether messages were written that no receipt covers.
    pub(crate) fn has_unacked(&self) -> bool {
        self.progress.acked < self.written.messages
    }

    /// Whether the reader has said that it refuses the message behind those that it has
    /// acknowledged.
    pub(crate) fn is_next_refused(&self) -> bool {
        self.connection.word == Word::RefusesNext
    }

    /// Whether the reader has said that it is to close the connection.
    pub(crate) fn is_stopping(&self) -> bool {
        self.connection.is_stopping
    }

    /// No receipt will come any more.
    pub(crate) fn on_deaf(&mut self) {
        self.connection.is_deaf = true;
    }

    /// Whether a receipt is to come.
    pub(crate) fn is_owed(&self) -> bool {
        self.connection.is_owed && !self.connection.is_deaf
    }

    /// The peer sent these bytes; says how many more messages they cover, up to the first that
    /// cannot be true.
    pub(crate) fn on_receipts(&mut self, bytes: &[u8]) -> (u64, Result<(), BadReceipt>) {
        let before = self.progress.acked;
        let believed = self.believe(bytes);
        (self.progress.acked - before, believed)
    }

    fn believe(&mut self, mut bytes: &[u8]) -> Result<(), BadReceipt> {
        let connection = &mut self.connection;
        loop {
            let next = connection.receipts.next(&mut bytes);
            let Some(receipt) = next.map_err(|_| BadReceipt::Invalid)? else {
                return Ok(());
            };
            let count = receipt.count;
            let written = self.written.messages - connection.start;
            let before = self.progress.acked - connection.start;
            if count > written {
                return Err(BadReceipt::TooHigh { count, written });
            }
            if count < before {
                return Err(BadReceipt::Fell { count, before });
            }
            if count == before && receipt.word == connection.word {
                connection.repeats += 1;
                let repeats = connection.repeats;
                if repeats > MOST_REPEATS {
                    return Err(BadReceipt::Repeated { repeats });
                }
            } else {
                connection.repeats = 0;
            }
            self.progress.acked = connection.start + count;
            connection.word = receipt.word;
            connection.is_stopping |= receipt.word == Word::Stops;
            connection.is_owed &= self.progress.acked < connection.requested;
        }
    }

    /// The connection is over. Whether the peer `has_read` everything that was written is known
    /// where it closed in order.
    pub(crate) fn on_lost(&mut self, has_read: bool) {
        if has_read {
            self.on_unread(0);
        }
        self.before_loss = self.progress;
        self.losses.read += u64::from(self.progress.left(AckLevel::Read, self.written) > 0);
        self.losses.acked += u64::from(self.has_unacked());
        self.progress = Progress {
            read: self.written,
            acked: self.written.messages,
        };
        (self.connection.is_owed, self.connection.is_deaf) = (false, true);
    }

    /// The place behind all that was written so far.
    pub(crate) fn written(&self) -> Place {
        self.written
    }

    /// Whether the last request stands behind `place`, so that its answer covers all before it.
    pub(crate) fn is_requested(&self, place: Place) -> bool {
        self.connection.requested >= place.messages
    }

    /// How many messages before `place` may not have come to `level`. Those that went down with a
    /// connection are not waited for.
    pub(crate) fn left(&self, level: AckLevel, place: Place) -> u64 {
        self.progress.left(level, place)
    }

    /// How many connections ended too early for `level`.
    pub(crate) fn losses(&self, level: AckLevel) -> u64 {
        match level {
            AckLevel::Read => self.losses.read,
            AckLevel::Acked => self.losses.acked,
        }
    }

    /// Whether messages before `place`, which were written when `losses` had been counted, may have
    /// gone down with a connection since then.
    pub(crate) fn may_have_lost(&self, level: AckLevel, place: Place, losses: u64) -> bool {
        let more = self.losses(level) - losses;
        // Of the last loss is known what it left; of two at once it does not matter any more.
        more > 1 || more == 1 && self.before_loss.left(level, place) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    /// Messages of four bytes each were written.
    fn write(acks: &mut AckTracker, messages: usize) {
        let whole = Tally {
            messages: to_u64(messages),
            bytes: to_u64(messages * 4),
        };
        let taken = Taken {
            whole,
            ..Taken::default()
        };
        acks.on_written(messages * 5, &taken);
    }

    fn tracker(written: usize) -> AckTracker {
        let mut acks = AckTracker::default();
        acks.on_connected();
        write(&mut acks, written);
        acks
    }

    #[test]
    fn what_was_acknowledged_before_a_loss_is_not_lost_with_it() {
        let mut acks = tracker(3);
        let mine = acks.written();
        write(&mut acks, 2);
        assert_eq!(acks.on_receipts(&[4]), (4, Ok(())));
        acks.on_lost(false);
        assert_eq!(acks.losses(AckLevel::Acked), 1);
        assert!(!acks.may_have_lost(AckLevel::Acked, mine, 0));
        assert!(!acks.may_have_lost(AckLevel::Read, mine, 0));
        let all = acks.written();
        assert!(acks.may_have_lost(AckLevel::Acked, all, 0));
        assert!(
            !acks.may_have_lost(AckLevel::Acked, all, 1),
            "it was written later"
        );
        assert_eq!(acks.left(AckLevel::Acked, all), 0, "it is not waited for");
    }

    #[test]
    fn a_connection_of_which_all_was_read_is_no_loss_of_what_is_to_be_read() {
        let mut acks = tracker(3);
        acks.on_lost(true);
        let losses = [AckLevel::Read, AckLevel::Acked].map(|level| acks.losses(level));
        assert_eq!(losses, [0, 1]);
    }

    #[test]
    fn a_peer_that_says_the_same_for_ever_is_found_out() {
        let mut acks = tracker(3);
        let most = usize::try_from(MOST_REPEATS).unwrap();
        assert_eq!(acks.on_receipts(&vec![0; most]), (0, Ok(())));
        assert_eq!(acks.on_receipts(&[1]), (1, Ok(())), "news");
        assert_eq!(acks.on_receipts(&vec![1; most]), (0, Ok(())));
        let taken = Taken {
            requested_after: Some(0),
            ..Taken::default()
        };
        acks.on_written(1, &taken);
        assert_eq!(
            acks.on_receipts(&vec![1; most]),
            (0, Ok(())),
            "it was asked"
        );
        let repeats = MOST_REPEATS + 1;
        let repeated = Err(BadReceipt::Repeated { repeats });
        assert_eq!(acks.on_receipts(&[1]), (0, repeated));
    }

    #[test]
    fn receipts_count_from_the_beginning_of_their_connection() {
        let mut acks = tracker(3);
        acks.on_lost(false);
        acks.on_connected();
        write(&mut acks, 2);
        let (count, written) = (3, 2);
        assert_eq!(acks.on_receipts(&[1]), (1, Ok(())));
        let too_high = Err(BadReceipt::TooHigh { count, written });
        assert_eq!(acks.on_receipts(&[3]), (0, too_high));
        let fell = Err(BadReceipt::Fell {
            count: 0,
            before: 1,
        });
        assert_eq!(acks.on_receipts(&[0]), (0, fell));
        assert_eq!(acks.left(AckLevel::Acked, acks.written()), 1);
    }
}
