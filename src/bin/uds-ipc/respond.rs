//! `uds-ipc respond`: answers calls with what a command prints, one for each call.
//! Waits and decides; the command itself runs elsewhere.

use std::error::Error;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use nix::unistd::geteuid;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use serde::Serialize;
use uds_ipc::calls::{Call, Reply, ReplyError, Responder, ResponderFigures, ResponderReport};
use uds_ipc::error::BindError;
use uds_ipc::systemd::Activation;
use uds_ipc::{Address, Peer};

use crate::clock::now;
use crate::command::{self, End};
use crate::figures::Form;
use crate::listening::{self, SocketFile};
use crate::say::WrongUsage;
use crate::{accounts, figures, say, signals, values};

/// How often to look whether anybody still waits for a command.
const LOOK: Duration = Duration::from_millis(50);

/// How many calls may wait for a command of theirs.
const MOST_WAITING: usize = 1024;

/// How long killed commands may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// What the calls of one connection may hold, and those of all: the library's own bounds.
const IN_FLIGHT_SIZE: usize = 16 * 1024 * 1024;
const HELD_SIZE: usize = 256 * 1024 * 1024;

/// What systemd tells this process, and not its commands.
const NOT_FOR_COMMANDS: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
];

const DETAILS: &str = "\
For each call it runs COMMAND with its ARGs, without a shell. The call's body is the command's
standard input; what it prints is the answer. These say what the call is:
  UDS_IPC_METHOD             the method, as the caller gave it: any text
  UDS_IPC_UID, UDS_IPC_GID   who calls, as the kernel vouches for it; unset over TCP
  UDS_IPC_PID                likewise, and unset where the system does not say it

A command that ends with another exit code than 0 has failed: the caller gets the end of what
it said on standard error, up to 4 KiB. What it says there and succeeds is dropped. A command
has ended when its program has and its standard output is closed.

When the caller's time is over, or it gives up or goes, or the command takes longer than
--command-timeout, the command is killed at once, and all of its process group with it. Who
has sent a notification may go: its command runs until the call's time is over.

It answers its own user and root unless --allow-uid or --allow-anyone says otherwise: the
commands run with the rights of this process, whoever calls.

Once it accepts it says \"listening on ADDRESS\" on standard error. At SIGTERM, SIGINT or
SIGHUP (unless that is ignored) it stops: it refuses new calls, answers those in hand within
the timeout, kills what is left, and says its figures on standard error: see --figures.
A second signal ends it at once, and leaves the commands running.

As a service it takes its socket from systemd, if that passes one: with --activation the one
of this name. It tells systemd that it is ready and that it stops (Type=notify), but no more:
set no WatchdogSec= for it.

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Exit codes: 0 stopped as asked, 1 something failed, or calls were left when the time was
over, 2 wrong usage, 128 + N ended at once by a second signal N.

Examples:
  uds-ipc respond /run/a.sock --exec uptime
  uds-ipc respond /run/a.sock --method status --method drain --exec /usr/local/bin/admin
  uds-ipc respond @admin --exec sh -c 'case $UDS_IPC_METHOD in
    size) wc -c;; *) echo unknown >&2; exit 1;; esac'
  uds-ipc call @admin size - < report.json";

/// Answers calls: each with what a command prints
#[derive(Debug, Args)]
#[command(
    after_help = DETAILS,
    override_usage = "uds-ipc respond <ADDRESS> [OPTIONS] --exec <COMMAND> [ARG]..."
)]
pub(crate) struct Options {
    /// Where to answer: PATH or unix:PATH, @NAME, or tcp:HOST:PORT of this machine; a bare file
    /// name is in the runtime directory of a service
    #[arg(value_parser = values::own_address())]
    address: OsString,

    /// The command that answers, and its arguments: all that follows belongs to it
    #[arg(long, value_names = ["COMMAND", "ARG"], num_args = 1.., allow_hyphen_values = true, required = true)]
    exec: Vec<OsString>,

