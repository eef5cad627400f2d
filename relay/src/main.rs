//! Takes what daemons send over uds-ipc on to NATS JetStream, Redis Streams or files: each message
//! once and in order. See README.md.

mod check;
mod connect;
mod figures;
mod health;
mod notify;
mod read;
mod relay;
mod rule;
mod runs;
mod send;
mod settings;
#[cfg(test)]
mod simulation;
mod sink;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use metrics_exporter_prometheus::PrometheusBuilder;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tracing::{debug, error, info, warn};
use tracing_subscriber::EnvFilter;
use uds_ipc::error::BindError;
use uds_ipc::event::{ReaderEvent, Severity};
use uds_ipc::{Batches, Reader, Recover};

use crate::health::Health;
use crate::notify::Notify;
use crate::relay::{Relay, Report};
use crate::settings::{Engine, LogFormat, Nats, Settings};
use crate::sink::Sink;

/// The longest message that is read at all. A writer is told of a longer one, and counts it.
const LONGEST_READ: usize = 10 * 1024 * 1024;

/// The most bytes of half messages, of all connections.
const PARTIAL_BYTES: usize = 64 * 1024 * 1024;

/// Takes what daemons send over uds-ipc on to NATS JetStream, Redis Streams or files: each message
/// once and in order
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Relay until SIGTERM
    Run(Box<Settings>),
    /// Ask a relay how it is. Ends with 0: the engine is reachable; 1: it is not; 2: no relay
    Check(Check),
    /// Send each line of standard input as a message, numbered, and wait until all are confirmed.
    /// Ends with 0: all are; 1: some may not be, and may come all the same
    Send(Send),
    /// Print what a JetStream stream has, a line for each message: NAME NUMBER MESSAGE
    Read(Box<Read>),
}

#[derive(Args)]
struct Check {
    /// The relay's setting `http`
    #[arg(long, env = "UDS_IPC_RELAY_HTTP", default_value = "127.0.0.1:9465")]
    http: String,
    /// Ask again until all is well, for so long
    #[arg(long, value_name = "TIME", value_parser = settings::time)]
    wait: Option<Duration>,
}

#[derive(Args)]
struct Send {
    /// Where the relay listens
    address: String,
    /// The producer's name
    #[arg(long)]
    name: String,
    /// How long to wait for room, and at the end for the confirmation
    #[arg(long, default_value = "30s", value_parser = settings::time)]
    timeout: Duration,
}

