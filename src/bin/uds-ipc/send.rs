//! `uds-ipc send`: a writer that sends what it reads.
//! Waits and decides; the reading itself is the input's.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick, unbounded};
use parking_lot::Mutex;
use uds_ipc::error::StartError;
use uds_ipc::event::{ConnectError, LostCause, WriterEvent};
use uds_ipc::metrics::{Tally, WriterMetrics};
use uds_ipc::{Address, Delivery, Writer, WriterReport};

use crate::clock::now;
use crate::figures::Form;
use crate::frames::FrameError;
use crate::input::{Extent, Input, Origin, Pace, Shape};
use crate::outlet::Outlet;
use crate::progress::Progress;
use crate::say::WrongUsage;
use crate::{figures, instead, say, signals, values};

/// Wrong input is wrong usage.
const BAD_INPUT: u8 = say::WRONG_USAGE;
const NO_READER: u8 = 3;

/// How often to look whether there is a connection, or a receipt.
const LOOK: Duration = Duration::from_millis(100);

/// How long a reader may take for its first receipt before that is said.
const RECEIPT_TIME: Duration = Duration::from_secs(1);

/// How often a person who looks on is told that nobody listens.
const REMINDER: Duration = Duration::from_secs(5);

const DETAILS: &str = "\
A message is a line of standard input, or of FILE; or the MESSAGEs are those that are given. A
line goes without its newline and otherwise byte for byte; an empty one sends nothing. No
listener need be there yet: messages wait in a queue, and when that is full, the reading
waits, for as long as it takes; it also waits for a slow listener. At the end of the input,
and at SIGTERM, SIGINT or SIGHUP (unless that is ignored), it sends what it has read,
within the timeout, and says on standard error how many messages that were: see --figures. A
second signal ends it at once. With --connect-timeout it gives up when nobody has listened for
so long, also later, while it reads; after the end of the input the timeout counts.

At fd:N and at - (standard output) there is one stream, a pipe or a socket that is
connected: when that ends, so does the sending. Over a pipe there are no receipts.

It reads to the end of FILE. To follow a log through its rotations, let `tail -F` read it, as
below. With --rate a signal ends it before the next message.

A message above 10 MiB is not sent: it is passed over without being kept in memory,
counted as dropped.too_large, and makes the exit code 1. The others are sent all the same.

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Without --at-least-once a message is sent once the system has taken it, and nobody says what
becomes of it then: a listener that dies, or refuses one that is too long for it, may cost
those behind it too.

Exit codes: 0 all was sent, 1 something was left, lost or too large, or the only stream
ended before the input, 2 wrong usage, input that cannot
be read, or a broken frame, 3 nobody listened within
--connect-timeout.

Examples:
  uds-ipc send /run/collector/telemetry.sock < app.log
  uds-ipc send /run/a.sock 'deployed version 7' --quiet
  uds-ipc send /run/a.sock --file report.json --whole
  find . -name '*.json' -exec uds-ipc send /run/a.sock --whole --file {} ';'
  git ls-files -z | uds-ipc send @telemetry --nul
  tail -F app.log | uds-ipc send @telemetry
  uds-ipc send tcp:127.0.0.1:7000 < app.log
  uds-ipc send - < app.log | ssh HOST 'uds-ipc listen - > app.log'

Record a stream for a minute, and send it again, message for message:
  uds-ipc listen /run/a.sock --format frames --for 1m > messages.bin
  uds-ipc send /run/b.sock --frames --file messages.bin --rate 1000";

