//! What the threads of a caller share, and how one of them drives the connection for all.
//!
//! A thread writes its own call. Then, if no other thread drives, it drives: it connects, waits for
//! the socket, reads, and hands the others their answers, until its own has come. So a single
//! thread waits in the system's call for its answer, and no other thread is woken for it. The
//! others sleep until they are woken with an answer, or in order to drive.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
#[cfg(feature = "async")]
use std::mem;
use std::sync::Arc;
use std::task::Waker as TaskWaker;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::dial::dial;
use super::machine::{Answers, Key, Limits, Machine, Outcome};
use crate::address::Address;
use crate::backoff::Backoff;
use crate::calls::error::CallError;
use crate::calls::message::{Frames, ReplyFrame};
use crate::clock::now;
use crate::deadline::{Deadline, after, earlier, has_come, remaining};
use crate::panic_guard::guarded;
use crate::sys::fork::HomeProcess;
use crate::sys::{self, Received, Sent, Stream, Waker, Wanted};
use crate::system_error::SystemError;

/// How much is read at a time, at most.
const READ_SIZE: usize = 64 * 1024;

/// How much is read at first: an idle caller keeps no more memory than that.
const FIRST_READ_SIZE: usize = 4 * 1024;

/// How many frames are written with one call of the system.
const MOST_SLICES: usize = 64;

/// After a loss the next try waits at least so long: a process that dies may lose its connections
/// before its listening socket, and what is written to that is lost with it.
const AFTER_LOSS: Duration = Duration::from_millis(20);

/// How often a thread that finds a time over reads what has come, at most: an endless feed is to
/// hold up no time. More than a socket holds.
const MOST_LATE_READS: u8 = 32;

/// When a socket without memory for more is written to again.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Address,
    limits: Limits,
    expect_peer_uid: Option<u32>,
    state: Mutex<State>,
    /// Of whoever drives.
    input: Mutex<Input>,
    /// Ends the wait of whoever drives.
    waker: Waker,
    process: HomeProcess,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    link: Link,
    backoff: Backoff,
    /// How long whoever drives does so.
    driven: Option<Until>,
    is_writing: bool,
    /// When whoever drives looks at the clock.
    looks_at: Deadline,
    /// A thread drives for as long as the caller lives, for tasks.
    has_thread: bool,
    has_ended: bool,
    waiting: BTreeMap<Key, Waiting>,
    pub(super) connects: u64,
}

#[derive(Debug)]
enum Link {
    Down {
        retry_at: Instant,
        /// Why there is none.
        error: Option<SystemError>,
    },
    Up(Arc<Stream>),
}

/// What is woken when a call has news.
#[derive(Debug)]
enum Waiting {
    Thread(Thread),
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "for tasks"))]
    Task(TaskWaker),
}

impl Waiting {
    fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            // It is the user's: a panic in it is none of this thread's.
            Self::Task(waker) => drop(guarded(|| waker.wake())),
        }
    }
}

/// What came of one connection, and is not whole yet.
#[derive(Debug)]
struct Input {
    buffer: Vec<u8>,
    frames: Frames<ReplyFrame>,
    replies: Vec<ReplyFrame>,
}

/// How long a thread drives.
#[derive(Clone, Copy, Debug)]
enum Until {
    News(Key),
    Sent(Key),
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "for tasks"))]
    End,
}

