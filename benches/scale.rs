//! What many connections cost: idle ones beside a busy one, a thousand busy ones beside each other,
//! and ones whose handler blocks.
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

mod common;
#[path = "../tests/patience/mod.rs"]
mod patience;

use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::ReaderProcess;
use parking_lot::Mutex;
use patience::PATIENCE;
use uds_ipc::{FlushLevel, Handler, Peer, Reader, Writer};

fn main() {
    if let Some((_, path)) = common::role() {
        return read(&path);
    }
    // `cargo bench -- --test` only asks whether it runs.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (idle, busy, rounds, millis) = if is_test {
        (100, 20, 1, 50)
    } else {
        (10_000, 1_000, 11, 10_000)
    };
    idle_connections(idle, rounds, if is_test { 10_000 } else { 2_000_000 });
    busy_connections(busy, rounds, Duration::from_millis(millis / 10));
    blocked_connections(64, Duration::from_millis(millis));
}

fn start<H: Handler>(path: &Path, handler: Arc<H>) -> Reader {
    let builder = Reader::builder(path)
        .max_connections(20_000)
        .idle_timeout(Duration::MAX);
    builder
        .bind()
        .expect("a socket")
        .start_handler(handler)
        .expect("a reader")
}

/// The other process: a reader that says on request how many connections and threads and how much
/// memory it has.
fn read(path: &Path) {
    let reader = start(path, Arc::new(Nothing));
    common::answer(|| {
        let metrics = reader.metrics();
        [metrics.open, metrics.threads, memory()]
    });
}

fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            // Its backlog is full for a moment.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}: is the limit of descriptors high enough?"),
        }
    }
}

struct Nothing;

impl Handler for Nothing {
    type Error = Infallible;

    fn message(&self, _: &[u8], _: &Peer) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A busy connection alone and beside many idle ones, in turns; the memory and the threads that
/// those cost.
fn idle_connections(idle: usize, rounds: usize, count: u32) {
    let directory = tempfile::tempdir().expect("a folder");
    let paths = ["alone", "beside"].map(|name| directory.path().join(name));
    let mut readers = paths
        .each_ref()
        .map(|path| ReaderProcess::start("read", path));
    let writers = paths
        .each_ref()
        .map(|path| Writer::start(path).expect("a writer"));
    // Its buffers have grown before anything is compared.
    for writer in &writers {
        send(writer, count);
    }
    let wait_for = |reader: &mut ReaderProcess, open: usize| {
        while reader.figures::<3>()[0] != u64::try_from(open).expect("a number") {
            thread::yield_now();
        }
    };
    let [alone, beside] = &mut readers;
    // Who is alone has had the same crowd, and the threads that it calls for.
    drop((0..idle).map(|_| connect(&paths[0])).collect::<Vec<_>>());
    wait_for(alone, 1);
    let [_, _, memory_before] = beside.figures();
    let streams: Vec<_> = (0..idle).map(|_| connect(&paths[1])).collect();
    wait_for(beside, idle + 1);
    let [_, _, memory] = beside.figures();
    let memory =
        memory.saturating_sub(memory_before) * 1024 / u64::try_from(idle).expect("a number");
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (writer, rates) in writers.iter().zip(&mut rates) {
            rates.push(send(writer, count));
        }
    }
    let [alone, with_idle] = rates.map(median);
    let [threads_alone, threads] = readers.each_mut().map(|reader| reader.figures::<3>()[1]);
    println!(
        "{idle} idle connections: {memory} bytes each, {threads} threads where it is {threads_alone} without; \
         a busy one beside them at {:.2} of its speed alone",
        with_idle / alone
    );
    drop((writers, streams));
}

/// Sends messages of 100 bytes, and waits until the handler has had them. Returns how many that is
/// a second.
fn send(writer: &Writer, count: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        if writer.try_send(&[7; 100]).is_err() {
            writer
                .send_timeout(&[7; 100], PATIENCE)
                .expect("the reader reads");
        }
    }
    writer
        .flush(FlushLevel::Handled, PATIENCE)
        .expect("the reader reads");
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Counts the messages of each connection, and looks at every byte: so the reader is slower than
/// who sends.
struct Counts(Vec<AtomicU64>);

