//! The writer's machines in a world without a kernel: the clock is a number, the socket a run of bytes, and everything that can
//! go wrong does, from a seed. After every step the promises are checked.
//!
//! ```text
//! UDS_IPC_HISTORIES=1000000 cargo test --release --lib simulation
//! UDS_IPC_SEED=42 cargo test --lib simulation
//! ```
//!
//! A failure prints its seed, and the shortest history found that still fails.

#![expect(clippy::disallowed_methods, reason = "any moment will do to count from")]

use std::env;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::block::OWN_BLOCK_SIZE;
use super::counters::Counters;
use super::outbox::Ending;
use super::queue::{Limits, Overflow, Queue};
use super::state::{Pending, State, Step, Timing, WaitFor};
use crate::backoff::Backoff;
use crate::frame::{self, Parsed};
use crate::metrics::widen;

/// Histories in an ordinary run of the tests. CI runs many more.
const HISTORIES: u64 = 1_500;

/// Steps in a history.
const STEPS: usize = 150;

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A producer sends a message of that length.
    Send(usize),
    SendOwned(usize),
    Reserve(usize),
    Commit,
    DropSlot,
    /// The thread takes its next step; the kernel takes at most so many bytes.
    Thread(usize),
    /// Likewise, and while it writes a producer sends that many messages.
    ThreadAndSends(usize, usize),
    NoMemory,
    /// The reader reads at most so many bytes.
    Read(usize),
    /// The reader stops as planned: no more is sent, and what was is read.
    Stop,
    /// The reader is killed, with whatever it has not read.
    Kill,
    Start,
    BacklogFills,
    Pass(u64),
    Shutdown(u64),
}

/// What holds for a whole history.
#[derive(Clone, Copy, Debug)]
struct Setting {
    limits: Limits,
    timing: Timing,
    socket_size: usize,
    /// Longer messages make the reader hang up.
    reader_limit: usize,
}

/// The connection as the kernel has it.
#[derive(Default)]
struct Socket {
    bytes: Vec<u8>,
    /// The reader forbids to send, or is gone.
    is_shut: bool,
}

struct World {
    setting: Setting,
    now: Instant,
    queue: Queue,
    counters: Arc<Counters>,
    state: State,
    socket: Option<Socket>,
    /// What the reader has of the frame that it is in.
    half: Vec<u8>,
    is_reader_up: bool,
    is_backlog_full: bool,
    has_exited: bool,
    reserved: Vec<usize>,
    next: u32,
    accepted: Vec<u32>,
    /// In the order in which they came.
    received: Vec<u32>,
    /// Taken by the kernel whole, and never read: the reader died.
    lost: u64,
    /// When the kernel began to take nothing.
    refused_at: Option<Instant>,
    peer_endings: u64,
}

fn message(number: u32, len: usize) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(len.max(4), 0);
    message
}

/// The messages in a run of bytes, and where the half one at its end begins.
fn frames(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut messages, mut at) = (Vec::new(), 0);
    while let Some(Parsed::Length { payload_len, prefix_len }) = bytes.get(at..).map(frame::parse_prefix) {
        let start = at + prefix_len.get();
        let Some(message) = bytes.get(start..start + usize::try_from(payload_len).unwrap()) else { break };
        messages.push(message);
        at = start + message.len();
    }
    (messages, at)
}

