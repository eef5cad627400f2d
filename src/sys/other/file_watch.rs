//! No watch of a file: kqueue would have to hold the socket's file open, which cannot be opened.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::waker::Waker;
use crate::sys::file_change::FileChange;

/// There is none.
#[derive(Debug)]
pub(crate) enum FileWatch {}

impl FileWatch {
    pub(crate) fn new(_: &Path, _: &Arc<Waker>) -> Option<Self> {
        None
    }

    pub(crate) fn look(&self) -> Option<FileChange> {
        match *self {}
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
