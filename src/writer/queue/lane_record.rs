//! A thread's lane as the queue keeps it: the receiving side, and the lease.
//! Pure: no I/O, no waiting, no clock.

use std::mem;

use crate::metrics::Tally;
use crate::writer::lane::{LaneReceiver, Mark};

/// A lane, and what is promised to its thread.
#[derive(Debug)]
pub(crate) struct LaneRecord {
    pub(crate) receiver: LaneReceiver,
    /// What of the lease has not been taken yet.
    pub(crate) lease: Option<Tally>,
    /// Where the thread was when the last write began.
    pub(crate) seen: Mark,
}

impl LaneRecord {
    /// Whether something waits to be taken. Without a lease there may be something that does not
    /// count.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lease.is_some() && self.receiver.published() != self.receiver.collected()
    }

    /// Whether something in it was there already when the last write began. Asking is looking.
    pub(crate) fn has_waited(&mut self) -> bool {
        let seen = mem::replace(&mut self.seen, self.receiver.published());
        seen.tally.messages > self.receiver.collected().tally.messages
    }
}

#[cfg(test)]
impl LaneRecord {
    pub(crate) fn has_memory(&self) -> bool {
        self.receiver.capacity() > 0
    }
}
