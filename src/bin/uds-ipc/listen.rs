//! `uds-ipc listen`: a reader that prints what it receives.
//! Waits and decides; the printing itself is the output's.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, never, select, tick, unbounded};
use uds_ipc::error::BindError;
use uds_ipc::event::{CloseCause, ReaderEvent};
use uds_ipc::systemd::Service;
use uds_ipc::{Address, Reader, ReaderBuilder};

use crate::format::Format;
use crate::output::{Output, Printer};
use crate::say::WrongUsage;
use crate::{figures, say, signals, values};

/// How long a stop may take to handle what has been sent already.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last of the output may take after that.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What half messages may hold over all connections: the library's own bound.
const HELD_SIZE: usize = 256 * 1024 * 1024;

const DETAILS: &str = "\
Once it accepts it says \"listening on ADDRESS\" on standard error. At SIGTERM, SIGINT or
SIGHUP (unless that is ignored) it stops: what was sent already is still printed, for up to
10 s, and then the figures follow on standard error as one line of JSON. A second signal
ends it at once. It also stops, without an error, when a message finds standard output
closed.

At fd:N and at - it serves a socket that listens, or one stream: a pipe or a socket that
is connected. When one stream has ended and all is printed, it ends too. With port 0 it
takes whichever is free, and says which.

As a service it takes its socket from systemd, if that passes one, and tells systemd how
it is: see examples/systemd.

Examples:
  uds-ipc listen /run/collector/telemetry.sock > telemetry.log
  uds-ipc listen @telemetry --format json | jq .text
  uds-ipc listen /tmp/test.sock --format none --figures 1
  uds-ipc listen tcp:127.0.0.1:7000
  ssh HOST 'tail -F app.log | uds-ipc send -' | uds-ipc listen -";

/// Listens at an address and prints each message
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to listen: PATH or unix:PATH, @NAME, tcp:HOST:PORT, fd:N, or - for standard input; a
    /// bare file name is in the runtime directory of a service
    #[arg(value_parser = values::own_address())]
    address: OsString,

    /// How to print a message
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,

    /// The longest message to take; a peer that announces a longer one is hung up on
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(values::MAX_MESSAGE_LEN).unwrap_or(NonZeroUsize::MIN))]
    max_message: NonZeroUsize,

    /// How long a connection may be silent before it is closed: 10 unless given, and for ever on
    /// one stream
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_seconds)]
    idle_timeout: Option<Duration>,

    /// The permissions of the socket's file, 600 unless given; to connect needs the right to write
    #[arg(long, value_name = "OCTAL", value_parser = values::mode)]
    mode: Option<u32>,

    /// Lets a TCP address be one that other machines can reach: nobody says who connects, and
    /// nothing is encrypted
    #[arg(long)]
    allow_remote: bool,

    /// Also prints the figures to standard error every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_seconds)]
    figures: Option<Duration>,
}

/// Why it is time to stop.
enum Stop {
    Signal,
    Output(io::Error),
    /// The only stream has ended.
    Ended {
        is_fault: bool,
    },
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (stop, stops) = unbounded();
    let (on_signal, on_failure, on_end) = (stop.clone(), stop.clone(), stop);
    signals::on_first(move || {
        let _ = on_signal.send(Stop::Signal);
    })?;
    let output = Arc::new(Output::new(options.format, move |error| {
        let _ = on_failure.send(Stop::Output(error));
    })?);
    let watch = Watch {
        is_single: Arc::default(),
        stop: on_end,
    };
    let is_single = Arc::clone(&watch.is_single);
    let address = Address::new(&options.address)?;
    if options.mode.is_some() && address.path().is_none() {
        let why = "is no file: leave --mode away";
        return Err(WrongUsage(format!("{address} {why}")).into());
    }
    let bound = builder(options, watch).bind().map_err(refusal)?;
    // Known before the first event: no stream is served yet.
    is_single.store(!bound.listens(), Ordering::Relaxed);
    let reader = bound.start_handler(Printer(Arc::clone(&output)))?;
    say::line(format_args!("listening on {}", reader.address()));
    // In a unit with `Type=notify`, systemd is told.
    let service = Service::start([reader]);

