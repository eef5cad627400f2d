//! The last words of a process that kills itself arrive: `cargo run --example last_words`.
//!
//! It starts itself once more, as the process that dies. That one shuts nothing down, flushes
//! nothing, and has no time for anything. For Linux: elsewhere a queue dies with its process.

#![expect(clippy::print_stdout, reason = "a demonstration says what it does")]

use std::env;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use uds_ipc::{Reader, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match env::args().nth(1) {
        Some(socket) => log_and_die(&socket),
        None => collect(),
    }
}

fn log_and_die(socket: &str) -> Result<(), Box<dyn std::error::Error>> {
    let log = Writer::builder(socket).crash_proof(true).start()?;
    for number in 1..=10 {
        log.try_send(format!("line {number} of 10"))?;
    }
    raise(Signal::SIGKILL)?;
    Ok(())
}

fn collect() -> Result<(), Box<dyn std::error::Error>> {
    let socket = env::temp_dir().join(format!("last-words-{}.sock", std::process::id()));
    let reader = Reader::builder(&socket)
        .on_event(|event| println!("  ({event})"))
        .bind()?
        .start(|line| println!("{}", String::from_utf8_lossy(line)))?;
    let status = Command::new(env::current_exe()?).arg(&socket).status()?;
    println!("  (the process has ended: {status})");
    // A stop waits for what a dead writer has left.
    let report = reader.shutdown(Duration::from_secs(5))?;
    assert_eq!(
        report.metrics.received.messages, 10,
        "all of them have come"
    );
    Ok(())
}
