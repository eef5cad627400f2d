//! For daemons that look after a socket's file themselves.

use std::ffi::OsStr;
use std::path::Path;

use crate::address::Address;
use crate::error::BindError;
use crate::sys;

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
/// When the address is none, a directory cannot be made, or anybody could replace a socket in it.
pub fn create_socket_dir(socket: impl AsRef<OsStr>) -> Result<(), BindError> {
    let address = Address::new(socket)?;
    match address.path() {
        Some(path) => sys::create_socket_dir(path),
        None => Ok(()),
    }
}

/// Removes the socket at `path` if nobody accepts on it. Says whether there was one.
///
/// A reader does this by itself when it binds. Unlike the Go library's `CleanupSocket` this neither
/// removes what is no socket nor takes a live one away.
///
/// ```
/// use std::os::unix::net::UnixListener;
///
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("telemetry.sock");
/// drop(UnixListener::bind(&path)?); // It leaves its file behind.
///
/// assert!(uds_ipc::remove_stale_socket(&path)?);
/// assert!(!uds_ipc::remove_stale_socket(&path)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the address is none, somebody accepts there, it is no stream socket, or it cannot be
/// removed.
pub fn remove_stale_socket(path: impl AsRef<Path>) -> Result<bool, BindError> {
    let address = Address::new(path.as_ref())?;
    match address.path() {
        Some(path) => sys::remove_stale_socket(path, &address),
        None => Ok(false),
    }
}
