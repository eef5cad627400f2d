//! `uds-ipc send`: a writer that sends what it reads.
//! Waits and decides; the reading itself is the input's.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, after, bounded, never, select, tick, unbounded};
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
const NO_READER: u8 = 3;

/// How often to look whether there is a connection, or a receipt.
const LOOK: Duration = Duration::from_millis(100);

/// How long a reader may take for its first receipt before that is said.
const RECEIPT_TIME: Duration = Duration::from_secs(1);

/// How often a person who looks on is told that nobody listens.
const REMINDER: Duration = Duration::from_secs(5);

const DETAILS: &str = "\
A line goes without its newline and otherwise byte for byte; an empty one sends nothing. No
listener need be there yet: messages wait in a queue, and when that is full, the reading
waits, for as long as it takes; it also waits for a slow listener. At the end of the input,
and at SIGTERM, SIGINT or SIGHUP (unless that is ignored), it sends what it has read,
within the timeout, and prints its figures to standard error as one line of JSON. A second
signal ends it at once. With --connect-timeout it gives up when nobody has listened for so
long.

A line or frame above 10 MiB is not sent: it is passed over without being kept in memory,
counted as dropped.too_large, and makes the exit code 1. The others are sent all the same.

Exit codes: 0 all was sent, 1 something was left, lost or too large, 2 wrong usage or a
broken frame, 3 nobody listened within --connect-timeout.

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

    /// How long to wait for somebody who listens; as long as it takes unless given
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_seconds)]
    connect_timeout: Option<Duration>,

    /// Takes varint frames instead of lines: an unsigned LEB128 length, then the payload
    #[arg(long)]
    frames: bool,

    /// Keeps each message until the listener has printed it, and sends it again after a loss: it
    /// may come twice
    #[arg(long)]
    at_least_once: bool,
}

impl Options {
    fn delivery(&self) -> Delivery {
        if self.at_least_once {
            Delivery::AtLeastOnce
        } else {
            Delivery::AtMostOnce
        }
    }
}

/// Why no more is read.
enum End {
    Input(Result<(), FrameError>),
    Signal,
    /// Nobody listened in time.
    NoReader,
}

/// Whether the reader gives receipts.
struct Receipts {
    is_asked: bool,
    progress: Progress,
    are_missing: Arc<AtomicBool>,
    /// When the first message was first seen to be on its way.
    sent_at: Mutex<Option<Instant>>,
}

impl Receipts {
    /// When to look for the first.
    fn looks(&self) -> Receiver<Instant> {
        if self.is_asked && !self.are_missing.load(Ordering::Relaxed) {
            tick(LOOK)
        } else {
            never()
        }
    }

    /// Says once that none has come in time for the first message. Whether that is settled now, one
    /// way or the other.
    fn look(&self, writer: &Writer) -> bool {
        let WriterMetrics {
            sent, confirmed, ..
        } = writer.metrics();
        if sent.messages == 0 || confirmed.messages > 0 {
            return confirmed.messages > 0;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the time begins with the first message"
        )]
        let now = Instant::now();
        if now < *self.sent_at.lock().get_or_insert(now) + RECEIPT_TIME {
            return false;
        }
        if !self.are_missing.swap(true, Ordering::Relaxed) {
            self.progress.problem(format_args!(
                "the reader at {} has given no receipt yet: if it knows none, nothing will ever be confirmed",
                writer.address()
            ));
        }
        true
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (stop, stops) = unbounded();
    signals::on_first(move || {
        let _ = stop.send(());
    })?;
    let progress = Progress::new();
    let (above, reminding) = (progress.clone(), progress.clone());
    let missing = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&missing);
    let delivery = options.delivery();
    let writer = Writer::builder(&options.address)
        .delivery(delivery)
        .max_message_len(values::MAX_MESSAGE_LEN)
        // A listener whose output goes to a pager takes its time. On a further connection
        // lines would overtake.
        .write_timeout(Duration::MAX)
        .on_event(move |event| tell(&event, &above, &told))
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

    let receipts = Receipts {
        is_asked: options.at_least_once,
        progress: reminding,
        are_missing: missing,
        sent_at: Mutex::new(None),
    };
    let end = wait(&writer, input, &stops, options.connect_timeout, &receipts);
    #[expect(
        clippy::disallowed_methods,
        reason = "the timeout begins when the reading ends"
    )]
    let began = Instant::now();
    // Kept to the end, so that nothing more is read.
    let _idle = matches!(end, End::Signal).then(|| busy.try_lock_for(options.timeout));
    let timeout = match end {
        End::NoReader => Duration::ZERO,
        End::Input(_) | End::Signal => options.timeout.saturating_sub(began.elapsed()),
    };
    let mut report = drain(&writer, &stops, timeout, &receipts)?;
    drop(following);
    report.metrics.dropped.too_large += *refused.lock();
    Ok(conclude(&end, &report, options, &receipts))
}

