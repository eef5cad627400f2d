//! A connection of the reader for the writer's simulation: the machines, without threads and
//! sockets.

use super::connection::batch_end::BatchEnd;
use super::connection::decoder::{Decoder, Frame, Malformed};
pub(crate) use super::connection::receipts::CloseDecision as SimulatedFate;
use super::connection::receipts::Receipts;
use crate::buffer_pool::Pool;

/// One connection of a reader.
#[derive(Debug)]
pub(crate) struct SimulatedConnection {
    decoder: Decoder,
    receipts: Receipts,
    pool: Pool,
}

/// What a run of bytes brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SimulatedBatch {
    pub(crate) messages: u64,
    asks: bool,
    stop: Stop,
}

/// Why a run of bytes was not used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stop {
    /// It was.
    #[default]
    No,
    /// The handler failed on the last message, and that comes again.
    Failed,
    /// The next message is too long, which the peer is told if it has ever asked.
    TooLarge,
    InvalidPrefix,
}

impl SimulatedBatch {
    /// The handler failed on the last message, and that comes again.
    pub(crate) fn last_failed(&self) -> bool {
        self.stop == Stop::Failed
    }

    /// It cannot go on, because the next message is too long.
    pub(crate) fn is_too_large(&self) -> bool {
        self.stop == Stop::TooLarge
    }

    fn end(self) -> BatchEnd {
        BatchEnd {
            messages: self.messages,
            last_failed: self.last_failed(),
            is_stored: false,
            asks: self.asks,
        }
    }

    /// It cannot go on: a message too long, or no frame at all.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.stop, Stop::TooLarge | Stop::InvalidPrefix)
    }
}

impl SimulatedConnection {
    pub(crate) fn new(max_message_len: usize) -> Self {
        Self {
            decoder: Decoder::new(max_message_len),
            receipts: Receipts::default(),
            pool: Pool::new(2, 4096),
        }
    }

    /// Decodes `bytes`, and gives each message to `handle`, which says whether it was dealt with.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut handle: impl FnMut(&[u8]) -> bool,
    ) -> SimulatedBatch {
        let mut batch = SimulatedBatch::default();
        loop {
            match self.decoder.next(&mut bytes, &self.pool) {
                Ok(Some(Frame::Message(message))) => {
                    batch.messages += 1;
                    if !handle(message) && self.receipts.comes_again() {
                        batch.stop = Stop::Failed;
                        break;
                    }
                }
                Ok(Some(Frame::AckRequest)) => batch.asks = true,
                Ok(Some(Frame::Opening)) => {
                    self.receipts.on_opening();
                    batch.asks = true;
                }
                Ok(None) => break,
                Err(malformed) => {
                    batch.stop = match malformed {
                        Malformed::TooLarge { .. } => Stop::TooLarge,
                        Malformed::InvalidPrefix => Stop::InvalidPrefix,
                    };
                    break;
                }
            }
        }
        self.decoder.reclaim(&self.pool);
        batch
    }

    /// Ends a batch without a message: it may ask for a receipt.
    pub(crate) fn end_empty(&mut self, batch: SimulatedBatch) {
        self.receipts.on_batch_end(BatchEnd {
            is_stored: true,
            ..batch.end()
        });
    }

    /// Ends the batch; says what is to become of the connection, whether it was `stored` or not.
    pub(crate) fn end_batch(&mut self, batch: SimulatedBatch, stored: bool) -> SimulatedFate {
        self.receipts.on_batch_end(BatchEnd {
            is_stored: stored || batch.messages == 0,
            ..batch.end()
        });
        if batch.stop == Stop::TooLarge {
            self.receipts.refuse_next();
        }
        self.receipts.close_decision()
    }

    /// The batch goes to a receiver. Returns the number by which it is settled.
    pub(crate) fn hand_out(&mut self, batch: SimulatedBatch) -> u64 {
        self.receipts.hand_out(batch.end(), 0)
    }

    /// The receiver has confirmed a batch, or dropped it.
    pub(crate) fn settle(&mut self, batch: u64, stored: bool) {
        self.receipts.settle(batch, stored);
    }

    /// Whether more may be read, for all that is out.
    pub(crate) fn may_read(&mut self) -> bool {
        !self.receipts.wait_for_room()
    }

    /// How many messages were dealt with.
    pub(crate) fn handled(&self) -> u64 {
        self.receipts.handled()
    }

    /// What is to become of the connection.
    pub(crate) fn fate(&self) -> SimulatedFate {
        self.receipts.close_decision()
    }

    /// The next message is too long, and nothing is out any more.
    pub(crate) fn refuse_next(&mut self) {
        self.receipts.refuse_next();
    }

    /// The reader is to close the connection, and says so if it can.
    pub(crate) fn say_stop(&mut self) -> bool {
        self.receipts.say_stop()
    }

    /// Up to `most` bytes of the receipts that are due.
    pub(crate) fn answer(&mut self, most: usize) -> Vec<u8> {
        let mut answer = Vec::new();
        while answer.len() < most {
            let Some(due) = self.receipts.next() else {
                break;
            };
            let part = due.get(..most - answer.len()).unwrap_or(due);
            answer.extend_from_slice(part);
            let len = part.len();
            self.receipts.on_sent(len);
        }
        answer
    }
}
