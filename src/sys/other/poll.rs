//! `poll`, or `ppoll` where there is one.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use nix::poll::PollFd;

#[cfg(target_os = "freebsd")]
pub(in crate::sys) fn poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> nix::Result<libc::c_int> {
    nix::poll::ppoll(fds, timeout.map(Into::into), None)
}

#[cfg(not(target_os = "freebsd"))]
pub(in crate::sys) fn poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> nix::Result<libc::c_int> {
    use nix::poll::PollTimeout;

    // Rounded up: a wait that ends too early would be repeated at once.
    let millis = timeout.map(|timeout| {
        timeout
            .saturating_add(Duration::from_micros(999))
            .as_millis()
    });
    let timeout = millis.map_or(PollTimeout::NONE, |millis| {
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
    });
    nix::poll::poll(fds, timeout)
}

/// Whether the receiving side of a socket has been shut down: here a listening one cannot be.
pub(in crate::sys) fn is_shut(_: &impl AsFd) -> bool {
    false
}
