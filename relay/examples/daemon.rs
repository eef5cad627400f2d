//! A daemon that logs with `tracing` to a relay: each line gets the name and the number that the
//! rule `prefix` reads.
//!
//! ```text
//! cargo run --example daemon -- SOCKET
//! ```

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uds_ipc::{Delivery, Writer};

/// Threads that have logged.
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The messages of different threads have no order among each other: so each thread is a
    /// producer of its own, with its own numbers.
    static THREAD: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
    static NUMBER: Cell<u64> = Cell::new(first_number());
}

/// Numbers must grow over restarts: they begin with the nanoseconds since 1970.
fn first_number() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// One line of the log: tracing-subscriber writes each with one call.
struct Line(Writer);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (thread, number) = (THREAD.with(|thread| *thread), NUMBER.get());
        NUMBER.set(number + 1);
        let mut message = format!("daemon.{thread} {number} ").into_bytes();
        message.extend_from_slice(line.trim_ascii_end());
        // A queue that is full counts what it refuses: no reason for a daemon to wait or to end.
        let _ = self.0.try_send(message);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args_os().nth(1).ok_or("usage: daemon SOCKET")?;
    let writer = Writer::builder(address)
        .delivery(Delivery::AtLeastOnce)
        // What was logged arrives even if this process is killed.
        .crash_proof(true)
        // While the engine is away the relay stops to read: a new connection would not help.
        .write_timeout(Duration::from_secs(60))
        .start()?;
    let guard = writer.shutdown_guard(Duration::from_secs(30));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time();
    subscriber.with_writer(move || Line(writer.clone())).init();

    tracing::info!(port = 80, "listening");
    thread::spawn(|| tracing::info!("a worker is there"))
        .join()
        .ok();
    tracing::info!("ready");
    drop(guard);
    Ok(())
}
