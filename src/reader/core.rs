//! What a reader's threads share: the connections and their times, under one lock.
//! Calls nothing of the user's, and blocks on nothing but its lock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::callbacks::Callbacks;
use super::connection::Connection;
use super::counters::Counters;
use super::state::{Accepting, Closing, Crew, Outcome, Pace};
use crate::address::Address;
use crate::event::ReaderEvent;
use crate::listen::Listener;
use crate::peer::{Credentials, Peer};
use crate::pool::Pool;
use crate::reentry::Scope;
use crate::sys::{Interest, Poller, Stream, Waker};

/// The keys of what is no connection. Connections count from 1.
pub(super) const LISTENER: u64 = 0;
pub(super) const ERRANDS: u64 = Poller::MOST_KEY;
pub(super) const FILE: u64 = Poller::MOST_KEY - 1;

/// What was set when the reader was built.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) max_message_len: usize,
    pub(super) pace: Pace,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_user: usize,
    pub(super) max_held_size: usize,
    pub(super) max_threads: usize,
    pub(super) callbacks: Callbacks,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) address: Address,
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) scope: Scope,
    pub(super) poller: Poller,
    /// Closed at the end, so that the address is free again.
    pub(super) listener: Mutex<Option<Arc<Listener>>>,
    /// Held by the thread that accepts.
    pub(super) accept_turn: Mutex<()>,
    /// Wakes the dispatcher.
    pub(super) waker: Waker,
    /// Calls a thread for the events of those that run no code of the user's.
    pub(super) errands: Waker,
    /// What connections read into.
    pub(super) buffers: Pool,
    /// What half messages are kept in.
    pub(super) pieces: Pool,
    /// The bytes that half messages hold over all connections.
    pub(super) held: AtomicUsize,
    /// The time to stop is over: nothing more goes to the handler.
    pub(super) is_cut: AtomicBool,
    pub(super) inner: Mutex<Inner>,
    pub(super) stopped: Condvar,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) entries: HashMap<u64, Entry>,
    per_user: HashMap<u32, usize>,
    last_number: u64,
    pub(super) accepting: Accepting,
    /// The system was short of something when last asked.
    pub(super) is_short: bool,
    /// No connection is taken in any more.
    pub(super) is_closed: bool,
    pub(super) life: Life,
    /// When to look at which connection. Each has one; what it says may be long past, or too
    /// early, but never too late.
    pub(super) times: BinaryHeap<Reverse<(Instant, u64)>>,
    pub(super) starved: Vec<u64>,
    pub(super) crew: Crew,
    /// Whether the dispatcher looks at the crew every few milliseconds.
    pub(super) is_watched: bool,
    pub(super) errands: Vec<ReaderEvent>,
}

/// One connection as seen from outside its turns.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) connection: Arc<Connection>,
    pub(super) is_served: bool,
    pub(super) closing: Option<Closing>,
    /// As it was left by its last turn.
    pub(super) rest: Rest,
}

/// The times of a connection between two turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// When it is to be closed. `None` is never.
    pub(super) deadline: Option<Instant>,
    /// When its half message began.
    pub(super) half_since: Option<Instant>,
    /// A receipt waits until there is room for it.
    pub(super) owes: bool,
    /// It is to end: what it sent could not be stored.
    pub(super) must_close: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Running,
    /// `None` is a deadline too far off to have a name.
    Draining {
        deadline: Option<Instant>,
    },
    Stopped {
        cut: u64,
    },
}

impl Inner {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            per_user: HashMap::new(),
            last_number: 0,
            accepting: Accepting::Open,
            is_short: false,
            is_closed: false,
            life: Life::Running,
            times: BinaryHeap::new(),
            starved: Vec::new(),
            crew: Crew::default(),
            is_watched: false,
            errands: Vec::new(),
        }
    }

    fn connections_of(&self, uid: u32) -> usize {
        self.per_user.get(&uid).copied().unwrap_or(0)
    }

    pub(super) fn is_draining(&self) -> bool {
        !matches!(self.life, Life::Running)
    }
}

impl Core {
    /// Has an event told by a thread that runs callbacks.
    pub(super) fn tell_later(&self, event: ReaderEvent) {
        self.inner.lock().errands.push(event);
        self.errands.wake();
    }

