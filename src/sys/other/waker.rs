//! Ends a wait from another thread: a pair of sockets. Level-triggered, so that a wake before the
//! wait counts.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::sys::standard_streams::moved_above_standard;

/// Sockets rather than a pipe: std makes them close-on-exec and guarded against SIGPIPE.
#[derive(Debug)]
pub(crate) struct Waker {
    near: UnixStream,
    far: UnixStream,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        let (near, far) = (
            UnixStream::from(moved_above_standard(near.into())?),
            UnixStream::from(moved_above_standard(far.into())?),
        );
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far })
    }

    /// Ends the current wait, or the next.
    pub(crate) fn wake(&self) {
        // It fails only when the socket is full, and then the wait ends as well.
        let _ = (&self.far).write(&[1]);
    }

    /// Makes the next wait wait again.
    pub(crate) fn reset(&self) {
        while matches!((&self.near).read(&mut [0; 64]), Ok(1..)) {}
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}
