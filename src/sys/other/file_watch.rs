//! No watch of a file: kqueue would have to hold the socket's file open, which cannot be opened.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// There is none.
#[derive(Debug)]
pub(crate) enum FileWatch {}

impl FileWatch {
    pub(crate) fn new(_: &Path) -> Option<Self> {
        None
    }

    pub(crate) fn reset(&self) {
        match *self {}
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
