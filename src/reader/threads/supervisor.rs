//! The supervisor: a thread that handles timeouts, adds workers, and brings the reader to its end.
//! Runs nothing of the user's, so that nothing of the user's can hold it up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::worker::Worker;
use crate::clock::now;
use crate::deadline::{after, earlier, remaining};
use crate::event::ReaderEvent;
use crate::listen::Accepted;
use crate::num::to_u64;
use crate::own_thread::OwnThread;
use crate::reader::arenas::{Arenas, Patience};
use crate::reader::connection::Connection;
use crate::reader::connection::closing::Closing;
use crate::reader::shared::{Accepting, Entry, Life, Locked, Shared};
use crate::reader::target::Target;
use crate::sys::{self, FileChange, FileWatch, with_signals_blocked};

/// How often the workers are looked at while all of them are busy.
const WATCH: Duration = Duration::from_millis(5);

/// How long to wait when the system refuses a thread.
const SHORTAGE: Duration = Duration::from_millis(100);

/// How many peers in the backlog may have gone, one after the other: more is not their doing.
const MOST_GONE: u32 = 32;

/// How often to look at a connection whose peer is to end it.
const FAREWELL_LOOK: Duration = Duration::from_secs(1);

/// How often to look for the socket's file, where nothing watches it.
const FILE_LOOK: Duration = Duration::from_secs(5);

/// How long half messages may hold all the memory before the slowest is closed.
const OVER_BUDGET_FOR: Duration = Duration::from_millis(100);

pub(in crate::reader) struct Supervisor<T> {
    shared: Arc<Shared>,
    /// Given up when the workers are to leave: the last of them drops it, not this thread.
    target: Option<Arc<T>>,
    file: Option<FileWatch>,
    /// When to look for the socket's file, where nothing watches it.
    next_file_look: Option<Instant>,
    processors: usize,
    turns_before: u64,
    next_look: Option<Instant>,
    /// The system refused the last thread that was asked for.
    is_short: bool,
    over_budget_since: Option<Instant>,
    stage: Stage,
}

/// How far the reader's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// New peers are turned away; the connections that are open are served to their end.
    Draining,
    /// No connection is left, or time was over for `cut` of them; the workers are leaving.
    Closing {
        cut: u64,
    },
}

/// Connections that are to be read to their end and closed.
type Closed = Vec<(u64, Arc<Connection>)>;

impl<T: Target> Supervisor<T> {
    /// Starts a first worker, and the supervisor's own thread.
    pub(in crate::reader) fn start(
        shared: &Arc<Shared>,
        target: T,
        file: Option<FileWatch>,
    ) -> io::Result<OwnThread> {
        let supervisor = Self {
            shared: Arc::clone(shared),
            target: Some(Arc::new(target)),
            next_file_look: file.is_none().then(now),
            file,
            processors: thread::available_parallelism().map_or(1, usize::from),
            turns_before: 0,
            next_look: None,
            is_short: false,
            over_budget_since: None,
            stage: Stage::Running,
        };
        supervisor.add_worker()?;
        let name = format!("{}-supervisor", shared.settings.thread_name);
        let thread = OwnThread::start(&name, || supervisor.run());
        // Without its supervisor the worker that has been started must not stay.
        thread.inspect_err(|_| shared.poller.close())
    }

    fn run(mut self) {
        loop {
            let now = now();
            let mut next = self.keep_times(now);
            next = earlier(next, self.look_at_workers(now));
            next = earlier(next, self.look_at_memory(now));
            next = earlier(next, self.look_at_file(now));
            next = earlier(next, self.look_at_arenas(now));
            match self.stop(now) {
                Ok(until) => next = earlier(next, until),
                Err(Stopped) => return,
            }
            let timeout = remaining(next, now);
            let waker = &self.shared.supervisor_waker;
            let woken = match &self.file {
                Some(file) => sys::wait_with_file(waker, file, timeout),
                None => sys::wait(waker, None, sys::Wanted::default(), timeout).woken,
            };
            if woken {
                waker.reset();
            }
        }
    }

