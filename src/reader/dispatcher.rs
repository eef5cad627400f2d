//! The reader's own thread: it keeps the times, adds threads, and brings the reader to its end.
//! Runs nothing of the user's, so that nothing of the user's can hold it up.

use std::cmp::Reverse;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::core::{Core, Inner, Life};
use super::handler::Handler;
use super::state::{Accepting, Closing};
use super::worker::Worker;
use crate::clock::now;
use crate::deadline::{after, earlier, remaining};
use crate::event::ReaderEvent;
use crate::listen::Accepted;
use crate::num::to_u64;
use crate::sys::{self, FileWatch, Interest};

/// How often the crew is looked at while all of it is busy.
const WATCH: Duration = Duration::from_millis(5);

/// How long to wait when the system refuses a thread.
const SHORTAGE: Duration = Duration::from_millis(100);

/// How many who wait may have gone, one after the other: more than that is not their doing.
const MOST_GONE: u32 = 32;

/// How long half messages may hold all the memory before the slowest is closed.
const STARVATION: Duration = Duration::from_millis(100);

pub(super) struct Dispatcher<H> {
    pub(super) core: Arc<Core>,
    /// Given up when the threads are to leave: the last of them drops it, not this one.
    pub(super) handler: Option<Arc<H>>,
    pub(super) file: Arc<Option<FileWatch>>,
    pub(super) processors: usize,
    pub(super) turns_before: u64,
    pub(super) next_look: Option<Instant>,
    /// The system refused a thread when last asked.
    pub(super) is_short: bool,
    pub(super) starving_since: Option<Instant>,
    pub(super) stage: Stage,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    /// Newcomers are turned away; those who are here are served to their end.
    Draining,
    /// No connection is left, or time was over for `cut` of them; the threads are leaving.
    Closing {
        cut: u64,
    },
}

/// Connections that are to be read to their end and closed.
type Closed = Vec<(u64, Arc<Connection>)>;

impl<H: Handler> Dispatcher<H> {
    pub(super) fn run(mut self) {
        loop {
            let now = now();
            let mut next = self.keep_times(now);
            next = earlier(next, self.look_at_crew(now));
            next = earlier(next, self.look_at_memory(now));
            match self.stop(now) {
                Ok(until) => next = earlier(next, until),
                Err(Stopped) => return,
            }
            let timeout = remaining(next, now);
            if sys::wait(&self.core.waker, None, sys::Wanted::default(), timeout).woken {
                self.core.waker.reset();
            }
        }
    }

    /// Closes what is overdue; lets accepting go on after a shortage. Says when to look again.
    fn keep_times(&self, now: Instant) -> Option<Instant> {
        let mut overdue = Closed::new();
        let mut resume = false;
        let mut inner = self.core.inner.lock();
        while let Some(Reverse((at, number))) = inner.times.peek().copied() {
            if at > now {
                break;
            }
            inner.times.pop();
            let Some(entry) = inner.entries.get_mut(&number) else {
                continue;
            };
            match entry.rest.deadline {
                Some(deadline) if deadline <= now && !entry.is_served => {
                    if entry.closing.is_none() {
                        entry.closing = Some(Closing::Overdue);
                        overdue.push((number, Arc::clone(&entry.connection)));
                    }
                }
                // Its frame may end any time, and then the idle timeout counts: not later than
                // that.
                later => {
                    let at = after(now, self.core.settings.pace.idle_timeout);
                    let at = earlier(at, later.filter(|later| *later > now));
                    if let Some(at) = at {
                        inner.times.push(Reverse((at, number)));
                    }
                }
            }
        }
        let mut next = inner.times.peek().map(|Reverse((at, _))| *at);
        if let Accepting::Paused { until } = inner.accepting {
            if until <= now {
                inner.accepting = Accepting::Open;
                resume = true;
            } else {
                next = earlier(next, Some(until));
            }
        }
        let is_draining = inner.is_draining();
        drop(inner);
        self.close(overdue);
        if resume {
            self.core.reopen_listener(is_draining);
        }
        next
    }

    /// Has a thread read connections to their end and close them.
    fn close(&self, connections: Closed) {
        for (number, connection) in connections {
            connection.stream.stop_receiving();
            self.core.arm(&connection, number, Interest::Now);
        }
    }

    /// Adds threads where connections wait for one. Looks every few milliseconds, as long as all
    /// are busy.
    fn look_at_crew(&mut self, now: Instant) -> Option<Instant> {
        if matches!(self.stage, Stage::Closing { .. }) || !self.core.inner.lock().is_watched {
            return None;
        }
        if let Some(at) = self.next_look.filter(|at| *at > now) {
            return Some(at);
        }
        let ready = self.core.poller.has_ready();
        let mut inner = self.core.inner.lock();
        // The first look only takes the measure for the next.
        let turns_before = self.next_look.and(Some(self.turns_before));
        let wanted = turns_before.map_or(0, |turns_before| {
            inner.crew.wanted(
                ready,
                turns_before,
                self.processors,
                self.core.settings.max_threads,
            )
        });
        self.turns_before = inner.crew.turns;
        inner.is_watched = inner.crew.all_busy();
        self.next_look = if inner.is_watched {
            after(now, WATCH)
        } else {
            None
        };
        drop(inner);
        self.add_threads(wanted, now);
        self.next_look
    }

