//! A thread's lane as the queue keeps it: the receiving side, and the lease.
//! Pure: no I/O, no waiting, no clock.

use std::mem;

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::writer::lane::{LaneReceiver, LaneSender, Mark};
use crate::writer::slot::SLOT_SIZE;

/// A lane, and what is promised to its thread.
#[derive(Debug)]
pub(crate) struct LaneRecord {
    pub(crate) receiver: LaneReceiver,
    pub(crate) lease: Option<Lease>,
    /// How many bytes the next lease is to have, if there is room for them.
    pub(crate) lease_size: usize,
    /// Where the thread was when the last write began.
    pub(crate) seen: Mark,
}

/// What a thread may put into its lane.
#[derive(Debug)]
pub(crate) struct Lease {
    /// What has not been taken yet.
    pub(crate) left: Tally,
    /// Where it began, and how many bytes it had.
    from: usize,
    len: usize,
}

/// The first lease of a lane.
const FIRST_LEASE_SIZE: usize = 4 * 1024;

impl LaneRecord {
    pub(crate) fn new(receiver: LaneReceiver) -> Self {
        Self {
            receiver,
            lease: None,
            lease_size: FIRST_LEASE_SIZE,
            seen: Mark::default(),
        }
    }

    /// Lets the thread put up to `messages` messages into the next `len` bytes. Returns what that
    /// takes of the queue's bounds.
    pub(crate) fn lease(&mut self, producer: &mut LaneSender, len: usize, messages: u64) -> Tally {
        self.receiver.lease(producer, len, messages);
        let left = Tally {
            messages,
            bytes: to_u64(len),
        };
        let from = self.receiver.published().len;
        self.lease = Some(Lease { left, from, len });
        left
    }

    /// Ends the lease with the thread's knowledge; returns what had not been taken of it. A thread
    /// that uses its lease is worth a larger one.
    pub(crate) fn end_lease(&mut self, producer: &mut LaneSender) -> Option<Tally> {
        self.receiver.end_lease(producer);
        self.seen = Mark::default();
        let lease = self.lease.take()?;
        let used = self.receiver.published().len.saturating_sub(lease.from);
        if used > lease.len / 2 {
            self.lease_size = self.lease_size.saturating_mul(4).min(SLOT_SIZE);
        }
        Some(lease.left)
    }

    /// Whether something waits to be taken. Without a lease there may be something that does not
    /// count.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lease.is_some() && self.receiver.fresh().len > 0
    }

    /// Whether something in it was there already when the last write began. Asking is looking.
    pub(crate) fn has_waited(&mut self) -> bool {
        let seen = mem::replace(&mut self.seen, self.receiver.published());
        seen.tally.messages > self.receiver.collected().tally.messages
    }
}