    /// Takes a new connection in. `Err` with the peer when its user has enough.
    pub(super) fn admit(
        &self,
        stream: Stream,
        credentials: Credentials,
        now: Instant,
    ) -> Result<(), Peer> {
        let mut inner = self.inner.lock();
        if inner.is_closed {
            // The time to stop is over: it ends like the others that were left.
            return Ok(());
        }
        inner.last_number += 1;
        let peer = Peer {
            connection: inner.last_number,
            credentials,
        };
        if inner.connections_of(credentials.uid) >= self.settings.max_connections_per_user {
            return Err(peer);
        }
        *inner.per_user.entry(credentials.uid).or_default() += 1;
        let number = peer.connection;
        let connection = Arc::new(Connection::new(stream, peer, self.settings.max_message_len));
        // Who waited in the backlog of a reader that stops is served like the others.
        let closing = inner.is_draining().then_some(Closing::Stop);
        let deadline = now.checked_add(self.settings.pace.idle_timeout);
        let entry = Entry {
            connection: Arc::clone(&connection),
            is_served: false,
            closing,
            rest: Rest {
                deadline,
                half_since: None,
                owes: false,
                must_close: false,
            },
        };
        inner.entries.insert(number, entry);
        self.counters.connections.add(1);
        self.counters.open.add(1);
        if let Some(deadline) = deadline {
            self.look_at(&mut inner, deadline, number);
        }
        drop(inner);
        if closing.is_some() {
            connection.stream.stop_receiving();
        }
        // Ready at once: a thread is to check and greet the peer, even if it never sends.
        if self
            .poller
            .add(&connection.stream, number, Interest::Now)
            .is_err()
        {
            self.remove(number);
        }
        Ok(())
    }

    fn look_at(&self, inner: &mut Inner, at: Instant, number: u64) {
        let is_first = inner
            .times
            .peek()
            .is_none_or(|Reverse((first, _))| at < *first);
        // A flood of short connections leaves times behind of those that are gone.
        if inner.times.len() > 2 * inner.entries.len() + 64 {
            let Inner { times, entries, .. } = inner;
            times.retain(|Reverse((_, number))| entries.contains_key(number));
        }
        inner.times.push(Reverse((at, number)));
        if is_first {
            self.waker.wake();
        }
    }

