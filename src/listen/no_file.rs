//! No file of a listening socket: the system has none.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::sys::{FileWatch, Waker};

/// There is none.
#[derive(Debug)]
pub(super) enum SocketFile {}

impl SocketFile {
    pub(super) fn at(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_displaced(&self) -> bool {
        match *self {}
    }

    pub(super) fn watch(&self, _: &Arc<Waker>) -> Option<FileWatch> {
        match *self {}
    }

    pub(super) fn is_open_to_others(&self) -> bool {
        match *self {}
    }

    pub(super) fn remove(&self) {
        match *self {}
    }
}
