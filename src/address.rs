//! Where a socket is: a path, or on Linux a name in the abstract namespace.
//! A value: checked when made, it touches neither the file system nor a socket.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

const ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The address of a socket: an absolute path, or on Linux `@name` in the abstract namespace.
///
/// Writers and readers make theirs from whatever they are built with; a clone costs no memory. An
/// abstract name has no file and so no permissions: every user in the same network namespace can
/// connect to it, or take it first.
///
/// | what is given | what it is |
/// | --- | --- |
/// | `/run/collector/telemetry.sock`, `./a:1`, `telemetry.sock` | a path; a relative one is made absolute |
/// | `@name` | on Linux an abstract name, elsewhere a relative path |
/// | `unix:PATH`, `unix:@NAME` | the same without the prefix |
/// | `tcp://…` and every other `scheme://…`, `host:port`, `~/…`, `-` | an error that says what to write; as a file's name each is understood after `./` |
///
/// ```
/// use uds_ipc::Address;
///
/// let address = Address::new("/run/collector/telemetry.sock")?;
/// assert_eq!(address.to_string(), "/run/collector/telemetry.sock");
/// assert_eq!("unix:/run/collector/telemetry.sock".parse::<Address>()?, address);
///
/// let error = Address::new("x".repeat(200)).unwrap_err();
/// assert!(error.to_string().contains("longer than"));
/// let error = Address::new("tcp://localhost:514").unwrap_err();
/// assert!(error.to_string().contains("write the path of a socket"));
/// # Ok::<(), uds_ipc::error::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Absolute, or an `@` and the name.
    text: Arc<OsStr>,
}

