//! A reader that stands behind a subcommand: where it listens, whom it lets in, what it does with
//! messages, what it says, and how it ends. When to end is the subcommand's business.

use std::cell::Cell;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use uds_ipc::error::{BindError, ShutdownError};
use uds_ipc::event::{CloseCause, ReaderEvent};
use uds_ipc::metrics::Tally;
use uds_ipc::systemd::Service;
use uds_ipc::{Address, Handler, Peer, Reader, ReaderBuilder, ReaderReport};

use crate::board::{Board, End};
use crate::clock::now;
use crate::output::{Output, Over, Rest};
use crate::say::WrongUsage;
use crate::{accounts, program, say, values};

/// How long a stop may take to handle what has been sent already.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last of the output may take after that.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What half messages may hold over all connections: the library's own bound.
const HELD_SIZE: usize = 256 * 1024 * 1024;

/// Where to listen, and whom to let in.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Where to listen: PATH or unix:PATH, @NAME, tcp:HOST:PORT, fd:N, or - for standard input; a
    /// bare file name is in the runtime directory of a service
    #[arg(value_parser = values::own_address())]
    address: OsString,

    /// The longest message to take; a peer that announces a longer one is hung up on
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(values::MAX_MESSAGE_LEN).unwrap_or(NonZeroUsize::MIN))]
    max_message: NonZeroUsize,

    /// How long a connection may be silent before it is closed: 10 s unless given, and for ever on
    /// one stream
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    idle_timeout: Option<Duration>,

    #[command(flatten)]
    file: SocketFile,

    /// Lets in only processes of these users, by name or number; others are refused, and that is
    /// said. The file's permissions must let them in too
    #[arg(long, value_name = "USER,…", value_delimiter = ',', value_parser = accounts::user)]
    allow_uid: Vec<u32>,

    /// Lets a TCP address be one that other machines can reach: nobody says who connects, and
    /// nothing is encrypted
    #[arg(long)]
    allow_remote: bool,
}

/// What the file of a socket is like.
#[derive(Debug, Args)]
pub(crate) struct SocketFile {
    /// The permissions of the socket's file, 600 unless given; to connect needs the right to write
    #[arg(long, value_name = "OCTAL", value_parser = values::mode)]
    pub(crate) mode: Option<u32>,

    /// The user that the socket's file belongs to, by name or number
    #[arg(long, visible_alias = "user", value_name = "USER", value_parser = accounts::user)]
    pub(crate) owner: Option<u32>,

    /// The group that the socket's file belongs to, by name or number: with --mode 660 its members
    /// may connect
    #[arg(long, value_name = "GROUP", value_parser = accounts::group)]
    pub(crate) group: Option<u32>,
}

impl SocketFile {
    /// Only a file has these.
    pub(crate) fn check(&self, address: &Address) -> Result<(), WrongUsage> {
        for (name, is_given) in [
            ("mode", self.mode.is_some()),
            ("owner", self.owner.is_some()),
            ("group", self.group.is_some()),
        ] {
            if is_given && address.path().is_none() {
                let why = format!("{address} is no file: leave --{name} away");
                return Err(WrongUsage(why));
            }
        }
        Ok(())
    }
}

/// Why it is time to stop.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody wants it, by a signal or a key.
    Asked,
    Output(Over),
    /// Nobody can read the output any more.
    Closed,
    /// The time is over.
    Time,
    /// The only stream has ended.
    Ended {
        is_fault: bool,
    },
}

impl Stop {
    /// Whether what comes now could still be handled.
    fn has_output(&self) -> bool {
        !matches!(self, Self::Closed | Self::Output(Over::Failed(_)))
    }

    fn is_closed_output(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Output(Over::Failed(error)) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Asked | Self::Output(Over::Enough) | Self::Time | Self::Ended { .. } => false,
        }
    }
}

/// What becomes of messages: they are printed, and counted where there is a board. One type for
/// all, since the reader is compiled anew for each.
pub(crate) struct Taking {
    pub(crate) output: Arc<Output>,
    pub(crate) board: Option<Arc<Mutex<Board>>>,
}

thread_local! {
    /// Of the batch that this thread is at.
    static BATCH: Cell<Tally> = Cell::default();
}

impl Handler for Taking {
    type Error = io::Error;

    fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        if self.board.is_some() {
            let mut batch = BATCH.get();
            batch.messages += 1;
            batch.bytes += u64::try_from(message.len()).unwrap_or(u64::MAX);
            BATCH.set(batch);
        }
        self.output.print(message, peer)
    }

    fn batch_end(&self, peer: &Peer) -> io::Result<()> {
        if let Some(board) = &self.board {
            board.lock().count(peer, BATCH.take(), now());
        }
        self.output.flush()
    }

    fn opened(&self, peer: &Peer) {
        if let Some(board) = &self.board {
            let pid = peer.identity.credentials().and_then(|process| process.pid);
            // The number of one that is dead may be another's by now.
            let pid = pid.filter(|_| !peer.recovered);
            let program = pid.and_then(program::of);
            let user = peer.identity.uid().and_then(accounts::name);
            board.lock().open(*peer, program, user);
        }
    }
}

