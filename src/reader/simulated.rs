//! The reader's machines as the writer's simulation meets them: a connection of theirs, without
//! threads and sockets.

use super::decoder::{Decoder, Frame, Malformed};
pub(crate) use super::receipts::Fate as SimulatedFate;
use super::receipts::Receipts;
use crate::pool::Pool;

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
    /// It cannot go on: a message too long, or no frame at all.
    pub(crate) is_malformed: bool,
    /// The next message is too long, which the peer is told if it has ever asked.
    pub(crate) refuses_next: bool,
}

impl SimulatedConnection {
    pub(crate) fn new(max_message_len: usize) -> Self {
        Self {
            decoder: Decoder::new(max_message_len),
            receipts: Receipts::default(),
            pool: Pool::new(2, 4096),
        }
    }

    /// Decodes `bytes`, and gives each message to `handle`.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut handle: impl FnMut(&[u8]),
    ) -> SimulatedBatch {
        let mut batch = SimulatedBatch::default();
        loop {
            match self.decoder.next(&mut bytes, &self.pool) {
                Ok(Some(Frame::Message(message))) => {
                    batch.messages += 1;
                    handle(message);
                }
                Ok(Some(Frame::AckRequest)) => batch.asks = true,
                Ok(Some(Frame::Opening)) => {
                    self.receipts.on_opening();
                    batch.asks = true;
                }
                Ok(None) => break,
                Err(malformed) => {
                    batch.is_malformed = true;
                    batch.refuses_next = matches!(malformed, Malformed::TooLarge { .. });
                    break;
                }
            }
        }
        self.decoder.reclaim(&self.pool);
        batch
    }

    /// Ends the batch; says what is to become of the connection, whether it was `stored` or not.
    pub(crate) fn end_batch(&mut self, batch: SimulatedBatch, stored: bool) -> SimulatedFate {
        self.receipts
            .on_batch_end(batch.messages, stored || batch.messages == 0, batch.asks);
        if batch.refuses_next {
            self.receipts.refuse_next();
        }
        self.receipts.fate()
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