impl Handler for Counts {
    type Error = Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Infallible> {
        let hash = message.iter().fold(0, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        black_box(hash);
        let at = usize::try_from(peer.connection).expect("a number");
        self.0[at].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Connections to one reader, and how much was written to each.
struct Crowd {
    reader: Reader,
    handler: Arc<Counts>,
    streams: Vec<(UnixStream, usize)>,
}

/// Whole frames of 100 bytes: a write may start at any of their bytes.
const FRAME_LEN: usize = 101;

impl Crowd {
    fn new(path: &Path, connections: usize) -> Self {
        let handler = Arc::new(Counts(
            (0..=connections).map(|_| AtomicU64::new(0)).collect(),
        ));
        let reader = start(path, Arc::clone(&handler));
        let streams: Vec<_> = (0..connections).map(|_| (connect(path), 0)).collect();
        for (stream, _) in &streams {
            // A single one waits in its writes; of many each must have its turn.
            stream.set_nonblocking(connections > 1).expect("a socket");
        }
        Self {
            reader,
            handler,
            streams,
        }
    }

    /// Writes what the connections take, each in its turn, for some time. Returns how many messages
    /// a second were handled.
    fn send(&mut self, frames: &[u8], time: Duration) -> f64 {
        let before = self.handled();
        let start = Instant::now();
        while start.elapsed() < time {
            let mut is_full = true;
            for (stream, sent) in &mut self.streams {
                if let Ok(len) = stream.write(&frames[*sent % frames.len()..]) {
                    *sent += len;
                    is_full = false;
                }
            }
            if is_full {
                thread::yield_now();
            }
        }
        let rate = per_second(self.handled() - before, start.elapsed());
        // Nothing of it is left for the next turn, which is another crowd's.
        let sent: usize = self.streams.iter().map(|(_, sent)| sent / FRAME_LEN).sum();
        while self.handled() < u64::try_from(sent).expect("a number") {
            thread::yield_now();
        }
        rate
    }

    fn handled(&self) -> u64 {
        self.reader.metrics().received.messages
    }
}

/// Many connections on which there is always something to read: what each gets, and all together
/// beside a single one, in turns.
fn busy_connections(busy: usize, rounds: usize, time: Duration) {
    let directory = tempfile::tempdir().expect("a folder");
    let frames = [&[100][..], &[7; FRAME_LEN - 1]].concat().repeat(640);
    let mut crowds = [1, busy].map(|connections| {
        Crowd::new(&directory.path().join(connections.to_string()), connections)
    });
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (crowd, rates) in crowds.iter_mut().zip(&mut rates) {
            rates.push(crowd.send(&frames, time));
        }
    }
    let [alone, together] = rates.map(median);
    let [_, crowd] = &crowds;
    let counts = crowd
        .handler
        .0
        .iter()
        .skip(1)
        .map(|count| count.load(Ordering::Relaxed));
    let (least, most) = (
        counts.clone().min().expect("one"),
        counts.max().expect("one"),
    );
    println!(
        "{busy} busy connections for {:?}: from {least} to {most} messages each, together {:.2} of a single one's speed",
        time * u32::try_from(rounds).expect("a number"),
        together / alone
    );
}

/// Blocks on some connections, and notes how long messages take on the others.
struct Delays {
    start: Instant,
    /// In µs.
    delays: Mutex<Vec<u64>>,
}

impl Delays {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).expect("a number")
    }
}

impl Handler for Delays {
    type Error = Infallible;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        match message.try_into().map(u64::from_le_bytes) {
            Ok(sent) => self.delays.lock().push(self.now() - sent),
            Err(_) => thread::park_timeout(Duration::from_secs(1)),
        }
        Ok(())
    }
}

/// As many connections whose handler blocks for a second every two seconds as others, on which a
/// message comes each millisecond.
fn blocked_connections(blocked: usize, time: Duration) {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("s");
    let handler = Arc::new(Delays {
        start: Instant::now(),
        delays: Mutex::new(Vec::new()),
    });
    let reader = start(&path, Arc::clone(&handler));
    let streams = || (0..blocked).map(|_| connect(&path)).collect::<Vec<_>>();
    let (blocking, others) = (streams(), streams());
    let end = Instant::now() + time;
    let threads = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for mut stream in blocking.iter().cycle() {
                if Instant::now() >= end {
                    break;
                }
                stream.write_all(b"\x05block").expect("a reader");
                threads.fetch_max(reader.metrics().threads, Ordering::Relaxed);
                thread::park_timeout(
                    Duration::from_secs(2) / u32::try_from(blocked).expect("a number"),
                );
            }
        });
        while Instant::now() < end {
            for mut stream in &others {
                stream
                    .write_all(&[&[8], &handler.now().to_le_bytes()[..]].concat())
                    .expect("a reader");
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    });
    let mut delays = handler.delays.lock().clone();
    delays.sort_unstable();
    println!(
        "{blocked} connections that block for a second, {blocked} others: these wait {} µs (p50), {} µs (p99), {} µs at most, with {} threads",
        delays[delays.len() / 2],
        delays[delays.len() * 99 / 100],
        delays[delays.len() - 1],
        threads.into_inner()
    );
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).expect("a number")) / time.as_secs_f64()
}

/// The resident memory of this process, in KiB; 0 where nobody tells.
fn memory() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}