/// The settings of a caller that its driver knows.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) limits: Limits,
    pub(super) backoff_min: Duration,
    pub(super) backoff_max: Duration,
    pub(super) expect_peer_uid: Option<u32>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let backoff = Backoff::new(
            settings.backoff_min,
            settings.backoff_max,
            fastrand::u64(..),
        );
        Ok(Self {
            address: settings.address,
            limits: settings.limits,
            expect_peer_uid: settings.expect_peer_uid,
            state: Mutex::new(State {
                machine: Machine::new(settings.limits),
                link: Link::Down {
                    retry_at: now(),
                    error: None,
                },
                backoff,
                driven: None,
                is_writing: false,
                looks_at: None,
                has_thread: false,
                has_ended: false,
                waiting: BTreeMap::new(),
                connects: 0,
            }),
            input: Mutex::new(Input {
                buffer: vec![0; FIRST_READ_SIZE],
                frames: Frames::new(settings.limits.max_reply_len),
                replies: Vec::new(),
            }),
            waker: Waker::new()?,
            process: HomeProcess::this(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Makes one call, and writes it.
    pub(super) fn open(
        &self,
        method: &str,
        body: &[u8],
        answers: Answers,
        timeout: Duration,
    ) -> Result<Key, CallError> {
        self.open_with(|machine, at| machine.open(method, body, answers, timeout, at))?
    }

    /// Makes some calls, and writes them together.
    pub(super) fn open_all<'a>(
        &self,
        calls: impl Iterator<Item = (&'a str, &'a [u8])>,
        answers: Answers,
        timeout: Duration,
    ) -> Vec<Result<Key, CallError>> {
        if self.process.is_elsewhere() {
            return calls.map(|_| Err(CallError::InForkedChild)).collect();
        }
        let opened = self.open_with(|machine, at| {
            let open = |(method, body)| machine.open(method, body, answers, timeout, at);
            calls.map(open).collect()
        });
        opened.unwrap_or_default()
    }

    fn open_with<T>(&self, open: impl FnOnce(&mut Machine, Instant) -> T) -> Result<T, CallError> {
        // Its locks may be held by a thread that is not here.
        if self.process.is_elsewhere() {
            return Err(CallError::InForkedChild);
        }
        let at = now();
        let mut state = self.lock();
        let opened = open(&mut state.machine, at);
        let woken = write(&mut state, at);
        self.nudge(&state);
        drop(state);
        wake(woken);
        Ok(opened)
    }

    /// Waits until a call has news, and takes them.
    pub(super) fn wait(&self, key: Key) -> Outcome {
        if self.process.is_elsewhere() {
            return Outcome::End(Err(CallError::InForkedChild));
        }
        loop {
            let mut state = self.lock();
            let outcome = state.machine.take(key);
            if outcome != Outcome::Pending {
                state.waiting.remove(&key);
                let next = state.next_to_drive();
                drop(state);
                wake(next);
                return outcome;
            }
            if state.driven.is_some() || state.has_thread {
                state
                    .waiting
                    .insert(key, Waiting::Thread(thread::current()));
                let deadline = state.machine.deadline(key);
                drop(state);
                match remaining(deadline, now()) {
                    Some(timeout) => thread::park_timeout(timeout),
                    None => thread::park(),
                }
                // Whoever drives may look at the clock later than that.
                if has_come(deadline, now()) {
                    let mut state = self.lock();
                    let woken = go_on(&mut state, now());
                    self.nudge(&state);
                    drop(state);
                    wake(woken);
                }
            } else {
                state.waiting.remove(&key);
                self.drive(state, Until::News(key));
            }
        }
    }

    /// Sees to it that a call goes out though no thread waits for its answer yet.
    pub(super) fn send(&self, key: Key) {
        let state = self.lock();
        if state.driven.is_none() && !state.has_thread && !state.machine.is_sent_or_over(key) {
            self.drive(state, Until::Sent(key));
        }
    }

    /// Takes the news of a call, or has `waker` woken when there are some. A thread must drive.
    #[cfg(feature = "async")]
    pub(super) fn poll(&self, key: Key, waker: &TaskWaker) -> Outcome {
        if self.process.is_elsewhere() {
            return Outcome::End(Err(CallError::InForkedChild));
        }
        // What becomes of wakers is the user's code, which may call.
        let waker = waker.clone();
        let mut state = self.lock();
        let outcome = state.machine.take(key);
        let old = if outcome == Outcome::Pending {
            let deadline = state.machine.deadline(key);
            if earlier(deadline, state.looks_at) != state.looks_at {
                self.waker.wake();
            }
            state.waiting.insert(key, Waiting::Task(waker))
        } else {
            state.waiting.remove(&key)
        };
        drop(state);
        drop(old);
        outcome
    }

    /// Nobody waits for a call any more.
    pub(super) fn forget(&self, key: Key) {
        if self.process.is_elsewhere() {
            return;
        }
        let mut state = self.lock();
        state.machine.forget(key);
        let old = state.waiting.remove(&key);
        let mut woken = write(&mut state, now());
        woken.extend(state.next_to_drive());
        self.nudge(&state);
        drop(state);
        drop(old);
        wake(woken);
    }

    /// Who drives is to wait for room too, or to connect; or it has come to its end by what others
    /// wrote for it.
    fn nudge(&self, state: &State) {
        let Some(until) = state.driven else {
            return;
        };
        let has_to_write = !state.is_writing && state.machine.has_to_write();
        if has_to_write || state.has_come(until) {
            self.waker.wake();
        }
    }

    /// Says whether a thread is to be started that drives: only the first call is told so.
    #[cfg(feature = "async")]
    pub(super) fn claim_thread(&self) -> bool {
        !mem::replace(&mut self.lock().has_thread, true)
    }

    /// There is no such thread after all.
    #[cfg(feature = "async")]
    pub(super) fn disclaim_thread(&self) {
        let mut state = self.lock();
        state.has_thread = false;
        // Those that wait left the driving to it.
        let next = state.next_to_drive();
        drop(state);
        wake(next);
    }

    /// Drives until the caller has ended.
    #[cfg(feature = "async")]
    pub(super) fn run(&self) {
        loop {
            let mut state = self.lock();
            if state.has_ended {
                // The threads that call drive again.
                (state.has_ended, state.has_thread) = (false, false);
                let next = state.next_to_drive();
                drop(state);
                wake(next);
                return;
            }
            if state.driven.is_some() {
                // A thread that drives for its own answer: it wakes this one when it has it.
                state.waiting.insert(0, Waiting::Thread(thread::current()));
                drop(state);
                thread::park();
            } else {
                state.waiting.remove(&0);
                self.drive(state, Until::End);
            }
        }
    }

    /// Ends the thread that drives.
    #[cfg(feature = "async")]
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        let thread = state.waiting.remove(&0);
        drop(state);
        self.waker.wake();
        wake(thread);
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        !self.process.is_elsewhere()
    }

    /// Drives the connection, for all, until there are news for this thread. Nobody else does.
    fn drive<'a>(&'a self, mut state: MutexGuard<'a, State>, until: Until) {
        state.driven = Some(until);
        let mut input = self.input.lock();
        // Never under the lock, which they take.
        let mut woken = Vec::new();
        // What has come in time is taken before the time is found to be over.
        let mut late_reads = MOST_LATE_READS;
        loop {
            let mut at = now();
            if state.is_to_connect(at) {
                let until = earlier(state.machine.next_deadline(), after(at, CONNECT_TIMEOUT));
                drop(state);
                wake(woken.drain(..));
                let dialed = dial(&self.address, self.expect_peer_uid, until);
                state = self.lock();
                at = now();
                state.dialed(dialed, at);
                input.frames = Frames::new(self.limits.max_reply_len);
            }
            let is_late = late_reads > 0
                && matches!(state.link, Link::Up(_))
                && has_come(state.machine.next_deadline(), at);
            if is_late {
                late_reads -= 1;
            } else {
                woken.extend(go_on(&mut state, at));
            }
            if state.has_come(until) {
                state.driven = None;
                // Who is woken takes the lock of the input, perhaps.
                drop(input);
                woken.extend(state.next_to_drive());
                drop(state);
                wake(woken);
                return;
            }
            let (stream, until) = match &state.link {
                Link::Up(stream) => (Some(Arc::clone(stream)), None),
                // A thread that drives for tasks has nothing to connect for while none calls.
                Link::Down { retry_at, .. } => {
                    (None, state.machine.has_to_write().then_some(*retry_at))
                }
            };
            let has_to_write = state.machine.has_to_write() && !state.is_writing;
            let mut until = earlier(until, state.machine.next_deadline());
            if is_late {
                until = Some(at);
            } else if until.is_none() {
                // To wake for nothing once costs less than to be woken for the next call's time.
                until = state.looks_at.filter(|looks_at| *looks_at > at);
            }
            state.looks_at = until;
            drop(state);
            wake(woken.drain(..));
            let timeout = remaining(until, at);
            let (came, news) = self.wait_for(stream.as_deref(), has_to_write, timeout, &mut input);
            if is_late && !came.has_read {
                late_reads = 0;
            }
            state = self.lock();
            if came.is_woken {
                self.waker.reset();
            }
            // Another thread may have lost that connection meanwhile; none but this one makes a new
            // one.
            if stream.is_some_and(|stream| state.is_up(&stream)) {
                woken.extend(take_in(&mut state, &mut input, news));
            } else {
                input.replies.clear();
            }
        }
    }

    /// Waits, and reads what came.
    fn wait_for(
        &self,
        stream: Option<&Stream>,
        has_to_write: bool,
        mut timeout: Option<Duration>,
        input: &mut Input,
    ) -> (Came, News) {
        let wanted = Wanted {
            room: stream.is_some() && has_to_write,
            bytes: stream.is_some(),
        };
        if wanted.room {
            timeout = Some(timeout.map_or(SHORT_OF_MEMORY, |timeout| timeout.min(SHORT_OF_MEMORY)));
        }
        let ready = sys::wait(&self.waker, stream, wanted, timeout);
        let has_read = stream.is_some() && (ready.bytes || ready.hangup);
        let came = Came {
            is_woken: ready.woken,
            has_read,
        };
        match stream.filter(|_| has_read) {
            Some(stream) => (came, read(stream, input)),
            None => (came, News::Nothing),
        }
    }
}

