//! `uds-ipc send`: a writer that sends what it reads.
//! Waits and decides; the reading itself is the input's.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, bounded, select, unbounded};
use parking_lot::Mutex;
use uds_ipc::event::WriterEvent;
use uds_ipc::metrics::{Tally, WriterMetrics};
use uds_ipc::{Address, Delivery, Writer, WriterReport};

use crate::frames::FrameError;
use crate::input::{Input, Shape};
use crate::progress::Progress;
use crate::{figures, say, signals, values};

/// Wrong input is wrong usage.
const BAD_INPUT: u8 = 2;

const DETAILS: &str = "\
A line goes without its newline and otherwise byte for byte; an empty one sends nothing. No
listener need be there yet: messages wait in a queue, and when that is full, the reading
waits, for as long as it takes; it also waits for a slow listener. At the end of the input,
and at SIGTERM or SIGINT, it sends what it has read, within the timeout, and prints its
figures to standard error as one line of JSON. A second signal ends it at once.

A line or frame above 10 MiB is not sent: it is passed over without being kept in memory,
counted as dropped.too_large, and makes the exit code 1. The others are sent all the same.

Exit codes: 0 all was sent, 1 something was left, lost or too large, 2 wrong usage or a
broken frame.

Examples:
  uds-ipc send /run/collector/telemetry.sock < app.log
  tail -F app.log | uds-ipc send @telemetry
  uds-ipc send /tmp/test.sock --frames --timeout 60 < messages.bin";

/// Sends each line of standard input as a message
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to send to: the path of the socket, or @NAME
    #[arg(value_parser = values::address())]
    address: Address,

    /// How long sending the rest may take after the end of the input
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,

    /// Takes varint frames instead of lines: an unsigned LEB128 length, then the payload
    #[arg(long)]
    frames: bool,

    /// Keeps each message until the listener has printed it, and sends it again after a loss: it
    /// may come twice
    #[arg(long)]
    at_least_once: bool,
}

/// Why no more is read.
enum End {
    Input(Result<(), FrameError>),
    Signal,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (stop, stops) = unbounded();
    signals::on_first(move || {
        let _ = stop.send(());
    })?;
    let progress = Progress::new();
    let above = progress.clone();
    let delivery = if options.at_least_once {
        Delivery::AtLeastOnce
    } else {
        Delivery::AtMostOnce
    };
    let writer = Writer::builder(&options.address)
        .delivery(delivery)
        .max_message_len(values::MAX_MESSAGE_LEN)
        // A listener whose output goes to a pager takes its time. On a further connection
        // lines would overtake.
        .write_timeout(Duration::MAX)
        .on_event(move |event| tell(&event, &above))
        .start()?;
    let writer = Arc::new(writer);
    let following = progress.follow(&writer);
    let busy = Arc::new(Mutex::new(()));
    let refused = Arc::new(Mutex::new(Tally::default()));
    let shape = if options.frames {
        Shape::Frames
    } else {
        Shape::Lines
    };
    let limit = values::MAX_MESSAGE_LEN;
    let input = Input {
        writer: Arc::clone(&writer),
        shape,
        limit,
        busy: Arc::clone(&busy),
        refused: Arc::clone(&refused),
    }
    .start()?;

    let end = select! {
        recv(input) -> result => End::Input(result.unwrap_or(Ok(()))),
        recv(stops) -> _ => End::Signal,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the timeout begins when the reading ends"
    )]
    let began = Instant::now();
    // Kept to the end, so that nothing more is read.
    let _idle = matches!(end, End::Signal).then(|| busy.try_lock_for(options.timeout));
    let mut report = drain(
        &writer,
        &stops,
        options.timeout.saturating_sub(began.elapsed()),
    )?;
    drop(following);
    report.metrics.dropped.too_large += *refused.lock();
    Ok(conclude(&end, &report, delivery))
}

/// Sends what is left. The first signal ends the wait if it comes only now.
fn drain(
    writer: &Writer,
    stops: &Receiver<()>,
    timeout: Duration,
) -> Result<WriterReport, Box<dyn Error>> {
    let (done, is_done) = bounded::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            select! {
                // An error means that the first signal has come before.
                recv(stops) -> signal => if signal.is_ok() {
                    let _ = writer.shutdown(Duration::ZERO);
                },
                recv(is_done) -> _ => {}
            }
        });
        let report = writer.shutdown(timeout);
        drop(done);
        Ok(report?)
    })
}

/// Says what went wrong, once for each cause, and the figures.
fn conclude(end: &End, report: &WriterReport, delivery: Delivery) -> ExitCode {
    let mut problems = problems(&report.metrics, delivery);
    let mut code = ExitCode::SUCCESS;
    if let End::Input(Err(error)) = end {
        problems.push(say::chain(error));
        if !matches!(error, FrameError::Read(_)) {
            code = ExitCode::from(BAD_INPUT);
        }
    }
    if !problems.is_empty() && code == ExitCode::SUCCESS {
        code = ExitCode::FAILURE;
    }
    for problem in problems {
        say::problem(problem);
    }
    say::last(figures::of(report.metrics));
    code
}

fn problems(metrics: &WriterMetrics, delivery: Delivery) -> Vec<String> {
    // With receipts they are sent again.
    let (left, lost) = if delivery == Delivery::AtMostOnce {
        (
            "messages left unsent when the time was over",
            metrics.lost_with_unread,
        )
    } else {
        ("messages left unconfirmed when the time was over", 0)
    };
    let causes = [
        (left, metrics.failed.left.messages),
        (
            "messages given up, because the reader refuses them",
            metrics.failed.given_up.messages,
        ),
        (
            "messages not sent, because they are above the limit of 10 MiB",
            metrics.dropped.too_large.messages,
        ),
        (
            "messages for which there was no room in time, and whatever follows them",
            metrics.dropped.closed.messages,
        ),
        (
            "connections lost with sent messages that the reader had not read",
            lost,
        ),
    ];
    let said = causes.into_iter().filter(|(_, count)| *count > 0);
    said.map(|(cause, count)| format!("{cause}: {count}"))
        .collect()
}

/// Says why nothing moves. Connections come and go without a word: a reader closes idle ones.
fn tell(event: &WriterEvent, progress: &Progress) {
    if let WriterEvent::ConnectFailed { address, cause, .. } = event {
        progress.problem(format_args!(
            "waiting for a reader at {address}: {}",
            say::chain(cause)
        ));
    }
    if let WriterEvent::NoReceipt { .. } = event {
        progress.problem(format_args!("{event}"));
    }
}
