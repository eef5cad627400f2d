//! A thread's lane as the queue keeps it: the receiving side, and the lease.
//! Pure: no I/O, no waiting, no clock.

use std::mem;

use crate::metrics::Tally;
use crate::writer::lane::{LaneReceiver, Mark};
use crate::writer::slot::SLOT_SIZE;

/// A lane, and what is promised to its thread.
#[derive(Debug)]
pub(crate) struct LaneRecord {
    pub(crate) receiver: LaneReceiver,
    /// What of the lease has not been taken yet.
    pub(crate) lease: Option<Tally>,
    /// How many bytes a lease is to have.
    pub(crate) lease_size: usize,
    /// Where the thread was when the last write began.
    pub(crate) seen: Mark,
}

/// The first lease of a lane.
pub(crate) const FIRST_LEASE_SIZE: usize = 4 * 1024;

impl LaneRecord {
    /// Ends the lease, of which the thread has left `left` bytes; returns what had not been taken
    /// of it. A thread that uses its lease is worth a larger one.
    pub(crate) fn end_lease(&mut self, left: usize) -> Option<Tally> {
        self.seen = Mark::default();
        let lease = self.lease.take();
        if lease.is_some() && left < self.lease_size / 2 {
            self.lease_size = self.lease_size.saturating_mul(4).min(SLOT_SIZE);
        }
        lease
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