#[derive(Args)]
struct Read {
    #[command(flatten)]
    nats: Nats,
    #[arg(long, env = "UDS_IPC_RELAY_PREFIX", default_value = "messages")]
    prefix: String,
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "a shell reads it")]
fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            let mut text = format!("uds-ipc-relay: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, Box<dyn Error>> {
    let cli = Cli::from_arg_matches(&arguments()?)?;
    // The only provider there is; redis asks for one that is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread is enough: beside several it was as fast, and took less of the processors.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all();
    match cli.command {
        Command::Run(settings) => {
            settings.check()?;
            log(&settings.log, settings.log_format)?;
            // Before threads are started: it takes systemd's variables out of the environment.
            let must_stop = Arc::new(AtomicBool::new(false));
            let bound = bind(&settings, Arc::clone(&must_stop))?;
            runtime
                .build()?
                .block_on(run(*settings, bound, must_stop))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(Check { http, wait }) => Ok(
            match runtime.build()?.block_on(check::check(&http, now, wait)) {
                Ok(answer) => {
                    writeln!(io::stdout(), "{}", answer.text)?;
                    if answer.is_good {
                        ExitCode::SUCCESS
                    } else {
                        ExitCode::from(1)
                    }
                }
                Err(error) => {
                    writeln!(io::stdout(), "{error}")?;
                    ExitCode::from(2)
                }
            },
        ),
        Command::Send(Send {
            address,
            name,
            timeout,
        }) => {
            log("warn", LogFormat::Text)?;
            let count = send::send(&address, &name, timeout)?;
            writeln!(io::stderr(), "{count} messages confirmed")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Read(read) => {
            let Read { nats, prefix } = *read;
            nats.check()?;
            runtime.build()?.block_on(read::read(&nats, &prefix))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The arguments, with what the settings' file says as their defaults.
fn arguments() -> Result<ArgMatches, settings::SettingsError> {
    // What the environment has may be a secret that is in the wrong place.
    let command = Cli::command().mut_subcommands(|subcommand| {
        subcommand.mut_args(|argument| argument.hide_env_values(true))
    });
    let matches = command.clone().get_matches();
    let file = match matches.subcommand() {
        Some(("run", run)) => run.get_one::<PathBuf>("settings").cloned(),
        _ => None,
    };
    let Some(path) = file else {
        return Ok(matches);
    };
    let mut result = Ok(());
    let command = command.mut_subcommand("run", |run| {
        settings::with_file(run.clone(), &path).unwrap_or_else(|error| {
            result = Err(error);
            run
        })
    });
    result?;
    Ok(command.get_matches())
}

fn log(filter: &str, format: LogFormat) -> Result<(), Box<dyn Error>> {
    // To standard error, never to a socket of ours: a log that feeds itself has no end.
    let builder = tracing_subscriber::fmt().with_writer(io::stderr);
    let builder = builder.with_env_filter(EnvFilter::try_new(filter)?);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn bind(
    settings: &Settings,
    must_stop: Arc<AtomicBool>,
) -> Result<uds_ipc::BoundReader, Box<dyn Error>> {
    let mut builder = Reader::builder(&settings.listen)
        .socket_mode(settings.socket_mode)
        .socket_group(settings.group()?)
        .max_partial_bytes(PARTIAL_BYTES)
        .max_message_len(LONGEST_READ.max(settings.bounds.max_message_bytes))
        // A quiet daemon costs no more than a descriptor, and the kernel tells when one has died.
        .idle_timeout(Duration::MAX)
        .on_event(move |event| tell(&event, &must_stop));
    if settings.recover_any_user {
        builder = builder.recover(Recover::AnyUser);
    }
    let users = settings.allowed_users()?;
    if !users.is_empty() {
        builder = builder
            .peer_check(move |peer| peer.identity.uid().is_some_and(|uid| users.contains(&uid)));
    }
    builder.bind().map_err(refusal)
}

#[derive(Debug, Error)]
#[error("there is no directory {}: make it, or name another place with --listen", .0.display())]
struct NoDirectory(PathBuf);

/// In the words of the settings.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
fn refusal(error: BindError) -> Box<dyn Error> {
    match error {
        BindError::NoDirectory { directory, .. } => NoDirectory(directory).into(),
        other => other.into(),
    }
}

/// Logs an event of the reader's. Once it must stop, what is not confirmed is no error: its writer
/// has it still, unless that has died.
fn tell(event: &ReaderEvent, must_stop: &AtomicBool) {
    let is_kept = must_stop.load(Ordering::Relaxed)
        && matches!(
            event,
            ReaderEvent::HandlerFailed { peer, .. } | ReaderEvent::Closed { peer, .. }
                if !peer.recovered
        );
    match event.severity() {
        Severity::Error if is_kept => info!(%event, "reader"),
        Severity::Debug => debug!(%event, "reader"),
        Severity::Info => info!(%event, "reader"),
        Severity::Warning => warn!(%event, "reader"),
        Severity::Error | _ => error!(%event, "reader"),
    }
}

async fn run(
    settings: Settings,
    bound: uds_ipc::BoundReader,
    must_stop: Arc<AtomicBool>,
) -> Result<(), Box<dyn Error>> {
    // Before anybody can know of this process.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(settings.http).await?;
    let figures = PrometheusBuilder::new().install_recorder()?;
    let health = Arc::new(Health::new(now()));
    let stopping = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        must_stop.store(true, Ordering::Relaxed);
    };
    let (reader, batches) = bound.start_batches()?;
    let scraped = health::serve(
        listener,
        Arc::clone(&health),
        figures,
        reader.publisher("relay"),
    );
    let page = tokio::spawn(scraped);
    info!(listen = %reader.address(), http = %settings.http, to = ?settings.to, "relay up");
    let parts = Parts {
        reader,
        batches,
        health,
        page,
    };
    match settings.to {
        Engine::Jetstream => {
            let sink = connect::jetstream(&settings).await?;
            parts.relay(sink, settings, stopping).await
        }
        Engine::Redis => {
            let sink = connect::redis(&settings)?;
            parts.relay(sink, settings, stopping).await
        }
        Engine::Files => {
            let sink = connect::files(&settings).await?;
            parts.relay(sink, settings, stopping).await
        }
    }
}

/// What there is before there is an engine.
struct Parts {
    reader: Reader,
    batches: Batches,
    health: Arc<Health>,
    page: JoinHandle<io::Result<()>>,
}

/// What ended before anybody wanted it: systemd starts the relay again, as a whole.
#[derive(Debug, Error)]
enum EndedError {
    #[error("the relay ended by itself: {0:?}")]
    Relay(Result<Report, JoinError>),
    #[error("the page ended by itself: {0:?}")]
    Page(Result<io::Result<()>, JoinError>),
}

/// Waits until the relay is to stop. An error: something has ended already.
async fn watch_over(
    stopping: impl Future<Output = ()>,
    relay: &mut JoinHandle<Report>,
    page: &mut JoinHandle<io::Result<()>>,
) -> Result<(), EndedError> {
    tokio::select! {
        () = stopping => Ok(()),
        ended = relay => Err(EndedError::Relay(ended)),
        ended = page => Err(EndedError::Page(ended)),
    }
}

impl Parts {
    async fn relay<S: Sink>(
        mut self,
        sink: S,
        settings: Settings,
        stopping: impl Future<Output = ()>,
    ) -> Result<(), Box<dyn Error>> {
        let limits = settings.bounds.limits();
        let notify = Notify::new();
        notify::ready();
        let relay = Relay::new(sink, settings.rule, limits, self.health, notify);
        let (stop, stopped) = watch::channel(None);
        let mut relay = tokio::spawn(relay.run(self.batches, stopped));
        watch_over(stopping, &mut relay, &mut self.page).await?;
        notify::stopping();
        let timeout = settings.stop_timeout;
        stop.send_replace(Some(now() + timeout));
        // What was sent is read, and waits for the relay.
        let reader = self.reader;
        let reader = tokio::task::spawn_blocking(move || reader.shutdown(timeout));
        let report = relay.await?;
        let cut = reader.await?.map_or(0, |report| report.cut);
        info!(left = report.left, cut, "relay down");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn what_ends_by_itself_ends_the_process() {
        let mut lives = tokio::spawn(pending());
        let mut page = tokio::spawn(pending());
        let mut dies = tokio::spawn(pending());
        dies.abort();
        let ended = watch_over(pending(), &mut dies, &mut page).await;
        assert!(matches!(ended, Err(EndedError::Relay(Err(_)))), "{ended:?}");
        let mut ends = tokio::spawn(async { Ok(()) });
        let ended = watch_over(pending(), &mut lives, &mut ends).await;
        assert!(matches!(ended, Err(EndedError::Page(_))), "{ended:?}");
        let ended = watch_over(async {}, &mut lives, &mut page).await;
        assert!(ended.is_ok());
    }
}
