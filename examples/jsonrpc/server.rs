//! The socket: a thread for each connection, up to a number of them, and an end to all waiting.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;

use super::dispatch::{Answer, Methods, RpcError, answer};
use super::values::Splitter;

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time. Another one is told so, and closed.
    pub(crate) max_connections: usize,
    /// Bytes of a value: a call, or a batch of them.
    pub(crate) max_len: usize,
    /// Levels of arrays and objects in a value; below 128, where the parser stops.
    pub(crate) max_depth: usize,
    /// Calls in a batch: each may cost an answer that is longer than itself.
    pub(crate) max_batch_len: usize,
    /// How long the rest of a value may take, and a client to take its answer.
    pub(crate) patience: Duration,
    /// How long a connection may be silent between values.
    pub(crate) idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_len: 256 * 1024,
            max_depth: 64,
            max_batch_len: 1000,
            patience: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// How long to wait when the system has no descriptor left for another connection.
const PAUSE_MS: u16 = 100;

/// How much is read at once.
const PIECE_LEN: usize = 16 * 1024;

/// The connections that are open, by number: a stop hangs up on them.
type Open = Mutex<BTreeMap<u64, Arc<UnixStream>>>;

/// Answers until `stop` can be read from. What has arrived by then is answered still.
///
/// # Errors
///
/// When the system cannot wait for connections.
pub(crate) fn serve(
    listener: &UnixListener,
    stop: &UnixStream,
    limits: &Limits,
    methods: &Methods<'_>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let open = Open::default();
    thread::scope(|scope| {
        let mut number = 0;
        let ended = loop {
            match wait(&[listener.as_fd(), stop.as_fd()], PollTimeout::NONE) {
                Ok([_, false]) => {}
                Ok([_, true]) => break Ok(()),
                Err(error) => break Err(error),
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    let is_gone = [ErrorKind::WouldBlock, ErrorKind::ConnectionAborted];
                    if !is_gone.contains(&error.kind()) {
                        // It would be told again at once. The end is noticed at the next turn.
                        let _ = wait(&[stop.as_fd()], PollTimeout::from(PAUSE_MS));
                    }
                    continue;
                }
            };
            if open.lock().len() >= limits.max_connections {
                refuse(&stream, limits);
                continue;
            }
            number += 1;
            let connection = Connection::new(number, stream, &open);
            let thread = thread::Builder::new().name(format!("jsonrpc-{number}"));
            // Where there is no thread for it, it is closed.
            let _ = thread.spawn_scoped(scope, move || {
                // However it ended, it concerns nobody else.
                let _ = converse(&connection.stream, limits, methods);
            });
        };
        // Each thread sees the end of its stream now, behind what has arrived.
        for stream in open.lock().values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        ended
    })
}

/// Which of them can be read from, or have ended.
fn wait<const N: usize>(
    descriptors: &[std::os::fd::BorrowedFd<'_>; N],
    timeout: PollTimeout,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.map(|descriptor| descriptor.any().unwrap_or(true))),
        // A signal came: whoever waits looks again.
        Err(Errno::EINTR) => Ok([false; N]),
        Err(errno) => Err(errno.into()),
    }
}

/// One too many. A new connection has room for a line, so that this does not wait.
fn refuse(mut stream: &UnixStream, limits: &Limits) {
    let limit = format!("more than {} connections", limits.max_connections);
    let line = RpcError::LimitExceeded(limit).without_id() + "\n";
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(line.as_bytes());
}

/// A place among the connections that are open, until it is dropped.
struct Connection<'a> {
    number: u64,
    stream: Arc<UnixStream>,
    open: &'a Open,
}

impl<'a> Connection<'a> {
    fn new(number: u64, stream: UnixStream, open: &'a Open) -> Self {
        let stream = Arc::new(stream);
        open.lock().insert(number, Arc::clone(&stream));
        Self {
            number,
            stream,
            open,
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}

/// Reads values and answers each, until the client has ended or broken a limit.
fn converse(stream: &UnixStream, limits: &Limits, methods: &Methods<'_>) -> io::Result<()> {
    // On some systems it has this from the listener.
    stream.set_nonblocking(false)?;
    let mut splitter = Splitter::new(limits.max_len, limits.max_depth);
    let mut piece = vec![0; PIECE_LEN];
    let mut deadline = now() + limits.idle_timeout;
    loop {
        let len = Until { stream, deadline }.read(&mut piece)?;
        let mut bytes = piece.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        let mut begins = splitter.is_between_values();
        loop {
            let value = match splitter.take(&mut bytes) {
                Ok(Some(value)) => value,
                Ok(None) => break,
                Err(error) => return hang_up(stream, &RpcError::from(error).without_id(), limits),
            };
            begins = true;
            match answer(&value, limits.max_batch_len, methods) {
                Answer::Nothing => {}
                Answer::Text(text) => send(stream, &text, limits)?,
                Answer::Last(text) => return hang_up(stream, &text, limits),
            }
        }
        if splitter.is_between_values() {
            deadline = now() + limits.idle_timeout;
        } else if begins {
            deadline = now() + limits.patience;
        }
    }
    // A client may end its half before it reads.
    match splitter.end() {
        Ok(None) => Ok(()),
        Ok(Some(value)) => match answer(&value, limits.max_batch_len, methods) {
            Answer::Nothing => Ok(()),
            Answer::Text(text) | Answer::Last(text) => send(stream, &text, limits),
        },
        Err(error) => send(stream, &RpcError::from(error).without_id(), limits),
    }
}

/// Clients that read lines wait for the line end.
fn send(stream: &UnixStream, text: &str, limits: &Limits) -> io::Result<()> {
    let deadline = now() + limits.patience;
    Until { stream, deadline }.write_all(format!("{text}\n").as_bytes())
}

/// Says a last word. A client that is still writing would not get to it if it saw an error first,
/// so that for a while the rest is read, and thrown away.
fn hang_up(stream: &UnixStream, text: &str, limits: &Limits) -> io::Result<()> {
    send(stream, text, limits)?;
    stream.shutdown(Shutdown::Write)?;
    let deadline = now() + limits.patience;
    io::copy(&mut Until { stream, deadline }, &mut io::sink()).map(drop)
}

/// A stream with one deadline for all calls: with a timeout for each, a byte now and then would go
/// on for ever.
struct Until<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl Until<'_> {
    fn time_left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(self.time_left()?)?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.time_left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "sockets wait by the clock")]
fn now() -> Instant {
    Instant::now()
}