    /// Forgets a connection that has ended; its socket is closed with its last reference.
    pub(super) fn remove(&self, number: u64) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.remove(&number) else {
            return;
        };
        let uid = entry.connection.peer.credentials.uid;
        if let Some(count) = inner.per_user.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                inner.per_user.remove(&uid);
            }
        }
        self.counters.open.subtract(1);
        let reopen = inner.accepting == Accepting::Full;
        if reopen {
            inner.accepting = Accepting::Open;
        }
        let is_draining = inner.is_draining();
        let wake = is_draining && inner.entries.is_empty();
        drop(inner);
        if reopen {
            self.reopen_listener(is_draining);
        }
        if wake {
            self.waker.wake();
        }
    }

    /// Has a thread accept again.
    pub(super) fn reopen_listener(&self, is_draining: bool) {
        self.arm_listener();
        if is_draining {
            // Where a listener that has ended does not become ready, this has a thread look.
            self.errands.wake();
        }
    }

    pub(super) fn arm_listener(&self) {
        if let Some(listener) = self.listener.lock().clone() {
            // It can only fail if the kernel forgot a descriptor that is open.
            let _ = self.poller.arm(&*listener, LISTENER, Interest::Read);
        }
    }

    /// Notes how a half message's memory has changed; lets those read on who waited for it.
    pub(super) fn note_held(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
            return;
        }
        let left = self.held.fetch_sub(before - after, Ordering::Relaxed) - (before - after);
        if left <= self.settings.max_held_size {
            self.feed_starved();
        }
    }

    pub(super) fn is_starving(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.settings.max_held_size
    }

    pub(super) fn feed_starved(&self) {
        let mut inner = self.inner.lock();
        let starved = std::mem::take(&mut inner.starved);
        let fed: Vec<_> = starved
            .into_iter()
            .filter_map(|number| {
                inner
                    .entries
                    .get(&number)
                    .map(|entry| (number, Arc::clone(&entry.connection)))
            })
            .collect();
        drop(inner);
        for (number, connection) in fed {
            self.arm(&connection, number, Interest::Now);
        }
    }

    pub(super) fn arm(&self, connection: &Connection, number: u64, interest: Interest) {
        // As with the listener, it can only fail if the kernel forgot the socket.
        let _ = self.poller.arm(&connection.stream, number, interest);
    }

    /// A thread takes the connection for a turn. `None` when it is gone, or another has it.
    pub(super) fn begin_turn(&self, number: u64) -> Option<(Arc<Connection>, Option<Closing>)> {
        let mut inner = self.inner.lock();
        let entry = inner
            .entries
            .get_mut(&number)
            .filter(|entry| !entry.is_served)?;
        entry.is_served = true;
        Some((Arc::clone(&entry.connection), entry.closing))
    }

    /// The turn is over and the connection goes on.
    pub(super) fn end_turn(&self, number: u64, outcome: &Outcome, rest: Rest, now: Instant) {
        let mut inner = self.inner.lock();
        let starves = matches!(outcome, Outcome::Starve);
        let Some(entry) = inner.entries.get_mut(&number) else {
            return;
        };
        entry.is_served = false;
        entry.rest = rest;
        if rest.deadline.is_some_and(|deadline| deadline <= now) && entry.closing.is_none() {
            // Its time ran out while it was being served, when nobody looked.
            entry.closing = Some(Closing::Overdue);
        }
        if rest.must_close && entry.closing.is_none() {
            entry.closing = Some(Closing::NotStored);
        }
        let connection = Arc::clone(&entry.connection);
        if entry.closing.is_some() {
            // That is told, if nothing else will be: a peer may be silent, and leave its receipts
            // unread.
            connection.stream.stop_receiving();
        }
        // What was asked for meanwhile is looked at now; a receipt that is owed, when it can be
        // sent.
        let interest = if entry.closing.is_some() || rest.owes {
            Interest::Now
        } else {
            Interest::Read
        };
        if starves && entry.closing.is_none() {
            inner.starved.push(number);
            let watch = !std::mem::replace(&mut inner.is_watched, true);
            drop(inner);
            if watch {
                self.waker.wake();
            }
            // The memory may have been given back just before.
            if !self.is_starving() {
                self.feed_starved();
            }
            return;
        }
        drop(inner);
        self.arm(&connection, number, interest);
    }

    /// A thread begins to work on something.
    pub(super) fn begin_work(&self) {
        let mut inner = self.inner.lock();
        inner.crew.busy += 1;
        if inner.crew.all_busy() && !inner.is_watched {
            inner.is_watched = true;
            drop(inner);
            self.waker.wake();
        }
    }

    pub(super) fn end_work(&self) {
        let mut inner = self.inner.lock();
        inner.crew.busy -= 1;
        inner.crew.turns += 1;
    }

    /// How long a thread waits for work before it asks [`Core::leave`]. The last one waits for
    /// ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        const SURPLUS_STAYS: Duration = Duration::from_secs(5);
        (self.inner.lock().crew.threads > 1).then_some(SURPLUS_STAYS)
    }

    /// Whether all threads but the calling one are at work.
    pub(super) fn is_only_idle(&self) -> bool {
        let crew = self.inner.lock().crew;
        crew.threads == crew.busy + 1
    }

    /// A thread that found nothing to do asks whether it may go. Until it has, it counts as one at
    /// work.
    pub(super) fn may_leave(&self) -> bool {
        let mut inner = self.inner.lock();
        let may = inner.crew.can_spare_one();
        inner.crew.busy += usize::from(may);
        may
    }

    /// A thread goes, because it `may` or because all do. It must have given up its handler:
    /// whoever waits for the last thread may want that back.
    pub(super) fn leave(&self, may: bool) {
        let mut inner = self.inner.lock();
        inner.crew.busy -= usize::from(may);
        if inner.crew.threads == 1 {
            // The others have gone, and no more are started.
            MutexGuard::unlocked(&mut inner, || self.let_go(self.settings.callbacks.take()));
        }
        inner.crew.threads -= 1;
        self.counters.threads.subtract(1);
        if inner.crew.threads == 0 {
            self.waker.wake();
        }
    }
}