/// Writes, and ends the calls whose time is over.
fn go_on(state: &mut MutexGuard<'_, State>, at: Instant) -> Vec<Waiting> {
    let mut woken = write(state, at);
    let mut over = Vec::new();
    let State { machine, link, .. } = &mut **state;
    let unsent = match link {
        Link::Down { error, .. } => error.as_ref(),
        Link::Up(_) => None,
    };
    machine.expire(at, unsent, &mut over);
    if !over.is_empty() {
        // What cancels them.
        woken.extend(write(state, at));
    }
    woken.extend(state.waiting_for(&over));
    woken
}

/// Writes what the socket takes. Returns who is to be told that it was written, or lost.
/// Not under the lock: other threads queue meanwhile, and theirs goes with the next write.
fn write(state: &mut MutexGuard<'_, State>, at: Instant) -> Vec<Waiting> {
    let mut over = Vec::new();
    if state.is_writing {
        return Vec::new();
    }
    state.is_writing = true;
    while let (Link::Up(stream), true) = (&state.link, state.machine.has_to_write()) {
        let stream = Arc::clone(stream);
        let pieces = state.machine.begin_write(MOST_SLICES);
        let sent = MutexGuard::unlocked(state, || send(&stream, &pieces));
        if !state.is_up(&stream) {
            // It was lost meanwhile, and what was on its way with it.
            continue;
        }
        match sent {
            Ok(Sent::Some(len)) => state.machine.wrote(len, &mut over),
            Ok(Sent::Blocked | Sent::NoMemory) => {
                state.machine.wrote(0, &mut over);
                break;
            }
            Err(error) => {
                state.machine.wrote(0, &mut over);
                over.extend(state.lose(Some(error.into()), at));
                break;
            }
        }
    }
    state.is_writing = false;
    state.waiting_for(&over)
}

