//! `uds-ipc listen`: a reader that prints what it receives.
//! Waits and decides; the printing itself is the output's.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, Sender, after, never, select, tick, unbounded};
use indicatif::HumanCount;
use uds_ipc::metrics::Tally;
use uds_ipc::systemd::Service;
use uds_ipc::{Reader, ReaderReport};

use crate::clock::now;
use crate::figures::Form;
use crate::format::{Format, Layout};
use crate::listening::{self, Stop, Taking};
use crate::output::Output;
use crate::say::WrongUsage;
use crate::speed::Speed;
use crate::{figures, say, signals, values};

/// How often to look within the time in which nothing may come.
const LOOKS: u32 = 10;
const LEAST_LOOK: Duration = Duration::from_millis(1);

const DETAILS: &str = "\
What it takes is a stream (SOCK_STREAM, not datagrams) of varint frames: before each message its
length, as an unsigned LEB128 number. `uds-ipc send` makes them of lines.

It is the reader of its address: a collector that has it must be stopped first, or listen
elsewhere, to where all is sent on, as in the last example.

Once it accepts it says \"listening on ADDRESS\" on standard error. At SIGTERM, SIGINT or
SIGHUP (unless that is ignored) it stops: what was sent already is still printed, for up to
10 s, and then it says on standard error how much that was: see --figures. A second signal
ends it at once. It also stops, without an error, when standard output is closed, and says
how many messages it had that were not printed. What it had not read yet its senders keep,
or know to be lost.

With --count, --for and --until-idle it stops by itself, at whichever comes first. At the end of
a time what was sent by then is still printed. With --count nothing beyond N is printed, and
what was sent beyond is lost, unless its sender has each message confirmed, as with
`send --at-least-once`: what is not printed is not confirmed, and goes to the next listener.
The time of --until-idle begins anew with each message. The first begins once it accepts: where
nothing ever comes it stops after that, with exit code 0 (with --count 1).

At fd:N and at - it serves a socket that listens, or one stream: a pipe or a socket that
is connected. When one stream has ended and all is printed, it ends too. With port 0 it
takes whichever is free, and says which.

As a service it takes its socket from systemd, if that passes one, and tells systemd how
it is: see examples/systemd.

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Exit codes: 0 stopped as asked, 1 something failed, or fewer than --count came, 2 wrong
usage, 128 + N ended at once by a second signal N.

Examples:
  uds-ipc listen /run/collector/telemetry.sock > telemetry.log
  uds-ipc listen @telemetry --format json | jq .text
  uds-ipc listen /run/a.sock --mode 660 --group telemetry --timestamps
  uds-ipc listen tcp:127.0.0.1:7000
  ssh HOST 'tail -F app.log | uds-ipc send -' | uds-ipc listen -

Record a stream for a minute, and send it again, message for message:
  uds-ipc listen /run/a.sock --format frames --for 1m > messages.bin
  uds-ipc send /run/b.sock --frames --file messages.bin --rate 1000

Record what a collector gets, which listens at b.sock meanwhile:
  uds-ipc listen /run/a.sock --format frames | tee messages.bin | uds-ipc send /run/b.sock --frames

Who sends most: uds-ipc top ADDRESS";

/// Listens at an address and prints each message
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// How to print a message
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,

    /// Ends each message with a NUL byte instead of a newline, for xargs -0 and sort -z
    #[arg(long)]
    nul: bool,

    /// Says of each message when it came: UTC, to the microsecond
    #[arg(long)]
    timestamps: bool,

    /// Stops after so many messages. What was sent beyond is lost, unless its sender delivers at
    /// least once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Stops after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::positive_duration)]
    time: Option<Duration>,

    /// Stops once no message has come for so long, since the last one or, where none came, since
    /// the start
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    until_idle: Option<Duration>,

    /// How to say the figures at the end, on standard error
    #[arg(long, value_enum, default_value_t = Form::Text)]
    figures: Form,

    /// Also says the figures every so often; as text on a terminal in one line that changes,
    /// unless messages are printed there too
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    figures_every: Option<Duration>,

    #[command(flatten)]
    place: listening::Place,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (stop, stops) = unbounded();
    let output = output(options, &stop)?;
    let on_signal = stop.clone();
    signals::on_first(move || {
        let _ = on_signal.send(Stop::Asked);
    })?;
    let handler = Taking {
        output: Arc::clone(&output),
        board: None,
    };
    let service = listening::start(&options.place, handler, stop)?;
    let began = now();
    let stop = wait(&service, &stops, options, began);
    let later = || stops.try_iter().collect();
    let (code, reports) = listening::finish(&service, &output, stop, later)?;
    let elapsed = now().saturating_duration_since(began);
    for ReaderReport { metrics, .. } in &reports {
        let words = figures::received(metrics, elapsed);
        if let Some(line) = figures::line(options.figures, words, metrics) {
            say::last(line);
        }
    }
    Ok(code)
}

