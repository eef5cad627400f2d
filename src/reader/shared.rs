//! What a reader's threads share, under one lock: the connections and their deadlines, the limits
//! of users and of memory, and how many workers are busy. Calls the user's code with the lock
//! released.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::arenas::{Arenas, Dead, Key, Left};
use super::callbacks::Callbacks;
use super::connection::closing::{Closing, TurnEnd};
use super::connection::remains::Remains;
use super::connection::source::Source;
use super::connection::timeouts::Pace;
use super::connection::{Connection, Passed};
use super::counters::Counters;
use super::recover::Recover;
use super::thread_pool::ThreadPool;
use crate::address::Address;
use crate::arena::passed::{self, PassedArena};
use crate::buffer_pool::Pool;
use crate::clock::now;
use crate::deadline::after;
use crate::descriptor_store::{Known, Store, StoreError};
use crate::event::ReaderEvent;
use crate::listen::Listener;
use crate::panic_guard::guarded;
use crate::peer::{Identity, Peer};
use crate::reentry::Scope;
use crate::sys::{
    Interest, OwnedDescriptor, PeerProcess, Poller, Stream, Waker, effective_uid,
    with_signals_blocked,
};

/// The poller's keys for what is not a connection. Connections have their numbers, from 1.
pub(super) const LISTENER: u64 = 0;
pub(super) const DEFERRED: u64 = Poller::MOST_KEY;

/// How much one read takes. More brings nothing.
pub(super) const READ_SIZE: usize = 256 * 1024;

/// How many read buffers are kept. More are made while more threads read at once.
const BUFFERS_KEPT: usize = 32;

/// How much memory batches may hold that are out. At that bound nothing more is read.
const MOST_OUT: usize = 64 * 1024 * 1024;

/// How many runs of messages of dead writers may wait. At that bound no other one is recovered. A
/// writer has few of them as a rule, a hostile one a million.
const MOST_RUNS: usize = 1 << 20;

/// How many small buffers for half messages are kept, and up to which size.
const PIECES_KEPT: usize = 64;
const PIECE_SIZE: usize = 4096;

/// One of those who close what peers passed, until it is dropped: also by a thread that could not
/// be started.
#[derive(Debug)]
struct ClosingPassed(Arc<AtomicUsize>);

impl ClosingPassed {
    fn begin(closers: &Arc<AtomicUsize>) -> Self {
        closers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(closers))
    }
}

impl Drop for ClosingPassed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was set when the reader was built.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) max_message_len: usize,
    pub(super) pace: Pace,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_user: usize,
    pub(super) max_partial_bytes: usize,
    pub(super) max_threads: usize,
    pub(super) recover: Recover,
    pub(super) descriptor_store: bool,
    pub(super) thread_name: String,
    pub(super) callbacks: Callbacks,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) scope: Scope,
    pub(super) poller: Poller,
    /// Closed at the end, so that the address is free again.
    pub(super) listener: Mutex<Option<Arc<Listener>>>,
    /// Held by the thread that accepts.
    pub(super) accept_turn: Mutex<()>,
    pub(super) supervisor_waker: Arc<Waker>,
    /// Wakes a worker, for events of threads that run no code of the user's.
    pub(super) worker_waker: Waker,
    /// What connections read into.
    pub(super) buffers: Pool,
    /// What half messages are kept in.
    pub(super) pieces: Pool,
    /// The bytes that half messages hold over all connections.
    pub(super) held: AtomicUsize,
    /// The bytes of the batches that are out.
    out: AtomicUsize,
    /// How many batches have been settled.
    settled: AtomicU64,
    /// The time to stop is over: nothing more goes to the handler.
    pub(super) is_cut: AtomicBool,
    locked: Mutex<Locked>,
    /// What writers have passed. Before `locked`, where both are held.
    pub(super) arenas: Mutex<Arenas>,
    /// Where they are left when the reader stops.
    pub(super) store: Option<Store>,
    /// How many runs of messages of dead writers are yet to be handled.
    runs: Arc<AtomicUsize>,
    /// How many threads are closing what peers passed.
    closers: Arc<AtomicUsize>,
    pub(super) stopped: Condvar,
}

