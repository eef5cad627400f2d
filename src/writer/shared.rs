//! What producers and the writer's thread share: the queue under its lock, and the ways to wait for
//! it. Blocks only where a caller asked to wait; never on I/O.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::ack_tracker::AckTracker;
use super::counters::Counters;
use super::flush::{Flush, Level, Told, Verdict};
use super::lane::Pushed;
use super::limits::Refusal;
use super::local;
use super::outbox::Delivery;
use super::queue::{Fronts, Payloads, Queue};
use super::step::Pending;
use super::wake::WakeOn;
use crate::address::Address;
use crate::clock;
use crate::deadline::{self, Deadline, earlier};
use crate::error::{FlushError, SendError};
use crate::metrics::Tally;
use crate::pool::Pool;
use crate::reentry::Scope;
use crate::sys::{Stream, Waker};

/// How often a caller whose time is over looks whether a write that is under way has ended. It is
/// non-blocking, so it ends soon.
const WRITE_GRACE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) max_message_len: usize,
    pub(super) delivery: Delivery,
    pub(super) shutdown_level: Level,
    pub(super) counters: Arc<Counters>,
    pub(super) buffers: Pool,
    pub(super) scope: Scope,
    pub(super) inner: Mutex<Inner>,
    /// Something ended, or everything: told to those who wait for a flush or for the end.
    pub(super) progress: Condvar,
    /// There is room, or the end: told to senders.
    pub(super) room: Condvar,
    pub(super) waker: Waker,
}

/// What the lock protects. Control stands beside the queue, not in it: a full queue does not delay
/// a shutdown.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) queue: Queue,
    pub(super) life: Life,
    pub(super) acks: AckTracker,
    /// How many threads wait for progress.
    pub(super) waiting: usize,
    /// How many of them wait for room.
    pub(super) waiting_for_room: usize,
    /// How often all who wait for room, and for progress, have been told.
    pub(super) told_room: u64,
    pub(super) told_progress: u64,
    /// Not all of those who wait for room have been told that there is some.
    pub(super) has_told_one: bool,
    /// A shutdown has heard that a connection was lost.
    pub(super) has_heard_of_loss: bool,
    /// How many of them wait until the peer has read.
    watching_reads: usize,
    told: Told,
}

/// How far the writer's life has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Running,
    /// To end once the queue is empty, at the latest then.
    Draining(Deadline),
    /// Nothing is written any more.
    Ended(End),
    /// The thread has nothing left to do.
    Gone(End),
}

/// How the books stood at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// What was left in the queue.
    pub(super) left: Tally,
    fronts: Fronts,
}

/// Whether a sender waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    For(Duration),
}

impl Inner {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            life: Life::Running,
            acks: AckTracker::default(),
            waiting: 0,
            waiting_for_room: 0,
            told_room: 0,
            told_progress: 0,
            has_told_one: false,
            has_heard_of_loss: false,
            watching_reads: 0,
            told: Told::default(),
        }
    }

    /// What waits to be written or confirmed, and whether somebody waits for it.
    pub(super) fn pending(&self) -> Pending {
        let is_unwritten = self.queue.is_unwritten();
        // A question alone does not delay an end.
        if self.queue.held().messages == 0 && !(is_unwritten && matches!(self.life, Life::Running))
        {
            Pending::Nothing
        } else if !is_unwritten {
            Pending::Unconfirmed
        } else if self.waiting == 0 && !self.queue.has_block() && !self.queue.is_tight() {
            Pending::Few
        } else {
            Pending::Due
        }
    }

    /// Whether somebody waits until the peer has read.
    pub(super) fn watches_reads(&self) -> bool {
        self.watching_reads > 0
    }

    pub(super) fn begin_flush(&mut self, level: Level, delivery: Delivery) -> Flush {
        self.watching_reads += usize::from(level == Level::Read);
        self.queue.collect_all();
        Flush::new(level, delivery, self.queue.end(), &mut self.told)
    }

    pub(super) fn end_flush(&mut self, level: Level) {
        self.watching_reads -= usize::from(level == Level::Read);
    }

    /// How it stands with a flush.
    pub(super) fn look(&mut self, flush: &mut Flush) -> Verdict {
        let fronts = self
            .end()
            .map_or_else(|| self.queue.fronts(), |end| end.fronts);
        let verdict = flush.look(fronts, &self.acks, &mut self.told);
        if flush.take_question() {
            self.queue.request_ack();
        }
        verdict
    }

    pub(super) fn end(&self) -> Option<End> {
        match self.life {
            Life::Ended(end) | Life::Gone(end) => Some(end),
            Life::Running | Life::Draining(_) => None,
        }
    }

    /// Ends the queue with whatever is left in it.
    pub(super) fn finish(&mut self) -> End {
        self.queue.close();
        let fronts = self.queue.fronts();
        let end = End {
            left: self.queue.discard(),
            fronts,
        };
        self.life = Life::Ended(end);
        end
    }
}

