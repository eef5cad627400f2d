//! What producers and the writer's thread share: the queue under its lock, and the ways to wait for
//! it. Blocks only where a caller asked to wait; never on I/O.

pub(crate) mod flush;
pub(crate) mod locked;
#[cfg(feature = "async")]
pub(crate) mod tasks;
pub(crate) mod waiting;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::address::Address;
use crate::clock;
use crate::deadline::{self, Deadline, earlier};
use crate::error::FlushError;
use crate::reentry::Scope;
use crate::sys::fork::HomeProcess;
use crate::sys::{Abilities, Waker};
use crate::writer::arena::Arena;
use crate::writer::counters::Counters;
use crate::writer::queue::Queue;
use crate::writer::settings::{Delivery, FlushLevel, Limits};
use crate::writer::shared::flush::{Flushed, Verdict};
use crate::writer::shared::locked::{End, Guard, Life, Locked, Passage};
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
    /// The thread sleeps, has told of all drops, and is to be woken for the next.
    pub(crate) awaits_drop: AtomicBool,
    locked: Mutex<Locked>,
    /// Messages have ended, or the writer has: notified to calls of `flush` and `shutdown`.
    pub(crate) progress: Condvar,
    /// There is room, or the end: told to senders.
    pub(crate) room: Condvar,
    pub(crate) waker: Waker,
    pub(crate) can: Can,
    /// What is queued outlives the process.
    pub(crate) is_crash_proof: bool,
}

/// What a flush can wait for over the last connection, or the one that is to come.
#[derive(Debug)]
pub(crate) struct Can {
    answers: AtomicBool,
    tells_unread: AtomicBool,
}

impl Can {
    fn new(abilities: Abilities) -> Self {
        Self {
            answers: AtomicBool::new(abilities.answers),
            tells_unread: AtomicBool::new(abilities.tells_unread),
        }
    }

    pub(crate) fn note(&self, abilities: Abilities) {
        self.answers.store(abilities.answers, Ordering::Relaxed);
        let tells_unread = abilities.tells_unread;
        self.tells_unread.store(tells_unread, Ordering::Relaxed);
    }

    fn reaches(&self, level: FlushLevel) -> bool {
        match level {
            FlushLevel::Written => true,
            FlushLevel::Read => self.tells_unread.load(Ordering::Relaxed),
            FlushLevel::Handled => self.answers.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        address: Address,
        limits: Limits,
        max_message_len: usize,
        delivery: Delivery,
        shutdown_level: FlushLevel,
        abilities: Abilities,
        arena: Option<Arc<Arena>>,
    ) -> io::Result<Self> {
        let counters = Arc::new(Counters::new(delivery, limits, clock::since_1970));
        let is_crash_proof = arena.is_some();
        let queue = Queue::new(limits, delivery, Arc::clone(&counters), arena);
        let mut locked = Locked::new(queue);
        if is_crash_proof {
            locked.set_passage(Passage::Untried);
        }
        Ok(Self {
            address,
            max_message_len,
            delivery,
            shutdown_level,
            scope: Scope::new(),
            home: HomeProcess::this(),
            flushes_on_panic: AtomicBool::new(false),
            awaits_drop: AtomicBool::new(false),
            locked: Mutex::new(locked),
            counters,
            progress: Condvar::new(),
            room: Condvar::new(),
            waker: Waker::new()?,
            can: Can::new(abilities),
            is_crash_proof,
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        Guard(self.locked.lock())
    }

    /// Waits until all that was accepted so far has come to `level`.
    pub(crate) fn flush(
        &self,
        level: FlushLevel,
        deadline: Deadline,
    ) -> Result<Flushed, FlushError> {
        self.check_flush(level)?;
        let losses = self.lock().losses(level, self.delivery);
        self.flush_since(losses, level, deadline)
    }

    /// Whether a flush can be waited for here.
    pub(crate) fn check_flush(&self, level: FlushLevel) -> Result<(), FlushError> {
        if self.home.is_elsewhere_for_certain() {
            return Err(FlushError::InForkedChild);
        }
        if self.scope.is_current() {
            return Err(FlushError::InCallback);
        }
        if !self.can.reaches(level) {
            return Err(FlushError::Unsupported);
        }
        Ok(())
    }

    /// Likewise; reports losses beyond the first `losses`.
    pub(crate) fn flush_since(
        &self,
        losses: u64,
        level: FlushLevel,
        deadline: Deadline,
    ) -> Result<Flushed, FlushError> {
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
        self.outcome(&locked, verdict, level)
    }

    /// What a flush came to.
    pub(crate) fn outcome(
        &self,
        locked: &Locked,
        verdict: Verdict,
        level: FlushLevel,
    ) -> Result<Flushed, FlushError> {
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
