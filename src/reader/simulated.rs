//! A connection of the reader for the writer's simulation: the machines, without threads and
//! sockets.

use super::connection::decoder::{Decoder, Frame, Malformed};
pub(crate) use super::connection::receipts::CloseDecision as SimulatedFate;
use super::connection::receipts::{BatchEnd, Receipts};
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

    /// Ends the batch; says what is to become of the connection, whether it was `stored` or not.
    pub(crate) fn end_batch(&mut self, batch: SimulatedBatch, stored: bool) -> SimulatedFate {
        self.receipts.on_batch_end(BatchEnd {
            messages: batch.messages,
            last_failed: batch.last_failed(),
            is_stored: stored || batch.messages == 0,
            asks: batch.asks,
        });
        if batch.stop == Stop::TooLarge {
            self.receipts.refuse_next();
        }
        self.receipts.close_decision()
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
