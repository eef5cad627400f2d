//! Hands the outbox to a write, and notes what the kernel took, what a receipt confirmed, and what
//! a lost connection brings back.
//! Pure: no I/O, no waiting, no clock.

use std::mem;

use crate::metrics::Tally;
use crate::writer::queue::Queue;
use crate::writer::queue::block::Block;
use crate::writer::queue::outbox::{Ending, Outbox, Taken};
use crate::writer::queue::watermarks::{Watermarks, Writing};
use crate::writer::settings::Delivery;

/// How much one write takes along. More brings nothing.
pub(crate) const WRITE_SIZE: usize = 256 * 1024;

impl Queue {
    /// Moves the oldest block to the outbox: a sealed one, or else the open one.
    pub(crate) fn move_block(&mut self) -> bool {
        let mut block = match self.sealed.1.try_recv() {
            Ok(block) => block,
            Err(_) => match self.take_open() {
                Some(block) => self.spare.boxed(block),
                None => return false,
            },
        };
        if self.sealed.1.is_empty() {
            self.sealed_fill = 0;
        }
        self.waiting_from = block.end();
        if self.delivery == Delivery::AtLeastOnce {
            block.request_ack();
        }
        self.outbox.push(block);
        true
    }

    /// Requests a receipt for all that was accepted so far. A request that waits already is not put
    /// off: a caller that wants more asks again, once that is written.
    pub(crate) fn request_ack(&mut self) {
        self.ack_request.get_or_insert(self.next);
    }

    /// Hands the thread what to write next; [`Queue::end_write`] takes it back.
    pub(crate) fn begin_write(&mut self) -> Outbox {
        if self.outbox.remaining_len() < WRITE_SIZE {
            self.gather();
        }
        while self.outbox.remaining_len() < WRITE_SIZE && self.move_block() {}
        if self.ack_request.is_some_and(|end| end <= self.waiting_from) {
            self.ack_request = None;
            let mut request = Block::empty(self.waiting_from);
            request.request_ack();
            self.outbox.push(self.spare.boxed(request));
        }
        if self.outbox.must_open() {
            let mut opening = Block::empty(0);
            opening.open_connection();
            self.outbox.push_opening(self.spare.boxed(opening));
        }
        if self.arena.is_some() {
            self.outbox.number();
        }
        self.writing = Some(Writing {
            front: self.outbox.front(),
            unwritten: self.outbox.first_unwritten(),
            tally: self.outbox.tally(),
        });
        mem::take(&mut self.outbox)
    }

    /// Takes the outbox back, after the kernel took the next `len` bytes of it.
    pub(crate) fn end_write(&mut self, mut outbox: Outbox, len: usize) -> Taken {
        let taken = outbox.advance(len);
        // Whatever was evicted meanwhile came from blocks behind these.
        outbox.append(mem::take(&mut self.outbox));
        self.outbox = outbox;
        self.recycle_done();
        self.writing = None;
        self.freed_by_writes += taken.whole;
        self.counters.sent.add(taken.whole - taken.again);
        self.counters.resent.add(taken.again);
        match self.delivery {
            Delivery::AtMostOnce => {
                self.is_tight &= taken.whole.messages == 0;
                self.note_ended(taken.whole);
            }
            // For callers that wait for a level below the end.
            Delivery::AtLeastOnce => self.freed = true,
        }
        taken
    }

    /// A receipt covers the next `messages` of those that were written.
    pub(crate) fn confirm(&mut self, messages: u64) {
        if self.delivery == Delivery::AtLeastOnce {
            let confirmed = self.outbox.confirm(messages);
            self.recycle_done();
            self.counters.confirmed.add(confirmed);
            self.is_tight &= confirmed.messages == 0;
            self.note_ended(confirmed);
        }
    }

    /// The connection is over; returns a message that is given up because of it.
    pub(crate) fn rewind(&mut self, ending: Ending) -> Option<Tally> {
        let given_up = self.outbox.rewind(ending);
        self.recycle_done();
        let given_up = given_up?;
        self.counters.given_up.add(given_up);
        self.is_tight = false;
        self.note_ended(given_up);
        Some(given_up)
    }

    /// The number of the first message on the next connection.
    pub(crate) fn next_number(&self) -> u64 {
        self.outbox.next_number()
    }

    /// Whether the kernel has the length of a suspected message, and nothing more of it. Says how
    /// many probes came before.
    pub(crate) fn probe(&self) -> Option<u32> {
        self.outbox.probe()
    }

    /// The reader is another process, or was away.
    pub(crate) fn forget_suspect(&mut self) {
        self.outbox.forget_suspect();
    }

    /// How far the messages have come.
    pub(crate) fn watermarks(&self) -> Watermarks {
        let (front, unwritten) = self
            .writing
            .map_or((None, None), |writing| (writing.front, writing.unwritten));
        Watermarks {
            unsettled: front
                .or_else(|| self.outbox.front())
                .unwrap_or(self.waiting_from),
            unwritten: unwritten
                .or_else(|| self.outbox.first_unwritten())
                .unwrap_or(self.waiting_from),
        }
    }

    /// Whether the outbox is away, being written from.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }
}
