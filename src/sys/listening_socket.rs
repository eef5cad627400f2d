//! One listening socket: bind, listen, accept, shut.
//! Its file, and when it may be bound and ended, are the business of `listen`.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;
use nix::poll::PollFlags;
use nix::sys::stat::fchmod;
use socket2::Socket;

use super::family::Family;
use super::file::mode_bits;
use super::not_accepted::NotAccepted;
use super::platform;
use super::stream::{self, Stream, new_socket, resume, sockaddr};
use crate::address::Address;

/// As many as the kernel allows (`net.core.somaxconn`, usually 4096): beyond the connection limit
/// peers wait here.
const BACKLOG: i32 = 4096;

/// A non-blocking stream socket to accept from, closed on exec.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    socket: Socket,
    family: Family,
}

impl ListeningSocket {
    /// A Unix socket that neither is bound nor listens yet.
    pub(crate) fn new(recv_buffer_size: Option<usize>) -> io::Result<Self> {
        Self::with(new_socket()?, Family::Unix, recv_buffer_size)
    }

    /// A socket that listens at that address. Port 0 is one that is free.
    pub(crate) fn listen_tcp(
        address: SocketAddr,
        recv_buffer_size: Option<usize>,
    ) -> io::Result<Self> {
        let socket = stream::new_tcp_socket(address)?;
        // Connections of an earlier reader may linger at the address for minutes.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        // Before it listens: accepted sockets have it from their first byte on.
        let socket = Self::with(socket, Family::Tcp, recv_buffer_size)?;
        socket.listen()?;
        Ok(socket)
    }

    fn with(socket: Socket, family: Family, recv_buffer_size: Option<usize>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        if let Some(size) = recv_buffer_size {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(Self { socket, family })
    }

    /// Takes over a socket that listens already.
    pub(crate) fn from_listening(socket: OwnedFd, family: Family) -> Self {
        let socket = Socket::from(socket);
        // It fails for no socket.
        let _ = socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_cloexec(true));
        Self { socket, family }
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// The network address at which it listens, if it has one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        let address = self.socket.local_addr().ok()?.as_socket()?;
        Some(address.ip())
    }

    /// Sets the mode of the socket itself. Linux makes the file of `bind` with these bits less the
    /// umask's.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.socket, mode_bits(mode))?)
    }

    pub(crate) fn bind(&self, address: &Address) -> io::Result<()> {
        self.socket.bind(&sockaddr(address)?)
    }

    pub(crate) fn listen(&self) -> io::Result<()> {
        self.socket.listen(BACKLOG)
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        resume(|| self.socket.accept())
            .and_then(|(socket, _)| Stream::accepted(socket, self.family))
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn has_waiting(&self) -> bool {
        !stream::look(&self.socket, PollFlags::POLLIN).is_empty()
    }

    /// What it means that `accept` gave this error.
    pub(crate) fn why_not_accepted(error: &io::Error) -> NotAccepted {
        match error.raw_os_error() {
            // What Linux says once it was shut down.
            Some(libc::EINVAL) => NotAccepted::Shut,
            Some(libc::EAGAIN) => NotAccepted::Empty,
            // Linux gives the errors of a connection over TCP to who accepts it: see accept(2).
            Some(
                libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP,
            ) => NotAccepted::Gone,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM; and whatever else there may be is worth another try
            // too.
            _ => NotAccepted::Short,
        }
    }

    /// The error of a socket that was shut down, which no call gives.
    pub(crate) fn shut_error() -> io::Error {
        io::Error::from_raw_os_error(libc::ESHUTDOWN)
    }

    /// Turns newcomers away and keeps the connections that wait, where the system can do that.
    /// Says whether it could. (Linux would reset those that wait for TCP.)
    pub(crate) fn shut(&self) -> bool {
        let can = platform::SHUTDOWN_KEEPS_WHAT_CAME && self.family == Family::Unix;
        can && self.socket.shutdown(Shutdown::Read).is_ok()
    }

    /// Whether that was done, by this process or by another that has the socket.
    pub(crate) fn is_shut(&self) -> bool {
        platform::poll::is_shut(&self.socket)
    }

    /// Where it listens, where that has a name.
    pub(crate) fn address(&self) -> Option<Address> {
        let address = self.socket.local_addr().ok()?;
        if let Some(address) = address.as_socket() {
            return Some(Address::of_socket(address));
        }
        if let Some(path) = address.as_pathname() {
            // After a dot, so that no relative path is read as an address of another kind.
            return Address::new(Path::new(".").join(path)).ok();
        }
        let name = address.as_abstract_namespace()?;
        Address::new(OsStr::from_bytes(&[b"@", name].concat())).ok()
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn an_interrupted_accept_is_called_again() {
        let mut calls = 0;
        let accepted = resume(|| {
            calls += 1;
            if calls < 3 {
                Err(ErrorKind::Interrupted.into())
            } else {
                Ok(calls)
            }
        });
        assert_eq!(accepted.unwrap(), 3);
    }
}