    let stop = wait(&service, &stops, options.figures);
    // Without an output there is nothing to handle the rest for.
    let has_output = !matches!(stop, Stop::Output(_));
    let timeout = if has_output {
        STOP_TIMEOUT
    } else {
        Duration::ZERO
    };
    let reports = service.shutdown(timeout)?;
    let cut: u64 = reports.iter().map(|report| report.cut).sum();
    let is_cut = cut > 0 && has_output;
    if is_cut {
        output.flush(FLUSH_TIMEOUT);
        say::problem(format_args!(
            "connections cut off when the time to stop was over: {cut}"
        ));
    }
    let mut is_fault = false;
    let mut failure = None;
    for stop in [stop].into_iter().chain(stops.try_iter()) {
        match stop {
            Stop::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                failure = Some(error);
            }
            Stop::Ended { is_fault: true } => is_fault = true,
            Stop::Output(_) | Stop::Signal | Stop::Ended { .. } => {}
        }
    }
    if let Some(error) = &failure {
        say::problem(format_args!(
            "cannot write to standard output: {}",
            say::chain(error)
        ));
    }
    for report in &reports {
        say::last(figures::of(report.metrics));
    }
    Ok(if is_cut || is_fault || failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn builder(options: &Options, watch: Watch) -> ReaderBuilder {
    let max_message_len = options.max_message.get();
    let builder = Reader::builder(&options.address)
        .max_message_len(max_message_len)
        // A message that is longer than all that may be held would never be complete.
        .max_partial_bytes(max_message_len.max(HELD_SIZE))
        .allow_remote(options.allow_remote)
        .on_event(move |event| {
            tell(&event);
            watch.see(&event);
        });
    let builder = match options.mode {
        Some(mode) => builder.socket_mode(mode),
        None => builder,
    };
    match options.idle_timeout {
        Some(timeout) => builder.idle_timeout(timeout),
        None => builder,
    }
}

/// Waits for the end of a stream that is the only one.
struct Watch {
    is_single: Arc<AtomicBool>,
    stop: Sender<Stop>,
}

impl Watch {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "both enums may grow: a new cause is a fault, a new event is no end"
    )]
    fn see(&self, event: &ReaderEvent) {
        if !self.is_single.load(Ordering::Relaxed) {
            return;
        }
        let ReaderEvent::Closed { peer, cause, .. } = event else {
            return;
        };
        if let CloseCause::Idle = cause {
            // Elsewhere the peer comes back, and nothing is said.
            say::problem(format_args!("{peer}: {cause}"));
        }
        let is_fault = match cause {
            // Of what could not be stored the output says why.
            CloseCause::EndOfStream | CloseCause::Stopped | CloseCause::NotStored => false,
            _ => true,
        };
        let _ = self.stop.send(Stop::Ended { is_fault });
    }
}

/// In the words of the command line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
fn refusal(error: BindError) -> Box<dyn Error> {
    match error {
        BindError::NotLoopback { found, .. } => WrongUsage(format!(
            "{found} can be reached from other machines, and over TCP nobody says who connects, and nothing is encrypted: listen on a loopback address such as tcp:127.0.0.1:PORT behind ssh, stunnel or WireGuard, or give --allow-remote"
        ))
        .into(),
        BindError::NotAStream { address, kind, .. } => {
            let is_terminal = io::stdin().is_terminal();
            WrongUsage(values::not_a_stream(&address, "input", kind, is_terminal)).into()
        }
        other => other.into(),
    }
}

/// Waits for the first reason to stop; prints the figures meanwhile.
fn wait(service: &Service, stops: &Receiver<Stop>, figures: Option<Duration>) -> Stop {
    let ticks = figures.map_or_else(never, tick);
    loop {
        select! {
            // The output's sender lives as long as the reader.
            recv(stops) -> stop => return stop.unwrap_or(Stop::Signal),
            recv(ticks) -> _ => tell_figures(service),
        }
    }
}

fn tell_figures(service: &Service) {
    for reader in service.readers() {
        say::line(figures::of(reader.metrics()));
    }
}

/// Says what somebody who watches the tool wants to know: not that peers come and go.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "both enums may grow: a new cause is told, a new event is not"
)]
fn tell(event: &ReaderEvent) {
    match event {
        ReaderEvent::Closed { peer, cause, .. } => match cause {
            CloseCause::EndOfStream | CloseCause::Idle | CloseCause::Stopped => {}
            fault => say::problem(format_args!("{peer}: {}", say::chain(fault))),
        },
        ReaderEvent::Recovered { .. } => say::problem(event),
        ReaderEvent::Refused { peer, cause, .. } => say::problem(format_args!("{peer}: {cause}")),
        ReaderEvent::AcceptPaused { error, .. } => {
            say::problem(format_args!(
                "cannot accept connections for now: {}",
                say::chain(error)
            ));
        }
        ReaderEvent::AcceptResumed { .. } => say::problem("accepts connections again"),
        ReaderEvent::ThreadFailed { error, .. } => {
            say::problem(format_args!(
                "cannot start a further thread: {}",
                say::chain(error)
            ));
        }
        ReaderEvent::NotifyFailed { error, .. } => {
            say::problem(format_args!("systemd is not told: {}", say::chain(error)));
        }
        ReaderEvent::Displaced { address, .. } => {
            say::problem(format_args!(
                "{address} is gone or replaced: new senders do not come here any more"
            ));
        }
        _ => {}
    }
}