    fn add_threads(&mut self, wanted: usize, now: Instant) {
        for _ in 0..wanted {
            let Err(error) = self.spawn() else {
                self.is_short = false;
                continue;
            };
            if !mem::replace(&mut self.is_short, true) {
                self.core.tell_later(ReaderEvent::ThreadFailed {
                    address: self.core.address.clone(),
                    error: error.into(),
                });
            }
            self.next_look = after(now, SHORTAGE);
            return;
        }
    }

    /// Starts one more thread.
    pub(super) fn spawn(&self) -> io::Result<()> {
        let Some(handler) = &self.handler else {
            return Ok(());
        };
        let worker = Worker {
            core: Arc::clone(&self.core),
            handler: Arc::clone(handler),
            file: Arc::clone(&self.file),
            processors: self.processors,
        };
        self.core.inner.lock().crew.threads += 1;
        self.core.counters.threads.add(1);
        let spawned = thread::Builder::new()
            .name("uds-ipc-reader".into())
            .spawn(|| worker.run());
        if spawned.is_err() {
            self.core.inner.lock().crew.threads -= 1;
            self.core.counters.threads.subtract(1);
        }
        spawned.map(drop)
    }

    /// While half messages hold all the memory, closes the slowest now and then: the others could
    /// never end theirs.
    fn look_at_memory(&mut self, now: Instant) -> Option<Instant> {
        let mut inner = self.core.inner.lock();
        if inner.starved.is_empty() {
            self.starving_since = None;
            return None;
        }
        let since = *self.starving_since.get_or_insert(now);
        let until = after(since, STARVATION)?;
        if until > now {
            return Some(until);
        }
        self.starving_since = Some(now);
        let slowest = inner
            .entries
            .iter_mut()
            .filter(|(_, entry)| {
                !entry.is_served && entry.closing.is_none() && entry.rest.half_since.is_some()
            })
            .min_by_key(|(_, entry)| entry.rest.half_since);
        let mut closed = Closed::new();
        if let Some((number, entry)) = slowest {
            entry.closing = Some(Closing::NoMemory);
            closed.push((*number, Arc::clone(&entry.connection)));
        }
        drop(inner);
        self.close(closed);
        after(now, STARVATION)
    }

    /// Brings the reader nearer to its end, if it is to end. Says when to look again.
    fn stop(&mut self, now: Instant) -> Result<Option<Instant>, Stopped> {
        let mut inner = self.core.inner.lock();
        let Life::Draining { deadline } = inner.life else {
            return Ok(None);
        };
        let is_over = deadline.is_some_and(|deadline| deadline <= now);
        match self.stage {
            Stage::Running => {
                self.stage = Stage::Draining;
                let connections = Self::mark_all(&mut inner);
                // A full one is armed by the next connection that ends.
                let is_full = inner.accepting == Accepting::Full;
                if !is_full {
                    inner.accepting = Accepting::Open;
                }
                drop(inner);
                if let Some(listener) = self.core.listener.lock().clone() {
                    listener.end();
                }
                if !is_full {
                    self.core.reopen_listener(true);
                }
                self.close(connections);
                self.stop(now)
            }
            Stage::Draining
                if is_over || (inner.accepting == Accepting::Ended && inner.entries.is_empty()) =>
            {
                let left = mem::take(&mut inner.entries);
                inner.is_closed = true;
                drop(inner);
                if !left.is_empty() {
                    self.core.is_cut.store(true, Ordering::Relaxed);
                }
                for entry in left.values() {
                    entry.connection.stream.cut();
                    self.core.counters.open.subtract(1);
                }
                let cut = to_u64(left.len()) + self.turn_away();
                self.stage = Stage::Closing { cut };
                self.handler = None;
                self.core.poller.close();
                self.stop(now)
            }
            Stage::Closing { cut } if is_over || inner.crew.threads == 0 => {
                drop(inner);
                if let Some(listener) = self.core.listener.lock().take() {
                    listener.remove_file();
                }
                self.core.inner.lock().life = Life::Stopped { cut };
                self.core.stopped.notify_all();
                Err(Stopped)
            }
            Stage::Draining | Stage::Closing { .. } => Ok(deadline),
        }
    }

    /// Ends the connections that still wait to be accepted; says how many.
    fn turn_away(&self) -> u64 {
        let Some(listener) = self.core.listener.lock().clone() else {
            return 0;
        };
        let (mut waiting, mut gone) = (0, 0);
        while gone < MOST_GONE {
            match listener.accept() {
                Accepted::Stream(_) => (waiting, gone) = (waiting + 1, 0),
                Accepted::Gone(_) => gone += 1,
                Accepted::Empty | Accepted::Ended | Accepted::Short(_) => break,
            }
        }
        waiting
    }

    fn mark_all(inner: &mut Inner) -> Closed {
        let unserved = inner.entries.iter_mut().filter_map(|(number, entry)| {
            entry.closing = Some(Closing::Stop);
            (!entry.is_served).then(|| (*number, Arc::clone(&entry.connection)))
        });
        unserved.collect()
    }
}

/// There is nothing more to do.
struct Stopped;
