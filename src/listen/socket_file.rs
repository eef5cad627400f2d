//! The file of a listening socket: whether it is still at its path, or has been displaced.
//! It is removed only while it is the same file.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock_file::{BRIEF, LockFile};
use crate::sys::{FileIdentity, FileWatch, Waker};

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

impl SocketFile {
    pub(super) fn new(path: &Path, identity: FileIdentity) -> Self {
        Self {
            path: path.into(),
            identity,
        }
    }

    /// The file that lies at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, FileIdentity::at(path)?))
    }

    /// Whether the file is not at its path any more.
    pub(super) fn is_displaced(&self) -> bool {
        !FileIdentity::at(&self.path).is_ok_and(|now| now == self.identity)
    }

    /// Tells when that may have changed, where the system can.
    pub(super) fn watch(&self, waker: &Arc<Waker>) -> Option<FileWatch> {
        FileWatch::new(&self.path, waker)
    }

    /// Whether users other than its owner can connect.
    pub(super) fn is_open_to_others(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .map_or(true, |metadata| metadata.permissions().mode() & 0o077 != 0)
    }

    /// Removes the file, if it is still at its path.
    pub(super) fn remove(&self) {
        if self.is_displaced() {
            return;
        }
        // Without the lock a successor could put its own there between the look and the removal.
        // Where the lock cannot be had, for instance after privileges were dropped, the file stays:
        // the next start replaces it.
        if let Ok(_lock) = LockFile::acquire(&self.path, BRIEF) {
            self.remove_locked();
        }
    }

    /// Likewise. The caller holds the lock.
    pub(super) fn remove_locked(&self) {
        if !self.is_displaced() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