impl World {
    fn new(setting: Setting, seed: u64) -> Self {
        let now = Instant::now();
        let counters = Arc::new(Counters::default());
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
        Self {
            setting,
            now,
            queue: Queue::new(setting.limits, Arc::clone(&counters)),
            counters,
            state: State::new(now, backoff, setting.timing),
            socket: None,
            half: Vec::new(),
            is_reader_up: true,
            is_backlog_full: false,
            has_exited: false,
            reserved: Vec::new(),
            next: 0,
            accepted: Vec::new(),
            received: Vec::new(),
            lost: 0,
            refused_at: None,
            peer_endings: 0,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send(len) => self.send(|queue, message| queue.push(message).is_ok(), len),
            Act::SendOwned(len) => self.send(
                |queue, message| queue.push_owned(message.len(), || message.to_vec().into()).is_ok(),
                len,
            ),
            Act::Reserve(len) => {
                if self.queue.reserve(len.max(4)).is_ok() {
                    self.reserved.push(len.max(4));
                }
            }
            Act::Commit => {
                if let Some(len) = self.reserved.pop() {
                    self.queue.unreserve(len);
                    let before = self.accepted.len();
                    self.send(|queue, message| queue.push(message).is_ok(), len);
                    let is_open = self.queue.check_open().is_ok();
                    assert_eq!(self.accepted.len() > before, is_open, "room that was reserved is there");
                }
            }
            Act::DropSlot => {
                if let Some(len) = self.reserved.pop() {
                    self.queue.unreserve(len);
                }
            }
            Act::Thread(most) => self.thread(most, 0, false),
            Act::ThreadAndSends(most, sends) => self.thread(most, sends, false),
            Act::NoMemory => self.thread(0, 0, true),
            Act::Read(len) => self.read(len),
            Act::Stop => {
                if let Some(socket) = &mut self.socket {
                    socket.is_shut = true;
                }
                self.read(usize::MAX);
                self.hang_up();
                self.is_reader_up = false;
            }
            Act::Kill => {
                self.hang_up();
                self.is_reader_up = false;
            }
            Act::Start => (self.is_reader_up, self.is_backlog_full) = (true, false),
            Act::BacklogFills => self.is_backlog_full = true,
            Act::Pass(millis) => self.now += Duration::from_millis(millis),
            Act::Shutdown(millis) => {
                self.queue.close();
                self.state.drain(Some(self.now + Duration::from_millis(millis)));
            }
        }
    }

    fn send(&mut self, push: impl FnOnce(&mut Queue, &[u8]) -> bool, len: usize) {
        let number = self.next;
        self.next += 1;
        if push(&mut self.queue, &message(number, len)) {
            self.accepted.push(number);
        }
    }

    /// What the worker does, with a kernel that takes at most `most` bytes.
    fn thread(&mut self, most: usize, sends: usize, no_memory: bool) {
        if self.has_exited {
            return;
        }
        if self.queue.held().messages == 0 {
            self.refused_at = None;
        }
        let pending = match self.queue.held().messages {
            0 => Pending::Nothing,
            _ if self.queue.has_block() => Pending::Due,
            _ => Pending::Few,
        };
        match self.state.step(self.now, pending) {
            Step::Connect if !self.is_reader_up => drop(self.state.on_connect_failed(self.now)),
            Step::Connect if self.is_backlog_full => drop(self.state.on_backlog_full(self.now)),
            Step::Connect => {
                self.half.clear();
                self.socket = Some(Socket::default());
                self.refused_at = None;
                self.state.on_connected(self.now);
            }
            Step::Write => self.write(most, sends, no_memory),
            Step::TimeOut => self.lose(Ending::Timeout),
            Step::Exit => {
                self.has_exited = true;
                self.queue.close();
                self.queue.discard();
            }
            Step::KeepAlive => self.state.on_written(self.now),
            Step::Wait(..) if self.socket.as_ref().is_some_and(|socket| socket.is_shut) => {
                self.lose(Ending::Peer);
            }
            Step::Wait(WaitFor::Room, until) => {
                let end = self.refused_at.expect("a write was refused") + self.setting.timing.write_timeout;
                assert!(
                    until.is_some_and(|until| until <= end && until > self.now),
                    "a peer that takes nothing is waited for too long"
                );
            }
            Step::Wait(..) => {}
        }
    }