/// Hands out what was read.
fn take_in(state: &mut State, input: &mut Input, news: News) -> Vec<Waiting> {
    let mut over = Vec::new();
    let mut lost = match news {
        News::Nothing => None,
        News::Lost(source) => Some(source),
    };
    for reply in input.replies.drain(..) {
        // A peer that answers is there.
        state.backoff.reset();
        match state.machine.received(reply) {
            Ok(key) => over.extend(key),
            Err(malformed) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, malformed.to_string());
                lost = Some(Some(error.into()));
                break;
            }
        }
    }
    input.replies.clear();
    if let Some(source) = lost {
        over.extend(state.lose(source, now()));
    }
    state.waiting_for(&over)
}

/// How long a connection over TCP may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

struct Came {
    is_woken: bool,
    has_read: bool,
}

/// What a read has brought besides replies.
enum News {
    Nothing,
    /// The connection has ended, and why, if it was not the peer's will.
    Lost(Option<SystemError>),
}

fn send(stream: &Stream, pieces: &[Bytes]) -> io::Result<Sent> {
    if let [piece] = pieces {
        return stream.send(&[IoSlice::new(piece)]);
    }
    let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    stream.send(&slices)
}

/// Reads once.
fn read(stream: &Stream, input: &mut Input) -> News {
    let Input {
        buffer,
        frames,
        replies,
    } = input;
    match stream.receive(buffer) {
        Ok(Received::Some(len)) => {
            let fed = frames.feed(buffer.get(..len).unwrap_or_default(), replies);
            if len == buffer.len() && len < READ_SIZE {
                *buffer = vec![0; READ_SIZE];
            }
            match fed {
                Ok(()) => News::Nothing,
                Err(malformed) => {
                    let text = malformed.to_string();
                    News::Lost(Some(
                        io::Error::new(io::ErrorKind::InvalidData, text).into(),
                    ))
                }
            }
        }
        Ok(Received::Nothing) => News::Nothing,
        Ok(Received::End) => News::Lost(None),
        Err(error) => News::Lost(Some(error.into())),
    }
}

