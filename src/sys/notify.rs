//! The datagram socket on which a service manager listens to its services.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use super::platform::{ABSTRACT_NAMES, SEND_FLAGS, passing};
use super::standard_streams::above_standard;

/// It never waits.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: Socket,
    address: SockAddr,
}

impl NotifySocket {
    /// A way to the socket at `name`; `None` where that is neither a path nor `@name`.
    pub(crate) fn new(name: &OsStr) -> io::Result<Option<Self>> {
        let Some(address) = address(name)? else {
            return Ok(None);
        };
        let socket = above_standard(|| Socket::new(Domain::UNIX, Type::DGRAM, None))?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, address }))
    }

    /// Sends one datagram. `false` when there is no room: the manager has too many to read already.
    pub(crate) fn send(&self, text: &str) -> io::Result<bool> {
        let sent = self
            .socket
            .send_to_with_flags(text.as_bytes(), &self.address, SEND_FLAGS);
        match sent {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Ok(false),
                _ => Err(error),
            },
        }
    }
}

/// One over which descriptors go as well. It waits for room, but no longer than that.
#[derive(Debug)]
pub(crate) struct StoreSocket(Socket);

const ROOM_WITHIN: Duration = Duration::from_secs(1);

impl StoreSocket {
    /// A way to the socket at `name`; `None` where that is neither a path nor `@name`.
    pub(crate) fn new(name: &OsStr) -> io::Result<Option<Self>> {
        let Some(address) = address(name)? else {
            return Ok(None);
        };
        let socket = above_standard(|| Socket::new(Domain::UNIX, Type::DGRAM, None))?;
        socket.connect(&address)?;
        socket.set_write_timeout(Some(ROOM_WITHIN))?;
        Ok(Some(Self(socket)))
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        loop {
            let sent = match descriptor {
                Some(descriptor) => {
                    passing::send(&self.0, &[IoSlice::new(text.as_bytes())], &[descriptor])
                }
                None => self.0.send_with_flags(text.as_bytes(), SEND_FLAGS),
            };
            // With a limit of time a signal ends it also where it is to be started again.
            if !matches!(&sent, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                return sent.map(drop);
            }
        }
    }
}

/// `None` for what is no Unix socket, such as the `vsock:` of a virtual machine's manager.
fn address(name: &OsStr) -> io::Result<Option<SockAddr>> {
    match name.as_bytes() {
        [b'/', ..] => SockAddr::unix(name).map(Some),
        // socket2 takes a leading NUL for an abstract name.
        [b'@', name @ ..] if ABSTRACT_NAMES => {
            SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())).map(Some)
        }
        _ => Ok(None),
    }
}