/// Sends messages: lines, frames, a file as a whole, or what is given
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to send to: PATH or unix:PATH, @NAME, tcp:HOST:PORT, fd:N, or - for standard output
    #[arg(value_parser = values::address())]
    address: Address,

    /// Messages to send, instead of standard input; - is a message too
    #[arg(value_name = "MESSAGE", value_parser = values::message(), conflicts_with_all = ["file", "frames", "nul", "whole"])]
    messages: Vec<OsString>,

    /// Reads this file instead of standard input
    #[arg(long)]
    file: Option<PathBuf>,

    /// How long sending the rest may take after the end of the input
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = values::duration)]
    timeout: Duration,

    /// How long to wait for somebody who listens, at the start and after a loss; as long as it
    /// takes unless given
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    connect_timeout: Option<Duration>,

    /// Takes varint frames instead of lines, as `listen --format frames` writes them: an unsigned
    /// LEB128 length, then the payload
    #[arg(long, conflicts_with_all = ["nul", "whole"])]
    frames: bool,

    /// Each message ends with a NUL byte instead of a newline, and may have newlines in it
    #[arg(long, conflicts_with = "whole")]
    nul: bool,

    /// The whole input is one message
    #[arg(long)]
    whole: bool,

    /// Sends at most so many messages a second; less than one is possible
    #[arg(long, value_name = "N", value_parser = values::interval)]
    rate: Option<Duration>,

    /// How to say the figures at the end, on standard error
    #[arg(long, value_enum, default_value_t = Form::Text)]
    figures: Form,

    /// Says only what went wrong: no progress, and no figures at the end
    #[arg(long, conflicts_with = "figures")]
    quiet: bool,

    /// Keeps each message until the listener has printed it, and sends it again after a loss: it
    /// may come twice
    #[arg(long)]
    at_least_once: bool,

    /// Lets what was taken from the input arrive even if this is killed: on Linux, at a reader of
    /// the crate
    #[arg(long)]
    crash_proof: bool,

    /// Lets a TCP address lead to another machine: nobody says who is there, and nothing is
    /// encrypted
    #[arg(long)]
    allow_remote: bool,
}

impl Options {
    fn delivery(&self) -> Delivery {
        if self.at_least_once {
            Delivery::AtLeastOnce
        } else {
            Delivery::AtMostOnce
        }
    }

    fn shape(&self) -> Shape {
        if self.frames {
            Shape::Frames
        } else if self.whole {
            Shape::Whole
        } else {
            Shape::Ended(if self.nul { 0 } else { b'\n' })
        }
    }

    /// What is to be sent.
    fn from(&self) -> Result<Origin, WrongUsage> {
        if let Some(path) = &self.file {
            let why = |error| format!("cannot read {}: {}", path.display(), say::chain(&error));
            return Origin::file(path).map_err(why).map_err(WrongUsage);
        }
        if self.messages.is_empty() {
            let why = |error| format!("cannot read standard input: {}", say::chain(&error));
            return Origin::standard_input().map_err(why).map_err(WrongUsage);
        }
        Ok(Origin::Given(self.messages.clone()))
    }

    fn is_standard(&self) -> bool {
        self.address.to_string() == "-"
    }

    /// What the address is called.
    fn name(&self) -> String {
        if self.is_standard() {
            "standard output".to_owned()
        } else {
            self.address.to_string()
        }
    }
}

/// Why no more is read.
enum End {
    Input(Result<(), FrameError>),
    Signal,
    /// Nobody listened in time; and what was wrong with the input by then.
    NoReader(Option<FrameError>),
    Trouble(Trouble),
}

/// What no waiting mends.
enum Trouble {
    /// The only stream has ended, for this cause.
    Gone(String),
    /// The address leads to another machine.
    Elsewhere(IpAddr),
}

/// Whether the reader gives receipts.
struct Receipts {
    is_asked: bool,
    progress: Progress,
    are_missing: Arc<AtomicBool>,
    /// Why the first connection ended.
    lost: Arc<Mutex<Option<LostCause>>>,
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

