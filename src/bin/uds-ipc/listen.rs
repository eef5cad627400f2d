//! `uds-ipc listen`: a reader that prints what it receives.
//! Waits and decides; the printing itself is the output's.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, never, select, tick, unbounded};
use uds_ipc::event::{CloseCause, ReaderEvent};
use uds_ipc::systemd::Service;
use uds_ipc::{Reader, ReaderBuilder};

use crate::format::Format;
use crate::output::{Output, Printer};
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

As a service it takes its socket from systemd, if that passes one, and tells systemd how
it is: see examples/systemd.

Examples:
  uds-ipc listen /run/collector/telemetry.sock > telemetry.log
  uds-ipc listen @telemetry --format json | jq .text
  uds-ipc listen /tmp/test.sock --format none --figures 1";

/// Listens on a socket and prints each message
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to listen: the path of the socket, or @NAME; a bare file name in the runtime
    /// directory of a service
    #[arg(value_parser = values::own_address())]
    address: OsString,

    /// How to print a message
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,

    /// The longest message to take; a peer that announces a longer one is hung up on
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(values::MAX_MESSAGE_LEN).unwrap_or(NonZeroUsize::MIN))]
    max_message: NonZeroUsize,

    /// How long a connection may be silent before it is closed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::positive_seconds)]
    idle_timeout: Duration,

    /// The permissions of the socket's file; to connect needs the right to write
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = values::mode)]
    mode: u32,

    /// Also prints the figures to standard error every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_seconds)]
    figures: Option<Duration>,
}

/// Why it is time to stop.
enum Stop {
    Signal,
    Output(io::Error),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (stop, stops) = unbounded();
    let (on_signal, on_failure) = (stop.clone(), stop);
    signals::on_first(move || {
        let _ = on_signal.send(Stop::Signal);
    })?;
    let output = Arc::new(Output::new(options.format, move |error| {
        let _ = on_failure.send(Stop::Output(error));
    })?);
    let reader = builder(options)
        .bind()?
        .start_handler(Printer(Arc::clone(&output)))?;
    say::line(format_args!("listening on {}", reader.address()));
    // In a unit with `Type=notify`, systemd is told.
    let service = Service::start([reader]);

    let stop = wait(&service, &stops, options.figures);
    // Without an output there is nothing to handle the rest for.
    let timeout = if matches!(stop, Stop::Signal) {
        STOP_TIMEOUT
    } else {
        Duration::ZERO
    };
    let reports = service.shutdown(timeout)?;
    let cut: u64 = reports.iter().map(|report| report.cut).sum();
    let is_cut = cut > 0 && matches!(stop, Stop::Signal);
    if is_cut {
        output.flush(FLUSH_TIMEOUT);
        say::problem(format_args!(
            "connections cut off when the time to stop was over: {cut}"
        ));
    }
    let failure = [stop]
        .into_iter()
        .chain(stops.try_iter())
        .find_map(|stop| match stop {
            Stop::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => Some(error),
            Stop::Output(_) | Stop::Signal => None,
        });
    if let Some(error) = &failure {
        say::problem(format_args!(
            "cannot write to standard output: {}",
            say::chain(error)
        ));
    }
    for report in &reports {
        say::last(figures::of(report.metrics));
    }
    Ok(if is_cut || failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn builder(options: &Options) -> ReaderBuilder {
    let max_message_len = options.max_message.get();
    Reader::builder(&options.address)
        .max_message_len(max_message_len)
        // A message that is longer than all that may be held would never be complete.
        .max_partial_bytes(max_message_len.max(HELD_SIZE))
        .idle_timeout(options.idle_timeout)
        .socket_mode(options.mode)
        .on_event(|event| tell(&event))
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