#[derive(Debug)]
pub(super) struct Locked {
    pub(super) entries: HashMap<u64, Entry>,
    per_user: HashMap<u32, usize>,
    last_number: u64,
    pub(super) accepting: Accepting,
    /// The system was short of something when last asked.
    pub(super) is_short: bool,
    /// No connection is registered any more.
    pub(super) is_closed: bool,
    pub(super) life: Life,
    /// When to look at which connection: a lower bound of its deadline, one for each, and another
    /// for one that has been told of its end. Those of connections that have gone are skipped.
    pub(super) times: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The connections that wait for memory to read on.
    pub(super) over_budget: Vec<u64>,
    /// Those that wait until fewer batches are out.
    all_out: Vec<u64>,
    pub(super) thread_pool: ThreadPool,
    /// The supervisor looks at the workers every few milliseconds.
    pub(super) is_watched: bool,
    /// Events of threads that run no code of the user's: a worker emits them.
    pub(super) deferred_events: Vec<ReaderEvent>,
    /// Connections to be served though their streams are not ready.
    pub(super) called: Vec<u64>,
}

/// One connection as seen from outside its turns.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) connection: Arc<Connection>,
    pub(super) is_served: bool,
    pub(super) closing: Option<Closing>,
    /// There is something to do at it that came up during the turn.
    is_called: bool,
    /// It waits for room among the batches that are out.
    pub(super) is_held_up: bool,
    /// As it was left by its last turn.
    pub(super) schedule: Schedule,
}

/// The times of a connection between two turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// When it is to be closed. `None` is never.
    pub(super) deadline: Option<Instant>,
    /// When its half message began.
    pub(super) half_since: Option<Instant>,
    /// A receipt waits until there is room for it.
    pub(super) owes: bool,
    /// It is to end: what it sent could not be stored.
    pub(super) must_close: bool,
    /// The peer is to end its side.
    pub(super) has_said_end: bool,
}

/// What has become of a new connection.
#[derive(Debug)]
pub(super) enum Registered {
    /// It has this number.
    Open(u64),
    /// Its user has as many as it may.
    TooManyOfUser(Peer),
    /// The reader has.
    Full,
    /// It ends with the reader.
    Closed,
    /// The system has no room to watch it.
    Unwatched(io::Error),
}

/// Whether connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// The listener is armed, or a worker accepts.
    Open,
    /// The limit of connections is reached: more wait in the backlog.
    Full,
    /// The system is short of descriptors or memory.
    Paused { until: Instant },
    /// The listener was shut down, and its backlog is empty.
    Ended,
}

/// Whether the reader runs, stops, or has stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Running,
    /// `None` is a deadline too far off for an `Instant`.
    Draining {
        deadline: Option<Instant>,
    },
    Stopped {
        cut: u64,
    },
}

impl Locked {
    fn new(accepting: Accepting) -> Self {
        Self {
            entries: HashMap::new(),
            per_user: HashMap::new(),
            last_number: 0,
            accepting,
            is_short: false,
            is_closed: false,
            life: Life::Running,
            times: BinaryHeap::new(),
            over_budget: Vec::new(),
            all_out: Vec::new(),
            thread_pool: ThreadPool::default(),
            is_watched: false,
            deferred_events: Vec::new(),
            called: Vec::new(),
        }
    }

    /// How many connections a user has. Those of whom the user is not known count for nobody.
    fn connections_of(&self, uid: Option<u32>) -> usize {
        let count = uid.and_then(|uid| self.per_user.get(&uid));
        count.copied().unwrap_or(0)
    }

    /// A connection of this user's has ended.
    fn forget_one_of(&mut self, uid: u32) {
        if let Some(count) = self.per_user.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&uid);
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        !matches!(self.life, Life::Running)
    }
}

