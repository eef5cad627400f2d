//! What producers and the writer's thread share: the queue under its lock, and the ways to wait for
//! it. Blocks only where a caller asked to wait; never on I/O.

pub(crate) mod flush;
pub(crate) mod waiting;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::address::Address;
use crate::clock;
use crate::deadline::{self, Deadline, earlier};
use crate::error::FlushError;
use crate::metrics::Tally;
use crate::reentry::Scope;
use crate::sys::fork::HomeProcess;
use crate::sys::{Stream, Waker};
use crate::writer::ack_tracker::AckTracker;
use crate::writer::counters::Counters;
use crate::writer::queue::{Queue, Watermarks};
use crate::writer::settings::{Delivery, FlushLevel, Limits};
use crate::writer::shared::flush::{Flush, Flushed, Verdict, ack_level};
use crate::writer::state::step::Pending;
use crate::writer::wake::WakeOn;

/// How often a caller whose time is over looks whether a write that is under way has ended. It is
/// non-blocking, so it ends soon.
const WRITE_GRACE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) max_message_len: usize,
    pub(crate) delivery: Delivery,
    pub(crate) shutdown_level: FlushLevel,
    pub(crate) counters: Arc<Counters>,
    pub(crate) scope: Scope,
    pub(crate) home: HomeProcess,
    pub(crate) flushes_on_panic: AtomicBool,
    locked: Mutex<Locked>,
    /// Messages have ended, or the writer has: notified to calls of `flush` and `shutdown`.
    pub(crate) progress: Condvar,
    /// There is room, or the end: told to senders.
    pub(crate) room: Condvar,
    pub(crate) waker: Waker,
}

/// What the lock protects. Control stands beside the queue, not in it: a full queue does not delay
/// a shutdown.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) queue: Queue,
    pub(crate) life: Life,
    pub(crate) acks: AckTracker,
    /// How many threads wait for progress.
    pub(crate) waiting: usize,
    /// How many of them wait for room.
    pub(crate) waiting_for_room: usize,
    /// How often the threads that wait for room, and for progress, have been notified.
    pub(crate) room_notices: u64,
    pub(crate) progress_notices: u64,
    /// How many of them wait until the peer has read.
    watching_reads: usize,
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
            waiting: 0,
            waiting_for_room: 0,
            room_notices: 0,
            progress_notices: 0,
            watching_reads: 0,
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
        } else if self.waiting == 0 && !self.queue.has_block() && !self.queue.is_tight() {
            Pending::Few
        } else {
            Pending::Due
        }
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

    pub(crate) fn end(&self) -> Option<End> {
        match self.life {
            Life::Ended(end) | Life::Gone(end) => Some(end),
            Life::Running | Life::Draining(_) => None,
        }
    }

    /// Ends the queue with whatever is left in it.
    pub(crate) fn finish(&mut self) -> End {
        self.queue.close();
        let watermarks = self.queue.watermarks();
        let end = End {
            left: self.queue.discard(),
            watermarks,
        };
        self.life = Life::Ended(end);
        end
    }
}

impl Shared {
    pub(crate) fn new(
        address: Address,
        limits: Limits,
        max_message_len: usize,
        delivery: Delivery,
        shutdown_level: FlushLevel,
    ) -> io::Result<Self> {
        let counters = Arc::new(Counters::new(delivery, limits, clock::since_1970));
        let queue = Queue::new(limits, delivery, Arc::clone(&counters));
        Ok(Self {
            address,
            max_message_len,
            delivery,
            shutdown_level,
            scope: Scope::new(),
            home: HomeProcess::this(),
            flushes_on_panic: AtomicBool::new(false),
            locked: Mutex::new(Locked::new(queue)),
            counters,
            progress: Condvar::new(),
            room: Condvar::new(),
            waker: Waker::new()?,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock()
    }

    /// Waits until all that was accepted so far has come to `level`.
    pub(crate) fn flush(
        &self,
        level: FlushLevel,
        deadline: Deadline,
    ) -> Result<Flushed, FlushError> {
        if self.home.is_elsewhere_for_certain() {
            return Err(FlushError::InForkedChild);
        }
        let losses = self.lock().losses(level, self.delivery);
        self.flush_since(losses, level, deadline)
    }

    /// Likewise; reports losses beyond the first `losses`.
    pub(crate) fn flush_since(
        &self,
        losses: u64,
        level: FlushLevel,
        deadline: Deadline,
    ) -> Result<Flushed, FlushError> {
        if self.scope.is_current() {
            return Err(FlushError::InCallback);
        }
        if level == FlushLevel::Read && !Stream::TELLS_UNREAD {
            return Err(FlushError::Unsupported);
        }
        let mut locked = self.lock();
        let mut flush = locked.begin_flush(level, self.delivery, losses);
        let mut in_time = true;
        let verdict = loop {
            match locked.look(&mut flush) {
                Verdict::Left(_) if in_time && locked.end().is_none() => {
                    in_time = self.wait(&mut locked, deadline);
                }
                verdict @ (Verdict::Reached | Verdict::Left(_) | Verdict::Lost) => break verdict,
            }
        };
        locked.end_flush(level);
        let losses = locked.losses(level, self.delivery);
        match verdict {
            Verdict::Reached => Ok(Flushed { losses }),
            Verdict::Lost => Err(FlushError::Lost { losses }),
            Verdict::Left(left) if locked.end().is_some() => Err(FlushError::Stopped { left }),
            Verdict::Left(left) => Err(FlushError::Timeout { left }),
        }
    }

    /// Asks the thread to end, at the latest at `deadline`.
    pub(crate) fn drain(&self, deadline: Deadline) {
        let mut locked = self.lock();
        locked.queue.close();
        locked.life = match locked.life {
            Life::Running => Life::Draining(deadline),
            Life::Draining(before) => Life::Draining(earlier(before, deadline)),
            ended @ (Life::Ended(_) | Life::Gone(_)) => ended,
        };
        locked.queue.set_wake_on(WakeOn::Nothing);
        self.notify_all(&mut locked);
        drop(locked);
        self.waker.wake();
    }

    /// Waits for the end that [`Shared::drain`] asked for. Past the deadline it ends the queue
    /// itself: the thread may be held up in the observer. Says what was left, and whether the
    /// thread has nothing left to do.
    pub(crate) fn wait_for_end(&self, deadline: Deadline) -> (End, bool) {
        let mut locked = self.lock();
        let mut deadline = deadline;
        loop {
            match locked.life {
                Life::Gone(end) => return (end, true),
                Life::Ended(end) => {
                    if !self.wait(&mut locked, deadline) {
                        return (end, matches!(locked.life, Life::Gone(_)));
                    }
                }
                Life::Running | Life::Draining(_) => {
                    if self.wait(&mut locked, deadline) || locked.end().is_some() {
                        continue;
                    }
                    if locked.queue.is_writing() {
                        deadline = deadline.and_then(|deadline| deadline.checked_add(WRITE_GRACE));
                        continue;
                    }
                    let end = locked.finish();
                    // Whatever still hangs on the thread, nothing is written any more.
                    self.counters.set_connected(false);
                    self.notify_all(&mut locked);
                    return (end, false);
                }
            }
        }
    }
}

/// The moment that is `timeout` from now.
pub(crate) fn deadline(timeout: Duration) -> Deadline {
    deadline::after(clock::now(), timeout)
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
