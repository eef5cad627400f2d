//! inotify: a descriptor that becomes readable when something happens to a file.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::sys::standard_streams::above_standard;

/// A descriptor that becomes readable when the file is removed, replaced or moved.
#[derive(Debug)]
pub(crate) struct FileWatch(Inotify);

impl FileWatch {
    /// Watches the file at `path`. `None` where no watch is to be had.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = above_standard(|| Ok(Inotify::init(flags)?)).ok()?;
        // Unlinking a file that is open changes its link count, which is an attribute.
        let flags =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(path, flags).ok()?;
        // A directory that is renamed takes the file along, and so does a link on the way that
        // leads elsewhere. What may not be watched is left out.
        let flags = AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        let real = path
            .parent()
            .and_then(|directory| directory.canonicalize().ok());
        for directory in path
            .ancestors()
            .skip(1)
            .chain(real.iter().flat_map(|real| real.ancestors()))
        {
            let _ = inotify.add_watch(directory, flags);
        }
        Some(Self(inotify))
    }

    /// Forgets what has happened so far.
    pub(crate) fn reset(&self) {
        let _ = self.0.read_events();
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