    /// Allows only this method, and those that are given likewise; all unless given
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,

    /// How many commands may run at once; further calls wait
    #[arg(long, value_name = "N", default_value = "16", value_parser = values::commands)]
    max_commands: usize,

    /// How long a command may run, however long its caller would wait
    #[arg(long, value_name = "DURATION", default_value = "60", value_parser = values::positive_duration)]
    command_timeout: Duration,

    /// How long the calls in hand may take once it stops
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = values::duration)]
    timeout: Duration,

    /// The longest call with its method and some bytes more; who announces a longer one is hung up
    /// on
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(1024 * 1024).unwrap_or(NonZeroUsize::MIN))]
    max_call: NonZeroUsize,

    /// The longest answer with some bytes more, at least 64; a command that prints more is killed
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(values::MAX_MESSAGE_LEN).unwrap_or(NonZeroUsize::MIN))]
    max_answer: NonZeroUsize,

    #[command(flatten)]
    file: SocketFile,

    /// Answers only processes of these users, by name or number; others are refused. The file's
    /// permissions must let them in too
    #[arg(long, value_name = "USER,…", value_delimiter = ',', value_parser = accounts::user)]
    allow_uid: Vec<u32>,

    /// Answers everybody who can connect: those whom the file's permissions let in; over TCP any
    /// program of this machine
    #[arg(long, conflicts_with = "allow_uid")]
    allow_anyone: bool,

    /// Takes the socket that systemd passes by this name, instead of the first
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,

    /// How to say the figures at the end, on standard error
    #[arg(long, value_enum, default_value_t = Form::Text)]
    figures: Form,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Figures {
    /// Those whose command succeeded, and whose answer was taken.
    answered: u64,
    /// Those whose command failed, printed too much, or could not be started.
    failed: u64,
    /// Those that nobody waited for any more: of a command that ran then, it was killed.
    cancelled: u64,
    /// Those whose command took too long, and was killed.
    too_slow: u64,
    /// Those that failed because as many waited already as may.
    too_many: u64,
    /// Those that did not come to a command: not allowed, above a bound, or during the stop.
    refused: usize,
    /// Connections that were closed because of what the peer sent.
    malformed: usize,
    /// Those in hand when the time to stop was over.
    left: usize,
}

impl Figures {
    fn words(&self, elapsed: Duration) -> String {
        let answered = figures::number(self.answered, "call");
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let others = [
            ("failed", self.failed),
            ("cancelled", self.cancelled),
            ("too slow", self.too_slow),
            ("too many", self.too_many),
            ("refused", count(self.refused)),
            ("malformed", count(self.malformed)),
            ("left", count(self.left)),
        ];
        let text = format!("answered {answered} in {}", figures::time(elapsed));
        figures::with_others(text, others)
    }
}

/// A call that waits for its command.
struct Job {
    call: Call,
    reply: Reply,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let began = now();
    let (stop, stops) = bounded(1);
    signals::on_first(move || {
        let _ = stop.send(());
    })?;
    if let Some(program) = options.exec.first() {
        command::check(program).map_err(|error| {
            let program = Path::new(program).display();
            WrongUsage(format!("cannot run {program}: {}", say::chain(&error)))
        })?;
    }
    let figures = Arc::new(Mutex::new(Figures::default()));
    let (queue, jobs) = bounded(MOST_WAITING);
    let (go_on, is_over) = bounded(0);
    let (alive, ended) = bounded(0);
    let runner = Runner {
        command: options.exec.clone(),
        most: options.max_answer.get(),
        timeout: options.command_timeout,
        figures: Arc::clone(&figures),
        jobs,
        is_over,
    };
    let responder = bind(options, queue, &figures)?;
    for _ in 0..options.max_commands {
        let (runner, alive) = (runner.clone(), alive.clone());
        let work = move || {
            runner.work();
            drop(alive);
        };
        thread::Builder::new()
            .name("uds-ipc-command".into())
            .spawn(work)?;
    }
    drop((runner, alive));
    say::line(format_args!("listening on {}", responder.address()));
    tell_systemd(NotifyState::Ready);
    // Its other end ends with the thread that waits for signals.
    let _ = stops.recv();
    tell_systemd(NotifyState::Stopping);
    let report = responder.shutdown(options.timeout)?;
    drop::<Sender<()>>(go_on);
    // An error says that all have ended: nothing is ever sent.
    let _ = Receiver::<()>::recv_timeout(&ended, KILL_TIMEOUT);
    let elapsed = now().saturating_duration_since(began);
    Ok(conclude(report, *figures.lock(), options.figures, elapsed))
}

