//! The file of a listening socket: whose it is, whether anybody answers on it, who may change it.
//! Never removes what is not a socket, nor a socket on which somebody accepts.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::unistd::geteuid;

use super::listener::doing;
use super::socket::Stream;
use crate::address::Address;
use crate::error::BindError;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// The identity of the file at `path` itself, not of what a link points to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::symlink_metadata(path)?))
    }
}

/// What lies at a path, in words.
pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket of another kind"
    } else {
        "a regular file"
    }
}

/// Keeps other starters of the same path out, until it is dropped.
///
/// Between a starter's `bind` and its `listen` its socket looks stale to others; so all of probing,
/// removing, binding and listening happens under this lock.
#[derive(Debug)]
pub(super) struct PathLock {
    path: PathBuf,
    file: Flock<File>,
}

/// How often a starter tries: for two seconds. Another needs less than a millisecond; one that is
/// stopped must not stop us too.
pub(super) const PATIENT: u32 = 400;

/// How often somebody tries who would rather leave the file behind than wait.
const BRIEF: u32 = 10;

const LOCK_PACE: Duration = Duration::from_millis(5);

impl PathLock {
    pub(super) fn acquire(socket: &Path, tries: u32) -> Result<Self, BindError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..tries {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                // Nothing is followed, and a pipe that lies there is not waited for.
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .map_err(|source| doing("open the lock file", &path, source))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    // The last holder may have removed the file that was opened here: then somebody
                    // else can lock the new one.
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
                        reason = "a lock of another process tells nobody when it is free"
                    )]
                    thread::sleep(LOCK_PACE);
                }
                Err((_, error)) => return Err(doing("lock", &path, error.into())),
            }
        }
        Err(doing("lock", &path, ErrorKind::TimedOut.into()))
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // Removed while it is still locked, so that nobody else's is. One with something in it is
        // not a lock of ours.
        if self
            .file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes sure that nothing is at `path`: removes a socket on which nobody accepts, refuses all
/// else. Says whether there was one. The caller holds the lock.
pub(super) fn clear(path: &Path, address: &Address) -> Result<bool, BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(doing("look at", path, error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket {
            address: address.clone(),
            kind: kind_of(&metadata),
        });
    }
    match probe(address) {
        // A full backlog, and a socket that we may not connect to, have somebody behind them as
        // well.
        Ok(_) => {
            return Err(BindError::InUse {
                address: address.clone(),
            });
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES | libc::EPERM) => {
                return Err(BindError::InUse {
                    address: address.clone(),
                });
            }
            Some(libc::ENOENT) => return Ok(false),
            Some(libc::ECONNREFUSED) => {}
            Some(libc::EPROTOTYPE) => {
                return Err(BindError::NotASocket {
                    address: address.clone(),
                    kind: "a datagram socket",
                });
            }
            _ => return Err(doing("probe the socket", path, error)),
        },
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(doing("remove the stale socket", path, error))
        }
        _ => Ok(true),
    }
}

/// Connects, to see whether anybody accepts. Linux tells a full backlog from nobody; the others
/// refuse in both cases, so there only a refusal that lasts is believed.
fn probe(address: &Address) -> io::Result<Stream> {
    const MORE_TRIES: u32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        0
    } else {
        20
    };

    let mut tries_left = MORE_TRIES;
    loop {
        match Stream::connect(address, None) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && tries_left > 0 => {
                tries_left -= 1;
                thread::park_timeout(LOCK_PACE);
            }
            probed => return probed,
        }
    }
}

/// Removes a socket file that nobody accepts on. Says whether there was one.
pub(crate) fn remove_stale_socket(path: &Path, address: &Address) -> Result<bool, BindError> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(false);
    }
    let _lock = PathLock::acquire(path, PATIENT)?;
    clear(path, address)
}

