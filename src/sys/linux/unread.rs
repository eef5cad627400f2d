//! `SIOCOUTQ`, and `FIONREAD` for a pipe: at most how much of what was sent the peer has not read.
//! Whether the peer died with some of it unread is told by `Stream::lost_unread`.
//! Unsafe code: no safe wrapper of this call exists.

#![expect(unsafe_code, reason = "an ioctl has no safe form")]

use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

// SIOCOUTQ under its older name; see unix(7) and tty_ioctl(4).
nix::ioctl_read_bad!(outgoing, libc::TIOCOUTQ, libc::c_int);

/// The bytes that the kernel still holds for the peer: this many at most, since it counts what they
/// cost it, and none when it is 0.
pub(in crate::sys) fn unread(socket: &impl AsRawFd) -> Option<u64> {
    let mut len = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and this call writes one
    // int, to where the pointer leads.
    unsafe { outgoing(socket.as_raw_fd(), &raw mut len) }.ok()?;
    u64::try_from(len).ok()
}

/// The bytes that lie in a pipe.
pub(in crate::sys) fn in_pipe(pipe: &impl AsFd) -> Option<u64> {
    rustix::io::ioctl_fionread(pipe).ok()
}