fn bind(
    options: &Options,
    queue: Sender<Job>,
    figures: &Arc<Mutex<Figures>>,
) -> Result<Responder, Box<dyn Error>> {
    let address = Address::new(&options.address)?;
    options.file.check(&address)?;
    let text = address.to_string();
    if text == "-" || text.starts_with("fd:") {
        let why = "calls need an address to listen at: PATH, @NAME or tcp:HOST:PORT";
        return Err(WrongUsage(format!("{text} is one stream: {why}")).into());
    }
    if address.port().is_some() && !options.allow_anyone {
        let why = "over TCP nobody says of which user a process is: give --allow-anyone, and any program of this machine may call";
        return Err(WrongUsage(why.into()).into());
    }
    let max_call = options.max_call.get();
    let in_flight = IN_FLIGHT_SIZE.max(max_call);
    let mut builder = Responder::builder(&options.address)
        .max_call_len(max_call)
        .max_reply_len(options.max_answer.get())
        .max_bytes_in_flight(in_flight)
        .max_bytes_held(HELD_SIZE.max(in_flight))
        .socket_owner(options.file.owner)
        .socket_group(options.file.group)
        .allow(allowing(options));
    if let Some(mode) = options.file.mode {
        builder = builder.socket_mode(mode);
    }
    if let Some(name) = &options.activation {
        builder = builder.activation(Activation::Named(name.clone()));
    }
    let bound = builder.bind().map_err(refusal)?;
    let figures = Arc::clone(figures);
    // Never waits: who reads the calls sees that somebody has gone, too.
    let responder = bound.start(move |call, reply| {
        if let Err(full) = queue.try_send(Job { call, reply }) {
            figures.lock().too_many += 1;
            let why = format!("{MOST_WAITING} calls wait for a command already");
            let _ = full.into_inner().reply.fail(why);
        }
    })?;
    Ok(responder)
}

/// Who may call what.
fn allowing(options: &Options) -> impl Fn(&Peer, &str) -> bool + Send + Sync + 'static {
    let methods = options.methods.clone();
    let users = if options.allow_anyone {
        None
    } else if options.allow_uid.is_empty() {
        Some(vec![geteuid().as_raw(), 0])
    } else {
        Some(options.allow_uid.clone())
    };
    move |peer, method| {
        let is_method = methods.is_empty() || methods.iter().any(|name| name == method);
        let is_user = users.as_ref().is_none_or(|users| {
            let uid = peer.identity.uid();
            uid.is_some_and(|uid| users.contains(&uid))
        });
        is_method && is_user
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
            "{found} can be reached from other machines: answer at a loopback address such as tcp:127.0.0.1:PORT, behind ssh, stunnel or WireGuard"
        ))
        .into(),
        BindError::Setting(error) if error.setting == "max_reply_len" => {
            let (value, bound) = (error.value, error.bound);
            WrongUsage(format!("--max-answer is {value}: it must be {bound}")).into()
        }
        other => listening::no_socket(other),
    }
}

/// In a unit with `Type=notify`.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        let why = say::chain(&error);
        say::problem(format_args!("systemd is not told: {why}"));
    }
}