    /// Closes what is overdue; lets accepting go on after a shortage. Says when to look again.
    fn keep_times(&self, now: Instant) -> Option<Instant> {
        let mut overdue = Closed::new();
        let mut resume = false;
        let mut locked = self.shared.lock();
        while let Some(Reverse((at, number))) = locked.times.peek().copied() {
            if at > now {
                break;
            }
            locked.times.pop();
            let Some(entry) = locked.entries.get_mut(&number) else {
                continue;
            };
            if entry.schedule.has_said_end {
                let is_idle = !entry.is_served && !entry.is_held_up && !entry.connection.is_out();
                let deadline = entry.schedule.deadline;
                if is_idle && deadline.is_some_and(|deadline| deadline <= now) {
                    // It does not end its side. Now a read finds the end.
                    entry.connection.stream.stop_receiving();
                    overdue.push((number, Arc::clone(&entry.connection)));
                }
                let next = deadline.filter(|deadline| *deadline > now);
                if let Some(at) = next.or_else(|| after(now, FAREWELL_LOOK)) {
                    locked.times.push(Reverse((at, number)));
                }
                continue;
            }
            match entry.schedule.deadline {
                Some(deadline)
                    if deadline <= now
                        && !entry.is_served
                        && !entry.is_held_up
                        && !entry.connection.is_out() =>
                {
                    if entry.closing.is_none() {
                        entry.closing = Some(Closing::Overdue);
                        overdue.push((number, Arc::clone(&entry.connection)));
                    }
                }
                // Its frame may end at any time, and then the idle timeout counts: the next look
                // comes no later than that. A peer whose batches are out may wait for them.
                later => {
                    let at = after(now, self.shared.settings.pace.idle_timeout);
                    if later.is_some_and(|deadline| deadline <= now) && !entry.is_served {
                        entry.schedule.deadline = at;
                    }
                    let at = earlier(at, later.filter(|later| *later > now));
                    if let Some(at) = at {
                        locked.times.push(Reverse((at, number)));
                    }
                }
            }
        }
        let mut next = locked.times.peek().map(|Reverse((at, _))| *at);
        if let Accepting::Paused { until } = locked.accepting {
            if until <= now {
                locked.accepting = Accepting::Open;
                resume = true;
            } else {
                next = earlier(next, Some(until));
            }
        }
        let is_draining = locked.is_draining();
        drop(locked);
        self.close(overdue);
        if resume {
            self.shared.reopen_listener(is_draining);
        }
        next
    }

    /// Has a worker read connections to their end and close them.
    fn close(&self, connections: Closed) {
        for (number, connection) in connections {
            connection.begin_end();
            self.shared.serve_end(&connection, number);
        }
    }

    /// Adds workers where connections wait for one. Looks every few milliseconds, as long as all
    /// are busy.
    fn look_at_workers(&mut self, now: Instant) -> Option<Instant> {
        if matches!(self.stage, Stage::Closing { .. }) || !self.shared.lock().is_watched {
            return None;
        }
        if let Some(at) = self.next_look.filter(|at| *at > now) {
            return Some(at);
        }
        let ready = self.shared.poller.has_ready();
        let mut locked = self.shared.lock();
        // The first look has nothing to compare with.
        let turns_before = self.next_look.and(Some(self.turns_before));
        let wanted = turns_before.map_or(0, |turns_before| {
            locked.thread_pool.wanted(
                ready,
                turns_before,
                self.processors,
                self.shared.settings.max_threads,
            )
        });
        self.turns_before = locked.thread_pool.turns;
        locked.is_watched = locked.thread_pool.all_busy();
        self.next_look = if locked.is_watched {
            after(now, WATCH)
        } else {
            None
        };
        drop(locked);
        self.add_workers(wanted, now);
        self.next_look
    }

