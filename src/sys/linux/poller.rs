//! epoll: the sockets that a poller watches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::sys::interest::Interest;
use crate::sys::standard_streams::above_standard;

#[derive(Debug)]
pub(in crate::sys) struct Queue(Epoll);

impl Queue {
    pub(in crate::sys) fn new() -> io::Result<Self> {
        above_standard(|| Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)))
    }

    /// Adds a descriptor that stays armed.
    pub(in crate::sys) fn watch(&self, fd: &impl AsFd, key: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))?)
    }

    pub(in crate::sys) fn add(
        &self,
        fd: &impl AsFd,
        key: u64,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(flags(interest), key))?)
    }

    pub(in crate::sys) fn arm(
        &self,
        fd: &impl AsFd,
        key: u64,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(self
            .0
            .modify(fd, &mut EpollEvent::new(flags(interest), key))?)
    }

    pub(in crate::sys) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty()];
        match self.0.wait(&mut events, timeout) {
            Ok(0) | Err(nix::Error::EINTR) => Ok(None),
            Ok(_) => Ok(events.first().map(EpollEvent::data)),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

fn flags(interest: Interest) -> EpollFlags {
    let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLONESHOT;
    match interest {
        Interest::Read => readable,
        // A socket that can be written to is ready at once; one that cannot be has a
        // peer that does not read.
        Interest::Now => readable | EpollFlags::EPOLLOUT,
        Interest::Room => EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT,
    }
}
