//! Tells when a file may have come to a path.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use nix::sys::inotify::AddWatchFlags;

use super::inotify::{Kind, Watch};
use super::waker::Waker;
use crate::sys::arrival::Arrival;

static DIRECTORIES: Kind = Kind::new();

/// A watch of a directory, for a file of one name. Readable when something may have happened.
#[derive(Debug)]
pub(crate) struct ArrivalWatch(Watch);

impl ArrivalWatch {
    /// Tells of a file that comes to `path`: it is readable then, or `waker` is used. `None` where
    /// no watch is to be had: there is no such directory, or the user has no instance left.
    pub(crate) fn new(path: &Path, waker: &Arc<Waker>) -> Option<Self> {
        let (directory, name) = (path.parent()?, path.file_name()?.to_owned());
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let watch = Watch::new(&DIRECTORIES, waker, Some(name), |inotify| {
            Ok(vec![inotify.add_watch(directory, flags)?])
        });
        watch.map(Self)
    }

    /// What has happened since the last look.
    pub(crate) fn look(&self) -> Option<Arrival> {
        let happened = self.0.look();
        if happened.is_over() {
            Some(Arrival::WatchOver)
        } else if happened.to_named() {
            Some(Arrival::Come)
        } else {
            happened.anything().then_some(Arrival::Other)
        }
    }
}

impl AsFd for ArrivalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