    /// Looks for the socket's file when something happened to it, or now and then where nothing
    /// tells, until it is gone.
    fn look_at_file(&mut self, now: Instant) -> Option<Instant> {
        if self.stage != Stage::Running {
            // Its end may have removed the file.
            (self.file, self.next_file_look) = (None, None);
            return None;
        }
        let change = self.file.as_ref().and_then(FileWatch::look);
        if change.is_none() && self.next_file_look? > now {
            return self.next_file_look;
        }
        let listener = self.shared.listener.lock().clone()?;
        self.next_file_look = None;
        if listener.is_displaced() {
            self.file = None;
            self.shared.emit_later(ReaderEvent::Displaced {
                address: self.shared.address.clone(),
            });
            return None;
        }
        if change == Some(FileChange::WatchOver) {
            // Such as a link on the way that was replaced by one to the same place. The new watch
            // is looked at before the next wait.
            self.file = listener.watch_file(&self.shared.supervisor_waker);
            self.next_file_look = Some(now);
        } else if self.file.is_none() && listener.has_file() {
            self.next_file_look = after(now, FILE_LOOK);
        }
        self.next_file_look
    }

    fn add_workers(&mut self, wanted: usize, now: Instant) {
        for _ in 0..wanted {
            let Err(error) = self.add_worker() else {
                self.is_short = false;
                continue;
            };
            if !mem::replace(&mut self.is_short, true) {
                self.shared.emit_later(ReaderEvent::ThreadFailed {
                    address: self.shared.address.clone(),
                    error: error.into(),
                });
            }
            self.next_look = after(now, SHORTAGE);
            return;
        }
    }

