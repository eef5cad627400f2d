//! A daemon that sends metrics: hands them over at the pace of its work, and forgets about them.
//!
//! ```text
//! cargo run --release --example emitter -- /tmp/telemetry.sock 1000 10
//! ```
//!
//! The arguments are the address (a path, `@NAME`, `tcp:HOST:PORT`, `fd:N`, or `-` for standard
//! output, where its own figures go to standard error then), the messages a second (100 unless
//! given) and the seconds (10 unless given). It does not matter whether the collector is there
//! before it, after it, or comes and goes meanwhile. SIGTERM and Ctrl-C end it early.

#![expect(
    clippy::disallowed_methods,
    reason = "to keep a pace is to look at the clock and to sleep"
)]
#![expect(
    clippy::print_stderr,
    reason = "this program's log is its standard error"
)]
#![expect(
    clippy::print_stdout,
    reason = "the report is what this program is run for"
)]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use uds_ipc::Writer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let address = args
        .next()
        .ok_or("usage: emitter ADDRESS [MESSAGES_PER_SECOND] [SECONDS]")?;
    let mut number = |default| {
        args.next()
            .map_or(Ok(default), |arg| arg.to_string_lossy().parse::<u32>())
    };
    let (rate, seconds) = (number(100)?, number(10)?);
    let pause = Duration::from_secs(1)
        .checked_div(rate)
        .ok_or("MESSAGES_PER_SECOND must be at least 1")?;

    // From here on the writer connects, and connects anew, by itself.
    let writer = Writer::builder(&address)
        .on_event(|event| eprintln!("emitter: {event}"))
        .start()?;

    // What is queued would be lost if SIGTERM just ended the process.
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&is_over))?;
    }

    let mut due = Instant::now();
    let mut refused = 0_u64;
    for number in 0..u64::from(rate) * u64::from(seconds) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // This stands for the daemon's work.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;

        // It never waits. What is refused (the collector is away and the queue is full) is best
        // counted and forgotten: telemetry must not hold up the work.
        if writer
            .try_send(format!("emitter.requests.{number}:1|c"))
            .is_err()
        {
            refused += 1;
        }
    }

    // Sends what is queued, for at most five seconds.
    let report = writer.shutdown(Duration::from_secs(5))?;
    let figures = format!(
        "accepted {}\nrefused {refused}\nsent {}\nleft {}",
        report.metrics.accepted.messages, report.metrics.sent.messages, report.left.messages
    );
    // There, standard output is the stream.
    if address == "-" {
        eprintln!("{figures}");
    } else {
        println!("{figures}");
    }
    Ok(())
}
