//! The batches of a connection that are out: a receiver has them, and has neither confirmed nor
//! dropped them. They are settled in any order, and counted in that in which they came.
//! Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::mem;

use super::batch_end::BatchEnd;
use crate::num::to_u64;

/// How many batches of a connection may be out before it is read on.
const MOST_BATCHES: usize = 8;

/// Likewise, their memory. The last turn may go beyond it.
const MOST_BYTES: usize = 1024 * 1024;

/// Likewise, with those that are settled and wait for one before them.
const MOST_IN_ORDER: usize = 1024;

/// The batches of one connection that are out.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    batches: VecDeque<Out>,
    /// The number of the first of them.
    first: u64,
    /// How many of them are not settled, and their memory.
    out: usize,
    bytes: usize,
    /// One was dropped, and that was not told of.
    has_news: bool,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    end: BatchEnd,
    bytes: usize,
    is_settled: bool,
}

impl Unconfirmed {
    /// One more, of so much memory. Returns its number.
    pub(super) fn push(&mut self, end: BatchEnd, bytes: usize) -> u64 {
        self.out += 1;
        self.bytes += bytes;
        self.batches.push_back(Out {
            end,
            bytes,
            is_settled: false,
        });
        self.first + to_u64(self.batches.len()) - 1
    }

    /// A number for one whose fate counts no more.
    pub(super) fn skip(&mut self) -> u64 {
        self.give_up();
        self.first += 1;
        self.first - 1
    }

    /// A batch was confirmed, or dropped. False if its fate counts no more.
    pub(super) fn settle(&mut self, number: u64, is_stored: bool) -> bool {
        let index = number.checked_sub(self.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(out) = index.and_then(|index| self.batches.get_mut(index)) else {
            return false;
        };
        out.is_settled = true;
        out.end.is_stored = is_stored;
        self.out -= 1;
        self.bytes -= out.bytes;
        self.has_news |= !is_stored;
        true
    }

    /// Removes the oldest, if it is settled.
    pub(super) fn next_settled(&mut self) -> Option<BatchEnd> {
        let out = *self.batches.front().filter(|out| out.is_settled)?;
        self.batches.pop_front();
        self.first += 1;
        Some(out.end)
    }

    /// The peer has asked for a receipt behind all of them. False if there are none.
    pub(super) fn ask(&mut self) -> bool {
        let Some(last) = self.batches.back_mut() else {
            return false;
        };
        last.end.asks = true;
        true
    }

    /// Nothing of them counts any more.
    pub(super) fn give_up(&mut self) {
        self.first += to_u64(self.batches.len());
        self.batches.clear();
        (self.out, self.bytes) = (0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.out >= MOST_BATCHES || self.bytes >= MOST_BYTES || self.batches.len() >= MOST_IN_ORDER
    }

    /// One of them was dropped, and waits for those before it.
    pub(super) fn has_dropped(&self) -> bool {
        let mut settled = self.batches.iter().filter(|out| out.is_settled);
        settled.any(|out| !out.end.is_stored)
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    pub(super) fn take_news(&mut self) -> bool {
        mem::take(&mut self.has_news)
    }
}
