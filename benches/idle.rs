//! What a writer and a reader cost while nothing is sent: how often they wake up, and how much
//! memory they keep. Linux only: it asks `/proc`.
//!
//! ```text
//! cargo bench --bench idle
//! ```
//!
//! Three processes: one that does nothing, one that is a writer, one that is a reader. The writer
//! has connected, and has sent one message; in a second round a million of 100 bytes, so that its
//! blocks have been used. Both also with a writer that is crash-proof, beside the plain one. Then
//! such a writer that had much to hold, before it was sent and when it is quiet: it gives memory
//! back. Last, many writers of each kind: what a connection costs the reader.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that fails should say where, and tells what it saw"
)]

mod common;
#[path = "../tests/patience/mod.rs"]
mod patience;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::ReaderProcess;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use patience::PATIENCE;
use uds_ipc::{FlushLevel, Reader, Writer};

/// After so long a reader closes a quiet connection, where it is to do so.
const IDLE: Duration = Duration::from_millis(100);

/// How many writers there are at once, at most.
const MANY: usize = 1_000;

/// How many messages of 4,000 bytes a writer holds for a reader that comes late.
const HELD: u32 = 10_000;

/// The one, and a million.
const SENT: [&str; 2] = ["one", "many"];

fn main() {
    if let Some((role, path)) = common::role() {
        let is_crash_proof = role.starts_with("crash-proof ");
        return match role.trim_start_matches("crash-proof ") {
            "nothing" => common::answer(cost),
            "reader" => read(&path, PATIENCE),
            "closing reader" => read(&path, IDLE),
            "one" => write(&path, 1, is_crash_proof),
            "many" => write(&path, 1_000_000, is_crash_proof),
            "holding" => hold(&path),
            writers => {
                write_side_by_side(&path, writers.parse().expect("a number"), is_crash_proof);
            }
        };
    }
    if !cfg!(target_os = "linux") {
        return println!("not measured: there is no /proc here");
    }
    let is_test = std::env::args().any(|argument| argument == "--test");
    let time = Duration::from_secs(if is_test { 1 } else { 10 });
    for sent in SENT {
        writer_and_reader(sent, time);
    }
    given_back(time);
    connections(if is_test { 20 } else { MANY });
}

/// What a writer and its reader cost when so much was sent: a plain one, and a crash-proof one.
fn writer_and_reader(sent: &str, time: Duration) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let mut processes = [
        ReaderProcess::start("nothing", &path("none")),
        ReaderProcess::start("reader", &path("plain")),
        ReaderProcess::start(sent, &path("plain")),
        ReaderProcess::start("reader", &path("crash-proof")),
        ReaderProcess::start(&format!("crash-proof {sent}"), &path("crash-proof")),
    ];
    // What is kept only for a while is gone then.
    rest(Duration::from_secs(1));
    let before = processes.each_mut().map(Cost::of);
    rest(time);
    let after = processes.each_mut().map(Cost::of);
    let [nothing, ..] = &after;
    // To be asked costs a wake-up too: the process that does nothing tells how many.
    let mut costs = after.iter().zip(&before).map(|(after, before)| Cost {
        sleeps: after.sleeps - before.sleeps,
        resident: after.resident.saturating_sub(nothing.resident),
        private: after.private.saturating_sub(nothing.private),
        ..*after
    });
    let asked = costs.next().map_or(0, |nothing| nothing.sleeps);
    let names = [
        "reader",
        "writer",
        "reader of a crash-proof one",
        "crash-proof writer",
    ];
    println!(
        "Idle for {time:?}, {sent} sent before; memory beside that of a process that does nothing"
    );
    for (name, cost) in names.iter().zip(costs) {
        println!(
            "Idle/{name}: {} wake-ups, {} KiB resident, of which {} its own and {} shared",
            cost.sleeps.saturating_sub(asked),
            cost.resident,
            cost.private,
            cost.shared,
        );
    }
}

