//! The directory of a socket: made where it is missing, refused where every user could replace the
//! socket in it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::geteuid;

use crate::address::Address;
use crate::error::BindError;

/// Makes the directory of a socket, and those above it, for their owner and group only (0750). What
/// exists is left as it is.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// let socket = directory.path().join("collector/telemetry.sock");
/// uds_ipc::create_socket_dir(&socket)?;
/// assert!(directory.path().join("collector").is_dir());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When it is no address, a directory cannot be made, or another user could replace a socket in
/// it.
pub fn create_socket_dir(socket: impl AsRef<OsStr>) -> Result<(), BindError> {
    let address = Address::new(socket)?;
    let Some(socket) = address.path() else {
        return Ok(());
    };
    let directory = directory_of(socket);
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(|source| BindError::io("create the directory", directory, source))?;
    let owner = fs::metadata(directory)
        .map_err(|source| BindError::io("look at the directory", directory, source))?
        .uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(BindError::UnsafeDirectory {
            directory: directory.into(),
        });
    }
    check(socket)
}

/// Refuses a directory in which every user could replace the socket.
pub(super) fn check(socket: &Path) -> Result<(), BindError> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    let directory = directory_of(socket);
    let metadata = fs::metadata(directory).map_err(|source| {
        if source.kind() == ErrorKind::NotFound {
            BindError::NoDirectory {
                directory: directory.into(),
            }
        } else {
            BindError::io("look at the directory", directory, source)
        }
    })?;
    if metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
        return Err(BindError::UnsafeDirectory {
            directory: directory.into(),
        });
    }
    Ok(())
}

/// The directory of the socket, open, if nobody but this user and root can put another file in the
/// place of the socket.
pub(super) fn of_ours_alone(socket: &Path) -> Option<File> {
    const OTHERS_WRITE: u32 = 0o022;

    let directory = File::open(directory_of(socket)).ok()?;
    let metadata = directory.metadata().ok()?;
    let is_ours = [0, geteuid().as_raw()].contains(&metadata.uid());
    (is_ours && metadata.mode() & OTHERS_WRITE == 0).then_some(directory)
}

fn directory_of(socket: &Path) -> &Path {
    socket.parent().unwrap_or(Path::new("/"))
}
