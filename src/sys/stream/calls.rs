//! What is asked of every kind of stream in the same way.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::sys::platform::poll::poll;

/// What holds for it at this moment, of `wanted` and of what is always told.
pub(in crate::sys) fn look(descriptor: &impl AsFd, wanted: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(descriptor.as_fd(), wanted)];
    match poll(&mut fds, Some(Duration::ZERO)) {
        Ok(_) => fds
            .first()
            .and_then(PollFd::revents)
            .unwrap_or(PollFlags::empty()),
        Err(_) => PollFlags::empty(),
    }
}

/// Calls again what a signal interrupted.
pub(in crate::sys) fn resume<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
