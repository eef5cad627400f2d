//! What the lock of a writer protects, and the lock. With the feature `async` tasks may wait for a
//! change: they are woken once the lock is free, since a waker is the runtime's code.

use std::ops::{Deref, DerefMut};

use parking_lot::MutexGuard;

use crate::deadline::Deadline;
use crate::metrics::Tally;
#[cfg(feature = "async")]
use crate::panic_guard::guarded;
use crate::writer::ack_tracker::AckTracker;
use crate::writer::queue::{Queue, Watermarks};
use crate::writer::settings::{Delivery, FlushLevel};
use crate::writer::shared::flush::{Flush, Verdict, ack_level};
#[cfg(feature = "async")]
use crate::writer::shared::tasks::Tasks;
use crate::writer::state::step::Pending;

/// What the lock protects. Control stands beside the queue, not in it: a full queue does not delay
/// a shutdown.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) queue: Queue,
    pub(crate) life: Life,
    pub(crate) acks: AckTracker,
    pub(crate) passage: Passage,
    /// What is left at the end is nobody's decision: the writer was dropped.
    pub(crate) leaves_rest: bool,
    /// How many threads wait for progress.
    pub(crate) waiting: usize,
    /// How many of them wait for room.
    pub(crate) waiting_for_room: usize,
    /// How often the threads that wait for room, and for progress, have been notified.
    pub(crate) room_notices: u64,
    pub(crate) progress_notices: u64,
    /// How many of them wait until the peer has read.
    watching_reads: usize,
    #[cfg(feature = "async")]
    pub(crate) tasks: Tasks,
}

/// How far the writer's life has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    Running,
    /// To end once the queue is empty, at the latest then.
    Draining(Deadline),
    /// Nothing is written any more.
    Ended(End),
    /// The thread has nothing left to do.
    Gone(End),
}

/// Whether the reader has the memory in which the queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// No connection was tried.
    Untried,
    /// It goes with the first byte of the connection that there is.
    Due,
    /// It went, or there is nothing to be waited for.
    Settled,
}

/// How the books stood at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// What was left in the queue.
    pub(crate) left: Tally,
    watermarks: Watermarks,
}

impl Locked {
    pub(crate) fn new(queue: Queue) -> Self {
        Self {
            queue,
            life: Life::Running,
            acks: AckTracker::default(),
            passage: Passage::Settled,
            leaves_rest: false,
            waiting: 0,
            waiting_for_room: 0,
            room_notices: 0,
            progress_notices: 0,
            watching_reads: 0,
            #[cfg(feature = "async")]
            tasks: Tasks::default(),
        }
    }

    /// What waits to be written or confirmed, and whether a caller waits for it.
    pub(crate) fn pending(&self) -> Pending {
        let is_unwritten = self.queue.is_unwritten();
        // A question alone does not delay an end.
        if self.queue.held().messages == 0 && !(is_unwritten && matches!(self.life, Life::Running))
        {
            Pending::Nothing
        } else if !is_unwritten {
            Pending::Unconfirmed
        } else if !self.is_waited_for() && !self.queue.has_block() && !self.queue.is_tight() {
            Pending::Few
        } else {
            Pending::Due
        }
    }

    /// Whether a caller waits, or a task.
    fn is_waited_for(&self) -> bool {
        #[cfg(feature = "async")]
        if !self.tasks.is_empty() {
            return true;
        }
        self.waiting > 0
    }

    /// Whether a caller waits until the peer has read.
    pub(crate) fn watches_reads(&self) -> bool {
        self.watching_reads > 0
    }

    /// Begins a flush of all that was accepted, which reports losses beyond the first `losses`.
    pub(crate) fn begin_flush(
        &mut self,
        level: FlushLevel,
        delivery: Delivery,
        losses: u64,
    ) -> Flush {
        self.watching_reads += usize::from(level == FlushLevel::Read);
        self.queue.collect_all();
        Flush::new(level, delivery, self.queue.end(), losses)
    }

    /// How many connections ended before what was written on them was known to have come to
    /// `level`.
    pub(crate) fn losses(&self, level: FlushLevel, delivery: Delivery) -> u64 {
        match delivery {
            Delivery::AtMostOnce => {
                ack_level(level, delivery).map_or(0, |level| self.acks.losses(level))
            }
            Delivery::AtLeastOnce => 0,
        }
    }

    pub(crate) fn end_flush(&mut self, level: FlushLevel) {
        self.watching_reads -= usize::from(level == FlushLevel::Read);
    }

    /// How it stands with a flush.
    pub(crate) fn look(&mut self, flush: &mut Flush) -> Verdict {
        let watermarks = self
            .end()
            .map_or_else(|| self.queue.watermarks(), |end| end.watermarks);
        let verdict = flush.look(watermarks, &self.acks);
        if flush.take_request() {
            self.queue.request_ack();
        }
        verdict
    }

    /// While the memory is to be passed, no message goes by a lane: each sender sees to it that it
    /// goes.
    pub(crate) fn set_passage(&mut self, passage: Passage) {
        self.passage = passage;
        self.queue.forbid_leases(passage != Passage::Settled);
    }

    pub(crate) fn end(&self) -> Option<End> {
        match self.life {
            Life::Ended(end) | Life::Gone(end) => Some(end),
            Life::Running | Life::Draining(_) => None,
        }
    }

    /// Whether the writer is to end; `None` once its queue has.
    pub(crate) fn is_draining(&self) -> Option<bool> {
        match self.life {
            Life::Running => Some(false),
            Life::Draining(_) => Some(true),
            Life::Ended(_) | Life::Gone(_) => None,
        }
    }

    /// Ends the queue with whatever is left in it.
    pub(crate) fn finish(&mut self) -> End {
        self.queue.close();
        let watermarks = self.queue.watermarks();
        let end = End {
            left: self.queue.discard(self.leaves_rest),
            watermarks,
        };
        self.life = Life::Ended(end);
        end
    }
}

/// Holds the lock.
pub(crate) struct Guard<'a>(pub(super) MutexGuard<'a, Locked>);

impl Deref for Guard<'_> {
    type Target = Locked;

    fn deref(&self) -> &Locked {
        &self.0
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Locked {
        &mut self.0
    }
}

#[cfg(feature = "async")]
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let (due, done) = self.0.tasks.take_due();
        if !due.is_empty() || !done.is_empty() {
            // The runtime's code: what panics in it is no trouble of whoever holds the lock.
            MutexGuard::unlocked(&mut self.0, || {
                for waker in due {
                    let _ = guarded(|| waker.wake());
                }
                for waker in done {
                    let _ = guarded(|| drop(waker));
                }
            });
        }
    }
}

#[cfg(test)]
impl Locked {
    /// What [`Locked::look`] would say, without anything coming of it.
    pub(crate) fn peek(&self, flush: &Flush) -> Verdict {
        let watermarks = self
            .end()
            .map_or_else(|| self.queue.watermarks(), |end| end.watermarks);
        flush.clone().look(watermarks, &self.acks)
    }
}