/// Listens, and gives what comes to `handler`. Only one stream that ends is told to `stop`.
pub(crate) fn start(
    place: &Place,
    handler: Taking,
    stop: Sender<Stop>,
) -> Result<Service, Box<dyn Error>> {
    let watch = Watch {
        is_single: Arc::default(),
        stop,
        board: handler.board.clone(),
    };
    let is_single = Arc::clone(&watch.is_single);
    let address = Address::new(&place.address)?;
    place.file.check(&address)?;
    if address.port().is_some() && !place.allow_uid.is_empty() {
        let why = "over TCP nobody says of which user a process is: leave --allow-uid away";
        return Err(WrongUsage(why.into()).into());
    }
    let bound = builder(place, watch).bind().map_err(refusal)?;
    // Known before the first event: no stream is served yet.
    is_single.store(!bound.listens(), Ordering::Relaxed);
    let reader = bound.start_handler(handler)?;
    say::line(format_args!("listening on {}", reader.address()));
    // In a unit with `Type=notify`, systemd is told.
    Ok(Service::start([reader]))
}

/// Ends, for this reason and for those that came up `later`. Says what went wrong.
pub(crate) fn finish(
    service: &Service,
    output: &Arc<Output>,
    stop: Stop,
    later: impl FnOnce() -> Vec<Stop>,
) -> Result<(ExitCode, Vec<ReaderReport>), ShutdownError> {
    // Without an output there is nothing to handle the rest for. Who sent it is told so: the
    // system says that it was not read.
    let has_output = stop.has_output();
    let timeout = if has_output {
        STOP_TIMEOUT
    } else {
        Duration::ZERO
    };
    let reports = service.shutdown(timeout)?;
    let cut: u64 = reports.iter().map(|report| report.cut).sum();
    let is_cut = cut > 0 && has_output;
    if is_cut {
        Arc::clone(output).write_rest(FLUSH_TIMEOUT);
        say::problem(format_args!(
            "connections cut off when the time to stop was over: {cut}"
        ));
    }
    let mut is_failure = is_cut;
    let mut is_closed = false;
    for stop in [stop].into_iter().chain(later()) {
        is_closed |= stop.is_closed_output();
        match stop {
            Stop::Output(Over::Failed(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                let why = say::chain(&error);
                say::problem(format_args!("cannot write to standard output: {why}"));
                is_failure = true;
            }
            Stop::Ended { is_fault } => is_failure |= is_fault,
            Stop::Asked | Stop::Output(_) | Stop::Closed | Stop::Time => {}
        }
    }
    if let Some(Rest { unprinted, wanted }) = output.rest(FLUSH_TIMEOUT) {
        if is_closed {
            say::problem(format_args!(
                "standard output was closed: messages that came and were not printed: {unprinted}"
            ));
        } else if unprinted > 0 {
            say::problem(format_args!(
                "messages that came and were not printed: {unprinted}"
            ));
        }
        if wanted > 0 {
            say::problem(format_args!("messages that did not come: {wanted}"));
            is_failure = true;
        }
    } else {
        say::problem("standard output takes no more: messages that came were not printed");
        is_failure = true;
    }
    let code = if is_failure {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    Ok((code, reports))
}

fn builder(place: &Place, watch: Watch) -> ReaderBuilder {
    let max_message_len = place.max_message.get();
    let mut builder = Reader::builder(&place.address)
        .max_message_len(max_message_len)
        // A message that is longer than all that may be held would never be complete.
        .max_partial_bytes(max_message_len.max(HELD_SIZE))
        .allow_remote(place.allow_remote)
        .socket_owner(place.file.owner)
        .socket_group(place.file.group)
        .on_event(move |event| {
            tell(&event);
            watch.see(&event);
        });
    if let Some(mode) = place.file.mode {
        builder = builder.socket_mode(mode);
    }
    if let Some(timeout) = place.idle_timeout {
        builder = builder.idle_timeout(timeout);
    }
    if !place.allow_uid.is_empty() {
        let allowed = place.allow_uid.clone();
        builder = builder.peer_check(move |peer| {
            let uid = peer.identity.uid();
            uid.is_some_and(|uid| allowed.contains(&uid))
        });
    }
    builder
}

/// Waits for the end of a stream that is the only one, and notes how each ended.
struct Watch {
    is_single: Arc<AtomicBool>,
    stop: Sender<Stop>,
    board: Option<Arc<Mutex<Board>>>,
}

impl Watch {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "both enums may grow: a new cause is a fault, a new event is no end"
    )]
    fn see(&self, event: &ReaderEvent) {
        let ReaderEvent::Closed { peer, cause, .. } = event else {
            return;
        };
        let end = match cause {
            CloseCause::EndOfStream | CloseCause::Truncated | CloseCause::Failed(_) => End::Ended,
            _ => End::Closed,
        };
        if let Some(board) = &self.board {
            board.lock().close(peer, end);
        }
        if !self.is_single.load(Ordering::Relaxed) {
            return;
        }
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
        other => no_socket(other),
    }
}

/// Why no socket could be made, for every command that makes one: where the library names functions
/// and settings, in words and options.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
pub(crate) fn no_socket(error: BindError) -> Box<dyn Error> {
    match error {
        BindError::NoDirectory { directory, .. } => format!(
            "there is no directory {}: make it with mkdir, or in a unit of systemd with RuntimeDirectory=, or choose another path",
            directory.display()
        )
        .into(),
        BindError::Mode {
            path,
            wanted,
            found,
            ..
        } => format!(
            "cannot give {} the mode {wanted:03o}, it has {found:03o}: ask for that with --mode, or choose a directory whose file system knows modes",
            path.display()
        )
        .into(),
        other => other.into(),
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
            CloseCause::TooLarge { len, limit, .. } => say::problem(format_args!(
                "{peer}: the peer announced a message of {len} bytes, above the limit of {limit}: raise --max-message if it is wanted"
            )),
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
