//! Makes a connection to a responder.

use std::io;
use std::time::Instant;

use crate::address::{Address, Host, Kind};
use crate::clock::now;
use crate::deadline::{Deadline, has_come, remaining};
use crate::sys::{self, Stream, TcpOptions, Waker, Wanted};

/// What `SO_SNDBUF` is for a Unix socket: the most that no system limits further.
const UNIX_SEND_BUFFER: usize = 212_992;

/// Connects, to a peer of the user `expected` if that is one; over TCP, where nobody is told who
/// that is, it waits until `until`, which the waker does not shorten.
pub(super) fn dial(
    address: &Address,
    expected: Option<u32>,
    until: Deadline,
) -> io::Result<Stream> {
    let Kind::Tcp(tcp) = address.kind() else {
        let stream = Stream::connect(address, Some(UNIX_SEND_BUFFER))?;
        if let Some(expected) = expected {
            check_peer(&stream, expected)?;
        }
        return Ok(stream);
    };
    let found = match tcp.host {
        Host::Ip(ip) => vec![(ip, tcp.port).into()],
        Host::Name(_) => sys::resolve(tcp)?,
    };
    let mut refused = io::Error::other("the name has no loopback address");
    for at in found.into_iter().filter(|at| at.ip().is_loopback()) {
        match Stream::begin_tcp(at, &TcpOptions::default()).and_then(|stream| finish(stream, until))
        {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn check_peer(stream: &Stream, expected: u32) -> io::Result<()> {
    let found = stream.peer()?;
    if found.uid() == Some(expected) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("the responder is not of the expected uid {expected} ({found})"),
    ))
}

fn finish(stream: Stream, until: Deadline) -> io::Result<Stream> {
    let nobody = Waker::new()?;
    let wanted = Wanted {
        room: true,
        bytes: false,
    };
    while !stream.is_connected()? {
        let at: Instant = now();
        if has_come(until, at) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sys::wait(&nobody, Some(&stream), wanted, remaining(until, at));
    }
    Ok(stream)
}