/// Removes the file at `path` if it is still the one that `identity` names.
pub(super) fn remove_own(path: &Path, identity: FileIdentity) {
    let is_ours = || FileIdentity::at(path).is_ok_and(|now| now == identity);
    if !is_ours() {
        return;
    }
    // Without the lock a successor could put its own there between the look and the removal. Where
    // it cannot be had, for instance after privileges were dropped, the file stays: the next
    // start replaces it.
    if let Ok(_lock) = PathLock::acquire(path, BRIEF) {
        if is_ours() {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket's file, whatever else is put in its place meanwhile: whoever may write to the directory
/// too could put a link or another file there, to have its owner or mode changed.
pub(super) struct Pinned {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    file: File,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    path: PathBuf,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Pinned {
    /// The socket at `path`.
    pub(super) fn at(path: &Path, address: &Address) -> Result<Self, BindError> {
        let open = || -> io::Result<(File, Metadata)> {
            let flags = libc::O_PATH | libc::O_NOFOLLOW;
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = open().map_err(|source| doing("look at", path, source))?;
        if metadata.file_type().is_socket() {
            Ok(Self { file })
        } else {
            Err(BindError::NotASocket {
                address: address.clone(),
                kind: kind_of(&metadata),
            })
        }
    }

    pub(super) fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity::of(&self.file.metadata()?))
    }

    pub(super) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        use nix::fcntl::AtFlags;
        use nix::unistd::{Gid, Uid, fchownat};

        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(
            &self.file,
            "",
            owner,
            group,
            AtFlags::AT_EMPTY_PATH,
        )?)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        use std::fs::Permissions;
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::PermissionsExt;

        // No call takes such a descriptor itself.
        fs::set_permissions(
            format!("/proc/self/fd/{}", self.file.as_raw_fd()),
            Permissions::from_mode(mode),
        )
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Pinned {
    pub(super) fn at(path: &Path, _: &Address) -> Result<Self, BindError> {
        Ok(Self { path: path.into() })
    }

    pub(super) fn identity(&self) -> io::Result<FileIdentity> {
        FileIdentity::at(&self.path)
    }

    pub(super) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        std::os::unix::fs::lchown(&self.path, owner, group)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        use nix::fcntl::AT_FDCWD;
        use nix::sys::stat::{FchmodatFlags, fchmodat};

        let mode = super::listener::mode_bits(mode);
        Ok(fchmodat(
            AT_FDCWD,
            &self.path,
            mode,
            FchmodatFlags::NoFollowSymlink,
        )?)
    }
}

/// Refuses a folder in which anybody could replace the socket.
pub(super) fn check_directory(socket: &Path) -> Result<(), BindError> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    let directory = socket.parent().unwrap_or(Path::new("/"));
    let metadata = fs::metadata(directory)
        .map_err(|source| doing("look at the directory", directory, source))?;
    if metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
        return Err(BindError::UnsafeDirectory {
            directory: directory.into(),
        });
    }
    Ok(())
}

/// Makes the folder of a socket, and those above it, for the owner and the group only (0750).
pub(crate) fn create_socket_dir(socket: &Path) -> Result<(), BindError> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(|source| doing("create the directory", directory, source))?;
    let owner = fs::metadata(directory)
        .map_err(|source| doing("look at the directory", directory, source))?
        .uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(BindError::UnsafeDirectory {
            directory: directory.into(),
        });
    }
    check_directory(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn what_is_put_in_the_place_of_a_socket_keeps_its_mode() {
        use std::os::unix::net::UnixListener;

        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (
            directory.path().join("s"),
            directory.path().join("of somebody else"),
        );
        let address = Address::new(&path).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        let before = mode(&other);

        let pinned = Pinned::at(&path, &address).unwrap();
        fs::rename(&other, &path).unwrap();
        pinned.set_mode(0o600).unwrap();
        assert_eq!(mode(&path), before);
        assert!(matches!(
            Pinned::at(&path, &address),
            Err(BindError::NotASocket { .. })
        ));
        let group = fs::metadata(directory.path()).unwrap().gid();
        pinned.set_owner(None, Some(group)).unwrap();
        assert_ne!(pinned.identity().unwrap(), FileIdentity::at(&path).unwrap());
    }
}