impl Shared {
    /// Accepts a copy of a message that is neither empty nor large.
    #[inline]
    pub(super) fn send(&self, patience: Patience, message: &[u8]) -> Result<(), Refusal> {
        if local::push(self.scope, message) {
            Ok(())
        } else {
            self.send_by_queue(patience, message)
        }
    }

    #[cold]
    fn send_by_queue(&self, patience: Patience, message: &[u8]) -> Result<(), Refusal> {
        let pushed = local::with(self.scope, |producer| {
            // It may be another writer that the thread used last.
            if producer
                .as_mut()
                .map(|producer| producer.push_if_settled(message))
                == Some(Pushed::Accepted)
            {
                return (Ok(()), Payloads::default());
            }
            self.push_on(patience, &mut |queue| queue.push_from(producer, message))
        });
        match pushed {
            // Dropped only here, where the thread's lanes are free to be used: the user's code may
            // call the writer.
            Some((pushed, mut evicted)) => {
                evicted.drop_all();
                pushed
            }
            // It is about to end.
            None => self.push_in_order(patience, |queue| queue.push(message)),
        }
    }

    /// Like [`Shared::push`], behind all that the current thread has sent so far.
    pub(super) fn push_in_order(
        &self,
        patience: Patience,
        mut push: impl FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let pushed = local::with(self.scope, |producer| {
            self.push_on(patience, &mut |queue| {
                queue.settle(producer.as_mut());
                push(queue)
            })
        });
        let pushed = pushed.unwrap_or_else(|| {
            self.push_on(patience, &mut |queue| {
                queue.collect_all();
                push(queue)
            })
        });
        let (pushed, mut evicted) = pushed;
        evicted.drop_all();
        pushed
    }

    /// Runs `push` on the queue, again and again while there is no room and patience lasts, and
    /// wakes the thread if that is called for.
    pub(super) fn push(
        &self,
        patience: Patience,
        mut push: impl FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (pushed, mut evicted) = self.push_on(patience, &mut push);
        evicted.drop_all();
        pushed
    }