/// Waits for the first reason to read no more. With a time to connect in, the input may have ended
/// before somebody listens.
fn wait(
    writer: &Writer,
    mut input: Receiver<Result<(), FrameError>>,
    stops: &Receiver<()>,
    connect_timeout: Option<Duration>,
    receipts: &Receipts,
) -> End {
    let has_connected = || writer.metrics().connects > 0;
    let deadline = connect_timeout.map_or_else(never, after);
    // Once connected, and with its first receipt, a sender that waits for more input does not wake
    // up for nothing.
    let mut looks = connect_timeout.map_or_else(never, |_| tick(LOOK));
    let mut receipt_looks = receipts.looks();
    let mut reminders = if io::stderr().is_terminal() {
        tick(REMINDER)
    } else {
        never()
    };
    let mut ended = None;
    loop {
        select! {
            recv(input) -> result => {
                ended = Some(result.unwrap_or(Ok(())));
                input = never();
            }
            recv(stops) -> _ => return End::Signal,
            recv(deadline) -> _ => if !has_connected() {
                return End::NoReader;
            },
            recv(looks) -> _ => if has_connected() {
                looks = never();
            },
            recv(receipt_looks) -> _ => if receipts.look(writer) {
                receipt_looks = never();
            },
            recv(reminders) -> _ => if has_connected() {
                reminders = never();
            } else {
                receipts.progress.problem(format_args!(
                    "still waiting for a reader at {}",
                    writer.address()
                ));
            },
        }
        if ended.is_some() && (connect_timeout.is_none() || has_connected()) {
            return End::Input(ended.unwrap_or(Ok(())));
        }
    }
}

/// Sends what is left. The first signal ends the wait if it comes only now.
fn drain(
    writer: &Writer,
    stops: &Receiver<()>,
    timeout: Duration,
    receipts: &Receipts,
) -> Result<WriterReport, Box<dyn Error>> {
    let (done, is_done) = bounded::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut receipt_looks = receipts.looks();
            loop {
                select! {
                    // An error means that the first signal has come before.
                    recv(stops) -> signal => {
                        if signal.is_ok() {
                            let _ = writer.shutdown(Duration::ZERO);
                        }
                        break;
                    }
                    recv(is_done) -> _ => break,
                    recv(receipt_looks) -> _ => if receipts.look(writer) {
                        receipt_looks = never();
                    },
                }
            }
        });
        let report = writer.shutdown(timeout);
        drop(done);
        Ok(report?)
    })
}

/// Says what went wrong, once for each cause, and the figures.
fn conclude(end: &End, report: &WriterReport, options: &Options, receipts: &Receipts) -> ExitCode {
    let mut problems = problems(&report.metrics, options.delivery());
    let mut code = ExitCode::SUCCESS;
    if matches!(end, End::NoReader) {
        let address = &options.address;
        problems.insert(0, format!("nobody listened at {address} in time"));
        code = ExitCode::from(NO_READER);
    }
    let is_unconfirmed = report.metrics.confirmed.messages == 0 && report.left.messages > 0;
    if is_unconfirmed && receipts.are_missing.load(Ordering::Relaxed) {
        problems.push(
            "the reader has given no receipt: if it knows none, send without --at-least-once"
                .to_owned(),
        );
    }
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
fn tell(event: &WriterEvent, progress: &Progress, missing: &AtomicBool) {
    if let WriterEvent::ConnectFailed { address, cause, .. } = event {
        progress.problem(format_args!(
            "waiting for a reader at {address}: {}",
            say::chain(cause)
        ));
    }
    if let WriterEvent::NoReceipt { .. } = event {
        missing.store(true, Ordering::Relaxed);
        progress.problem(format_args!("{event}"));
    }
}
