//! Waits for the first of many sockets that is ready, from many threads at once.
//! epoll on Linux, kqueue elsewhere; every socket is armed for one event only.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::Waker;

/// What a socket is armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read, or its end.
    Read,
    /// Likewise, or room to send: at once, unless the peer leaves unread what was sent to it.
    Now,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The socket with this key. It is not armed any more.
    Socket(u64),
    /// The poller was closed; so ends every wait from now on.
    Closed,
    /// Nothing in time.
    Nothing,
}

/// The key of the descriptor that closes the poller. kqueue's are signed.
const CLOSED: u64 = 1 << 62;

#[derive(Debug)]
pub(crate) struct Poller {
    queue: imp::Queue,
    closer: Waker,
}

impl Poller {
    /// The greatest key that a socket can have.
    pub(crate) const MOST_KEY: u64 = CLOSED - 1;

    pub(crate) fn new() -> io::Result<Self> {
        let (queue, closer) = (imp::Queue::new()?, Waker::new()?);
        queue.watch(&closer, CLOSED)?;
        Ok(Self { queue, closer })
    }

    /// Adds a socket and arms it. It leaves by being closed.
    pub(crate) fn add(&self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        debug_assert!(key <= Self::MOST_KEY, "this key is the poller's own");
        self.queue.add(socket, key, interest)
    }

    /// Arms a socket again.
    pub(crate) fn arm(&self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        self.queue.arm(socket, key, interest)
    }

    /// Waits for one socket.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Ready> {
        Ok(match self.queue.wait(timeout)? {
            None => Ready::Nothing,
            Some(CLOSED) => Ready::Closed,
            Some(key) => Ready::Socket(key),
        })
    }

    /// Whether a wait would end at once.
    pub(crate) fn has_ready(&self) -> bool {
        use nix::poll::{PollFd, PollFlags};

        let mut fds = [PollFd::new(self.queue.as_fd(), PollFlags::POLLIN)];
        super::wait::poll(&mut fds, Some(Duration::ZERO)).is_ok()
            && fds.iter().any(|fd| fd.any() == Some(true))
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        self.closer.wake();
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::time::Duration;

    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    use super::Interest;

    #[derive(Debug)]
    pub(super) struct Queue(Epoll);

    impl Queue {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
        }

        /// Adds a descriptor that stays armed.
        pub(super) fn watch(&self, fd: &impl AsFd, key: u64) -> io::Result<()> {
            Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))?)
        }

        pub(super) fn add(&self, fd: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            Ok(self.0.add(fd, EpollEvent::new(flags(interest), key))?)
        }

        pub(super) fn arm(&self, fd: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            Ok(self
                .0
                .modify(fd, &mut EpollEvent::new(flags(interest), key))?)
        }

        pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
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
            // A socket that can be written to is ready at once; one that cannot has its peer to
            // thank.
            Interest::Now => readable | EpollFlags::EPOLLOUT,
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod imp {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
    use std::time::Duration;

    use nix::libc;
    use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

    use super::Interest;

    #[derive(Debug)]
    pub(super) struct Queue(Kqueue);

    impl Queue {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(Kqueue::new()?))
        }

        /// Adds a descriptor that stays armed.
        pub(super) fn watch(&self, fd: &impl AsFd, key: u64) -> io::Result<()> {
            self.change(fd, EventFilter::EVFILT_READ, EvFlags::EV_ADD, key)
        }

        pub(super) fn add(&self, fd: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            self.arm(fd, key, interest)
        }

        /// EV_ONESHOT removes the filter with its event; adding it again is arming.
        pub(super) fn arm(&self, fd: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
            let filter = match interest {
                Interest::Read => EventFilter::EVFILT_READ,
                Interest::Now => EventFilter::EVFILT_WRITE,
            };
            self.change(fd, filter, EvFlags::EV_ADD | EvFlags::EV_ONESHOT, key)
        }

        fn change(
            &self,
            fd: &impl AsFd,
            filter: EventFilter,
            flags: EvFlags,
            key: u64,
        ) -> io::Result<()> {
            let ident = usize::try_from(fd.as_fd().as_raw_fd()).map_err(io::Error::other)?;
            let data = isize::try_from(key).map_err(io::Error::other)?;
            let change = KEvent::new(ident, filter, flags, FilterFlag::empty(), 0, data);
            Ok(self.0.kevent(&[change], &mut [], None).map(drop)?)
        }

        pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
            let timeout = timeout.map(|timeout| libc::timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            });
            let mut events = [KEvent::new(
                0,
                EventFilter::EVFILT_READ,
                EvFlags::empty(),
                FilterFlag::empty(),
                0,
                0,
            )];
            match self.0.kevent(&[], &mut events, timeout) {
                Ok(0) | Err(nix::Error::EINTR) => Ok(None),
                Ok(_) => Ok(events
                    .first()
                    .and_then(|event| u64::try_from(event.udata()).ok())),
                Err(error) => Err(error.into()),
            }
        }
    }

    impl AsFd for Queue {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}
