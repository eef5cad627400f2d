//! No watch of a file, nor for one that comes.

use std::path::Path;
use std::sync::Arc;

use super::waker::Waker;
use crate::sys::arrival::Arrival;
use crate::sys::file_change::FileChange;

/// There is none.
#[derive(Debug)]
pub(crate) enum ArrivalWatch {}

impl ArrivalWatch {
    pub(crate) fn new(_: &Path) -> Option<Self> {
        None
    }

    pub(crate) fn look(&self) -> Arrival {
        match *self {}
    }
}

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
