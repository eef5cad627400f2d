//! The lock file beside a socket: of several starters at the same path one works at a time.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::libc;

use crate::error::BindError;
use crate::sys::{FileIdentity, above_standard};

/// How often a starter tries: for two seconds. Another needs less than a millisecond; one that is
/// stopped must not stop this one too.
pub(super) const PATIENT: u32 = 400;

/// How often to try where to leave the file behind is better than to wait.
pub(super) const BRIEF: u32 = 10;

/// The pause between two tries.
pub(super) const PACE: Duration = Duration::from_millis(5);

/// Keeps other starters of the same path out, until it is dropped.
///
/// Between a starter's `bind` and its `listen` its socket looks stale to others; so all of probing,
/// removing, binding and listening happens under this lock.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: Flock<File>,
}

impl LockFile {
    pub(super) fn acquire(socket: &Path, tries: u32) -> Result<Self, BindError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..tries {
            let open = || {
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    // Nothing is followed, and a pipe that lies there is not waited for.
                    .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                    .open(&path)
            };
            let file = above_standard(open)
                .map_err(|source| BindError::io("open the lock file", &path, source))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    // The last holder may have removed the file that was opened here: then another
                    // process can lock the new one.
                    let ours = file.metadata().map(|metadata| FileIdentity::of(&metadata));
                    if let (Ok(ours), Ok(now)) = (ours, FileIdentity::at(&path)) {
                        if ours == now {
                            return Ok(Self { path, file });
                        }
                    }
                }
                Err((_, nix::Error::EWOULDBLOCK | nix::Error::EINTR)) => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "nothing tells when a lock of another process is free"
                    )]
                    thread::sleep(PACE);
                }
                Err((_, error)) => return Err(BindError::io("lock", &path, error.into())),
            }
        }
        Err(BindError::io("lock", &path, ErrorKind::TimedOut.into()))
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Removed while it is still locked, so that no other process's is. One with something in it
        // is not a lock of ours.
        if self
            .file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}