    /// Why none has come, as far as is known.
    fn why_none(&self, address: &Address) -> Option<String> {
        let lost = self.lost.lock().take();
        if let Some(LostCause::BadReceipt(bad)) = lost {
            let why = say::chain(&bad);
            return Some(format!("what answers at {address} is no reader: {why}"));
        }
        if lost.is_none() && !self.are_missing.load(Ordering::Relaxed) {
            return None;
        }
        let ended =
            lost.map(|cause| format!(", and ended the first connection: {}", say::chain(&cause)));
        let ended = ended.unwrap_or_default();
        Some(format!(
            "the reader has given no receipt{ended}: if it knows none, send without --at-least-once"
        ))
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
        let now = now();
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
    let began = now();
    let (stop, stops) = unbounded();
    signals::on_first(move || {
        let _ = stop.send(());
    })?;
    let from = options.from()?;
    let progress = Progress::new(options.quiet);
    let reminding = progress.clone();
    let missing = Arc::new(AtomicBool::new(false));
    let lost = Arc::new(Mutex::new(None));
    let delivery = options.delivery();
    let (trouble, troubles) = unbounded();
    let (connected, links) = unbounded();
    let (builder, outlet) =
        if options.is_standard() && delivery == Delivery::AtMostOnce && Outlet::is_needed() {
            let (stream, outlet) = Outlet::open()?;
            (Writer::over(stream), Some(outlet))
        } else {
            (Writer::builder(&options.address), None)
        };
    let told = Told {
        progress: progress.clone(),
        are_missing: Arc::clone(&missing),
        lost: Arc::clone(&lost),
        trouble,
        connected,
    };
    let writer = builder
        .delivery(delivery)
        .crash_proof(options.crash_proof)
        .allow_remote(options.allow_remote)
        .max_message_len(values::MAX_MESSAGE_LEN)
        // A listener whose output goes to a pager takes its time. On a further connection
        // lines would overtake.
        .write_timeout(Duration::MAX)
        .on_event(move |event| told.note(&event))
        .start()
        .map_err(|error| refusal(error, options))?;
    let writer = Arc::new(writer);
    let following = progress.follow(&writer, from.len());
    let busy = Arc::new(Mutex::new(()));
    let refused = Arc::new(Mutex::new(Tally::default()));
    let (go_on, stop) = bounded::<()>(0);
    let input = Input {
        writer: Arc::clone(&writer),
        from,
        shape: options.shape(),
        pace: options.rate.map(|interval| Pace { interval, stop }),
        limit: values::MAX_MESSAGE_LEN,
        busy: Arc::clone(&busy),
        refused: Arc::clone(&refused),
    }
    .start()?;

    let receipts = Receipts {
        is_asked: options.at_least_once,
        progress: reminding,
        are_missing: missing,
        lost,
        sent_at: Mutex::new(None),
    };
    let wakers = Wakers {
        input,
        stops: &stops,
        troubles: &troubles,
        links: &links,
    };
    let end = wait(&writer, wakers, options.connect_timeout, &receipts);
    let ended = now();
    drop(go_on);
    // Kept to the end, so that nothing more is read.
    let _idle = matches!(end, End::Signal).then(|| busy.try_lock_for(options.timeout));
    let timeout = match end {
        End::NoReader(_) | End::Trouble(_) => Duration::ZERO,
        End::Input(_) | End::Signal => options.timeout.saturating_sub(ended.elapsed()),
    };
    let (mut report, late) = drain(&writer, &stops, &troubles, timeout, &receipts)?;
    drop(following);
    report.metrics.dropped.too_large += *refused.lock();
    // The writer has closed its stream by now.
    let copied = outlet.map_or(Ok(()), |outlet| {
        outlet.finish(timeout.saturating_sub(ended.elapsed()))
    });
    let outcome = Outcome {
        end,
        report,
        late,
        copied,
        elapsed: now().saturating_duration_since(began),
    };
    Ok(outcome.conclude(options, &receipts))
}

/// In the words of the command line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
fn refusal(error: StartError, options: &Options) -> Box<dyn Error> {
    match error {
        StartError::NotAStream { kind, .. } => {
            let is_terminal = io::stdout().is_terminal();
            let why = values::not_a_stream(&options.address, "output", kind, is_terminal);
            WrongUsage(why).into()
        }
        StartError::NotLoopback { found, .. } => WrongUsage(elsewhere(found)).into(),
        StartError::NoPort { address, .. } => {
            let why = "send to the port that the listener says";
            WrongUsage(format!("the port of {address} is 0: {why}")).into()
        }
        StartError::Setting(error) if error.setting == "delivery" => {
            let name = options.name();
            let why = "is a pipe, and has no way back for receipts: send without --at-least-once";
            WrongUsage(format!("{name} {why}")).into()
        }
        other => other.into(),
    }
}

fn elsewhere(found: IpAddr) -> String {
    format!(
        "{found} is no loopback address, and over TCP nobody says who is there, and nothing is encrypted: lead the stream through ssh, stunnel or WireGuard, or give --allow-remote"
    )
}

/// What is waited for while the input is read.
struct Wakers<'a> {
    input: Receiver<Result<Extent, FrameError>>,
    stops: &'a Receiver<()>,
    troubles: &'a Receiver<Trouble>,
    /// Whether there is a connection now.
    links: &'a Receiver<bool>,
}

