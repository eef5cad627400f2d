//! What many connections cost: idle ones beside a busy one, a thousand busy ones beside each other, and ones whose handler blocks.
//!
//! ```text
//! cargo bench --bench scale
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench that fails should say where, and tells what it saw and when"
)]

use std::convert::Infallible;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uds_ipc::{Handler, Peer, Reader, Writer};

const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    // `cargo bench -- --test` only asks whether it runs.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (idle, busy, rounds, millis) = if is_test { (100, 20, 1, 50) } else { (9_900, 1_000, 11, 10_000) };
    idle_connections(idle, rounds, if is_test { 10_000 } else { 2_000_000 });
    busy_connections(busy, Duration::from_millis(millis));
    blocked_connections(64, Duration::from_millis(millis / 2));
}

/// A reader that counts, and a place for its socket.
struct Stage<H> {
    directory: TempDir,
    reader: Reader,
    handler: Arc<H>,
}

impl<H: Handler> Stage<H> {
    fn new(handler: H) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let handler = Arc::new(handler);
        let bound = Reader::builder(directory.path().join("s"))
            .max_connections(20_000)
            .idle_timeout(Duration::MAX)
            .bind()
            .expect("a socket");
        let reader = bound.start_handler(Arc::clone(&handler)).expect("a reader");
        Self { directory, reader, handler }
    }

    fn connect(&self) -> UnixStream {
        let path = self.directory.path().join("s");
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return stream,
                // Its backlog is full for a moment.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error}: is the limit of descriptors high enough?"),
            }
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("s")
    }
}

struct Nothing;

impl Handler for Nothing {
    type Error = Infallible;

    fn message(&self, _: &[u8], _: &Peer) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A busy connection alone and beside many idle ones, in turns; the memory and the threads that those cost.
fn idle_connections(idle: usize, rounds: usize, count: u32) {
    let (alone, beside) = (Stage::new(Nothing), Stage::new(Nothing));
    let before = (memory(), beside.reader.metrics().threads);
    let streams: Vec<_> = (0..idle).map(|_| beside.connect()).collect();
    while beside.reader.metrics().open < u64::try_from(idle).expect("a number") {
        thread::yield_now();
    }
    let memory = (memory() - before.0) * 1024 / u64::try_from(idle).expect("a number");
    let writers = [&alone, &beside].map(|stage| Writer::new(stage.path()).expect("a writer"));
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (at, stage) in [&alone, &beside].into_iter().enumerate() {
            rates[at].push(send(&writers[at], &stage.reader, count));
        }
    }
    let [alone, with_idle] = rates.map(median);
    println!(
        "{idle} idle connections: {memory} bytes each, {} more threads; a busy one beside them at {:.2} of its speed alone",
        beside.reader.metrics().threads - before.1,
        with_idle / alone
    );
    drop(streams);
}

/// Sends messages of 100 bytes, and waits until the handler has had them. Returns how many that is a second.
fn send(writer: &Writer, reader: &Reader, count: u32) -> f64 {
    let end = reader.metrics().received.messages + u64::from(count);
    let start = Instant::now();
    for _ in 0..count {
        if writer.try_send(&[7; 100]).is_err() {
            writer.send_timeout(&[7; 100], PATIENCE).expect("the reader reads");
        }
    }
    while reader.metrics().received.messages < end {
        thread::yield_now();
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Counts the messages of each connection.
struct Counts(Vec<AtomicU64>);

impl Handler for Counts {
    type Error = Infallible;

    fn message(&self, _: &[u8], peer: &Peer) -> Result<(), Infallible> {
        let at = usize::try_from(peer.connection).expect("a number");
        self.0[at].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Many connections on which there is always something to read: what each gets, and all together beside a single one.
fn busy_connections(busy: usize, time: Duration) {
    let mut sums = Vec::new();
    for connections in [1, busy] {
        let stage = Stage::new(Counts((0..=connections).map(|_| AtomicU64::new(0)).collect()));
        let streams: Vec<_> = (0..connections).map(|_| stage.connect()).collect();
        // Whole frames of 100 bytes, so that every write may start anywhere in them.
        let frames = [&[100][..], &[7; 100]].concat().repeat(640);
        let mut at = vec![0; connections];
        for stream in &streams {
            stream.set_nonblocking(true).expect("a socket");
        }
        let counted = |stage: &Stage<Counts>| -> Vec<u64> {
            stage.handler.0.iter().skip(1).map(|count| count.load(Ordering::Relaxed)).collect()
        };
        let start = Instant::now();
        while start.elapsed() < time {
            let mut is_full = true;
            for (mut stream, at) in streams.iter().zip(&mut at) {
                if let Ok(len) = stream.write(&frames[*at..]) {
                    *at = (*at + len) % frames.len();
                    is_full = false;
                }
            }
            if is_full {
                thread::yield_now();
            }
        }
        let counts = counted(&stage);
        let sum = counts.iter().sum::<u64>();
        sums.push(sum);
        let (least, most) = (counts.iter().min().expect("one"), counts.iter().max().expect("one"));
        println!("{connections} busy connections for {time:?}: {sum} messages, from {least} to {most} each");
    }
    println!("all of them together: {:.2} of a single one", ratio(sums[1], sums[0]));
}

/// Blocks on some connections, and notes how long messages take on the others.
struct Delays {
    start: Instant,
    longest: AtomicU64,
    sum: AtomicU64,
    count: AtomicU64,
}

impl Handler for Delays {
    type Error = Infallible;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        match message.try_into().map(u64::from_le_bytes) {
            Ok(sent) => {
                let now = u64::try_from(self.start.elapsed().as_micros()).expect("a number");
                self.longest.fetch_max(now - sent, Ordering::Relaxed);
                self.sum.fetch_add(now - sent, Ordering::Relaxed);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => thread::park_timeout(Duration::from_secs(1)),
        }
        Ok(())
    }
}

/// As many connections whose handler blocks for a second now and then as others, on which a message comes each millisecond.
fn blocked_connections(blocked: usize, time: Duration) {
    let zero = || AtomicU64::new(0);
    let stage = Stage::new(Delays { start: Instant::now(), longest: zero(), sum: zero(), count: zero() });
    let streams = |count| (0..count).map(|_| stage.connect()).collect::<Vec<_>>();
    let (blocking, others) = (streams(blocked), streams(blocked));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (turn, mut stream) in blocking.iter().cycle().enumerate() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                stream.write_all(b"\x05block").expect("a reader");
                // In two seconds each has had its turn.
                let _ = turn;
                thread::park_timeout(Duration::from_secs(2) / 64);
            }
        });
        while stage.handler.start.elapsed() < time {
            let now = u64::try_from(stage.handler.start.elapsed().as_micros()).expect("a number");
            for mut stream in &others {
                stream.write_all(&[&[8], &now.to_le_bytes()[..]].concat()).expect("a reader");
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let delays = &stage.handler;
    let count = delays.count.load(Ordering::Relaxed).max(1);
    println!(
        "{blocked} connections that block for a second, {blocked} others: {} µs in the mean, {} µs at most, {} threads",
        delays.sum.load(Ordering::Relaxed) / count,
        delays.longest.load(Ordering::Relaxed),
        stage.reader.metrics().threads
    );
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn ratio(one: u64, other: u64) -> f64 {
    let float = |number: u64| f64::from(u32::try_from(number / 1_000).expect("a number"));
    float(one) / float(other).max(1.0)
}

/// The resident memory of this process, in KiB; 0 where nobody tells.
fn memory() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