impl Shared {
    pub(super) fn new(
        address: Address,
        settings: Settings,
        listener: Option<Arc<Listener>>,
        store: Option<Store>,
    ) -> io::Result<Self> {
        let accepting = if listener.is_some() {
            Accepting::Open
        } else {
            Accepting::Ended
        };
        Ok(Self {
            address,
            settings,
            counters: Counters::default(),
            scope: Scope::new(),
            poller: Poller::new()?,
            listener: Mutex::new(listener),
            accept_turn: Mutex::new(()),
            supervisor_waker: Arc::new(Waker::new()?),
            worker_waker: Waker::new()?,
            buffers: Pool::new(BUFFERS_KEPT, READ_SIZE),
            pieces: Pool::new(PIECES_KEPT, PIECE_SIZE),
            held: AtomicUsize::new(0),
            out: AtomicUsize::new(0),
            settled: AtomicU64::new(0),
            is_cut: AtomicBool::new(false),
            locked: Mutex::new(Locked::new(accepting)),
            arenas: Mutex::default(),
            store,
            runs: Arc::default(),
            closers: Arc::default(),
            stopped: Condvar::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock()
    }

    /// Emits an event on the current thread, which must be one that runs callbacks.
    pub(super) fn emit(&self, event: impl FnOnce() -> ReaderEvent) {
        let panicked = || self.counters.panics.add(1);
        self.settings.callbacks.emit(event, panicked);
    }

    /// Drops something of the user's, and survives what that does.
    pub(super) fn drop_guarded<T>(&self, user_value: T) {
        if guarded(|| drop(user_value)).is_err() {
            self.counters.panics.add(1);
        }
    }

    /// Has a worker emit an event.
    pub(super) fn emit_later(&self, event: ReaderEvent) {
        self.lock().deferred_events.push(event);
        self.worker_waker.wake();
    }

    /// Registers a connection that was accepted.
    pub(super) fn register(&self, stream: Stream, identity: Identity, now: Instant) -> Registered {
        self.register_locked(self.lock(), Source::Stream(stream), identity, now)
    }

    /// Registers one that was given: not above the limit, and not any more when the reader stops.
    pub(super) fn serve(&self, stream: Stream, identity: Identity, now: Instant) -> Registered {
        let locked = self.lock();
        if locked.is_draining() {
            Registered::Closed
        } else if locked.entries.len() >= self.settings.max_connections {
            Registered::Full
        } else {
            self.register_locked(locked, Source::Stream(stream), identity, now)
        }
    }

    fn register_locked(
        &self,
        mut locked: MutexGuard<'_, Locked>,
        source: Source,
        identity: Identity,
        now: Instant,
    ) -> Registered {
        if locked.is_closed {
            // The time to stop is over: this connection ends like the others that were left.
            return Registered::Closed;
        }
        locked.last_number += 1;
        let recovered = source.remains().is_some();
        let peer = Peer {
            connection: locked.last_number,
            identity,
            recovered,
        };
        let user = identity.uid();
        if !recovered && locked.connections_of(user) >= self.settings.max_connections_per_user {
            return Registered::TooManyOfUser(peer);
        }
        if let Some(uid) = user {
            *locked.per_user.entry(uid).or_default() += 1;
        }
        let number = peer.connection;
        let connection = Arc::new(Connection::new(source, peer, self.settings.max_message_len));
        // A connection from the backlog of a reader that stops is served like the others.
        let closing = locked.is_draining().then_some(Closing::Stop);
        let deadline = after(now, self.settings.pace.idle_timeout);
        let entry = Entry {
            connection: Arc::clone(&connection),
            is_served: false,
            closing,
            is_called: false,
            is_held_up: false,
            schedule: Schedule {
                deadline,
                half_since: None,
                owes: false,
                must_close: false,
                has_said_end: false,
            },
        };
        locked.entries.insert(number, entry);
        self.counters.connections.add(1);
        self.counters.open.add(1);
        if let Some(deadline) = deadline {
            self.look_at(&mut locked, deadline, number);
        }
        drop(locked);
        if closing.is_some() {
            connection.begin_end();
        }
        // Ready at once: a worker checks the peer, even if that never sends.
        let is_one_way = !connection.stream.abilities().answers;
        let interest = if is_one_way {
            Interest::Read
        } else {
            Interest::Now
        };
        let added = connection.stream.stream();
        let added = added.map_or(Ok(()), |stream| self.poller.add(stream, number, interest));
        if let Err(error) = added {
            self.remove(number);
            return Registered::Unwatched(error);
        }
        if is_one_way {
            self.arm(&connection, number, Interest::Now);
        }
        Registered::Open(number)
    }

    fn look_at(&self, locked: &mut Locked, at: Instant, number: u64) {
        let is_first = locked
            .times
            .peek()
            .is_none_or(|Reverse((first, _))| at < *first);
        // A flood of short connections leaves the times of ended ones behind.
        if locked.times.len() > 2 * locked.entries.len() + 64 {
            let Locked { times, entries, .. } = locked;
            times.retain(|Reverse((_, number))| entries.contains_key(number));
        }
        locked.times.push(Reverse((at, number)));
        if is_first {
            self.supervisor_waker.wake();
        }
    }

    /// Whether this peer's memory is taken.
    pub(super) fn takes_memory_of(&self, peer: Peer) -> bool {
        let Some(process) = peer.identity.credentials() else {
            return false;
        };
        // To close its own memory would end this process's lock.
        let is_own = process.pid == Some(process::id());
        self.trusts(process.uid)
            && !is_own
            && !peer.recovered
            && self.closers.load(Ordering::Relaxed) == 0
    }

    /// Whether memory of this user's processes is taken.
    fn trusts(&self, user: u32) -> bool {
        match self.settings.recover {
            Recover::Nothing => false,
            Recover::SameUser => [0, effective_uid()].contains(&user),
            Recover::AnyUser => true,
        }
    }

    /// Takes over what the reader before this one had stored when it stopped. Returns the names, to
    /// be removed.
    pub(super) fn inherit(&self, store: &Store) -> Vec<String> {
        let mut arenas = self.arenas.lock();
        let take = |(name, descriptor): (String, OwnedDescriptor)| {
            let known = Known::decode(&name).filter(|known| {
                let user = known.identity.uid();
                user.is_some_and(|user| self.trusts(user))
            });
            // What it is may have been stored by anybody who may notify the manager.
            if let (Some(known), Ok(arena)) = (known, PassedArena::check(descriptor)) {
                arenas.inherit(arena, known, now());
            }
            name
        };
        let names = store.take().into_iter().map(take).collect();
        arenas.limit_orphans(self.settings.max_connections);
        names
    }

    /// Leaves what is known of the arenas to the next reader.
    pub(super) fn bequeath(&self, left: Vec<Left>) {
        let Some(store) = &self.store else { return };
        for Left { arena, known } in left {
            let (_, memory) = arena.identity();
            let name = known.encode(memory);
            let added = name.map_or(Ok(()), |name| store.add(&name, arena.lend()));
            if let Err(error) = added {
                // The next would have to wait likewise.
                return self.tell_not_stored(error);
            }
        }
    }

    /// The service manager does not keep what it is to.
    #[cfg(all(unix, feature = "systemd"))]
    pub(super) fn tell_not_stored(&self, error: StoreError) {
        let address = self.address.clone();
        self.emit_later(ReaderEvent::NotifyFailed { address, error });
    }

    /// There is none.
    #[cfg(not(all(unix, feature = "systemd")))]
    pub(super) fn tell_not_stored(&self, error: StoreError) {
        match error {}
    }

    /// This came with the first byte of a connection. Returns how many messages at its beginning
    /// had come on an earlier one.
    pub(super) fn attach(&self, connection: &Connection, descriptors: Vec<OwnedDescriptor>) -> u64 {
        let passed = (!descriptors.is_empty()).then(|| passed::Passed::check(descriptors));
        match passed {
            Some(passed::Passed::Arena(arena, ticket)) => {
                let passed = Passed {
                    arena: arena.identity(),
                    ticket,
                };
                // Before it counts as read.
                let identity = connection.peer.identity;
                let had = self.arenas.lock().attach(arena, ticket, identity);
                connection.note_first_read(Some(passed));
                had
            }
            Some(passed::Passed::Others(others)) => {
                connection.note_first_read(None);
                self.close_passed(others);
                0
            }
            None => {
                connection.note_first_read(None);
                0
            }
        }
    }

    /// Closes what a peer passed, which may take for ever: by a thread of its own, and nothing more
    /// is taken meanwhile.
    fn close_passed(&self, others: Vec<OwnedDescriptor>) {
        if others.is_empty() {
            return;
        }
        let closing = ClosingPassed::begin(&self.closers);
        let close = move || {
            drop(others);
            drop(closing);
        };
        let name = format!("{}-closer", self.settings.thread_name);
        let thread = thread::Builder::new().name(name);
        // Where it is refused, they are closed here.
        let _ = with_signals_blocked(|| thread.spawn(close));
    }

    /// A connection is over: what is known of its writer's arena.
    pub(super) fn detach(&self, connection: &Connection) {
        let Some(passed) = connection.take_passed() else {
            return;
        };
        let process = || connection.stream.stream().and_then(PeerProcess::of);
        let mut arenas = self.arenas.lock();
        let count = connection.settled();
        let key = Key {
            identity: connection.peer.identity,
            memory: passed.arena,
        };
        arenas.detach(key, passed.ticket, count, process, now());
        arenas.limit_orphans(self.settings.max_connections);
        drop(arenas);
        self.supervisor_waker.wake();
    }

    /// Whether a connection of that process may be there of which no byte was read.
    pub(super) fn may_come(&self, identity: Identity) -> bool {
        // Whoever accepts may be about to register one.
        let Some(_turn) = self.accept_turn.try_lock() else {
            return true;
        };
        let listener = self.listener.lock().clone();
        let locked = self.lock();
        let has_ended = locked.accepting == Accepting::Ended;
        let waits = listener.is_some_and(|listener| listener.socket().has_waiting());
        let is_unread = |entry: &Entry| {
            entry.connection.peer.identity == identity && !entry.connection.was_read()
        };
        !has_ended && waits || locked.entries.values().any(is_unread)
    }

    /// Whether another dead writer's messages may be taken over now.
    pub(super) fn may_recover(&self) -> bool {
        self.runs.load(Ordering::Relaxed) < MOST_RUNS
    }

    /// Reads what a dead writer left, as a connection of its own.
    pub(super) fn recover(&self, dead: Dead) {
        let Dead {
            arena,
            identity,
            received,
        } = dead;
        // What cannot be read is nonsense.
        let runs = arena.runs(received).unwrap_or_default();
        if !runs.is_empty() {
            let max_message_len = self.settings.max_message_len;
            let remains = Remains::new(arena, runs, max_message_len, Arc::clone(&self.runs));
            let _ = self.register_locked(self.lock(), Source::Remains(remains), identity, now());
        }
    }

    /// Removes a connection that has ended; its socket is closed with its last reference.
    pub(super) fn remove(&self, number: u64) {
        let mut locked = self.lock();
        let Some(entry) = locked.entries.remove(&number) else {
            return;
        };
        if let Some(uid) = entry.connection.peer.identity.uid() {
            locked.forget_one_of(uid);
        }
        self.counters.open.subtract(1);
        let reopen = locked.accepting == Accepting::Full;
        if reopen {
            locked.accepting = Accepting::Open;
        }
        let is_draining = locked.is_draining();
        let wake = is_draining && locked.entries.is_empty();
        drop(locked);
        if reopen {
            self.reopen_listener(is_draining);
        }
        if wake {
            self.supervisor_waker.wake();
        }
    }

    /// Has a worker accept again.
    pub(super) fn reopen_listener(&self, is_draining: bool) {
        self.arm_listener();
        if is_draining {
            // On systems where a listener that was shut down does not become ready.
            self.worker_waker.wake();
        }
    }

    pub(super) fn arm_listener(&self) {
        if let Some(listener) = self.listener.lock().clone() {
            // It can only fail if the kernel forgot a descriptor that is open.
            let _ = self.poller.arm(listener.socket(), LISTENER, Interest::Read);
        }
    }

    /// Notes how the memory of a half message has changed. Where that brings the sum below the
    /// limit, the connections that waited for memory read on.
    pub(super) fn note_held(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
            return;
        }
        let left = self.held.fetch_sub(before - after, Ordering::Relaxed) - (before - after);
        if left <= self.settings.max_partial_bytes {
            self.resume_over_budget();
        }
    }

    pub(super) fn is_over_budget(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.settings.max_partial_bytes
    }

    /// A batch of so many bytes goes out.
    pub(super) fn note_out(&self, bytes: usize) {
        self.out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is settled, and its memory free.
    pub(super) fn note_back(&self, bytes: usize) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        let before = self.out.fetch_sub(bytes, Ordering::Relaxed);
        if before > MOST_OUT && before - bytes <= MOST_OUT {
            self.resume_all_out();
        }
    }

    /// Batches that are out hold all the memory that they may.
    pub(super) fn is_all_out(&self) -> bool {
        self.out.load(Ordering::Relaxed) > MOST_OUT
    }

    fn resume_all_out(&self) {
        let mut locked = self.lock();
        let waiting = std::mem::take(&mut locked.all_out);
        self.resume(locked, waiting);
    }

    /// How many batches have been settled.
    #[cfg(all(unix, feature = "systemd"))]
    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Has a worker look at a connection, to end it where it must: after its turn, if it has one.
    pub(super) fn serve_soon(&self, number: u64, must_end: bool) {
        let mut locked = self.lock();
        let Some(entry) = locked.entries.get_mut(&number) else {
            return;
        };
        if must_end && entry.closing.is_none() {
            entry.closing = Some(Closing::NotStored);
        }
        if entry.is_served {
            entry.is_called = true;
            return;
        }
        // Nothing holds it up but its peer, which may leave its receipts unread.
        entry.is_held_up = false;
        let connection = Arc::clone(&entry.connection);
        drop(locked);
        if must_end {
            // This makes the socket ready. Nothing else may: see `end_turn`.
            connection.begin_end();
            return self.serve_end(&connection, number);
        }
        self.arm(&connection, number, Interest::Now);
    }

    pub(super) fn resume_over_budget(&self) {
        let mut locked = self.lock();
        let waiting = std::mem::take(&mut locked.over_budget);
        self.resume(locked, waiting);
    }

    fn resume(&self, mut locked: MutexGuard<'_, Locked>, waiting: Vec<u64>) {
        let fed: Vec<_> = waiting
            .into_iter()
            .filter_map(|number| {
                let entry = locked.entries.get_mut(&number)?;
                entry.is_held_up = false;
                Some((number, Arc::clone(&entry.connection)))
            })
            .collect();
        drop(locked);
        for (number, connection) in fed {
            self.arm(&connection, number, Interest::Now);
        }
    }

    pub(super) fn arm(&self, connection: &Connection, number: u64, interest: Interest) {
        let stream = connection.stream.stream();
        let is_now = interest == Interest::Now && !connection.stream.abilities().answers;
        // One way it is never ready to be written to; and what was left behind is always ready.
        let Some(stream) = stream.filter(|_| !is_now) else {
            return self.call(number);
        };
        // It can only fail if the kernel forgot a descriptor that is open.
        let _ = self.poller.arm(stream, number, interest);
    }

    /// Has a worker serve a connection, whether or not its stream is ready.
    fn call(&self, number: u64) {
        self.lock().called.push(number);
        self.worker_waker.wake();
    }

    /// Has a worker bring a connection to its end, which has begun.
    pub(super) fn serve_end(&self, connection: &Connection, number: u64) {
        if connection.waits_for_peer() {
            // Nothing makes it ready: its peer may leave its receipts unread.
            self.call(number);
        } else {
            self.arm(connection, number, Interest::Now);
        }
    }

    /// A worker takes the connection for a turn. `None` when it is gone, or another worker has it.
    pub(super) fn begin_turn(&self, number: u64) -> Option<(Arc<Connection>, Option<Closing>)> {
        let mut locked = self.lock();
        let entry = locked
            .entries
            .get_mut(&number)
            .filter(|entry| !entry.is_served)?;
        entry.is_served = true;
        entry.is_held_up = false;
        Some((Arc::clone(&entry.connection), entry.closing))
    }

    /// The turn is over and the connection goes on.
    pub(super) fn end_turn(
        &self,
        number: u64,
        outcome: &TurnEnd,
        schedule: Schedule,
        now: Instant,
    ) {
        let mut locked = self.lock();
        let is_over = matches!(outcome, TurnEnd::OverBudget);
        let Some(entry) = locked.entries.get_mut(&number) else {
            return;
        };
        entry.is_served = false;
        let farewell = schedule
            .deadline
            .filter(|_| schedule.has_said_end && !entry.schedule.has_said_end);
        entry.schedule = schedule;
        let is_called = std::mem::take(&mut entry.is_called);
        if schedule.deadline.is_some_and(|deadline| deadline <= now) && entry.closing.is_none() {
            // Its time ran out during the turn, when the supervisor did not look.
            entry.closing = Some(Closing::Overdue);
        }
        if schedule.must_close && entry.closing.is_none() {
            entry.closing = Some(Closing::NotStored);
        }
        let connection = Arc::clone(&entry.connection);
        if entry.closing.is_some() {
            // This makes the socket ready. Nothing else may: a peer can be silent, and leave its
            // receipts unread.
            connection.begin_end();
        }
        entry.is_held_up = matches!(outcome, TurnEnd::Wait | TurnEnd::AllOut) && !is_called;
        let is_due =
            entry.closing.is_some() && !schedule.has_said_end && !connection.waits_with_its_end();
        let is_open = entry.closing.is_none();
        if let Some(farewell) = farewell {
            // From now on there is always a time for it: see `Supervisor::keep_times`.
            self.look_at(&mut locked, farewell, number);
        }
        if matches!(outcome, TurnEnd::Wait | TurnEnd::Ending) && !is_called {
            return;
        }
        if matches!(outcome, TurnEnd::AllOut) && !is_called {
            locked.all_out.push(number);
            drop(locked);
            // The last one may have come back just before.
            if !self.is_all_out() {
                self.resume_all_out();
            }
            return;
        }
        // A receipt that is owed is due when there is room for it.
        let interest = if schedule.owes || is_called {
            Interest::Now
        } else {
            Interest::Read
        };
        if is_over && is_open && !is_called {
            locked.over_budget.push(number);
            let watch = !std::mem::replace(&mut locked.is_watched, true);
            drop(locked);
            if watch {
                self.supervisor_waker.wake();
            }
            // Another connection may have given its memory back just before.
            if !self.is_over_budget() {
                self.resume_over_budget();
            }
            return;
        }
        drop(locked);
        if is_due {
            // The close was decided during the turn.
            return self.serve_end(&connection, number);
        }
        self.arm(&connection, number, interest);
    }

    /// A worker begins to work on something.
    pub(super) fn begin_work(&self) {
        let mut locked = self.lock();
        locked.thread_pool.busy += 1;
        if locked.thread_pool.all_busy() && !locked.is_watched {
            locked.is_watched = true;
            drop(locked);
            self.supervisor_waker.wake();
        }
    }

    pub(super) fn end_work(&self) {
        let mut locked = self.lock();
        locked.thread_pool.busy -= 1;
        locked.thread_pool.turns += 1;
    }

    /// How long a worker waits for work before it asks [`Shared::may_leave`]. The last worker waits
    /// for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        const SURPLUS_STAYS: Duration = Duration::from_secs(5);
        (self.lock().thread_pool.threads > 1).then_some(SURPLUS_STAYS)
    }

    /// Whether a worker that found nothing to do may end. Until it has, it counts as busy.
    pub(super) fn may_leave(&self) -> bool {
        let mut locked = self.lock();
        let may = locked.thread_pool.can_spare_one();
        locked.thread_pool.busy += usize::from(may);
        may
    }

    /// A worker ends, because it `may` or because all do. It must have given up its handler: a
    /// shutdown that waits for the last worker promises that the handler is dropped.
    pub(super) fn leave(&self, may: bool) {
        let mut locked = self.lock();
        locked.thread_pool.busy -= usize::from(may);
        if locked.thread_pool.threads == 1 {
            // The others have ended, and no more are started.
            MutexGuard::unlocked(&mut locked, || {
                self.drop_guarded(self.settings.callbacks.take());
            });
        }
        locked.thread_pool.threads -= 1;
        self.counters.threads.subtract(1);
        if locked.thread_pool.threads == 0 {
            self.supervisor_waker.wake();
        }
    }
}
