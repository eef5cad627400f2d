//! The datagram socket on which a service manager listens to its services. Never waits.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use socket2::{Domain, SockAddr, Socket, Type};

use super::platform::{ABSTRACT_NAMES, SEND_FLAGS};

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
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, address }))
    }

    /// Sends one datagram. The error is `WouldBlock` when the manager has too many to read already.
    pub(crate) fn send(&self, text: &str) -> io::Result<()> {
        self.socket
            .send_to_with_flags(text.as_bytes(), &self.address, SEND_FLAGS)
            .map(drop)
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