    fn write(&mut self, most: usize, sends: usize, no_memory: bool) {
        let outbox = self.queue.begin_write();
        for _ in 0..sends {
            self.send(|queue, message| queue.push(message).is_ok(), 8);
        }
        let Some(socket) = &mut self.socket else { panic!("a write without a connection") };
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.fill(&mut slices);
        let waiting: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(
            waiting > 0 && waiting <= outbox.remaining_len(),
            "a write of nothing, or of more than there is"
        );
        let room = self.setting.socket_size.saturating_sub(socket.bytes.len());
        let taken = if socket.is_shut || no_memory { 0 } else { waiting.min(room).min(most) };
        let mut left = taken;
        for slice in &slices[..filled] {
            let part = slice.len().min(left);
            socket.bytes.extend_from_slice(&slice[..part]);
            left -= part;
        }
        let is_shut = socket.is_shut;
        self.queue.end_write(outbox, taken);
        if is_shut {
            self.lose(Ending::Peer);
        } else if no_memory {
            self.refused_at.get_or_insert(self.now);
            self.state.on_no_memory(self.now);
        } else if taken == 0 {
            self.refused_at.get_or_insert(self.now);
            self.state.on_blocked(self.now);
        } else {
            self.refused_at = None;
            self.state.on_written(self.now);
        }
    }

    /// The writer gives the connection up. What the kernel has of it, the reader may still read.
    fn lose(&mut self, ending: Ending) {
        if ending == Ending::Timeout {
            self.read(usize::MAX);
        }
        self.hang_up();
        self.socket = None;
        self.peer_endings += u64::from(ending == Ending::Peer);
        self.queue.rewind(ending);
        self.state.on_lost(self.now);
    }

    /// The reader reads, and hangs up on what is too long for it.
    fn read(&mut self, most: usize) {
        let Some(socket) = &mut self.socket else { return };
        let len = socket.bytes.len().min(most);
        self.half.extend(socket.bytes.drain(..len));
        let (messages, end) = frames(&self.half);
        let limit = self.setting.reader_limit;
        let good = messages.iter().position(|message| message.len() > limit).unwrap_or(messages.len());
        for message in &messages[..good] {
            let number = u32::from_be_bytes(message[..4].try_into().unwrap());
            assert!(
                self.received.last().is_none_or(|last| *last < number),
                "{number} after {:?}",
                self.received
            );
            self.received.push(number);
        }
        let is_too_long = |bytes: &[u8]| matches!(frame::parse_prefix(bytes), Parsed::Length { payload_len, .. } if payload_len > widen(limit));
        if good < messages.len() || is_too_long(&self.half[end..]) {
            self.lost += widen(messages.len() - good);
            self.half.drain(..end);
            self.hang_up();
        } else {
            self.half.drain(..end);
        }
    }

    /// The reader is gone from this connection, and with it what it has not read.
    fn hang_up(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let unread = [&self.half[..], &socket.bytes].concat();
        self.lost += widen(frames(&unread).0.len());
        self.half.clear();
        socket.bytes.clear();
        socket.is_shut = true;
    }

    /// What must hold after every step.
    fn check(&self) {
        let (held, metrics) = (self.queue.held(), self.counters.metrics());
        let reserved: usize = self.reserved.iter().sum();
        let limits = self.setting.limits;
        assert!(held.messages + widen(self.reserved.len()) <= limits.messages, "bound in messages");
        assert!(held.bytes + widen(reserved) <= limits.bytes, "bound in bytes");
        assert_eq!(widen(self.accepted.len()), metrics.accepted.messages);
        let ended = metrics.sent + metrics.dropped.oldest + metrics.failed.total();
        assert_eq!(metrics.accepted, ended + metrics.queued, "the books");
        assert!(metrics.failed.given_up.messages * 3 <= self.peer_endings, "given up too early");
        assert!(self.received.is_sorted_by(|a, b| a < b), "order, and nothing twice: {:?}", self.received);
        let in_kernel = self
            .socket
            .as_ref()
            .map_or(0, |socket| widen(frames(&[&self.half[..], &socket.bytes].concat()).0.len()));
        assert_eq!(
            metrics.sent.messages,
            widen(self.received.len()) + self.lost + in_kernel,
            "what was sent has been read, is still there, or was lost with a reader"
        );
    }

