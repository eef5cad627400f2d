//! inotify: a descriptor that becomes readable when a file may have come to a path.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

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
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(directory, flags).ok()?;
        Some(Self { inotify, name })
    }

    /// Whether the file has come since the last look. Others may have, too.
    pub(crate) fn has_come(&self) -> bool {
        let events = self.inotify.read_events().unwrap_or_default();
        events
            .iter()
            .any(|event| event.name.as_ref() == Some(&self.name))
    }
}

impl AsFd for ArrivalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
