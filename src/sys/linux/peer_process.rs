//! `SO_PEERPIDFD`: the process at the other end of a socket, and not another one that has its
//! number by now.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::poll::poll;

/// The process that has connected, or that listens.
#[derive(Debug)]
pub(crate) struct PeerProcess(OwnedFd);

impl PeerProcess {
    /// `None` where the kernel does not tell: before Linux 6.5, and of anything but a Unix socket.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(stream: &impl AsFd) -> Option<Self> {
        use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};

        use crate::sys::standard_streams::moved_above_standard;

        let process = getsockopt(stream, PeerPidfd).ok()?;
        Some(Self(moved_above_standard(process).ok()?))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: &impl AsFd) -> Option<Self> {
        None
    }

    /// Whether it has ended, all its threads with it.
    pub(crate) fn is_dead(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::sys::Stream;

    #[test]
    fn a_peer_that_lives_is_not_dead() {
        let (near, _far) = UnixStream::pair().unwrap();
        let near = Stream::adopt_to_read(near.into()).unwrap();
        // The kernel may be an older one.
        if let Some(peer) = PeerProcess::of(&near) {
            assert!(!peer.is_dead());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let tcp = Stream::adopt_to_read(tcp.into()).unwrap();
        assert!(PeerProcess::of(&tcp).is_none());
        let (read_end, _write_end) = nix::unistd::pipe().unwrap();
        let pipe = Stream::adopt_to_read(read_end).unwrap();
        assert!(PeerProcess::of(&pipe).is_none());
    }

    #[test]
    fn a_process_is_dead_when_it_has_ended_and_when_nobody_has_its_number_any_more() {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        // Linux before 5.3 has none.
        let descriptor = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let process = descriptor.map(PeerProcess);
        let is_dead = || process.as_ref().is_ok_and(PeerProcess::is_dead);
        let has_any = process.is_ok();
        assert!(!is_dead());
        child.wait().unwrap();
        assert_eq!(is_dead(), has_any);
    }
}