/// Waits for the first reason to read no more. With a time to connect in, the input may have ended
/// before somebody listens.
fn wait(
    writer: &Writer,
    wakers: Wakers<'_>,
    connect_timeout: Option<Duration>,
    receipts: &Receipts,
) -> End {
    let Wakers {
        mut input,
        stops,
        troubles,
        links,
    } = wakers;
    let has_connected = || writer.metrics().connects > 0;
    let start = || connect_timeout.map_or_else(never, after);
    let (mut deadline, mut is_connected) = (start(), false);
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
                match result.unwrap_or(Ok(Extent::All)) {
                    Ok(Extent::All) => ended = Some(Ok(())),
                    // Why the writer takes no more is told next.
                    Ok(Extent::Part) => {}
                    Err(error) => ended = Some(Err(error)),
                }
                input = never();
            }
            recv(stops) -> _ => return End::Signal,
            // Its other end is in the writer's observer, which lives longer.
            recv(troubles) -> trouble => if let Ok(trouble) = trouble {
                return match (trouble, input.try_recv()) {
                    // There was no more to read.
                    (Trouble::Gone(_), Ok(Ok(Extent::All))) => End::Input(Ok(())),
                    (trouble, _) => End::Trouble(trouble),
                };
            },
            recv(deadline) -> _ => return End::NoReader(ended.and_then(Result::err)),
            // Told again and again while nobody listens: the time counts from the first.
            recv(links) -> link => match link {
                Ok(true) => (deadline, is_connected) = (never(), true),
                Ok(false) if is_connected => (deadline, is_connected) = (start(), false),
                // Its other end is in the writer's observer, too.
                Ok(false) | Err(_) => {}
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
    troubles: &Receiver<Trouble>,
    timeout: Duration,
    receipts: &Receipts,
) -> Result<(WriterReport, Option<Trouble>), Box<dyn Error>> {
    let (done, is_done) = bounded::<()>(0);
    thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut receipt_looks = receipts.looks();
            loop {
                select! {
                    // An error means that the first signal has come before.
                    recv(stops) -> signal => {
                        if signal.is_ok() {
                            let _ = writer.shutdown(Duration::ZERO);
                        }
                        return None;
                    }
                    recv(is_done) -> _ => return None,
                    recv(troubles) -> trouble => {
                        let _ = writer.shutdown(Duration::ZERO);
                        return trouble.ok();
                    }
                    recv(receipt_looks) -> _ => if receipts.look(writer) {
                        receipt_looks = never();
                    },
                }
            }
        });
        let report = writer.shutdown(timeout);
        drop(done);
        let late = watching.join().unwrap_or_default();
        Ok((report?, late.or_else(|| troubles.try_recv().ok())))
    })
}

/// What it all came to.
struct Outcome {
    end: End,
    report: WriterReport,
    /// What came up while the rest was being sent.
    late: Option<Trouble>,
    /// Whether what was written came to standard output.
    copied: io::Result<()>,
    /// How long it took, with the wait for a reader.
    elapsed: Duration,
}

impl Outcome {
    /// Says what went wrong, once for each cause, and the figures.
    fn conclude(&self, options: &Options, receipts: &Receipts) -> ExitCode {
        let Self {
            end,
            report,
            elapsed,
            ..
        } = self;
        let mut problems = self.problems(options);
        let mut code = ExitCode::SUCCESS;
        if matches!(end, End::NoReader(_)) {
            let address = &options.address;
            problems.insert(0, format!("nobody listened at {address} in time"));
            code = ExitCode::from(NO_READER);
        }
        let WriterMetrics {
            sent, confirmed, ..
        } = report.metrics;
        let is_unconfirmed = sent.messages > 0 && confirmed.messages == 0;
        if options.at_least_once && is_unconfirmed && report.left.messages > 0 {
            problems.extend(receipts.why_none(&options.address));
        }
        if let End::Input(Err(error)) | End::NoReader(Some(error)) = end {
            problems.push(say::chain(error));
            if !matches!(error, FrameError::Read(_)) {
                code = ExitCode::from(BAD_INPUT);
                if sent.messages == 0 {
                    problems.push("is this a record of `listen --format frames`?".to_owned());
                }
            }
        }
        if !problems.is_empty() && code == ExitCode::SUCCESS {
            code = ExitCode::FAILURE;
        }
        for problem in problems {
            say::problem(problem);
        }
        if !options.quiet {
            let words = figures::sent(&report.metrics, options.delivery(), *elapsed);
            if let Some(line) = figures::line(options.figures, words, report.metrics) {
                say::last(line);
            }
        }
        code
    }

