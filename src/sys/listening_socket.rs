//! One listening socket: bind, listen, accept, shut.
//! Its file, and when it may be bound and ended, are the business of `listen`.

use std::ffi::OsStr;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::fchmod;
use socket2::Socket;

use super::file::mode_bits;
use super::platform;
use super::socket::{Stream, new_socket, resume, sockaddr};
use crate::address::Address;

/// As many as the kernel allows (`net.core.somaxconn`, usually 4096): beyond the connection limit
/// peers wait here.
const BACKLOG: i32 = 4096;

/// A non-blocking stream socket to accept from, closed on exec.
#[derive(Debug)]
pub(crate) struct ListeningSocket(Socket);

impl ListeningSocket {
    /// A socket that neither is bound nor listens yet.
    pub(crate) fn new(recv_buffer_size: Option<usize>) -> io::Result<Self> {
        let socket = new_socket()?;
        socket.set_nonblocking(true)?;
        if let Some(size) = recv_buffer_size {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(Self(socket))
    }

    /// Takes over a socket that listens already.
    pub(crate) fn from_listening(socket: OwnedFd) -> Self {
        let socket = Socket::from(socket);
        // It fails for no socket.
        let _ = socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_cloexec(true));
        Self(socket)
    }

    /// Sets the mode of the socket itself. Linux makes the file of `bind` with these bits less the
    /// umask's.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.0, mode_bits(mode))?)
    }

    pub(crate) fn bind(&self, address: &Address) -> io::Result<()> {
        self.0.bind(&sockaddr(address)?)
    }

    pub(crate) fn listen(&self) -> io::Result<()> {
        self.0.listen(BACKLOG)
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        resume(|| self.0.accept()).and_then(|(socket, _)| Stream::accepted(socket))
    }

    /// Turns newcomers away and keeps the connections that wait: only where
    /// [`SHUTDOWN_KEEPS_WHAT_CAME`](super::SHUTDOWN_KEEPS_WHAT_CAME).
    pub(crate) fn shut(&self) {
        let _ = self.0.shutdown(Shutdown::Read);
    }

    /// Whether that was done, by this process or by another that has the socket.
    pub(crate) fn is_shut(&self) -> bool {
        platform::poll::is_shut(&self.0)
    }

    /// Where it listens, where that has a name.
    pub(crate) fn address(&self) -> Option<Address> {
        let address = self.0.local_addr().ok()?;
        if let Some(path) = address.as_pathname() {
            return Address::new(path).ok();
        }
        let name = address.as_abstract_namespace()?;
        Address::new(OsStr::from_bytes(&[b"@", name].concat())).ok()
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
