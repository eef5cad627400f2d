//! One connection, over whatever kind of stream: send, receive, end; how much the peer has not
//! read, and whether it closed with data unread (`ECONNRESET`).
//! Never blocks, never raises SIGPIPE, resumes what a signal interrupted.
//!
//! Each kind has a file with the same names in it. What a kind can do is a value, `Abilities`: who
//! uses a stream goes by that and not by its kind.

mod calls;
mod other;
mod pipe;
mod socket;
mod tcp;
mod unix;

use std::fs;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::PollFlags;
use socket2::{Domain, SockRef, Socket, Type};

pub(super) use calls::{look, resume};
pub(super) use tcp::new_socket as new_tcp_socket;
pub(super) use unix::{new_socket, sockaddr};

use super::abilities::Abilities;
use super::descriptor::{is_listening, kind_of_file, kind_of_number};
use super::family::Family;
use super::platform::passing;
use super::standard_streams::moved_above_standard;
use super::tcp_options::TcpOptions;
use super::transfer::{AdoptError, Received, Sent};
use crate::address::{self, Address};
use crate::descriptor_kind::DescriptorKind;
use crate::peer::Identity;

/// A connected, non-blocking stream, closed on exec.
#[derive(Debug)]
pub(crate) struct Stream {
    descriptor: Socket,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unix,
    Tcp,
    /// A pipe or a FIFO: one way only.
    Pipe,
    /// A stream socket of another kind, such as vsock.
    Other,
}

impl Stream {
    /// Connects to a Unix socket, without waiting: a full backlog is `WouldBlock` (Linux) or a
    /// refusal (elsewhere).
    pub(crate) fn connect(address: &Address, send_buffer_size: Option<usize>) -> io::Result<Self> {
        let socket = unix::connect(address, send_buffer_size)?;
        Ok(Self::of(socket, Kind::Unix))
    }

    /// Begins to connect over TCP. [`is_connected`](Self::is_connected) says when it is done.
    pub(crate) fn begin_tcp(to: SocketAddr, options: &TcpOptions) -> io::Result<Self> {
        let socket = tcp::begin(to, options)?;
        Ok(Self::of(socket, Kind::Tcp))
    }