    fn trouble(&self) -> Option<&Trouble> {
        match &self.end {
            End::Trouble(trouble) => Some(trouble),
            End::Input(_) | End::Signal | End::NoReader(_) => self.late.as_ref(),
        }
    }

    fn problems(&self, options: &Options) -> Vec<String> {
        let mut problems = self.unsent(options.delivery());
        match self.trouble() {
            Some(Trouble::Elsewhere(found)) => problems.insert(0, elsewhere(*found)),
            // A stream that ends when all has been said is no trouble.
            Some(Trouble::Gone(cause))
                if matches!(self.end, End::Trouble(_)) || !problems.is_empty() =>
            {
                let name = options.name();
                problems.insert(0, format!("{name} ended before all was sent: {cause}"));
            }
            Some(Trouble::Gone(_)) | None => {}
        }
        if let Err(error) = &self.copied {
            problems.push(format!(
                "not all came to standard output: {}",
                say::chain(error)
            ));
        }
        problems
    }

    /// What became of messages that were not sent, or sent in vain.
    fn unsent(&self, delivery: Delivery) -> Vec<String> {
        let metrics = &self.report.metrics;
        let is_gone = self.trouble().is_some();
        // With receipts they are sent again.
        let (left, lost) = if delivery == Delivery::AtMostOnce {
            ("messages left unsent", metrics.lost_with_unread)
        } else {
            ("messages left unconfirmed", 0)
        };
        let when = if is_gone {
            ""
        } else {
            " when the time was over"
        };
        let left = format!("{left}{when}");
        let closed = if is_gone {
            "messages read after that, and whatever follows them"
        } else {
            "messages for which there was no room in time, and whatever follows them"
        };
        let causes = [
            (&*left, metrics.failed.left.messages),
            (
                "messages given up, because the reader refuses them",
                metrics.failed.given_up.messages,
            ),
            (
                "messages not sent, because they are above the limit of 10 MiB",
                metrics.dropped.too_large.messages,
            ),
            (closed, metrics.dropped.closed.messages),
            (
                "connections lost with sent messages that the reader had not read",
                lost,
            ),
        ];
        let said = causes.into_iter().filter(|(_, count)| *count > 0);
        said.map(|(cause, count)| format!("{cause}: {count}"))
            .collect()
    }
}

/// What is told, and noted, of what happens to the writer.
struct Told {
    progress: Progress,
    are_missing: Arc<AtomicBool>,
    lost: Arc<Mutex<Option<LostCause>>>,
    trouble: Sender<Trouble>,
    connected: Sender<bool>,
}

impl Told {
    /// Says why nothing moves. Connections come and go without a word: a reader closes idle ones.
    fn note(&self, event: &WriterEvent) {
        if let WriterEvent::Connected { .. } | WriterEvent::ConnectFailed { .. } = event {
            let is_connected = matches!(event, WriterEvent::Connected { .. });
            let _ = self.connected.send(is_connected);
        }
        if let WriterEvent::ConnectFailed {
            cause: ConnectError::NotLoopback { found, .. },
            ..
        } = event
        {
            let _ = self.trouble.send(Trouble::Elsewhere(*found));
        } else if let WriterEvent::ConnectFailed { address, cause, .. } = event {
            let other = address.path().and_then(instead::of_socket);
            let why = other.unwrap_or_else(|| {
                if let ConnectError::Io(error) = cause {
                    // The library's own words say once more that a reader is missing.
                    say::chain(error)
                } else {
                    say::chain(cause)
                }
            });
            self.progress
                .problem(format_args!("waiting for a reader at {address}: {why}"));
        }
        if let WriterEvent::Lost {
            cause, retry_in, ..
        } = event
        {
            self.lost.lock().get_or_insert_with(|| cause.clone());
            if retry_in.is_none() {
                let _ = self.trouble.send(Trouble::Gone(say::chain(cause)));
            }
        }
        if let WriterEvent::NotCrashProof { .. } = event {
            say::problem(event);
        }
        if let WriterEvent::NoReceipt {
            address, waited, ..
        } = event
        {
            self.are_missing.store(true, Ordering::Relaxed);
            if *waited < RECEIPT_TIME {
                // It has not been waited for: the other end has ended its side.
                self.progress
                    .problem(format_args!("{address} gives no receipts"));
            } else {
                self.progress.problem(format_args!("{event}"));
            }
        }
    }
}
