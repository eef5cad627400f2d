//! `uds-ipc check`: whether somebody reads at an address, and who.
//! Connects, sends an empty frame, which is no message, and ends its side: how the other end takes
//! that is the answer.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::after;
use socket2::{SockAddr, Socket};
use uds_ipc::Address;

use crate::clock::now;
use crate::{instead, reach, say, values};

/// No message, but a request for a receipt.
const EMPTY_FRAME: [u8; 1] = [0];

/// The most that a receipt for nothing and its padding may be.
const MOST_RECEIPTS: usize = 64;

const DETAILS: &str = "\
It connects, sends an empty frame, which no reader takes for a message, and ends the
connection. The one who listens must have read that within the timeout: it is not enough
that the kernel lets us connect to a process that hangs. It counts there as one connection.
A service that systemd starts at the first connection is started by it.

It prints who began to listen (with a socket of systemd's that is systemd), and whether it
gives receipts: they are what `send --at-least-once` needs, and the Go library's reader
gives none. What is crash-proof cannot be seen from outside.

Exit codes:
  0  somebody accepts and reads
  1  nobody listens: no socket, one that is left over, or what is there is no socket
  2  wrong usage
  3  not let in: by the file's permissions, or by the reader, which hangs up
  4  no answer within --timeout: the backlog is full, or the reader hangs or has as many
     connections as it takes
  5  something else: an answer that is no reader's, or a name that leads nowhere

For Nagios and Icinga, which want other codes and one line:
  #!/bin/bash
  uds-ipc check ADDRESS 2>&1 | paste -sd ' '
  case ${PIPESTATUS[0]} in 0) exit 0;; 1|3|4) exit 2;; *) exit 3;; esac

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Examples:
  uds-ipc check /run/collector/telemetry.sock
  uds-ipc check @telemetry --quiet || systemctl restart collector
  ExecStartPost=/usr/local/bin/uds-ipc check /run/a.sock --wait 10
  HEALTHCHECK CMD uds-ipc check /run/a.sock --quiet || exit 1

To see which processes send, and how much: uds-ipc top ADDRESS";

/// Says whether somebody accepts and reads at an address, and who: for health checks
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Where to look: PATH or unix:PATH, @NAME, or tcp:HOST:PORT
    #[arg(value_parser = values::address())]
    address: Address,

    /// How long the one who listens may take to read
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = values::positive_duration)]
    timeout: Duration,

    /// How long to wait for somebody to listen, where nobody does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    wait: Duration,

    /// Prints nothing where all is well
    #[arg(long)]
    quiet: bool,
}

/// The exit code of whatever says nothing of the reader.
const OTHER: u8 = 5;

/// Why it is not well.
struct Fault {
    code: u8,
    why: String,
}

impl Fault {
    fn nobody(why: impl Display) -> Self {
        let why = format!("nobody listens: {why}");
        Self { code: 1, why }
    }

    fn not_let_in(why: impl Display) -> Self {
        let why = format!("not let in: {why}");
        Self { code: 3, why }
    }

    fn no_answer(why: impl Display) -> Self {
        let why = format!("no answer: {why}");
        Self { code: 4, why }
    }

    fn other(why: impl Display) -> Self {
        let why = why.to_string();
        Self { code: OTHER, why }
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { address, .. } = options;
    let found = reach::places(address)?.map_err(|error| Fault::other(say::chain(&error)));
    let found = found.and_then(|places| connect(&places, options));
    let found = found.and_then(|socket| {
        let reader = who(&socket);
        match ask(&socket, options.timeout) {
            Ok(gives_receipts) => Ok((reader, gives_receipts)),
            Err(Fault { code, why }) => {
                let why = reader.map_or_else(|| why.clone(), |reader| format!("{why}: {reader}"));
                Err(Fault { code, why })
            }
        }
    });
    match found {
        Ok(_) if options.quiet => Ok(ExitCode::SUCCESS),
        Ok((reader, gives_receipts)) => {
            let reader = reader.unwrap_or_else(|| "over TCP nobody says who".into());
            let receipts = if gives_receipts { "yes" } else { "no" };
            let text = format!("{address}: accepts\nreader: {reader}\nreceipts: {receipts}\n");
            match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    say::problem(format_args!("cannot print: {}", say::chain(&error)));
                    Ok(ExitCode::from(OTHER))
                }
                Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
            }
        }
        Err(Fault { code, why }) => {
            say::problem(format_args!("{address}: {why}"));
            Ok(ExitCode::from(code))
        }
    }
}