/// Says the figures, and what went wrong.
fn conclude(report: ResponderReport, figures: Figures, form: Form, elapsed: Duration) -> ExitCode {
    let ResponderReport {
        left,
        figures: of_library,
        ..
    } = report;
    let ResponderFigures {
        refused, malformed, ..
    } = of_library;
    if left > 0 {
        say::problem(format_args!(
            "calls left unanswered when the time to stop was over: {left}"
        ));
    }
    let figures = Figures {
        refused,
        malformed,
        left,
        ..figures
    };
    if let Some(line) = figures::line(form, figures.words(elapsed), figures) {
        say::last(line);
    }
    if left > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs commands, one at a time on each thread.
#[derive(Clone)]
struct Runner {
    command: Vec<OsString>,
    most: usize,
    timeout: Duration,
    figures: Arc<Mutex<Figures>>,
    jobs: Receiver<Job>,
    /// Its other end is dropped when nothing is to run any more.
    is_over: Receiver<()>,
}

impl Runner {
    fn work(&self) {
        loop {
            select! {
                recv(self.is_over) -> _ => return,
                recv(self.jobs) -> job => match job {
                    Ok(job) => self.answer(job),
                    Err(_) => return,
                },
            }
        }
    }

    fn answer(&self, Job { call, reply }: Job) {
        let began = now();
        let is_cancelled = || reply.is_cancelled();
        let look = || {
            let is_over = self.is_over.try_recv() == Err(TryRecvError::Disconnected);
            let now = now();
            let left = self
                .timeout
                .saturating_sub(now.saturating_duration_since(began));
            if is_over || left.is_zero() || is_cancelled() {
                return None;
            }
            let wanted = call.deadline();
            let wanted = wanted.map(|deadline| deadline.saturating_duration_since(now));
            Some(LOOK.min(left).min(wanted.unwrap_or(LOOK)))
        };
        // Who has given up while the call waited wants no command to begin.
        let end = if is_cancelled() {
            Ok(End::Killed)
        } else {
            command::run(&mut self.command(&call), call.body(), self.most, look)
        };
        let is_cancelled = is_cancelled();
        let (is_success, sent) = match end {
            Ok(End::Answered(answer)) => (true, reply.send(answer)),
            Ok(End::Failed(words)) => (false, reply.fail(words)),
            Ok(End::TooLong) => {
                let most = self.most;
                (
                    false,
                    reply.fail(format!("the command printed more than {most} bytes")),
                )
            }
            Ok(End::Killed) if is_cancelled => {
                self.figures.lock().cancelled += 1;
                return;
            }
            Ok(End::Killed) => {
                self.figures.lock().too_slow += 1;
                let _ = reply.fail(format!("the command took longer than {:?}", self.timeout));
                return;
            }
            Err(error) => {
                let why = say::chain(&error);
                let why = format!("cannot run the command: {why}");
                say::problem(&why);
                (false, reply.fail(why))
            }
        };
        let mut figures = self.figures.lock();
        match (is_success, sent) {
            (true, Ok(())) => figures.answered += 1,
            (false, Ok(())) | (_, Err(ReplyError::TooLarge { .. })) => figures.failed += 1,
            (_, Err(_)) => figures.cancelled += 1,
        }
    }

    fn command(&self, call: &Call) -> Command {
        let mut words = self.command.iter();
        // The command line has at least one.
        let mut command = Command::new(words.next().map_or(OsString::new(), OsString::clone));
        command.args(words).env("UDS_IPC_METHOD", call.method());
        for name in NOT_FOR_COMMANDS {
            command.env_remove(name);
        }
        let process = call.peer().identity.credentials();
        for (name, number) in [
            ("UDS_IPC_UID", process.map(|process| process.uid)),
            ("UDS_IPC_GID", process.map(|process| process.gid)),
            ("UDS_IPC_PID", process.and_then(|process| process.pid)),
        ] {
            // What this process got from its own parent says nothing of the caller.
            match number {
                Some(number) => command.env(name, number.to_string()),
                None => command.env_remove(name),
            };
        }
        command
    }
}
