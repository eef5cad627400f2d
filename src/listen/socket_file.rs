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

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::sys;

    /// Many at once: whoever removes a file is then often interrupted in the midst of it.
    #[test]
    fn a_file_is_gone_as_soon_as_its_removal_is_told() {
        let place = tempfile::tempdir().unwrap();
        let remove_and_look = &|number: usize| {
            let path = place.path().join(number.to_string());
            let waker = Arc::new(Waker::new().unwrap());
            for round in 0..300 {
                let _socket = UnixListener::bind(&path).unwrap();
                let file = SocketFile::at(&path).unwrap();
                let watch = file.watch(&waker).unwrap();
                // The first look finds a change in any case.
                watch.look();
                thread::scope(|scope| {
                    scope.spawn(|| fs::remove_file(&path).unwrap());
                    while watch.look().is_none() {
                        sys::wait_with_file(&waker, &watch, None);
                        waker.reset();
                    }
                    assert!(file.is_displaced(), "round {round}");
                });
            }
        };
        thread::scope(|scope| {
            for number in 0..6 {
                scope.spawn(move || remove_and_look(number));
            }
        });
    }
}