/// Connects to the first that accepts.
fn connect(places: &[SockAddr], options: &Options) -> Result<Socket, Fault> {
    let (waiting, mut trying) = (Limit::new(options.wait), None);
    loop {
        let mut last = Fault::nobody("the name leads nowhere");
        for place in places {
            match reach::dial(place, options.timeout) {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    let other = options.address.path().and_then(instead::of_socket);
                    last = other.map_or_else(|| fault(&error), Fault::nobody);
                }
            }
        }
        let limit = match last.code {
            1 => {
                trying = None;
                &waiting
            }
            // From when somebody was there.
            4 => &*trying.get_or_insert_with(|| Limit::new(options.timeout)),
            _ => return Err(last),
        };
        if limit.left().is_zero() {
            return Err(last);
        }
        let _ = after(reach::RETRY).recv();
    }
}

/// In the words of who asks.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many more errors, and says what they are"
)]
fn fault(error: &io::Error) -> Fault {
    let why = say::chain(error);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            Fault::nobody(why)
        }
        ErrorKind::PermissionDenied => Fault::not_let_in(why),
        ErrorKind::WouldBlock => Fault::no_answer("the backlog is full"),
        ErrorKind::TimedOut => Fault::no_answer(why),
        _ => Fault::other(why),
    }
}

/// Whether the other end reads, and gives receipts.
fn ask(socket: &Socket, timeout: Duration) -> Result<bool, Fault> {
    let limit = Limit::new(timeout);
    let mut stream = socket;
    // A byte fits whatever the other end does.
    let mut asked = stream.write_all(&EMPTY_FRAME);
    asked = asked.and_then(|()| socket.shutdown(Shutdown::Write));
    asked.map_err(|error| hung_up(&error))?;
    let mut receipts = Vec::new();
    loop {
        let left = limit.left();
        if left.is_zero() {
            return Err(Fault::no_answer("it does not read"));
        }
        socket.set_read_timeout(Some(left)).map_err(Fault::other)?;
        let mut piece = [0; MOST_RECEIPTS];
        match stream.read(&mut piece) {
            Ok(0) => return Ok(!receipts.is_empty()),
            Ok(len) => receipts.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(hung_up(&error)),
        }
        // Of no message, padded or not.
        if receipts.len() > MOST_RECEIPTS || receipts.iter().any(|byte| byte & 0x7f != 0) {
            return Err(Fault::other("what answers is no reader"));
        }
    }
}

/// It ended the connection before it had read.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many more errors, and says what they are"
)]
fn hung_up(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            Fault::not_let_in("it hangs up and reads nothing")
        }
        _ => Fault::other(say::chain(error)),
    }
}

/// Who began to listen.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn who(socket: &Socket) -> Option<String> {
    use crate::program;
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    use socket2::Domain;

    if socket.local_addr().ok()?.domain() != Domain::UNIX {
        return None;
    }
    let peer = getsockopt(socket, PeerCredentials).ok()?;
    let account = format!("uid {}, gid {}", peer.uid(), peer.gid());
    // Of a process outside our pid namespace it is 0.
    let Some(pid) = u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0) else {
        return Some(account);
    };
    let name = program::of(pid).unwrap_or_else(|| "(ended)".to_owned());
    Some(format!("{name}, pid {pid}, {account}"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn who(socket: &Socket) -> Option<String> {
    let (uid, gid) = nix::unistd::getpeereid(socket).ok()?;
    Some(format!("uid {uid}, gid {gid}"))
}

/// A time that ends.
struct Limit {
    began: Instant,
    most: Duration,
}

impl Limit {
    fn new(most: Duration) -> Self {
        let began = now();
        Self { began, most }
    }

    fn left(&self) -> Duration {
        self.most.saturating_sub(self.began.elapsed())
    }
}
