//! Finds out whether a socket's file is stale, left behind by a process that accepts no more, and
//! removes it.
//! Never removes what is not a socket, nor a socket on which a process accepts.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;

use nix::libc;

use super::lock_file::{LockFile, PACE, PATIENT};
use crate::address::Address;
use crate::error::BindError;
use crate::sys::{self, Stream};

/// Removes the file of `socket` if no process accepts on it. Says whether there was one.
///
/// A reader does this when it binds. Unlike the Go library's `CleanupSocket` this neither
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
/// When it is no address, a process accepts there, it is no stream socket, or it cannot be
/// removed.
pub fn remove_stale_socket(socket: impl AsRef<OsStr>) -> Result<bool, BindError> {
    let address = Address::new(socket)?;
    let Some(path) = address.path() else {
        return Ok(false);
    };
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(false);
    }
    let _lock = LockFile::acquire(path, PATIENT)?;
    clear(path, &address)
}

/// Makes sure that nothing is at `path`: removes a socket on which no process accepts, refuses all
/// else. Says whether there was one. The caller holds the lock.
pub(super) fn clear(path: &Path, address: &Address) -> Result<bool, BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(BindError::io("look at", path, error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket {
            address: address.clone(),
            kind: sys::kind_of_file(&metadata),
        });
    }
    match probe(address) {
        // A full backlog, and a socket that we may not connect to, have a process behind them as
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
            _ => return Err(BindError::io("probe the socket", path, error)),
        },
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(BindError::io("remove the stale socket", path, error))
        }
        _ => Ok(true),
    }
}

/// Connects, to see whether a process accepts. Where a full backlog refuses too, only a refusal
/// that lasts is believed.
fn probe(address: &Address) -> io::Result<Stream> {
    const MORE_TRIES: u32 = if sys::TELLS_FULL_BACKLOG { 0 } else { 20 };

    let mut tries_left = MORE_TRIES;
    loop {
        match Stream::connect(address, None) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && tries_left > 0 => {
                tries_left -= 1;
                thread::park_timeout(PACE);
            }
            probed => return probed,
        }
    }
}
