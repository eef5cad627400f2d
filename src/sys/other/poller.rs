//! kqueue: the sockets that a poller watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::sys::interest::Interest;
use crate::sys::standard_streams::above_standard;

#[derive(Debug)]
pub(in crate::sys) struct Queue(Kqueue);

impl Queue {
    pub(in crate::sys) fn new() -> io::Result<Self> {
        above_standard(|| Ok(Self(Kqueue::new()?)))
    }

    /// Adds a descriptor that stays armed.
    pub(in crate::sys) fn watch(&self, fd: &impl AsFd, key: u64) -> io::Result<()> {
        self.change(fd, EventFilter::EVFILT_READ, EvFlags::EV_ADD, key)
    }

    pub(in crate::sys) fn add(
        &self,
        fd: &impl AsFd,
        key: u64,
        interest: Interest,
    ) -> io::Result<()> {
        self.arm(fd, key, interest)
    }

    /// EV_ONESHOT removes the filter with its event; adding it again is arming.
    pub(in crate::sys) fn arm(
        &self,
        fd: &impl AsFd,
        key: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let filter = match interest {
            Interest::Read => EventFilter::EVFILT_READ,
            Interest::Now | Interest::Room => EventFilter::EVFILT_WRITE,
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

    pub(in crate::sys) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
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
