//! Unix stream sockets.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use socket2::{Domain, SockAddr, Socket, Type};

use super::calls::resume;
use super::socket;
use crate::address::{Address, Kind};
use crate::peer::Identity;
use crate::sys::abilities::{Abilities, PeerEnd};
use crate::sys::platform::{self, credentials, unread};
use crate::sys::standard_streams::above_standard;

pub(super) const ABILITIES: Abilities = Abilities {
    answers: true,
    peer_end: if platform::SHUTDOWN_KEEPS_WHAT_CAME {
        PeerEnd::ShutsReceiving
    } else {
        PeerEnd::Closes
    },
    tells_unread: platform::TELLS_UNREAD,
    tells_credentials: true,
    passes_memory: platform::PASSES_MEMORY,
};

pub(super) fn connect(address: &Address, send_buffer_size: Option<usize>) -> io::Result<Socket> {
    let socket = new_socket()?;
    socket.set_nonblocking(true)?;
    if let Some(size) = send_buffer_size {
        socket.set_send_buffer_size(size)?;
    }
    let sockaddr = sockaddr(address)?;
    resume(|| socket.connect(&sockaddr))?;
    Ok(socket)
}

/// A stream socket, closed on exec from the start where the platform can.
pub(in crate::sys) fn new_socket() -> io::Result<Socket> {
    above_standard(|| Socket::new(Domain::UNIX, Type::STREAM, None))
}

/// The kernel's form of an address. socket2 takes a leading NUL for an abstract name.
pub(in crate::sys) fn sockaddr(address: &Address) -> io::Result<SockAddr> {
    match address.kind() {
        Kind::Name(name) => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())),
        Kind::Path(path) => SockAddr::unix(path),
        Kind::Tcp(_) | Kind::Descriptor(_) | Kind::Standard | Kind::Label => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

pub(super) fn stop_receiving(socket: &Socket) {
    if platform::SHUTDOWN_KEEPS_WHAT_CAME {
        socket::end_receiving(socket);
    }
}

pub(super) fn unread(socket: &Socket) -> Option<u64> {
    unread::unread(socket)
}

pub(super) fn peer(socket: &Socket) -> io::Result<Identity> {
    credentials::of_peer(socket).map(Identity::Process)
}