    fn add_worker(&self) -> io::Result<()> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            target: Arc::clone(target),
        };
        self.shared.lock().thread_pool.threads += 1;
        self.shared.counters.threads.add(1);
        let thread = thread::Builder::new().name(self.shared.settings.thread_name.clone());
        // The first one comes from the thread that starts the reader.
        let spawned = with_signals_blocked(|| thread.spawn(|| worker.run()));
        if spawned.is_err() {
            self.shared.lock().thread_pool.threads -= 1;
            self.shared.counters.threads.subtract(1);
        }
        spawned.map(drop)
    }

    /// While half messages hold all the memory, closes the slowest now and then: the others could
    /// never end theirs.
    fn look_at_memory(&mut self, now: Instant) -> Option<Instant> {
        let mut locked = self.shared.lock();
        if locked.over_budget.is_empty() {
            self.over_budget_since = None;
            return None;
        }
        let since = *self.over_budget_since.get_or_insert(now);
        let until = after(since, OVER_BUDGET_FOR)?;
        if until > now {
            return Some(until);
        }
        self.over_budget_since = Some(now);
        let slowest = locked
            .entries
            .iter_mut()
            .filter(|(_, entry)| {
                !entry.is_served
                    && !entry.is_held_up
                    && entry.closing.is_none()
                    && !entry.connection.peer.recovered
                    && entry.schedule.half_since.is_some()
            })
            .min_by_key(|(_, entry)| entry.schedule.half_since);
        let mut closed = Closed::new();
        if let Some((number, entry)) = slowest {
            entry.closing = Some(Closing::NoMemory);
            closed.push((*number, Arc::clone(&entry.connection)));
        }
        drop(locked);
        self.close(closed);
        after(now, OVER_BUDGET_FOR)
    }

    /// Leaves the arenas to the next reader, if there is where to: also those of connections that
    /// were cut.
    fn leave_arenas(&self, cut: &HashMap<u64, Entry>, now: Instant) {
        let shared = &self.shared;
        for entry in cut.values() {
            shared.detach(&entry.connection);
        }
        let mut arenas = shared.arenas.lock();
        let left = arenas.look(now, Patience::None, 1, |_| false).left;
        drop(arenas);
        // Without a store they end here: nobody is to think that this reader has them.
        shared.bequeath(left);
    }

    /// Takes over what dead writers have left.
    fn look_at_arenas(&self, now: Instant) -> Option<Instant> {
        let shared = &self.shared;
        let is_over = match shared.lock().life {
            Life::Draining { deadline } => deadline.is_some_and(|deadline| deadline <= now),
            Life::Running | Life::Stopped { .. } => false,
        };
        let patience = match self.stage {
            // What is claimed now could not be handled any more.
            _ if is_over => return None,
            Stage::Closing { .. } => return None,
            Stage::Running => Patience::Ever,
            // Those that live are left when it has stopped.
            Stage::Draining if shared.store.is_some() => Patience::Ever,
            Stage::Draining => Patience::ForDead,
        };
        let may_come = |identity| shared.may_come(identity);
        loop {
            // One after the other: how much there is shows when it is recovered.
            let most = usize::from(shared.may_recover());
            let looked = shared.arenas.lock().look(now, patience, most, may_come);
            if looked.dead.is_empty() {
                return looked.next;
            }
            for dead in looked.dead {
                shared.recover(dead);
            }
        }
    }

    /// Brings the reader nearer to its end, if it is to end. Says when to look again.
    fn stop(&mut self, now: Instant) -> Result<Option<Instant>, Stopped> {
        // In this order: a connection leaves an orphan before it is removed.
        let is_served = {
            let locked = self.shared.lock();
            locked.accepting == Accepting::Ended && locked.entries.is_empty()
        };
        // Those that live are left to the next reader, if there is where to.
        let awaited = match self.shared.store {
            Some(_) => Arenas::undecided,
            None => Arenas::orphans,
        };
        let is_done = is_served && awaited(&self.shared.arenas.lock()) == 0;
        let mut locked = self.shared.lock();
        let Life::Draining { deadline } = locked.life else {
            return Ok(None);
        };
        let is_over = deadline.is_some_and(|deadline| deadline <= now);
        match self.stage {
            Stage::Running => {
                self.stage = Stage::Draining;
                let connections = Self::mark_all(&mut locked);
                // Where the limit is reached, the next connection that ends opens the listener.
                let is_full = locked.accepting == Accepting::Full;
                if !is_full && locked.accepting != Accepting::Ended {
                    locked.accepting = Accepting::Open;
                }
                drop(locked);
                if let Some(listener) = self.shared.listener.lock().clone() {
                    listener.end();
                }
                if !is_full {
                    self.shared.reopen_listener(true);
                }
                self.close(connections);
                self.stop(now)
            }
            Stage::Draining if is_over || is_done && locked.entries.is_empty() => {
                let left = mem::take(&mut locked.entries);
                locked.is_closed = true;
                drop(locked);
                if !left.is_empty() {
                    self.shared.is_cut.store(true, Ordering::Relaxed);
                }
                for entry in left.values() {
                    entry.connection.stream.cut();
                    self.shared.counters.open.subtract(1);
                }
                self.leave_arenas(&left, now);
                let cut = to_u64(left.len()) + self.turn_away();
                self.stage = Stage::Closing { cut };
                self.target = None;
                self.shared.poller.close();
                self.stop(now)
            }
            Stage::Closing { cut } if is_over || locked.thread_pool.threads == 0 => {
                drop(locked);
                if let Some(listener) = self.shared.listener.lock().take() {
                    listener.remove_file();
                }
                self.shared.lock().life = Life::Stopped { cut };
                self.shared.stopped.notify_all();
                Err(Stopped)
            }
            Stage::Draining | Stage::Closing { .. } => Ok(deadline),
        }
    }

    /// Ends the connections that still wait to be accepted; says how many.
    fn turn_away(&self) -> u64 {
        let Some(listener) = self.shared.listener.lock().clone() else {
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

    fn mark_all(locked: &mut Locked) -> Closed {
        let unserved = locked.entries.iter_mut().filter_map(|(number, entry)| {
            entry.closing = Some(Closing::Stop);
            (!entry.is_served).then(|| (*number, Arc::clone(&entry.connection)))
        });
        unserved.collect()
    }
}

/// There is nothing more to do.
struct Stopped;