    /// With a reader that reads, everything that can still go out does, in bounded time.
    fn finish(&mut self) {
        self.act(Act::Start);
        // A larger buffer saves steps; where the reader hangs up on what is too long, it must not hold all of that.
        self.setting.socket_size = if self.setting.reader_limit == usize::MAX { 1 << 20 } else { 4096 };
        for _ in 0..self.accepted.len() * 200 + 2_000 {
            self.thread(usize::MAX, 0, false);
            self.read(usize::MAX);
            if self.queue.held().messages == 0 {
                return;
            }
            self.now += Duration::from_millis(20);
            self.check();
        }
        panic!("{} messages never go out", self.queue.held().messages);
    }
}

fn history(seed: u64) -> (Setting, Vec<Act>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let setting = Setting {
        limits: Limits {
            messages: random.u64(1..40),
            bytes: random.u64(50_000..300_000),
            overflow: if random.bool() { Overflow::Refuse } else { Overflow::DropOldest },
        },
        timing: Timing {
            write_timeout: Duration::from_millis(random.u64(1..2_000)),
            connect_timeout: Duration::from_millis(random.u64(1..2_000)),
            linger: Duration::from_micros(random.u64(0..2) * 200),
            keepalive: random.bool().then(|| Duration::from_millis(random.u64(1..1_000))),
        },
        socket_size: random.usize(1..5_000),
        reader_limit: if random.u8(0..4) == 0 { 300 } else { usize::MAX },
    };
    let len = |random: &mut fastrand::Rng| match random.u8(0..10) {
        0 => random.usize(30_000..40_000),
        1..4 => random.usize(120..400),
        _ => random.usize(4..20),
    };
    let acts = (0..STEPS).map(|_| match random.u8(0..64) {
        0..16 => Act::Send(len(&mut random)),
        16..19 => Act::SendOwned(random.usize(OWN_BLOCK_SIZE..OWN_BLOCK_SIZE + 20_000)),
        19 => Act::Reserve(len(&mut random)),
        20 => Act::Commit,
        21 => Act::DropSlot,
        22..36 => Act::Thread(random.usize(1..6_000)),
        36..42 => Act::ThreadAndSends(random.usize(1..6_000), random.usize(1..6)),
        42 => Act::NoMemory,
        43..52 => Act::Read(random.usize(1..6_000)),
        52 => Act::Stop,
        53 => Act::Kill,
        54..57 => Act::Start,
        57 => Act::BacklogFills,
        58..63 => Act::Pass(random.u64(0..500)),
        _ if random.u8(0..8) == 0 => Act::Shutdown(random.u64(0..3_000)),
        _ => Act::Pass(1),
    });
    (setting, acts.collect())
}

fn run(setting: Setting, seed: u64, acts: &[Act]) {
    let mut world = World::new(setting, seed);
    for act in acts {
        world.act(*act);
        world.check();
    }
    world.finish();
    world.check();
}

fn fails(setting: Setting, seed: u64, acts: &[Act]) -> bool {
    catch_unwind(AssertUnwindSafe(|| run(setting, seed, acts))).is_err()
}

/// Leaves out whatever is not needed to fail, in ever smaller pieces.
fn shrink(setting: Setting, seed: u64, mut acts: Vec<Act>) -> Vec<Act> {
    let mut piece = acts.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(at..(at + piece).min(acts.len()));
            if fails(setting, seed, &fewer) {
                acts = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    acts
}

#[test]
#[expect(clippy::print_stderr, reason = "a failure must say how to see it again")]
fn no_simulated_history_breaks_a_promise() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = if let Some(seed) = number("UDS_IPC_SEED") {
        seed..seed + 1
    } else {
        let first = fastrand::u64(..u64::MAX / 2);
        first..first + number("UDS_IPC_HISTORIES").unwrap_or(HISTORIES)
    };
    for seed in seeds {
        let (setting, acts) = history(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(setting, seed, &acts))) {
            let short = shrink(setting, seed, acts);
            eprintln!("UDS_IPC_SEED={seed} fails with {setting:#?} after {short:#?}");
            resume_unwind(panic);
        }
    }
}
