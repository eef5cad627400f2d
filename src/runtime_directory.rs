//! The directory that systemd made for the sockets of a service.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The path of a socket called `name` in the runtime directory that systemd made for this service.
///
/// systemd sets `RUNTIME_DIRECTORY` for units with `RuntimeDirectory=`
/// ([systemd.exec(5)](https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html)); of several
/// directories the first is taken. `None` when the variable is absent or empty, that is outside
/// such a unit.
///
/// This is the Go library's `ResolveSocketPath`, but asked for by name: here nothing moves a path
/// that was given in full.
///
/// ```
/// use uds_ipc::systemd::runtime_path;
///
/// let path = runtime_path("telemetry.sock").unwrap_or_else(|| "/tmp/telemetry.sock".into());
/// assert!(path.ends_with("telemetry.sock"));
/// ```
#[must_use]
pub fn runtime_path(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    Some(runtime_directory()?.join(name.as_ref()))
}

/// The first of the directories.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    first(&env::var_os("RUNTIME_DIRECTORY")?).map(Path::to_path_buf)
}

fn first(directories: &OsStr) -> Option<&Path> {
    let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| Path::new(OsStr::from_bytes(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_runtime_directory_counts() {
        let first = |variable: &'static str| first(OsStr::new(variable));
        assert_eq!(first("/run/a:/run/b"), Some(Path::new("/run/a")));
        assert_eq!(first("/run/a"), Some(Path::new("/run/a")));
        assert_eq!(first(""), None);
    }
}
