//! What the threads of a responder share: the connections, the calls that wait for a thread, how
//! many threads there are, and how far a stop has come.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::connection::Connection;
use super::machine::{Key, Limits};
use crate::address::Address;
use crate::calls::error::ReplyError;
use crate::calls::message::CallFrame;
use crate::clock::now;
use crate::deadline::{Deadline, has_come};
use crate::listen::Listener;
use crate::peer::Peer;
use crate::reentry::Scope;
use crate::sys::fork::HomeProcess;
use crate::sys::{Interest, Poller, Waker};

/// The keys of the poller; those of connections are above.
pub(super) const LISTENER: u64 = 0;
pub(super) const QUEUE: u64 = 1;
pub(super) const FIRST_CONNECTION: u64 = 2;

thread_local! {
    /// This thread has more calls to run, and writes their answers together.
    static HAS_MORE: Cell<bool> = const { Cell::new(false) };
}

type Allow = dyn Fn(&Peer, &str) -> bool + Send + Sync;

/// The settings of a responder that its threads know.
pub(super) struct Settings {
    pub(super) max_call_len: usize,
    pub(super) max_reply_len: usize,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_user: usize,
    pub(super) max_bytes_held: usize,
    pub(super) max_threads: usize,
    pub(super) frame_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) limits: Limits,
    pub(super) thread_name: String,
    pub(super) allow: Box<Allow>,
}

pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) settings: Settings,
    pub(super) listener: Listener,
    pub(super) poller: Poller,
    pub(super) connections: Mutex<Connections>,
    pub(super) queue: Mutex<Queue>,
    queue_waker: Waker,
    /// How many threads there are.
    threads: Mutex<usize>,
    /// How many threads wait for the poller.
    pub(super) idle: AtomicUsize,
    /// A peer is to do something in time.
    pub(super) is_timed: AtomicBool,
    /// How many of the threads that wait will look at the clock by themselves.
    pub(super) looking: AtomicUsize,
    looked_at: Mutex<Instant>,
    /// What open calls and half frames hold.
    pub(super) held: AtomicUsize,
    in_hand: AtomicUsize,
    pub(super) is_stopping: AtomicBool,
    pub(super) has_stopped: AtomicBool,
    /// How many calls were left at the end of the stop.
    pub(super) stopped: Mutex<Option<usize>>,
    /// Told when something has come to its end during a stop.
    ended: Condvar,
    pub(super) scope: Scope,
    pub(super) process: HomeProcess,
    pub(super) figures: Figures,
}

#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) refused: AtomicUsize,
    pub(super) malformed: AtomicUsize,
    pub(super) panics: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Connections {
    pub(super) entries: BTreeMap<u64, Arc<Connection>>,
    /// How many there have been.
    pub(super) count: u64,
    pub(super) accepting: Accepting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    Open,
    /// There are as many connections as may be.
    Full,
    /// Descriptors or memory are short.
    Paused {
        until: Deadline,
    },
    Ended,
}

/// The calls that wait for a thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) calls: VecDeque<Job>,
    /// Those whose answers are to be written when their turn comes.
    corked: Vec<Arc<Connection>>,
    /// A thread was woken for the queue, and has not come yet.
    is_waking: bool,
}

/// A call that is to be run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) connection: Arc<Connection>,
    pub(super) call: CallFrame,
    pub(super) key: Key,
    pub(super) deadline: Deadline,
}

impl Shared {
    pub(super) fn new(
        address: Address,
        settings: Settings,
        listener: Listener,
    ) -> io::Result<Self> {
        let (poller, queue_waker) = (Poller::new()?, Waker::new()?);
        poller.add(listener.socket(), LISTENER, Interest::Read)?;
        poller.add(&queue_waker, QUEUE, Interest::Read)?;
        Ok(Self {
            address,
            settings,
            listener,
            poller,
            connections: Mutex::new(Connections {
                entries: BTreeMap::new(),
                count: 0,
                accepting: Accepting::Open,
            }),
            queue: Mutex::default(),
            queue_waker,
            threads: Mutex::new(0),
            idle: AtomicUsize::new(0),
            is_timed: AtomicBool::new(false),
            looking: AtomicUsize::new(0),
            looked_at: Mutex::new(now()),
            held: AtomicUsize::new(0),
            in_hand: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
            stopped: Mutex::new(None),
            ended: Condvar::new(),
            scope: Scope::new(),
            process: HomeProcess::this(),
            figures: Figures::default(),
        })
    }