    /// Whether a connection that was begun is there now; the error when it will not be.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        // An error may come without room.
        let news = PollFlags::POLLOUT | PollFlags::POLLHUP | PollFlags::POLLERR;
        if !look(&self.descriptor, PollFlags::POLLOUT).intersects(news) {
            return Ok(false);
        }
        match self.descriptor.take_error()? {
            Some(error) => Err(error),
            // Where nobody listens at a port that the kernel gives out, it may give it to who
            // connects.
            None if tcp::is_own_peer(&self.descriptor) => Err(ErrorKind::ConnectionRefused.into()),
            None => Ok(true),
        }
    }

    /// Takes what somebody else has connected, to write to it, if it is of a kind that is known.
    pub(crate) fn adopt_to_write(descriptor: OwnedFd) -> Result<Self, AdoptError> {
        Self::adopt(descriptor, OFlag::O_RDONLY, DescriptorKind::ReadEnd)
    }

    /// Likewise, to read from it.
    pub(crate) fn adopt_to_read(descriptor: OwnedFd) -> Result<Self, AdoptError> {
        Self::adopt(descriptor, OFlag::O_WRONLY, DescriptorKind::WriteEnd)
    }

    /// A pipe that is open for nothing but `other` is refused for what it is.
    fn adopt(descriptor: OwnedFd, other: OFlag, what: DescriptorKind) -> Result<Self, AdoptError> {
        let kind = connected_kind(&descriptor).map_err(AdoptError::Kind)?;
        if kind == Kind::Pipe && pipe::access(&descriptor)? == other {
            return Err(AdoptError::Kind(what));
        }
        let stream = Self::of(Socket::from(moved_above_standard(descriptor)?), kind);
        stream.descriptor.set_cloexec(true)?;
        stream.descriptor.set_nonblocking(true)?;
        match kind {
            Kind::Unix => passing::take_descriptors_only(&stream.descriptor),
            Kind::Tcp => tcp::prepare(&stream.descriptor),
            Kind::Pipe | Kind::Other => {}
        }
        #[cfg(target_vendor = "apple")]
        if kind != Kind::Pipe {
            stream.descriptor.set_nosigpipe(true)?;
        }
        Ok(stream)
    }

    /// Gives a TCP stream that somebody else has connected the settings of one that we did.
    pub(crate) fn set_tcp(&self, options: &TcpOptions) {
        if self.kind == Kind::Tcp {
            // It works without.
            let _ = tcp::set_timeouts(&self.descriptor, options);
        }
    }

    pub(super) fn accepted(socket: Socket, family: Family) -> io::Result<Self> {
        let socket = Socket::from(moved_above_standard(socket.into())?);
        socket.set_nonblocking(true)?;
        match family {
            Family::Unix => {
                passing::take_descriptors_only(&socket);
                Ok(Self::of(socket, Kind::Unix))
            }
            Family::Tcp => {
                tcp::prepare(&socket);
                Ok(Self::of(socket, Kind::Tcp))
            }
        }
    }

    fn of(descriptor: Socket, kind: Kind) -> Self {
        Self { descriptor, kind }
    }

    /// What is to be expected of a stream that is not there yet.
    pub(crate) const MOST_ABILITIES: Abilities = unix::ABILITIES;

    /// What a stream to that address can do.
    pub(crate) fn abilities_at(address: &Address) -> Abilities {
        match address.kind() {
            address::Kind::Tcp(_) => tcp::ABILITIES,
            address::Kind::Path(_)
            | address::Kind::Name(_)
            | address::Kind::Descriptor(_)
            | address::Kind::Standard
            | address::Kind::Label => Self::MOST_ABILITIES,
        }
    }

    pub(crate) fn abilities(&self) -> Abilities {
        match self.kind {
            Kind::Unix => unix::ABILITIES,
            Kind::Tcp => tcp::ABILITIES,
            Kind::Pipe => pipe::ABILITIES,
            Kind::Other => other::ABILITIES,
        }
    }

    /// Hands bytes to the kernel.
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        let sent = resume(|| match self.kind {
            Kind::Unix | Kind::Tcp | Kind::Other => socket::send(&self.descriptor, slices),
            Kind::Pipe => pipe::send(&self.descriptor, slices),
        });
        what_was_sent(sent)
    }

    /// Likewise, and passes up to two descriptors with the first byte. Says whether they went:
    /// where they cannot go, the bytes go without them.
    pub(crate) fn send_with(
        &self,
        slices: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Sent, bool)> {
        if self.abilities().passes_memory && !descriptors.is_empty() {
            let sent = resume(|| passing::send(&self.descriptor, slices, descriptors));
            if !matches!(&sent, Err(error) if passing::is_refused(error)) {
                let sent = what_was_sent(sent)?;
                let went = matches!(sent, Sent::Some(_));
                return Ok((sent, went));
            }
        }
        Ok((self.send(slices)?, false))
    }

    /// Takes bytes from the kernel. Descriptors that the peer sent along are discarded by the
    /// kernel, since no room is given for them.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let received = resume(|| match self.kind {
            Kind::Unix | Kind::Tcp | Kind::Other => socket::receive(&self.descriptor, buffer),
            Kind::Pipe => pipe::receive(&self.descriptor, buffer),
        });
        what_was_received(received)
    }

    /// Likewise, and takes up to two descriptors that came with what was read. Of more the kernel
    /// closes the rest; and where this process may open no more, there are fewer.
    pub(crate) fn receive_with(&self, buffer: &mut [u8]) -> io::Result<(Received, Vec<OwnedFd>)> {
        if !self.abilities().passes_memory {
            return Ok((self.receive(buffer)?, Vec::new()));
        }
        let mut descriptors = Vec::new();
        let received = resume(|| {
            let (len, came) = passing::receive(&self.descriptor, buffer)?;
            descriptors = came;
            Ok(len)
        });
        Ok((what_was_received(received)?, descriptors))
    }

    /// Forbids the peer to send any more, where that does not throw away what it has sent, and
    /// makes the stream ready for a reader that waits for it.
    ///
    /// On a Unix socket of Linux what is queued stays readable, and the peer's next write fails.
    /// macOS and the BSDs would throw it away, so there nothing is done, and the caller reads until
    /// there is nothing. Over TCP the peer is not told.
    pub(crate) fn stop_receiving(&self) {
        match self.kind {
            Kind::Unix => unix::stop_receiving(&self.descriptor),
            Kind::Tcp => tcp::stop_receiving(&self.descriptor),
            Kind::Pipe => {}
            Kind::Other => other::stop_receiving(&self.descriptor),
        }
    }

    /// Sends nothing any more. The peer is told, behind what was sent.
    pub(crate) fn end_sending(&self) {
        socket::end_sending(&self.descriptor);
    }

    /// Ends the connection at once, also for a thread that is using it.
    pub(crate) fn cut(&self) {
        socket::cut(&self.descriptor);
    }

    /// After the connection was lost: whether the peer left bytes unread. Where we have ended our
    /// side too, what is on its way may yet be read.
    pub(crate) fn lost_unread(&self, has_ended: bool) -> bool {
        match self.kind {
            Kind::Unix => socket::was_reset(&self.descriptor),
            Kind::Tcp => tcp::lost_unread(&self.descriptor, has_ended),
            Kind::Pipe => pipe::lost_unread(&self.descriptor),
            Kind::Other => other::lost_unread(&self.descriptor),
        }
    }

    /// How many of the bytes that were sent the peer has not read: this many at most, and none when
    /// it is 0. `None` where that is not told.
    pub(crate) fn unread(&self) -> Option<u64> {
        match self.kind {
            Kind::Unix => unix::unread(&self.descriptor),
            Kind::Tcp | Kind::Other => None,
            Kind::Pipe => pipe::unread(&self.descriptor),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Identity> {
        match self.kind {
            Kind::Unix => unix::peer(&self.descriptor),
            Kind::Tcp => tcp::peer(&self.descriptor),
            Kind::Pipe | Kind::Other => Ok(Identity::Unknown),
        }
    }

    /// The number of the descriptor, for its name in an event.
    pub(crate) fn number(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn what_was_sent(sent: io::Result<usize>) -> io::Result<Sent> {
    match sent {
        Ok(0) => Ok(Sent::Blocked),
        Ok(len) => Ok(Sent::Some(len)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Sent::Blocked),
        Err(error) if socket::is_short_of_memory(&error) => Ok(Sent::NoMemory),
        Err(error) => Err(error),
    }
}

fn what_was_received(received: io::Result<usize>) -> io::Result<Received> {
    match received {
        Ok(0) => Ok(Received::End),
        Ok(len) => Ok(Received::Some(len)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
        Err(error) => Err(error),
    }
}

/// What is not open is told for what it is.
impl From<io::Error> for AdoptError {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error() == Some(libc::EBADF) {
            Self::Kind(DescriptorKind::Closed)
        } else {
            Self::Io(error)
        }
    }
}

/// What kind of connected stream it is, or what else.
fn connected_kind(descriptor: &OwnedFd) -> Result<Kind, DescriptorKind> {
    let socket = SockRef::from(descriptor);
    let kind = match socket.local_addr().map(|address| address.domain()) {
        Ok(Domain::UNIX) => Kind::Unix,
        Ok(Domain::IPV4 | Domain::IPV6) => Kind::Tcp,
        Ok(_) => Kind::Other,
        Err(_) => return kind_of_pipe(descriptor),
    };
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(Type::DGRAM) => return Err(DescriptorKind::Datagram),
        Ok(Type::SEQPACKET) => return Err(DescriptorKind::SeqPacket),
        Ok(_) | Err(_) => return Err(kind_of_number(descriptor.as_raw_fd())),
    }
    if is_listening(descriptor) {
        return Err(DescriptorKind::Listening);
    }
    // One whose peer has gone was connected all the same.
    match socket.peer_addr() {
        Err(error) if error.kind() == ErrorKind::NotConnected && kind != Kind::Tcp => {
            Err(DescriptorKind::NotConnected)
        }
        Ok(_) | Err(_) => Ok(kind),
    }
}

fn kind_of_pipe(descriptor: &OwnedFd) -> Result<Kind, DescriptorKind> {
    use std::os::unix::fs::FileTypeExt;

    let metadata = descriptor
        .try_clone()
        .and_then(|copy| fs::File::from(copy).metadata())
        .map_err(|_| DescriptorKind::Other("something else"))?;
    if metadata.file_type().is_fifo() {
        Ok(Kind::Pipe)
    } else {
        Err(DescriptorKind::Other(kind_of_file(&metadata)))
    }
}
