//! One connection: connect, send, receive, shut down; how much the peer has not read, and whether
//! it closed with data unread (`ECONNRESET`).
//! Never blocks, never raises SIGPIPE, resumes what a signal interrupted.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use super::platform::{self, SEND_FLAGS, credentials, unread};
use super::standard_streams::{above_standard, moved_above_standard};
use crate::address::Address;
use crate::peer::Credentials;

/// A connected, non-blocking socket, closed on exec.
#[derive(Debug)]
pub(crate) struct Stream(Socket);

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The kernel took that many bytes: at least one.
    Some(usize),
    /// It took none: there is no room.
    Blocked,
    /// It took none: it is short of memory, and gives no sign when that is over.
    NoMemory,
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Received {
    /// That many bytes: at least one.
    Some(usize),
    /// Nothing is there yet.
    Nothing,
    /// Nothing will come any more.
    End,
}

impl Stream {
    /// Connects, without waiting: a full backlog is `WouldBlock` (Linux) or a refusal (elsewhere).
    pub(crate) fn connect(address: &Address, send_buffer_size: Option<usize>) -> io::Result<Self> {
        let socket = new_socket()?;
        socket.set_nonblocking(true)?;
        if let Some(size) = send_buffer_size {
            socket.set_send_buffer_size(size)?;
        }
        let sockaddr = sockaddr(address)?;
        resume(|| socket.connect(&sockaddr))?;
        Ok(Self(socket))
    }

    pub(super) fn accepted(socket: Socket) -> io::Result<Self> {
        let socket = moved_above_standard(socket.into())?;
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Hands bytes to the kernel.
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        match resume(|| self.0.send_vectored_with_flags(slices, SEND_FLAGS)) {
            Ok(0) => Ok(Sent::Blocked),
            Ok(len) => Ok(Sent::Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Blocked),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => {
                Ok(Sent::NoMemory)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes bytes from the kernel. Descriptors that the peer sent along are discarded by the
    /// kernel, since no room is given for them.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        match resume(|| io::Read::read(&mut &self.0, buffer)) {
            Ok(0) => Ok(Received::End),
            Ok(len) => Ok(Received::Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Forbids the peer to send any more, where that does not throw away what it has sent.
    ///
    /// On Linux what is queued stays readable, and the peer's next write fails. macOS and the BSDs
    /// would throw it away, so there nothing is done, and the caller reads until there is
    /// nothing.
    pub(crate) fn stop_receiving(&self) {
        if platform::SHUTDOWN_KEEPS_WHAT_CAME {
            // It fails only when the peer is gone already.
            let _ = self.0.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection at once, also for a thread that is using it.
    pub(crate) fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// After the connection was lost: whether the peer left bytes unread. Only Linux knows.
    pub(crate) fn lost_unread(&self) -> bool {
        matches!(self.0.take_error(), Ok(Some(error)) if error.kind() == io::ErrorKind::ConnectionReset)
    }

    /// Whether [`Stream::unread`] and [`Stream::lost_unread`] can be answered.
    pub(crate) const TELLS_UNREAD: bool = platform::TELLS_UNREAD;

    /// How many of the bytes that were sent the peer has not read: this many at most, and none when
    /// it is 0.
    pub(crate) fn unread(&self) -> Option<u64> {
        unread::unread(&self.0)
    }

    pub(crate) fn peer(&self) -> io::Result<Credentials> {
        credentials::of_peer(&self.0)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A stream socket, closed on exec from the start where the platform can.
pub(super) fn new_socket() -> io::Result<Socket> {
    above_standard(|| Socket::new(Domain::UNIX, Type::STREAM, None))
}

/// The kernel's form of an address. socket2 takes a leading NUL for an abstract name.
pub(super) fn sockaddr(address: &Address) -> io::Result<SockAddr> {
    match address.name() {
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())),
        None => SockAddr::unix(address.path().unwrap_or_else(|| OsStr::new("").as_ref())),
    }
}

/// Calls again what a signal interrupted.
pub(super) fn resume<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
