//! TCP. Its kernel promises less: a write after the peer's end succeeds, and what a peer has not
//! read is not told.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use nix::libc;
use nix::poll::PollFlags;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::calls::{look, resume};
use super::socket;
use crate::peer::Identity;
use crate::sys::abilities::{Abilities, PeerEnd};
use crate::sys::platform::unread;
use crate::sys::standard_streams::above_standard;
use crate::sys::tcp_options::TcpOptions;

pub(super) const ABILITIES: Abilities = Abilities {
    answers: true,
    peer_end: PeerEnd::EndsSending,
    tells_unread: false,
    tells_credentials: false,
    passes_memory: false,
};

/// How many probes go without an answer before the peer is taken for gone.
const PROBES: u32 = 5;

/// The kernel's bounds: nine hours, and 24 days.
const MOST_KEEPALIVE: Duration = Duration::from_secs(32_767);
#[cfg(any(target_os = "linux", target_os = "android"))]
const MOST_USER_TIMEOUT: Duration = Duration::from_millis(0x7fff_ffff);

pub(super) fn begin(to: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    let socket = new_socket(to)?;
    socket.set_nonblocking(true)?;
    prepare(&socket);
    if let Some(size) = options.send_buffer_size {
        socket.set_send_buffer_size(size)?;
    }
    set_timeouts(&socket, options)?;
    match resume(|| socket.connect(&to.into())) {
        Err(error) if is_under_way(&error) => Ok(socket),
        connected => connected.map(|()| socket),
    }
}

pub(super) fn set_timeouts(socket: &Socket, options: &TcpOptions) -> io::Result<()> {
    if let Some(idle) = options.keepalive {
        // Whole seconds, and no more of them than the kernel counts.
        let whole = |time: Duration| time.clamp(Duration::from_secs(1), MOST_KEEPALIVE);
        let keepalive = TcpKeepalive::new().with_time(whole(idle));
        let keepalive = keepalive.with_interval(whole(idle / PROBES));
        socket.set_tcp_keepalive(&keepalive.with_retries(PROBES))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = options.user_timeout {
        // Zero would be the kernel's own.
        let timeout = timeout.clamp(Duration::from_millis(1), MOST_USER_TIMEOUT);
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}

/// Whether a connection leads to itself.
pub(super) fn is_own_peer(socket: &Socket) -> bool {
    let ends = (socket.local_addr(), socket.peer_addr());
    matches!(ends, (Ok(local), Ok(peer)) if local.as_socket() == peer.as_socket())
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}

pub(in crate::sys) fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    above_standard(|| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)))
}

/// Blocks are gathered here already: the kernel need not wait for more.
pub(super) fn prepare(socket: &Socket) {
    // It fails where the peer has gone already.
    let _ = socket.set_tcp_nodelay(true);
}

/// The next read finds the end, once all that has come was read. The peer is not told.
pub(super) fn stop_receiving(socket: &Socket) {
    socket::end_receiving(socket);
}

pub(super) fn peer(socket: &Socket) -> io::Result<Identity> {
    match socket.peer_addr() {
        Ok(address) => Ok(address
            .as_socket()
            .map_or(Identity::Unknown, Identity::Remote)),
        // It has gone already. What it sent is there all the same.
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Identity::Unknown),
        Err(error) => Err(error),
    }
}

/// Whether the peer has closed before it had read all, or is gone without having confirmed all, as
/// behind a cable that is cut. While the connection stands, or is on its way to its end because
/// both sides have ended, what is not confirmed may yet be.
pub(super) fn lost_unread(socket: &Socket, has_ended: bool) -> bool {
    socket::was_reset(socket)
        || !has_ended
            && look(socket, PollFlags::empty()).contains(PollFlags::POLLHUP)
            && unread::unread(socket).is_some_and(|len| len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_itself_is_found() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = new_socket(any).unwrap();
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        assert!(is_own_peer(&socket));
        let listener = std::net::TcpListener::bind(any).unwrap();
        let other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!is_own_peer(&other.into()));
    }
}
