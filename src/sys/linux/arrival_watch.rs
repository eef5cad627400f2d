//! inotify: a descriptor that becomes readable when a file may have come to a path.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::sys::arrival::Arrival;
use crate::sys::standard_streams::above_standard;

/// A watch of a directory, for a file of one name. Readable when something has happened there.
#[derive(Debug)]
pub(crate) struct ArrivalWatch {
    inotify: Inotify,
    name: OsString,
}

impl ArrivalWatch {
    /// Watches for a file at `path`. `None` where no watch is to be had: there is no such
    /// directory, or the user has no instance left.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let (directory, name) = (path.parent()?, path.file_name()?.to_owned());
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = above_standard(|| Ok(Inotify::init(flags)?)).ok()?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        inotify.add_watch(directory, flags).ok()?;
        Some(Self { inotify, name })
    }

    /// What has happened since the last look.
    pub(crate) fn look(&self) -> Arrival {
        let over = AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_Q_OVERFLOW;
        let Ok(events) = self.inotify.read_events() else {
            return Arrival::Other;
        };
        if events.iter().any(|event| event.mask.intersects(over)) {
            Arrival::WatchOver
        } else if events
            .iter()
            .any(|event| event.name.as_ref() == Some(&self.name))
        {
            Arrival::Come
        } else {
            Arrival::Other
        }
    }
}

impl AsFd for ArrivalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
