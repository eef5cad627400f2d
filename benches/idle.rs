//! What a writer and a reader cost while nothing is sent: how often they wake up, and how much
//! memory they keep. Linux only: it asks `/proc`.
//!
//! ```text
//! cargo bench --bench idle
//! ```
//!
//! Three processes: one that does nothing, one that is a writer, one that is a reader. The writer
//! has connected, and has sent one message; in a second round a million of 100 bytes, so that its
//! blocks have been used.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that fails should say where, and tells what it saw"
)]

mod common;
#[path = "../tests/patience/mod.rs"]
mod patience;

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::Duration;

use common::ReaderProcess;
use patience::PATIENCE;
use uds_ipc::{FlushLevel, Reader, Writer};

fn main() {
    if let Some((role, path)) = common::role() {
        return match &*role {
            "nothing" => common::answer(cost),
            "reader" => read(&path),
            many => write(&path, if many == "one" { 1 } else { 1_000_000 }),
        };
    }
    if !cfg!(target_os = "linux") {
        return println!("not measured: there is no /proc here");
    }
    let time = Duration::from_secs(if std::env::args().any(|argument| argument == "--test") {
        1
    } else {
        10
    });
    for sent in ["one", "many"] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("idle.sock");
        let mut nothing = ReaderProcess::start("nothing", &path);
        let mut reader = ReaderProcess::start("reader", &path);
        let mut writer = ReaderProcess::start(sent, &path);
        // What is kept only for a while is gone then.
        rest(Duration::from_secs(1));
        let before = [&mut nothing, &mut writer, &mut reader].map(ReaderProcess::figures::<3>);
        rest(time);
        let after = [&mut nothing, &mut writer, &mut reader].map(ReaderProcess::figures::<3>);
        let woken = |side: usize| {
            after
                .iter()
                .zip(before)
                .map(|(after, before)| after[0] - before[0])
                .nth(side)
                .unwrap_or(0)
        };
        // To be asked costs a wake-up too: the process that does nothing tells how many.
        println!(
            "Idle/wake-ups in {time:?}, {sent} sent before: {} of the writer, {} of the reader",
            woken(1).saturating_sub(woken(0)),
            woken(2).saturating_sub(woken(0))
        );
        let [nothing, writer, reader] = after.map(|[_, resident, private]| (resident, private));
        println!(
            "Idle/memory beside a process that does nothing, {sent} sent before: {} KiB resident and {} KiB of its own for the writer, {} and {} for the reader",
            writer.0.saturating_sub(nothing.0),
            writer.1.saturating_sub(nothing.1),
            reader.0.saturating_sub(nothing.0),
            reader.1.saturating_sub(nothing.1),
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "idleness is time that passes")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// How often the threads of this process went to sleep so far; its resident memory, and the part of
/// it that is no file's, in KiB.
fn cost() -> [u64; 3] {
    let threads = fs::read_dir("/proc/self/task").expect("threads");
    let sleeps = threads
        .map(|thread| {
            field(
                &thread.expect("a thread").path().join("status"),
                "voluntary_ctxt_switches:",
            )
        })
        .sum();
    [
        sleeps,
        field(Path::new("/proc/self/status"), "VmRSS:"),
        field(Path::new("/proc/self/status"), "RssAnon:"),
    ]
}

fn field(path: &Path, name: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next())
        .map_or(0, |number| number.parse().expect("a number"))
}

fn write(path: &Path, count: u32) {
    let writer = Writer::start(path).expect("a writer");
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

fn read(path: &Path) {
    let reader = Reader::builder(path)
        .idle_timeout(PATIENCE)
        .bind()
        .expect("a reader");
    let _reader = reader
        .start(|_| Ok::<(), Infallible>(()))
        .expect("it starts");
    common::answer(cost);
}
