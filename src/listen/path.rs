//! Binds a path: directory checked, lock taken, stale socket removed, bound, owner and mode set,
//! and only then listening. No peer can connect before.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::listener::{Listener, Owner};
use super::lock_file::{LockFile, PATIENT};
use super::options::Options;
use super::socket_file::SocketFile;
use super::{directory, stale};
use crate::address::Address;
use crate::error::BindError;
use crate::sys::{self, FileIdentity, ListeningSocket, PinnedFile};

pub(super) fn bind(
    socket: ListeningSocket,
    address: &Address,
    path: &Path,
    options: &Options,
) -> Result<Listener, BindError> {
    directory::check(path)?;
    let _lock = LockFile::acquire(path, PATIENT)?;
    stale::clear(path, address)?;
    let bound = socket.bind(address);
    bound.map_err(|error| BindError::bind(address, error))?;
    let (pinned, identity) = pin(path, address)?;
    let file = SocketFile::new(path, identity);
    open_up(&socket, &pinned, path, options).inspect_err(|_| file.remove_locked())?;
    Ok(Listener::new(socket, Some(file), Owner::Us))
}

/// The socket's file, so that no other file's owner or mode is changed.
fn pin(path: &Path, address: &Address) -> Result<(PinnedFile, FileIdentity), BindError> {
    let look_at = |source| BindError::io("look at", path, source);
    let file = PinnedFile::at(path).map_err(look_at)?;
    let metadata = file.metadata().map_err(look_at)?;
    if metadata.file_type().is_socket() {
        Ok((file, FileIdentity::of(&metadata)))
    } else {
        Err(BindError::NotASocket {
            address: address.clone(),
            kind: sys::kind_of_file(&metadata),
        })
    }
}

fn open_up(
    socket: &ListeningSocket,
    file: &PinnedFile,
    path: &Path,
    options: &Options,
) -> Result<(), BindError> {
    if options.owner.is_some() || options.group.is_some() {
        file.set_owner(options.owner, options.group)
            .map_err(|source| BindError::io("set the owner and group of", path, source))?;
    }
    // After the owner: changing it may take bits away.
    set_mode(file, path, options.mode)?;
    socket
        .listen()
        .map_err(|source| BindError::io("listen on", path, source))
}

/// Gives the file its mode, where it has another one. Some file systems have one mode for all
/// files: there the call is refused, or nothing comes of it.
fn set_mode(file: &PinnedFile, path: &Path, wanted: u32) -> Result<(), BindError> {
    let mode = || {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|source| BindError::io("look at", path, source))?;
        Ok::<_, BindError>(metadata.mode() & 0o7777)
    };
    if mode()? == wanted {
        return Ok(());
    }
    let mut set = file.set_mode(wanted);
    if let (Err(_), Some(directory)) = (&set, directory::of_ours_alone(path)) {
        // The way to the file itself leads through /proc, which may be missing. By its name in the
        // directory it is the same file, where nobody can put another one there.
        set = set.or_else(|first| {
            let by_name = file.set_mode_in(&directory, path, wanted);
            by_name.map_err(|_| first)
        });
    }
    match mode()? {
        found if found == wanted => Ok(()),
        found => Err(BindError::Mode {
            path: path.into(),
            wanted,
            found,
            source: set.err(),
        }),
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_put_in_the_place_of_a_socket_keeps_its_mode() {
        use std::os::unix::net::UnixListener;

        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (
            directory.path().join("s"),
            directory.path().join("of another process"),
        );
        let address = Address::new(&path).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        let before = mode(&other);

        let (pinned, identity) = pin(&path, &address).unwrap();
        fs::rename(&other, &path).unwrap();
        pinned.set_mode(0o600).unwrap();
        assert_eq!(mode(&path), before);
        assert!(matches!(
            pin(&path, &address),
            Err(BindError::NotASocket { .. })
        ));
        let group = fs::metadata(directory.path()).unwrap().gid();
        pinned.set_owner(None, Some(group)).unwrap();
        assert_ne!(identity, FileIdentity::at(&path).unwrap());
    }
}