    /// Returns also the payloads that were evicted.
    fn push_on(
        &self,
        patience: Patience,
        push: &mut dyn FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> (Result<(), Refusal>, Payloads) {
        let mut inner = self.inner.lock();
        let mut pushed = push(&mut inner.queue);
        if let (Patience::For(timeout), Err(Refusal::Full)) = (patience, pushed) {
            // Only now, since there is room nearly always, and the clock costs more than a send.
            let deadline = deadline(timeout);
            // The thread itself would wait for itself.
            let mut in_time = !self.scope.is_current();
            while in_time && pushed == Err(Refusal::Full) {
                in_time = self.wait_for_room(&mut inner, deadline);
                // Also when time is over: there may be room since the last look.
                pushed = push(&mut inner.queue);
            }
        }
        let must_wake = match pushed {
            Ok(()) => inner.queue.must_wake_for_message(),
            Err(Refusal::Full) => inner.queue.must_wake_for_room(),
            Err(Refusal::Closed) => false,
        };
        let mut evicted = Payloads::default();
        if inner.queue.take_freed() {
            evicted = inner.queue.take_payloads();
            self.tell(&mut inner);
        }
        drop(inner);
        if must_wake {
            self.waker.wake();
        }
        (pushed, evicted)
    }

    /// Counts a refused message, and makes the error that gives it back.
    #[cold]
    pub(super) fn refuse<M>(&self, refusal: Refusal, refused: Tally, message: M) -> SendError<M> {
        match refusal {
            Refusal::Full => {
                self.counters.dropped_full.add(refused);
                SendError::Full(message)
            }
            Refusal::Closed => {
                self.counters.dropped_closed.add(refused);
                SendError::Closed(message)
            }
        }
    }

    /// Gives up room that was reserved.
    pub(super) fn release(&self, len: usize) {
        let mut inner = self.inner.lock();
        inner.queue.unreserve(len);
        self.tell(&mut inner);
    }

    /// Waits until all that was accepted so far has come to `level`.
    pub(super) fn flush(&self, level: Level, deadline: Deadline) -> Result<(), FlushError> {
        if self.scope.is_current() {
            return Err(FlushError::InCallback);
        }
        if level == Level::Read && !Stream::TELLS_UNREAD {
            return Err(FlushError::Unsupported);
        }
        let mut inner = self.inner.lock();
        let mut flush = inner.begin_flush(level, self.delivery);
        let mut in_time = true;
        let flushed = loop {
            match (inner.look(&mut flush), inner.end()) {
                (Verdict::Reached, _) => break Ok(()),
                (Verdict::Lost, _) => break Err(FlushError::Lost),
                (Verdict::Left(left), Some(_)) => break Err(FlushError::Stopped { left }),
                (Verdict::Left(left), None) if !in_time => break Err(FlushError::Timeout { left }),
                (Verdict::Left(_), None) => in_time = self.wait(&mut inner, deadline),
            }
        };
        inner.end_flush(level);
        flushed
    }

    /// Asks the thread to end, at the latest at `deadline`.
    pub(super) fn drain(&self, deadline: Deadline) {
        let mut inner = self.inner.lock();
        inner.queue.close();
        inner.life = match inner.life {
            Life::Running => Life::Draining(deadline),
            Life::Draining(before) => Life::Draining(earlier(before, deadline)),
            ended @ (Life::Ended(_) | Life::Gone(_)) => ended,
        };
        inner.queue.set_wake_on(WakeOn::Nothing);
        self.tell(&mut inner);
        drop(inner);
        self.waker.wake();
    }

    /// Waits for the end that [`Shared::drain`] asked for. Past the deadline it ends the queue
    /// itself: the thread may be held up in the observer. Says what was left, and whether the
    /// thread has nothing left to do.
    pub(super) fn wait_for_end(&self, deadline: Deadline) -> (End, bool) {
        let mut inner = self.inner.lock();
        let mut deadline = deadline;
        loop {
            match inner.life {
                Life::Gone(end) => return (end, true),
                Life::Ended(end) => {
                    if !self.wait(&mut inner, deadline) {
                        return (end, matches!(inner.life, Life::Gone(_)));
                    }
                }
                Life::Running | Life::Draining(_) => {
                    if self.wait(&mut inner, deadline) || inner.end().is_some() {
                        continue;
                    }
                    if inner.queue.is_writing() {
                        deadline = deadline.and_then(|deadline| deadline.checked_add(WRITE_GRACE));
                        continue;
                    }
                    let end = inner.finish();
                    // Whatever still hangs on the thread, nothing is written any more.
                    self.counters.set_connected(false);
                    self.tell(&mut inner);
                    return (end, false);
                }
            }
        }
    }
}

/// The moment that is `timeout` from now.
pub(super) fn deadline(timeout: Duration) -> Deadline {
    deadline::after(clock::now(), timeout)
}

#[cfg(test)]
impl Inner {
    /// What [`Inner::look`] would say, without anything coming of it.
    pub(super) fn peek(&self, flush: &Flush) -> Verdict {
        let fronts = self
            .end()
            .map_or_else(|| self.queue.fronts(), |end| end.fronts);
        let (mut flush, mut told) = (flush.clone(), self.told);
        flush.look(fronts, &self.acks, &mut told)
    }
}
