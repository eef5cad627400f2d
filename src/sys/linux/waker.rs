//! Ends a wait from another thread: an eventfd. Level-triggered, so that a wake before the wait
//! counts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys::standard_streams::above_standard;

#[derive(Debug)]
pub(crate) struct Waker(EventFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        above_standard(|| Ok(Self(EventFd::from_flags(flags)?)))
    }

    /// Ends the current wait, or the next.
    pub(crate) fn wake(&self) {
        // It fails only when the counter is full, and then the wait ends as well.
        let _ = self.0.write(1);
    }

    /// Makes the next wait wait again.
    pub(crate) fn reset(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
