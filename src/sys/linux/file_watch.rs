//! Tells when something has happened to a file.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use nix::sys::inotify::AddWatchFlags;

use super::inotify::{Kind, Watch};
use super::waker::Waker;

static FILES: Kind = Kind::new();

/// A watch of a file. Readable when something may have happened.
#[derive(Debug)]
pub(crate) struct FileWatch(Watch);

impl FileWatch {
    /// Tells when the file at `path` is removed, replaced or moved: it is readable then, or `waker`
    /// is used. `None` where no watch is to be had.
    pub(crate) fn new(path: &Path, waker: &Arc<Waker>) -> Option<Self> {
        // Unlinking a file that is open changes its link count, which is an attribute.
        let of_file =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        let of_directory = AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        let real = path
            .parent()
            .and_then(|directory| directory.canonicalize().ok());
        // A directory that is renamed takes the file along, and so does a link on the way that
        // leads elsewhere. What may not be watched is left out.
        let directories = path
            .ancestors()
            .skip(1)
            .chain(real.iter().flat_map(|real| real.ancestors()));
        let watch = Watch::new(&FILES, waker, None, |inotify| {
            let mut added = vec![inotify.add_watch(path, of_file)?];
            added.extend(directories.filter_map(|path| inotify.add_watch(path, of_directory).ok()));
            Ok(added)
        });
        watch.map(Self)
    }

    /// Whether something has happened since the last look.
    pub(crate) fn look(&self) -> bool {
        self.0.look().anything()
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