    /// Starts a thread, unless another waits already or there are as many as may be. Says whether
    /// one waits.
    pub(super) fn ensure_idle(
        &self,
        start: impl FnOnce(&str) -> io::Result<()>,
    ) -> io::Result<bool> {
        if self.idle.load(Ordering::SeqCst) > 0 {
            return Ok(true);
        }
        let mut threads = self.threads.lock();
        if self.idle.load(Ordering::SeqCst) > 0 {
            return Ok(true);
        }
        if *threads >= self.settings.max_threads {
            return Ok(false);
        }
        // It counts at once: two that look at the same time want one.
        self.idle.fetch_add(1, Ordering::SeqCst);
        match start(&self.settings.thread_name) {
            Ok(()) => {
                *threads += 1;
                Ok(true)
            }
            Err(error) => {
                self.idle.fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// Whether a thread that has had nothing to do may end. If so it counts no more.
    pub(super) fn may_leave(&self, least: usize) -> bool {
        let mut threads = self.threads.lock();
        if self.idle.load(Ordering::SeqCst) <= least {
            return false;
        }
        self.idle.fetch_sub(1, Ordering::SeqCst);
        *threads -= 1;
        true
    }

    /// A thread ends with the responder.
    pub(super) fn leave(&self) {
        *self.threads.lock() -= 1;
        self.tell_end();
    }

    pub(super) fn threads(&self) -> usize {
        *self.threads.lock()
    }

    /// Has an idle thread look at the queue.
    pub(super) fn wake(&self) {
        self.queue_waker.wake();
    }

    /// A thread has come for the queue.
    pub(super) fn came_for_queue(&self) {
        self.queue_waker.reset();
        let _ = self.poller.arm(&self.queue_waker, QUEUE, Interest::Read);
        self.queue.lock().is_waking = false;
    }

    /// The next call that waits. If others are left, or answers that are to be written, another
    /// thread is woken for them: where none `can_come` the answers are written now.
    pub(super) fn next_job(&self, can_come: bool) -> Option<Job> {
        let mut queue = self.queue.lock();
        let job = queue.calls.pop_front();
        let is_more = job.is_some() && !(queue.calls.is_empty() && queue.corked.is_empty());
        // One that was woken may have got something else to do.
        let mut comes = queue.is_waking && can_come;
        if is_more && !comes && can_come {
            queue.is_waking = true;
            comes = true;
            self.wake();
        }
        HAS_MORE.set(comes && !queue.calls.is_empty());
        let corked = if job.is_none() || !comes {
            mem::take(&mut queue.corked)
        } else {
            Vec::new()
        };
        drop(queue);
        self.uncork(corked);
        job
    }

    /// Writes the answers that wait.
    pub(super) fn uncork_all(&self) {
        let corked = mem::take(&mut self.queue.lock().corked);
        self.uncork(corked);
    }

    fn uncork(&self, corked: Vec<Arc<Connection>>) {
        for connection in corked {
            let mut state = connection.lock();
            state.is_corked = false;
            connection.flush(&mut state, &self.poller);
            let is_blocked = state.is_blocked();
            drop(state);
            if is_blocked {
                self.watch_the_clock();
            }
        }
        // A stop may wait for what was written here.
        self.tell_end();
    }

    /// Sends an answer, or leaves it to be written with others.
    pub(super) fn answer(
        &self,
        connection: &Arc<Connection>,
        key: Key,
        answer: Bytes,
        is_last: bool,
    ) -> Result<(), ReplyError> {
        let (most, timeout) = (
            self.settings.limits.max_bytes_in_flight,
            self.settings.write_timeout,
        );
        let answered = connection.answer(key, answer, is_last, most, timeout, &self.poller);
        if answered
            .as_ref()
            .is_err_and(|error| *error == ReplyError::PeerDoesNotRead)
        {
            self.remove(connection);
        }
        let mut state = answered?;
        if is_last && HAS_MORE.get() {
            if mem::replace(&mut state.is_corked, true) {
                return Ok(());
            }
            drop(state);
            let mut queue = self.queue.lock();
            // Whoever comes writes it. With nobody on the way it would wait for the handler.
            if queue.is_waking && self.idle.load(Ordering::SeqCst) > 0 {
                queue.corked.push(Arc::clone(connection));
                return Ok(());
            }
            drop(queue);
            state = connection.lock();
            state.is_corked = false;
        }
        connection.flush(&mut state, &self.poller);
        let is_blocked = state.is_blocked();
        drop(state);
        if is_blocked {
            self.watch_the_clock();
        }
        Ok(())
    }

    /// This thread may be away for long: another is to look at the clock.
    pub(super) fn leave_the_clock(&self) {
        let is_timed = self.is_timed.load(Ordering::SeqCst);
        if is_timed && self.looking.load(Ordering::SeqCst) == 0 {
            self.wake();
        }
    }

    /// A peer is to do something in time: an idle thread looks at the clock from now on.
    pub(super) fn watch_the_clock(&self) {
        if !self.is_timed.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// A call was begun, or is about to wait for a thread.
    pub(super) fn is_in_hand(&self, len: usize) {
        self.held.fetch_add(len, Ordering::Relaxed);
        self.in_hand.fetch_add(1, Ordering::SeqCst);
    }

    /// A call is over.
    pub(super) fn is_over(&self, len: usize) {
        self.held.fetch_sub(len, Ordering::Relaxed);
        self.in_hand.fetch_sub(1, Ordering::SeqCst);
        self.tell_end();
    }

    pub(super) fn in_hand(&self) -> usize {
        self.in_hand.load(Ordering::SeqCst)
    }

    /// Whether a stop has come to its end, and nothing that waits is begun any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::SeqCst)
    }

    /// During a stop: something may have come to its end.
    pub(super) fn tell_end(&self) {
        if self.is_stopping.load(Ordering::SeqCst) {
            // Who waits has looked before it waits, under this lock.
            drop(self.connections.lock());
            self.ended.notify_all();
        }
    }

    /// Waits during a stop until `is_over`, looking again each time something has ended.
    pub(super) fn wait_for_end(
        &self,
        until: Deadline,
        is_over: impl Fn(&Connections) -> bool,
    ) -> bool {
        let mut connections = self.connections.lock();
        loop {
            if is_over(&connections) {
                return true;
            }
            let is_late = if let Some(until) = until {
                self.ended.wait_until(&mut connections, until).timed_out()
            } else {
                self.ended.wait(&mut connections);
                false
            };
            if is_late {
                return is_over(&connections);
            }
        }
    }

    /// Ends a connection, and gives its place to another.
    pub(super) fn remove(&self, connection: &Connection) {
        connection.end();
        self.count_half(connection);
        let mut connections = self.connections.lock();
        connections.entries.remove(&connection.key);
        if connections.accepting == Accepting::Full {
            connections.accepting = Accepting::Open;
            self.arm_listener();
        }
        drop(connections);
        self.tell_end();
    }

    /// Counts what half a frame of a connection holds now, for which its peer has a time. Says
    /// whether that is too much.
    pub(super) fn count_half(&self, connection: &Connection) -> bool {
        let (before, len) = connection.count_half();
        if len > 0 {
            self.watch_the_clock();
        }
        self.held.fetch_add(len, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
        len > before && self.is_full()
    }

    /// Whether open calls and half frames hold as much as they may.
    pub(super) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.settings.max_bytes_held
    }

    pub(super) fn arm_listener(&self) {
        let _ = self
            .poller
            .arm(self.listener.socket(), LISTENER, Interest::Read);
    }

    /// Ends what peers have taken too long for, and an accept's pause, unless a thread has looked
    /// less than `pause` ago.
    pub(super) fn look_at_the_clock(&self, at: Instant, pause: Duration) {
        {
            let mut looked_at = self.looked_at.lock();
            if at.saturating_duration_since(*looked_at) < pause {
                return;
            }
            *looked_at = at;
        }
        // Before the look: what begins during it is seen by the next.
        self.is_timed.store(false, Ordering::SeqCst);
        let mut connections = self.connections.lock();
        if let Accepting::Paused { until } = connections.accepting {
            if has_come(until, at) {
                connections.accepting = Accepting::Open;
                self.arm_listener();
            } else {
                self.is_timed.store(true, Ordering::SeqCst);
            }
        }
        let all: Vec<_> = connections.entries.values().map(Arc::clone).collect();
        drop(connections);
        for connection in all {
            let (frame, write) = (self.settings.frame_timeout, self.settings.write_timeout);
            match connection.is_overdue(at, frame, write) {
                Some(true) => self.remove(&connection),
                Some(false) => self.is_timed.store(true, Ordering::SeqCst),
                None => {}
            }
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
