//! What a call costs beside a raw socket's round trip: one at a time, 64 open at once, and many
//! idle callers. Linux only: it asks `/proc`.
//!
//! ```text
//! cargo bench --bench calls --features calls
//! ```
//!
//! The answering end is a process of its own in each case. The raw one writes 64 bytes and reads 64
//! back, over a blocking socket, on both sides: nothing has fewer system calls. In each round the
//! two take turns, so that what the machine does meanwhile hits both.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "a bench that fails should say where, tells what it saw, and measures time"
)]

mod common;
#[path = "../tests/patience/mod.rs"]
mod patience;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::ReaderProcess;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use patience::PATIENCE;
use tempfile::TempDir;
use uds_ipc::calls::{Caller, Responder};

/// The length of a body.
const LEN: usize = 64;

/// How many calls are open at once.
const OPEN: usize = 64;

fn main() {
    if let Some((role, path)) = common::role() {
        return match role.as_str() {
            "raw" => answer_raw(&path),
            _ => answer(&path),
        };
    }
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, calls) = if is_test { (1, 200) } else { (11, 10_000) };
    let mut p50 = Vec::new();
    let mut gains = Vec::new();
    for _ in 0..rounds {
        let raw = one_at_a_time_raw(calls);
        let ours = one_at_a_time(calls);
        let together = open_at_once(calls);
        let threads = from_threads(calls);
        println!(
            "one at a time: raw p50 {:.1} us, p99 {:.1} us; call p50 {:.1} us, p99 {:.1} us, {:.0}/s; \
             64 open at once: {together:.0}/s in a batch, {threads:.0}/s from 64 threads",
            raw.at(50),
            raw.at(99),
            ours.at(50),
            ours.at(99),
            ours.per_second,
        );
        p50.push(ours.at(50) / raw.at(50));
        gains.push(together / ours.per_second);
    }
    println!("p50 of a call, of a raw round trip's: {}", spread(&mut p50));
    println!("64 open at once, of one at a time: {}", spread(&mut gains));
    idle(if is_test { 50 } else { 10_000 });
}

/// The median, the least and the most.
fn spread(ratios: &mut [f64]) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |at: usize| ratios.get(at).copied().unwrap_or(f64::NAN);
    let last = ratios.len().saturating_sub(1);
    format!(
        "{:.2} ({:.2} to {:.2})",
        at(ratios.len() / 2),
        at(0),
        at(last)
    )
}

struct Times {
    sorted: Vec<Duration>,
    per_second: f64,
}

impl Times {
    fn of(count: usize, mut once: impl FnMut()) -> Self {
        for _ in 0..count / 10 {
            once();
        }
        let begun = Instant::now();
        let mut sorted: Vec<_> = (0..count)
            .map(|_| {
                let begun = Instant::now();
                once();
                begun.elapsed()
            })
            .collect();
        let per_second = count as f64 / begun.elapsed().as_secs_f64();
        sorted.sort_unstable();
        Self { sorted, per_second }
    }

    /// In microseconds.
    fn at(&self, percent: usize) -> f64 {
        let at = self.sorted.len() * percent / 100;
        self.sorted
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

fn answer(path: &Path) {
    raise_limit();
    let responder = Responder::builder(path)
        .max_connections(20_000)
        .bind()
        .expect("a socket")
        .start(|call, reply| drop(reply.send(call.body())))
        .expect("a responder");
    common::answer(|| [number(responder.figures().connections), memory()]);
}

fn answer_raw(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a peer");
            thread::spawn(move || {
                let mut bytes = [0; LEN];
                while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
            });
        }
    });
    common::answer(|| []);
}

fn one_at_a_time_raw(count: usize) -> Times {
    let other = Other::start("raw");
    let mut stream = UnixStream::connect(&other.path).expect("it listens");
    let mut bytes = [7; LEN];
    Times::of(count, || {
        stream.write_all(&bytes).expect("it is there");
        stream.read_exact(&mut bytes).expect("it answers");
    })
}

fn one_at_a_time(count: usize) -> Times {
    let other = Other::start("responder");
    let caller = Caller::new(&other.path).expect("a caller");
    Times::of(count, || {
        let answer = caller.call("echo", [7; LEN], PATIENCE).expect("an answer");
        assert_eq!(answer.len(), LEN);
    })
}

/// Calls a second, of 64 made together again and again.
fn open_at_once(count: usize) -> f64 {
    let other = Other::start("responder");
    let caller = Caller::new(&other.path).expect("a caller");
    let once = || {
        let answers = caller.call_batch((0..OPEN).map(|_| ("echo", [7; LEN])), PATIENCE);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    };
    Times::of(count / OPEN * 8 + 1, once).per_second * OPEN as f64
}

/// Calls a second, of 64 threads that make one at a time.
fn from_threads(count: usize) -> f64 {
    let other = Other::start("responder");
    let caller = Caller::new(&other.path).expect("a caller");
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..OPEN {
            scope.spawn(|| {
                for _ in 0..count / OPEN {
                    caller.call("echo", [7; LEN], PATIENCE).expect("an answer");
                }
            });
        }
    });
    (count / OPEN * OPEN) as f64 / begun.elapsed().as_secs_f64()
}

/// What idle callers cost the responder, and this process.
fn idle(count: usize) {
    let most = raise_limit();
    // Each caller has a waker beside its socket.
    let count = count.min(
        usize::try_from(most / 2)
            .unwrap_or(count)
            .saturating_sub(50),
    );
    let mut other = Other::start("responder");
    let before = (other.memory(), memory());
    let callers: Vec<_> = (0..count)
        .map(|_| {
            let caller = Caller::new(&other.path).expect("a caller");
            caller.call("echo", [7; LEN], PATIENCE).expect("an answer");
            caller
        })
        .collect();
    let after = (other.memory(), memory());
    let each = |before: u64, after: u64| after.saturating_sub(before) / number(count);
    let one = callers.last().expect("at least one");
    let a_call = Times::of(1000, || {
        one.call("echo", [7; LEN], PATIENCE).expect("an answer");
    });
    println!(
        "{count} idle callers: {} bytes each in the responder, {} each in their own process; \
         a call beside them: p50 {:.1} us",
        each(before.0, after.0),
        each(before.1, after.1),
        a_call.at(50),
    );
}

/// The answering end, in a process of its own.
struct Other {
    process: ReaderProcess,
    path: PathBuf,
    _place: TempDir,
}

impl Other {
    fn start(role: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("s");
        Self {
            process: ReaderProcess::start(role, &path),
            path,
            _place: place,
        }
    }

    fn memory(&mut self) -> u64 {
        let [_, memory] = self.process.figures();
        memory
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("64 bits")
}

/// Resident, in bytes.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    resident.unwrap_or(0) * 4096
}

fn raise_limit() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it has a limit");
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    most
}
