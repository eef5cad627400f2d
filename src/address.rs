//! Where a socket is: a path, or on Linux a name in the abstract namespace.
//! A value: checked when made, it touches neither the file system nor a socket.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// The longest path of a socket, in bytes: 107 on Linux, 103 on macOS and the BSDs.
///
/// It is the room in `sockaddr_un` ([unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)) less the closing
/// NUL. A relative path counts in its absolute form.
///
/// ```
/// assert!(uds_ipc::MAX_PATH_LEN >= 103);
/// ```
pub const MAX_PATH_LEN: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

const ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The address of a socket: an absolute path, or on Linux `@name` in the abstract namespace.
///
/// Writers and readers make theirs from whatever they are built with; a clone costs no memory. An
/// abstract name has no file and so no permissions: anybody in the same network namespace can
/// connect to it, or take it first.
///
/// ```
/// use uds_ipc::Address;
///
/// let address = Address::new("/run/collector/telemetry.sock")?;
/// assert_eq!(address.to_string(), "/run/collector/telemetry.sock");
///
/// let error = Address::new("x".repeat(200)).unwrap_err();
/// assert!(error.to_string().contains("longer than"));
/// # Ok::<(), uds_ipc::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Absolute, or an `@` and the name.
    text: Arc<OsStr>,
}

impl Address {
    /// Checks an address and makes a relative path absolute, once: later changes of the working
    /// directory do not move it.
    ///
    /// # Errors
    /// When it is empty, has a NUL byte, is longer than the platform's limit, or is a lone `@`; or
    /// when it is relative and the working directory is unknown.
    pub fn new(address: impl AsRef<OsStr>) -> Result<Self, AddressError> {
        let given = address.as_ref();
        let bytes = given.as_bytes();
        if bytes.is_empty() {
            return Err(AddressError::Empty);
        }
        if bytes.contains(&0) {
            return Err(AddressError::Nul {
                address: given.into(),
            });
        }
        if ABSTRACT_NAMES && bytes.starts_with(b"@") {
            return Self::abstract_name(given);
        }
        let path = path::absolute(given).map_err(|source| AddressError::WorkingDirectory {
            path: given.into(),
            source,
        })?;
        if path.as_os_str().len() > MAX_PATH_LEN {
            return Err(AddressError::TooLong {
                len: path.as_os_str().len(),
                path,
                limit: MAX_PATH_LEN,
            });
        }
        Ok(Self {
            text: path.into_os_string().into(),
        })
    }

    fn abstract_name(given: &OsStr) -> Result<Self, AddressError> {
        match given.len() - 1 {
            0 => Err(AddressError::NoName),
            len if len > MAX_PATH_LEN => Err(AddressError::TooLong {
                path: given.into(),
                len,
                limit: MAX_PATH_LEN,
            }),
            _ => Ok(Self { text: given.into() }),
        }
    }

    /// The path of the socket's file, or `None` for an abstract name.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self.name() {
            Some(_) => None,
            None => Some(Path::new(&self.text)),
        }
    }

    /// The abstract name without its `@`, or `None` for a path.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        if ABSTRACT_NAMES {
            self.text.as_bytes().strip_prefix(b"@")
        } else {
            None
        }
    }
}

impl AsRef<OsStr> for Address {
    fn as_ref(&self) -> &OsStr {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Path::new(&self.text).display().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why something is no address of a socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was given.
    #[error("the socket's path is empty: give a path, such as /run/collector/telemetry.sock")]
    Empty,
    /// A NUL byte, at which the kernel would cut the path off.
    #[error("the socket's path {address:?} has a NUL byte: remove it")]
    Nul {
        /// What was given.
        address: PathBuf,
    },
    /// More bytes than the kernel's address has room for.
    #[error("the socket's path {} is {len} bytes long, longer than the limit of {limit}: choose a shorter one", path.display())]
    TooLong {
        /// The absolute path, or the abstract name.
        path: PathBuf,
        /// Its length, in bytes.
        len: usize,
        /// The most there can be, in bytes: [`MAX_PATH_LEN`].
        limit: usize,
    },
    /// `@` alone, for which the kernel would make up a name that nobody knows.
    #[error("the address \"@\" names no abstract socket: write a name after the @")]
    NoName,
    /// A relative path in a working directory that cannot be found out.
    #[error("the socket's path {} is relative and the working directory is unknown: give an absolute path", path.display())]
    WorkingDirectory {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

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
/// let path = uds_ipc::runtime_path("telemetry.sock");
/// let path = path.unwrap_or_else(|| "/tmp/telemetry.sock".into());
/// assert!(path.ends_with("telemetry.sock"));
/// ```
#[must_use]
pub fn runtime_path(name: impl AsRef<Path>) -> Option<PathBuf> {
    in_runtime_directory(&env::var_os("RUNTIME_DIRECTORY")?, name.as_ref())
}

fn in_runtime_directory(variable: &OsStr, name: &Path) -> Option<PathBuf> {
    let first = variable.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| Path::new(OsStr::from_bytes(first)).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_path_is_refused() {
        assert!(matches!(Address::new(""), Err(AddressError::Empty)));
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(matches!(
            Address::new("/tmp/a\0b"),
            Err(AddressError::Nul { .. })
        ));
        assert!(matches!(
            Address::new("@a\0b"),
            Err(AddressError::Nul { .. })
        ));
    }

    #[test]
    fn a_path_at_the_limit_is_taken_and_one_above_is_refused_with_both_numbers() {
        let longest = format!("/{}", "x".repeat(MAX_PATH_LEN - 1));
        assert_eq!(
            Address::new(&longest).unwrap().path(),
            Some(Path::new(&longest))
        );
        let error = Address::new(format!("{longest}x")).unwrap_err().to_string();
        assert!(error.contains(&MAX_PATH_LEN.to_string()), "{error}");
        assert!(error.contains(&(MAX_PATH_LEN + 1).to_string()), "{error}");
    }

    #[test]
    fn a_relative_path_becomes_absolute_once() {
        let path = Address::new("a.sock").unwrap();
        assert_eq!(
            path.path().unwrap(),
            env::current_dir().unwrap().join("a.sock")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_name_has_no_path() {
        let address = Address::new("@telemetry").unwrap();
        assert_eq!(
            (address.path(), address.name()),
            (None, Some(&b"telemetry"[..]))
        );
        assert_eq!(address.to_string(), "@telemetry");
        assert!(matches!(Address::new("@"), Err(AddressError::NoName)));
        assert!(Address::new(format!("@{}", "x".repeat(107))).is_ok());
        assert!(matches!(
            Address::new(format!("@{}", "x".repeat(108))),
            Err(AddressError::TooLong { len: 108, .. })
        ));
    }

    #[test]
    fn the_first_runtime_directory_counts() {
        let path = |variable: &str| in_runtime_directory(OsStr::new(variable), Path::new("a.sock"));
        assert_eq!(path("/run/a:/run/b"), Some("/run/a/a.sock".into()));
        assert_eq!(path(""), None);
    }
}
