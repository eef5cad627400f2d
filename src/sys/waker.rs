//! Ends a wait from another thread.
//! An eventfd on Linux, a pair of sockets elsewhere: level-triggered, so that a wake before the
//! wait counts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(crate) struct Waker(nix::sys::eventfd::EventFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};

        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
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

#[cfg(any(target_os = "linux", target_os = "android"))]
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
pub(crate) struct Waker {
    near: std::os::unix::net::UnixStream,
    far: std::os::unix::net::UnixStream,
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // A pair of sockets rather than a pipe: std makes them close-on-exec and guarded against
        // SIGPIPE.
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far })
    }

    /// Ends the current wait, or the next.
    pub(crate) fn wake(&self) {
        // It fails only when the socket is full, and then the wait ends as well.
        let _ = io::Write::write(&mut &self.far, &[1]);
    }

    /// Makes the next wait wait again.
    pub(crate) fn reset(&self) {
        while matches!(io::Read::read(&mut &self.near, &mut [0; 64]), Ok(1..)) {}
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}