impl Address {
    /// The longest path of a socket, in bytes: 107 on Linux, 103 on macOS and the BSDs.
    ///
    /// It is the room in `sockaddr_un` ([unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)) less the closing
    /// NUL. A relative path counts in its absolute form.
    ///
    /// ```
    /// assert!(uds_ipc::Address::MAX_LEN >= 103);
    /// ```
    pub const MAX_LEN: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
        107
    } else {
        103
    };

    /// Checks an address and makes a relative path absolute, once: later changes of the working
    /// directory do not move it.
    ///
    /// # Errors
    /// When it is empty, has a NUL byte, is longer than the platform's limit, is a lone `@`, or
    /// looks like the address of something else; or when it is relative and the working directory
    /// is unknown.
    pub fn new(address: impl AsRef<OsStr>) -> Result<Self, AddressError> {
        match Given::new(address.as_ref())? {
            Given::Path(path) => Self::of_path(path),
            Given::Name(name) => Self::of_name(name),
        }
    }

    /// Likewise, but a bare file name is one in `directory`.
    #[cfg(feature = "systemd")]
    pub(crate) fn new_in(directory: Option<&Path>, address: &OsStr) -> Result<Self, AddressError> {
        match (Given::new(address)?, directory) {
            (Given::Path(path), Some(directory)) if is_file_name(path) => {
                Self::of_path(directory.join(path).as_os_str())
            }
            (Given::Path(path), _) => Self::of_path(path),
            (Given::Name(name), _) => Self::of_name(name),
        }
    }

    fn of_path(given: &OsStr) -> Result<Self, AddressError> {
        let path = path::absolute(given).map_err(|source| AddressError::WorkingDirectory {
            path: given.into(),
            source,
        })?;
        if path.as_os_str().as_bytes().ends_with(b"/") {
            let file = path.join("telemetry.sock");
            return Err(AddressError::LooksLike {
                address: given.into(),
                what: "a directory",
                instead: format!("the name of a file in it, such as {}", file.display()),
            });
        }
        if path.as_os_str().len() > Self::MAX_LEN {
            return Err(AddressError::TooLong {
                len: path.as_os_str().len(),
                path,
                limit: Self::MAX_LEN,
            });
        }
        Ok(Self {
            text: path.into_os_string().into(),
        })
    }

    /// `given` begins with an `@`.
    fn of_name(given: &OsStr) -> Result<Self, AddressError> {
        match given.len() - 1 {
            0 => Err(AddressError::NoName),
            len if len > Self::MAX_LEN => Err(AddressError::TooLong {
                path: given.into(),
                len,
                limit: Self::MAX_LEN,
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

/// What was given, understood and not yet checked for its length.
#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    Path(&'a OsStr),
    /// With its `@`.
    Name(&'a OsStr),
}

impl<'a> Given<'a> {
    fn new(given: &'a OsStr) -> Result<Self, AddressError> {
        let bytes = given.as_bytes();
        if bytes.contains(&0) {
            return Err(AddressError::Nul {
                address: given.into(),
            });
        }
        let looks_like = |what, instead| AddressError::LooksLike {
            address: given.into(),
            what,
            instead,
        };
        if has_scheme(bytes) {
            return Err(looks_like("a URL", A_PATH.into()));
        }
        let (stripped, is_explicit) = match bytes.strip_prefix(b"unix:") {
            Some(rest) => (rest, true),
            None => (bytes, false),
        };
        let path = Path::new(OsStr::from_bytes(stripped));
        match stripped {
            [] => Err(AddressError::Empty),
            [b'@', ..] if ABSTRACT_NAMES => Ok(Self::Name(path.as_os_str())),
            [b'~'] | [b'~', b'/', ..] => {
                let path = Path::new(path).display();
                let instead = format!("the home directory in full, or ./{path} for such a path");
                Err(looks_like("a path that a shell expands", instead))
            }
            _ if is_explicit => Ok(Self::Path(path.as_os_str())),
            b"-" => {
                let instead = format!("{A_PATH}, or ./- for a file of that name");
                Err(looks_like("standard input or output", instead))
            }
            _ if is_host_and_port(bytes) => {
                let instead = format!(
                    "{A_PATH}, or ./{} for such a file",
                    Path::new(path).display()
                );
                Err(looks_like("a host and a port", instead))
            }
            _ => Ok(Self::Path(path.as_os_str())),
        }
    }
}

/// What to write in the place of something else.
const A_PATH: &str = "the path of a socket, such as /run/collector/telemetry.sock";

/// Whether `given` begins as a URL does (RFC 3986, 3.1).
fn has_scheme(given: &[u8]) -> bool {
    let scheme = given.split(|byte| *byte == b':').next().unwrap_or_default();
    let has_slashes = given
        .get(scheme.len()..)
        .is_some_and(|rest| rest.starts_with(b"://"));
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    has_slashes
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(is_letter)
}

/// Whether `given` ends in a colon and a port, and has no slash, as every path in another directory
/// than the current one has.
fn is_host_and_port(given: &[u8]) -> bool {
    let Some(colon) = given.iter().rposition(|byte| *byte == b':') else {
        return false;
    };
    let port = given
        .get(colon + 1..)
        .and_then(|port| std::str::from_utf8(port).ok());
    !given.contains(&b'/')
        && port.is_some_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

#[cfg(feature = "systemd")]
fn is_file_name(path: &OsStr) -> bool {
    Path::new(path)
        .components()
        .eq([path::Component::Normal(path)])
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        Self::new(address)
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(address: &str) -> Result<Self, AddressError> {
        Self::new(address)
    }
}

impl TryFrom<&OsStr> for Address {
    type Error = AddressError;

    fn try_from(address: &OsStr) -> Result<Self, AddressError> {
        Self::new(address)
    }
}

impl TryFrom<&Path> for Address {
    type Error = AddressError;

    fn try_from(address: &Path) -> Result<Self, AddressError> {
        Self::new(address)
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

/// As text, such as [`Display`](fmt::Display) gives it.
#[cfg(feature = "serde")]
impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why something is not the address of a socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was given.
    #[error("the socket's path is empty: give a path, such as /run/collector/telemetry.sock")]
    Empty,
    /// A NUL byte, at which the kernel would cut the path off.
    #[error("the socket's path {address:?} has a NUL byte: remove it")]
    #[non_exhaustive]
    Nul {
        /// What was given.
        address: PathBuf,
    },
    /// More bytes than the kernel's address has room for. It counts the absolute path: a relative
    /// one would be another file after a change of the working directory.
    #[error("the socket's path {} is {len} bytes long, longer than the limit of {limit}: choose a shorter one; a symbolic link to its directory makes one, or on Linux an abstract name, @NAME", path.display())]
    #[non_exhaustive]
    TooLong {
        /// The absolute path, or the abstract name.
        path: PathBuf,
        /// Its length, in bytes.
        len: usize,
        /// The most there can be, in bytes: [`Address::MAX_LEN`].
        limit: usize,
    },
    /// `@` alone, for which the kernel would make up a name.
    #[error("the address \"@\" names no abstract socket: write a name after the @")]
    NoName,
    /// Something else than the address of a Unix socket, by its looks.
    #[error("the address {} looks like {what}: write {instead}", address.display())]
    #[non_exhaustive]
    LooksLike {
        /// What was given.
        address: PathBuf,
        /// What it looks like, in words.
        what: &'static str,
        /// What to write in its place, in words.
        instead: String,
    },
    /// A relative path in a working directory that cannot be found out.
    #[error("the socket's path {} is relative and the working directory is unknown: give an absolute path", path.display())]
    #[non_exhaustive]
    WorkingDirectory {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let longest = format!("/{}", "x".repeat(Address::MAX_LEN - 1));
        assert_eq!(
            Address::new(&longest).unwrap().path(),
            Some(Path::new(&longest))
        );
        let error = Address::new(format!("{longest}x")).unwrap_err().to_string();
        assert!(error.contains(&Address::MAX_LEN.to_string()), "{error}");
        assert!(
            error.contains(&(Address::MAX_LEN + 1).to_string()),
            "{error}"
        );
    }

    #[test]
    fn a_relative_path_becomes_absolute_once() {
        let path = Address::new("a.sock").unwrap();
        assert_eq!(
            path.path().unwrap(),
            std::env::current_dir().unwrap().join("a.sock")
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
    fn a_prefix_says_that_what_follows_is_the_address() {
        let same = |prefixed: &str, plain: &str| {
            assert_eq!(
                Address::new(prefixed).unwrap(),
                Address::new(plain).unwrap(),
                "{prefixed}"
            );
        };
        same("unix:/run/a.sock", "/run/a.sock");
        same("unix:a.sock", "a.sock");
        same("unix:@a", "@a");
        same("unix:localhost:514", "./localhost:514");
        same("unix:unix:a", "./unix:a");
        assert!(matches!(Address::new("unix:"), Err(AddressError::Empty)));
    }

    #[test]
    fn what_looks_like_something_else_is_an_error_that_says_what_to_write() {
        for (address, what, instead) in [
            ("tcp://localhost:514", "a URL", "the path of a socket"),
            ("unix:///run/a.sock", "a URL", "the path of a socket"),
            ("vsock+x.y-z://2:3", "a URL", "the path of a socket"),
            ("localhost:514", "a host and a port", "./localhost:514"),
            ("127.0.0.1:0", "a host and a port", "the path of a socket"),
            ("[::1]:65535", "a host and a port", "the path of a socket"),
            (":514", "a host and a port", "./:514"),
            ("~/a.sock", "a path that a shell", "the home directory"),
            ("~", "a path that a shell", "./~"),
            ("unix:~/a.sock", "a path that a shell", "the home directory"),
            ("-", "standard input or output", "./-"),
            ("/run/a.sock/", "a directory", "/run/a.sock/telemetry.sock"),
            ("/", "a directory", "such as /telemetry.sock"),
            ("/.", "a directory", "such as /telemetry.sock"),
            ("run/", "a directory", "run/telemetry.sock"),
        ] {
            let error = Address::new(address).unwrap_err();
            assert!(matches!(error, AddressError::LooksLike { .. }), "{error}");
            let error = error.to_string();
            for words in [address, what, instead] {
                assert!(error.contains(words), "{error}");
            }
        }
    }

    #[test]
    fn a_path_may_have_colons_and_whatever_else_there_is_in_a_file_name() {
        for path in [
            "/run/a:1", "./a:1", "run/a:1", "a:b", "a:65536", "a:+1", "a:", "://a", "1x://a",
            "a_b://c", "/tcp://a", "./-", "./~", "~a", "-a", "Unix:a",
        ] {
            let address = Address::new(path).unwrap();
            assert_eq!(
                address.path(),
                Some(&*path::absolute(path).unwrap()),
                "{path}"
            );
        }
    }

    #[test]
    fn every_form_of_text_is_an_address() {
        let address = Address::new("/run/a.sock").unwrap();
        assert_eq!("/run/a.sock".parse::<Address>().unwrap(), address);
        assert_eq!(Address::try_from("/run/a.sock").unwrap(), address);
        assert_eq!(
            Address::try_from(OsStr::new("/run/a.sock")).unwrap(),
            address
        );
        assert_eq!(
            Address::try_from(Path::new("/run/a.sock")).unwrap(),
            address
        );
        assert_eq!(Address::new(&address).unwrap(), address);
    }

    #[test]
    #[cfg(feature = "systemd")]
    fn only_a_bare_file_name_is_put_into_the_directory() {
        let in_run = |address| Address::new_in(Some(Path::new("/run/x")), OsStr::new(address));
        for (given, meant) in [
            ("a.sock", "/run/x/a.sock"),
            ("unix:a.sock", "/run/x/a.sock"),
            ("a:b", "/run/x/a:b"),
            ("/a.sock", "/a.sock"),
            ("./a.sock", "./a.sock"),
            ("y/a.sock", "y/a.sock"),
        ] {
            let meant = path::absolute(meant).unwrap();
            assert_eq!(in_run(given).unwrap().path(), Some(&*meant), "{given}");
        }
        for wrong in ["localhost:514", "tcp://a", "", "-"] {
            assert!(in_run(wrong).is_err(), "{wrong}");
        }
        if ABSTRACT_NAMES {
            assert_eq!(in_run("@a").unwrap().to_string(), "@a");
        }
        let nowhere = Address::new_in(None, OsStr::new("a.sock")).unwrap();
        assert_eq!(nowhere, Address::new("a.sock").unwrap());
    }

    #[test]
    #[cfg(feature = "serde")]
    fn an_address_in_a_configuration_is_checked() {
        let address: Address = serde_json::from_str(r#""unix:/run/a.sock""#).unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), r#""/run/a.sock""#);
        let error = serde_json::from_str::<Address>(r#""localhost:514""#).unwrap_err();
        assert!(error.to_string().contains("a host and a port"), "{error}");
    }

    /// What addresses are made of, and what they are confused with.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("unix:"),
            Just("@"),
            Just("/"),
            Just("://"),
            Just(":80"),
            Just("~"),
            Just("-"),
            Just("."),
            Just("a"),
            Just("\u{e9} "),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn an_address_that_is_printed_is_read_as_the_same(text in prop_oneof![pieces(), any::<String>()]) {
            let Ok(address) = Address::new(&text) else { return Ok(()) };
            prop_assert_eq!(&address.to_string().parse::<Address>().unwrap(), &address);
            prop_assert_eq!(&Address::new(&address).unwrap(), &address);
            prop_assert_eq!(address.path().is_some(), address.name().is_none());
        }

        #[test]
        fn any_bytes_are_an_address_that_is_read_as_the_same_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(address) = Address::new(OsStr::from_bytes(&bytes)) {
                prop_assert_eq!(&Address::new(&address).unwrap(), &address);
            }
        }
    }
}