impl State {
    /// Whether that for which somebody drives has come.
    fn has_come(&self, until: Until) -> bool {
        match until {
            Until::News(key) => self.machine.has_news(key),
            Until::Sent(key) => self.machine.is_sent_or_over(key),
            Until::End => self.has_ended,
        }
    }

    /// Whether this is the connection still.
    fn is_up(&self, stream: &Arc<Stream>) -> bool {
        matches!(&self.link, Link::Up(current) if Arc::ptr_eq(current, stream))
    }

    fn is_to_connect(&self, at: Instant) -> bool {
        let is_due = matches!(self.link, Link::Down { retry_at, .. } if at >= retry_at);
        is_due && self.machine.has_to_write()
    }

    fn dialed(&mut self, dialed: io::Result<Stream>, at: Instant) {
        self.link = match dialed {
            Ok(stream) => {
                self.connects += 1;
                Link::Up(Arc::new(stream))
            }
            Err(error) => Link::Down {
                retry_at: after(at, self.next_wait()).unwrap_or(at),
                error: Some(error.into()),
            },
        };
    }

    /// The connection is lost. Returns the calls that are over by that.
    fn lose(&mut self, source: Option<SystemError>, at: Instant) -> Vec<Key> {
        if let Link::Up(stream) = &self.link {
            // For whoever waits for it.
            stream.cut();
        }
        let mut over = Vec::new();
        self.machine.lost(source.as_ref(), &mut over);
        let wait = self.next_wait().max(AFTER_LOSS);
        self.link = Link::Down {
            retry_at: after(at, wait).unwrap_or(at),
            error: source,
        };
        over
    }

    /// The wait after a failure: the backoff's first, of nothing, is for the first try of all.
    fn next_wait(&mut self) -> Duration {
        let wait = self.backoff.next_wait();
        if wait.is_zero() {
            self.backoff.next_wait()
        } else {
            wait
        }
    }

    /// Those that wait for these calls, which have news.
    fn waiting_for(&mut self, keys: &[Key]) -> Vec<Waiting> {
        let waiting = keys.iter().filter_map(|key| self.waiting.remove(key));
        waiting.collect()
    }

    /// A thread that waits, where nobody drives: it is to drive.
    fn next_to_drive(&mut self) -> Option<Waiting> {
        if self.driven.is_some() {
            return None;
        }
        let is_thread = |waiting: &&Waiting| matches!(waiting, Waiting::Thread(_));
        // The thread that drives for tasks has the first place.
        let waiting = self.waiting.values().find(is_thread)?;
        match waiting {
            Waiting::Thread(thread) => Some(Waiting::Thread(thread.clone())),
            Waiting::Task(_) => None,
        }
    }
}

fn wake(waiting: impl IntoIterator<Item = Waiting>) {
    for waiting in waiting {
        waiting.wake();
    }
}
