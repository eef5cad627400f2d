//! `SO_PEERPIDFD`: the process at the other end of a socket, and not another one that has its
//! number by now.

#![allow(dead_code, reason = "the reader is to use it, the tests do already")]

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