fn output(options: &Options, stop: &Sender<Stop>) -> Result<Arc<Output>, Box<dyn Error>> {
    let layout = Layout {
        format: options.format,
        end: if options.nul { 0 } else { b'\n' },
    };
    if options.format == Format::Frames && (options.nul || options.timestamps) {
        let why = "frames are the messages as they came: leave --nul and --timestamps away";
        return Err(WrongUsage(why.into()).into());
    }
    let (on_over, on_closed) = (stop.clone(), stop.clone());
    let output = Output::new(layout, options.timestamps, options.count, move |over| {
        let _ = on_over.send(Stop::Output(over));
    })?;
    Output::watch(move || {
        let _ = on_closed.send(Stop::Closed);
    })?;
    Ok(Arc::new(output))
}

/// Waits for the first reason to stop; says the figures meanwhile.
fn wait(service: &Service, stops: &Receiver<Stop>, options: &Options, began: Instant) -> Stop {
    let ticks = options.figures_every.map_or_else(never, tick);
    // Messages on the same terminal would be torn by a line that changes.
    let is_live = options.figures == Form::Text
        && io::stderr().is_terminal()
        && (options.format == Format::None || !io::stdout().is_terminal());
    let mut live = is_live.then(Speed::default);
    let end = options.time.map_or_else(never, after);
    let mut quiet = options.until_idle.map(Quiet::new);
    let looks = options
        .until_idle
        .map_or_else(never, |time| tick((time / LOOKS).max(LEAST_LOOK)));
    loop {
        select! {
            // Another sender lives as long as the reader.
            recv(stops) -> stop => return stop.unwrap_or(Stop::Asked),
            recv(end) -> _ => return Stop::Time,
            recv(looks) -> now => if let (Some(quiet), Ok(now)) = (&mut quiet, now) {
                if quiet.is_over(now, received(service)) {
                    return Stop::Time;
                }
            },
            recv(ticks) -> _ => tell_figures(service, options.figures, live.as_mut(), began),
        }
    }
}

/// How long nothing has come.
struct Quiet {
    most: Duration,
    since: Instant,
    received: u64,
}

impl Quiet {
    fn new(most: Duration) -> Self {
        Self {
            most,
            since: now(),
            received: 0,
        }
    }

    fn is_over(&mut self, now: Instant, received: u64) -> bool {
        if received > self.received {
            (self.received, self.since) = (received, now);
        }
        now.saturating_duration_since(self.since) >= self.most
    }
}

fn received(service: &Service) -> u64 {
    let readers = service.readers().iter();
    readers
        .map(|reader| reader.metrics().received.messages)
        .sum()
}

fn tell_figures(service: &Service, form: Form, live: Option<&mut Speed>, began: Instant) {
    let metrics = service.readers().iter().map(Reader::metrics);
    let now = now();
    let Some(speed) = live else {
        let elapsed = now.saturating_duration_since(began);
        for metrics in metrics {
            let words = figures::received(&metrics, elapsed);
            if let Some(line) = figures::line(form, words, metrics) {
                say::line(line);
            }
        }
        return;
    };
    let (received, open) = metrics.fold((Tally::default(), 0), |(received, open), metrics| {
        (received + metrics.received, open + metrics.open)
    });
    speed.note(now, received);
    let messages = HumanCount(received.messages);
    say::live(format_args!("{messages} messages, {speed}, {open} open"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_coming_is_not_idle() {
        let mut quiet = Quiet::new(Duration::from_secs(2));
        let start = quiet.since;
        let mut is_over =
            |millis, received| quiet.is_over(start + Duration::from_millis(millis), received);
        assert!(!is_over(1_999, 0));
        assert!(!is_over(2_000, 1));
        assert!(!is_over(3_999, 1));
        assert!(is_over(4_000, 1));
    }
}