/// What a crash-proof writer has that holds much, and when it has been quiet.
fn given_back(time: Duration) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("late");
    let mut writer = ReaderProcess::start("holding", &path);
    let before = Cost::of(&mut writer);
    let _reader = ReaderProcess::start("closing reader", &path);
    rest(time);
    let after = Cost::of(&mut writer);
    println!(
        "Idle/crash-proof writer with {} MB queued: {} KiB shared, and {} when they were sent and it was quiet",
        HELD * 4_000 / 1_000_000,
        before.shared,
        after.shared,
    );
}

/// What each of many quiet connections costs the reader, of plain writers and of crash-proof ones.
fn connections(count: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    for kind in ["", "crash-proof "] {
        let path = directory.path().join(format!("s{kind}"));
        let mut reader = ReaderProcess::start("reader", &path);
        // Buffers and tables that serve all are there already.
        let first = ReaderProcess::start(&format!("{kind}{}", count / 5), &path);
        let before = Cost::of(&mut reader);
        let _writers = ReaderProcess::start(&format!("{kind}{count}"), &path);
        let after = Cost::of(&mut reader);
        drop(first);
        let many = u64::try_from(count).expect("a number");
        println!(
            "Idle/{count} {kind}writers: {:.2} descriptors and {} bytes each at the reader",
            f64::from(u32::try_from(after.descriptors - before.descriptors).expect("few"))
                / f64::from(u32::try_from(count).expect("few")),
            after.private.saturating_sub(before.private) * 1024 / many,
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "idleness is time that passes")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// What a process says of itself.
struct Cost {
    /// How often its threads went to sleep so far.
    sleeps: u64,
    /// In KiB: all of its memory, what of it is no file's, and what is shared.
    resident: u64,
    private: u64,
    shared: u64,
    descriptors: u64,
}

impl Cost {
    fn of(process: &mut ReaderProcess) -> Self {
        let [sleeps, resident, private, shared, descriptors] = process.figures();
        Self {
            sleeps,
            resident,
            private,
            shared,
            descriptors,
        }
    }
}

/// The figures of this process.
fn cost() -> [u64; 5] {
    let threads = fs::read_dir("/proc/self/task").expect("threads");
    let sleeps = threads
        .map(|thread| {
            field(
                &thread.expect("a thread").path().join("status"),
                "voluntary_ctxt_switches:",
            )
        })
        .sum();
    let memory = |name| field(Path::new("/proc/self/status"), name);
    let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors").count();
    [
        sleeps,
        memory("VmRSS:"),
        memory("RssAnon:"),
        memory("RssShmem:"),
        descriptors.try_into().expect("a number"),
    ]
}

fn field(path: &Path, name: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next())
        .map_or(0, |number| number.parse().expect("a number"))
}

fn write(path: &Path, count: u32, is_crash_proof: bool) {
    let writer = Writer::builder(path).crash_proof(is_crash_proof);
    let writer = writer.start().expect("a writer");
    for _ in 0..count {
        if writer.try_send(&[7; 100]).is_err() {
            writer
                .send_timeout(&[7; 100], PATIENCE)
                .expect("there is room in time");
        }
    }
    writer
        .flush(FlushLevel::Handled, PATIENCE)
        .expect("all is handled");
    common::answer(cost);
}

fn hold(path: &Path) {
    let writer = Writer::builder(path).crash_proof(true);
    let writer = writer.start().expect("a writer");
    for _ in 0..HELD {
        writer.try_send(&[7; 4_000]).expect("there is room");
    }
    common::answer(cost);
}

fn write_side_by_side(path: &Path, count: usize, is_crash_proof: bool) {
    allow_descriptors();
    let writers = (0..count).map(|_| {
        let writer = Writer::builder(path).crash_proof(is_crash_proof);
        let writer = writer.start().expect("a writer");
        writer.try_send(&[7; 100]).expect("there is room");
        writer
            .flush(FlushLevel::Handled, PATIENCE)
            .expect("it is handled");
        writer
    });
    let _writers: Vec<_> = writers.collect();
    common::answer(cost);
}

fn read(path: &Path, idle_timeout: Duration) {
    allow_descriptors();
    let reader = Reader::builder(path)
        .idle_timeout(idle_timeout)
        .max_connections(2 * MANY)
        .bind()
        .expect("a reader");
    let _reader = reader.start(|_| ()).expect("it starts");
    common::answer(cost);
}

fn allow_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it may be raised");
}
