//! `ppoll`: `poll` counts in milliseconds, far too coarse for a linger.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};

pub(in crate::sys) fn poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> nix::Result<libc::c_int> {
    ppoll(fds, timeout.map(Into::into), None)
}

/// Whether the receiving side of a socket has been shut down.
pub(in crate::sys) fn is_shut(socket: &impl AsFd) -> bool {
    // nix has no name for it.
    let shut = PollFlags::from_bits_retain(libc::POLLRDHUP);
    let mut fds = [PollFd::new(socket.as_fd(), shut)];
    poll(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
}
