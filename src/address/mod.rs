//! Where a stream is: a path, an abstract name, a host and a port, or a descriptor that is open.
//! A value: checked when made, it touches neither the file system nor a socket.

mod bytes;
mod error;
mod parse;
mod tcp;

use core::net::SocketAddr;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use error::AddressError;
use parse::Parsed;
pub(crate) use tcp::{Host, Tcp};

/// Where a stream is: a path, an abstract name, a host and a port, or a descriptor that is open.
///
/// Writers and readers make theirs from whatever they are built with; a clone costs no memory.
///
/// | what is given | what it is | printed |
/// | --- | --- | --- |
/// | `/run/collector/telemetry.sock`, `./a:1`, `telemetry.sock` | the path of a Unix socket; a relative one is made absolute | the absolute path |
/// | `@NAME` | on Linux an abstract name, elsewhere a relative path | `@NAME` |
/// | `unix:PATH`, `unix:@NAME` | the same, and whatever follows is no other kind | as above |
/// | `tcp:HOST:PORT` | a TCP socket | `tcp:HOST:PORT` |
/// | `fd:N` | a descriptor that this process has open already | `fd:N` |
/// | `-` | a reader's standard input, a writer's standard output | `-` |
/// | `tab.tcp://HOST:PORT` | `tcp:HOST:PORT`, as the Hyper API writes it; the port `auto` is 0 | `tcp:HOST:PORT` |
/// | `tab.domain://DIRECTORY/domain/NAME` | the path `DIRECTORY/NAME`, as the Hyper API writes it | the absolute path |
///
/// Everything else that looks like an address is an error that says what to write: other URLs
/// (`scheme://…`), `host:port`, `~/…`, `fifo:…`, `udp:…`, `vsock:…`, and kinds that are spelled
/// otherwise (`TCP:…`, `tcp4:…`). As a file's name each of these, and of those in the table, is
/// understood after `./` or `unix:`.
///
/// * **An abstract name** has no file and so no permissions: every user in the same network
///   namespace can connect to it, or take it first.
/// * **HOST** is an IPv4 address, an IPv6 address in brackets (`tcp:[::1]:7000`) or a name, which
///   is printed in lower case. A name has at most 253 bytes, in parts of 1 to 63 ASCII letters,
///   digits, `-` and `_`, which neither begin nor end with a `-`; a dot at its end is kept. A name
///   whose last part is a number is refused: a resolver would take `127.1` for an IPv4 address. So
///   is an IPv6 address with a zone (`fe80::1%eth0`): what a zone means, only the system knows.
/// * **PORT** is a number from 0 to 65535. A reader may bind port 0, which is whichever is free;
///   [`port`](Self::port) of the address that it is then bound to says which. Nobody can connect to
///   it.
/// * **N** is a number from 0 to 2147483647. Neither has a sign or zeros in front.
/// * **Hyper's `/domain/`** stands in the descriptor only: the socket that Hyper binds is
///   `DIRECTORY/NAME`. A directory may have that part too; the last one counts. `NAME` is no
///   `auto`, for which Hyper makes up a name, and `tab.pipe://…`, a named pipe of Windows, is an
///   error.
///
/// ```
/// use uds_ipc::Address;
///
/// let address = Address::new("/run/collector/telemetry.sock")?;
/// assert_eq!(address.to_string(), "/run/collector/telemetry.sock");
/// assert_eq!("unix:/run/collector/telemetry.sock".parse::<Address>()?, address);
///
/// let address = Address::new("tcp:LocalHost:7000")?;
/// assert_eq!(address.to_string(), "tcp:localhost:7000");
/// assert_eq!(Address::new("tab.tcp://localhost:7000")?, address);
///
/// let address = Address::new("tab.domain:///run/hyper/domain/telemetry")?;
/// assert_eq!(address.to_string(), "/run/hyper/telemetry");
///
/// let error = Address::new("x".repeat(200)).unwrap_err();
/// assert!(error.to_string().contains("longer than"));
/// let error = Address::new("localhost:514").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the address localhost:514 looks like a host and a port: \
///      write tcp:localhost:514, or ./localhost:514 for such a file"
/// );
/// # Ok::<(), uds_ipc::error::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<Inner>);

/// The text is first, and decides: it is read as what stands beside it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Inner {
    text: OsString,
    parsed: Parsed,
}

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Absolute.
    Path(&'a Path),
    /// Without its `@`, and not empty.
    Name(&'a [u8]),
    Tcp(&'a Tcp),
    /// A number that is not negative.
    Descriptor(i32),
    /// Standard input or output.
    Standard,
    /// No address: a word for events.
    Label,
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
    pub const MAX_LEN: usize = parse::MAX_LEN;

    /// Checks an address and makes a relative path absolute, once: later changes of the working
    /// directory do not move it. A name of a host is not looked up, and a descriptor not looked at.
    ///
    /// # Errors
    /// When it is empty, has a NUL byte, is longer than the platform's limit, is a lone `@`, has a
    /// host, port or descriptor that is none, is of a kind that is not spoken here, or looks like
    /// the address of something else; or when it is relative and the working directory is unknown.
    pub fn new(address: impl AsRef<OsStr>) -> Result<Self, AddressError> {
        parse::parse(address.as_ref(), None).map(Self::of)
    }

    /// Likewise, but a bare file name is one in `directory`.
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn new_in(directory: Option<&Path>, address: &OsStr) -> Result<Self, AddressError> {
        parse::parse(address, directory).map(Self::of)
    }

    /// Where a TCP socket is. The zone of an IPv6 address is left out.
    #[cfg_attr(
        windows,
        expect(dead_code, reason = "its stub has no socket that is bound")
    )]
    pub(crate) fn of_socket(address: SocketAddr) -> Self {
        Self::of(Parsed::Tcp(Tcp {
            host: Host::Ip(address.ip()),
            port: address.port(),
        }))
    }

    /// For a stream that was given: the number of its descriptor.
    pub(crate) fn of_descriptor(number: i32) -> Self {
        Self::of(Parsed::Descriptor(number))
    }

    /// For streams without an address: a word that stands in events. As text it is a path.
    pub(crate) fn label(word: &'static str) -> Self {
        Self::of(Parsed::Label(word))
    }

    fn of(parsed: Parsed) -> Self {
        Self(Arc::new(Inner {
            text: parsed.text(),
            parsed,
        }))
    }

    /// The path of the socket's file, or `None` for an address of another kind.
    ///
    /// ```
    /// use std::path::Path;
    /// use uds_ipc::Address;
    ///
    /// assert_eq!(Address::new("/run/a.sock")?.path(), Some(Path::new("/run/a.sock")));
    /// assert_eq!(Address::new("tcp:localhost:7000")?.path(), None);
    /// # Ok::<(), uds_ipc::error::AddressError>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self.kind() {
            Kind::Path(path) => Some(path),
            Kind::Name(_) | Kind::Tcp(_) | Kind::Descriptor(_) | Kind::Standard | Kind::Label => {
                None
            }
        }
    }

    /// The port of a TCP address, or `None` for an address of another kind. It is 0 where a reader
    /// is to bind whichever is free.
    ///
    /// ```
    /// use uds_ipc::Address;
    ///
    /// assert_eq!(Address::new("tcp:[::1]:7000")?.port(), Some(7000));
    /// assert_eq!(Address::new("/run/a.sock")?.port(), None);
    /// # Ok::<(), uds_ipc::error::AddressError>(())
    /// ```
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self.kind() {
            Kind::Tcp(tcp) => Some(tcp.port),
            Kind::Path(_) | Kind::Name(_) | Kind::Descriptor(_) | Kind::Standard | Kind::Label => {
                None
            }
        }
    }

    pub(crate) fn kind(&self) -> Kind<'_> {
        match &self.0.parsed {
            Parsed::Path(path) => Kind::Path(path),
            Parsed::Name(name) => Kind::Name(
                name.as_encoded_bytes()
                    .strip_prefix(b"@")
                    .unwrap_or_default(),
            ),
            Parsed::Tcp(tcp) => Kind::Tcp(tcp),
            Parsed::Descriptor(descriptor) => Kind::Descriptor(*descriptor),
            Parsed::Standard => Kind::Standard,
            Parsed::Label(_) => Kind::Label,
        }
    }
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
        &self.0.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Path::new(&self.0.text).display().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.text, f)
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path;

    use proptest::prelude::*;

    use super::parse::{ABSTRACT_NAMES, nearest};
    use super::*;

    fn error(address: &str) -> String {
        Address::new(address).expect_err(address).to_string()
    }

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
            (address.path(), address.kind()),
            (None, Kind::Name(b"telemetry"))
        );
        assert_eq!(address.to_string(), "@telemetry");
        for name in [
            "@a:80", "@tcp:a:1", "@unix:a", "@a://b", "@-", "@~/a", "@/a/",
        ] {
            assert_eq!(Address::new(name).unwrap().to_string(), name);
        }
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
        same("unix:tcp:a:1", "./tcp:a:1");
        same("unix:fd:3", "./fd:3");
        same("unix:-", "./-");
        same("unix:fifo:a", "./fifo:a");
        assert!(matches!(Address::new("unix:"), Err(AddressError::Empty)));
    }

    #[test]
    fn a_host_and_a_port_are_printed_in_one_way() {
        for (given, printed) in [
            ("tcp:localhost:7000", "tcp:localhost:7000"),
            ("tcp:LocalHost.Example.:1", "tcp:localhost.example.:1"),
            ("tcp:127.0.0.1:0", "tcp:127.0.0.1:0"),
            ("tcp:[::1]:65535", "tcp:[::1]:65535"),
            ("tcp:[0:0:0:0:0:0:0:1]:1", "tcp:[::1]:1"),
            ("tcp:[2001:DB8::A]:1", "tcp:[2001:db8::a]:1"),
            ("tcp:[::ffff:1.2.3.4]:1", "tcp:[::ffff:1.2.3.4]:1"),
            ("tcp:_a.b-c:1", "tcp:_a.b-c:1"),
            ("tab.tcp://LOCALHOST:7000", "tcp:localhost:7000"),
            ("tab.tcp://[::1]:7000", "tcp:[::1]:7000"),
            ("tab.tcp://localhost:auto", "tcp:localhost:0"),
        ] {
            let address = Address::new(given).unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(Address::new(printed).unwrap(), address);
            assert_eq!(address.path(), None);
        }
        let address = Address::new("tcp:A:70").unwrap();
        let tcp = Tcp {
            host: Host::Name("a".into()),
            port: 70,
        };
        assert_eq!(address.kind(), Kind::Tcp(&tcp));
        assert_eq!(address.port(), Some(70));
    }

    #[test]
    fn the_address_of_a_socket_is_that_of_its_text() {
        for socket in ["127.0.0.1:0", "[::1]:7000"] {
            let address = Address::of_socket(socket.parse().unwrap());
            assert_eq!(address, Address::new(format!("tcp:{socket}")).unwrap());
        }
        let address = Address::of_socket("[fe80::1%2]:7000".parse().unwrap());
        assert_eq!(address.to_string(), "tcp:[fe80::1]:7000");
    }

    #[test]
    fn a_descriptor_is_a_number() {
        for number in [0, 3, i32::MAX] {
            let address = Address::new(format!("fd:{number}")).unwrap();
            assert_eq!(address.kind(), Kind::Descriptor(number));
            assert_eq!(address.to_string(), format!("fd:{number}"));
            assert_eq!((address.path(), address.port()), (None, None));
        }
    }

    #[test]
    fn a_dash_is_standard_input_or_output() {
        let address = Address::new("-").unwrap();
        assert_eq!(address.kind(), Kind::Standard);
        assert_eq!(address.to_string(), "-");
        assert_eq!((address.path(), address.port()), (None, None));
    }

    #[test]
    fn a_descriptor_of_hypers_is_the_socket_that_it_binds() {
        for (given, path) in [
            ("tab.domain:///run/x/domain/y", "/run/x/y"),
            (
                "tab.domain:///tmp/LD/domain/.s.PGSQL.7484",
                "/tmp/LD/.s.PGSQL.7484",
            ),
            ("tab.domain:///run/domain/x/domain/y", "/run/domain/x/y"),
            ("tab.domain:///run/domain/domain/y", "/run/domain/y"),
            ("tab.domain://x/domain/y", "x/y"),
            ("tab.domain://@x/domain/y", "./@x/y"),
            ("tab.domain:////domain/y", "/y"),
        ] {
            let path = path::absolute(path).unwrap();
            assert_eq!(Address::new(given).unwrap().path(), Some(&*path), "{given}");
        }
        for wrong in [
            "tab.domain://",
            "tab.domain:///run/x",
            "tab.domain:///run/x/domain/",
            "tab.domain:///domain/y",
            "tab.domain:///run/x/domain/y/z",
            "tab.domain:///run/x/domain/..",
            "tab.domain:///run/x/domain/.",
        ] {
            let error = error(wrong);
            assert!(error.contains("lacks a directory or a name"), "{error}");
            assert!(
                error.contains("tab.domain://DIRECTORY/domain/NAME"),
                "{error}"
            );
        }
        let long = format!("tab.domain:///{}/domain/y", "x".repeat(Address::MAX_LEN));
        assert!(matches!(
            Address::new(long),
            Err(AddressError::TooLong { .. })
        ));
        let made_up = error("tab.domain:///run/x/domain/auto");
        assert!(made_up.contains("Hyper makes up a name"), "{made_up}");
        assert!(error("tab.domain://~/x/domain/y").contains("home directory"));
    }

    #[test]
    fn what_looks_like_something_else_is_an_error_that_says_what_to_write() {
        let any = "tcp:HOST:PORT, or the path of a socket, such as /run/collector/telemetry.sock";
        let a_tcp = "tcp:HOST:PORT, such as tcp:localhost:7000";
        let a_unix = "unix:PATH, such as unix:/run/collector/telemetry.sock";
        let a_domain = "tab.domain://DIRECTORY/domain/NAME, or the path of the socket";
        let url = "a URL";
        let pair = "a host and a port";
        let kind = "a kind of address that is spelled otherwise";
        let home = "a path that a shell expands";
        let directory = "a directory";
        for (address, what, instead) in [
            ("tcp://h:1", url, "tcp:h:1"),
            ("tcp://LocalHost:514/", url, "tcp:localhost:514"),
            ("tcp://[::1]:514/x?y", url, "tcp:[::1]:514"),
            ("tcp://:514", url, "tcp:localhost:514"),
            ("tcp://*:514", url, "tcp:[::]:514"),
            ("tcp://h", url, a_tcp),
            ("tcp://", url, a_tcp),
            ("tcp://u@h:1", url, a_tcp),
            ("TCP://h:1", url, "tcp:h:1"),
            ("TAB.TCP://h:auto", url, "tcp:h:0"),
            ("unix:///run/x", url, "unix:/run/x"),
            ("unix:////run/x", url, "unix:/run/x"),
            ("unix://x", url, "unix:x"),
            ("unix://", url, a_unix),
            ("unix:///", url, a_unix),
            ("fd://3", url, "fd:3"),
            ("fd://x", url, "fd:N, such as fd:3"),
            ("Tab.Domain:///x/domain/y", url, "tab.domain:///x/domain/y"),
            ("Tab.Domain:///x/y", url, a_domain),
            ("ssh://h:22", url, any),
            ("http://h", url, any),
            ("vsock+x.y-z://2:3", url, any),
            (
                "localhost:514",
                pair,
                "tcp:localhost:514, or ./localhost:514 for such a file",
            ),
            (
                "127.0.0.1:0",
                pair,
                "tcp:127.0.0.1:0, or ./127.0.0.1:0 for such a file",
            ),
            (
                "[::1]:70",
                pair,
                "tcp:[::1]:70, or ./[::1]:70 for such a file",
            ),
            ("::1:70", pair, "tcp:[::1]:70, or ./::1:70 for such a file"),
            (":70", pair, "tcp:localhost:70, or ./:70 for such a file"),
            ("*:70", pair, "tcp:[::]:70, or ./*:70 for such a file"),
            ("a:070", pair, "tcp:a:70, or ./a:070 for such a file"),
            (
                "a b:70",
                pair,
                &format!("{a_tcp}, or ./a b:70 for such a file"),
            ),
            ("tcp4:h:1", kind, "tcp:h:1, or ./tcp4:h:1 for such a file"),
            (
                "tcp6:[::1]:1",
                kind,
                "tcp:[::1]:1, or ./tcp6:[::1]:1 for such a file",
            ),
            ("TCP:h:1", kind, "tcp:h:1, or ./TCP:h:1 for such a file"),
            (
                "TCP:h",
                kind,
                &format!("{a_tcp}, or ./TCP:h for such a file"),
            ),
            (
                "tab.tcp:h:1",
                kind,
                "tcp:h:1, or ./tab.tcp:h:1 for such a file",
            ),
            (
                "tab.domain:/x/domain/y",
                kind,
                "tab.domain:///x/domain/y, or ./tab.domain:/x/domain/y for such a file",
            ),
            ("Unix:a", kind, "unix:a, or ./Unix:a for such a file"),
            (
                "UNIX:",
                kind,
                &format!("{a_unix}, or ./UNIX: for such a file"),
            ),
            ("FD:03", kind, "fd:3, or ./FD:03 for such a file"),
            (
                "~/a.sock",
                home,
                "the home directory in full, or ./~/a.sock for such a path",
            ),
            (
                "~",
                home,
                "the home directory in full, or ./~ for such a path",
            ),
            (
                "10.0.0.1",
                "a host without a port",
                "tcp:10.0.0.1:PORT, or ./10.0.0.1 for such a file",
            ),
            (
                "7000",
                "a port without a host",
                "tcp:localhost:7000, or ./7000 for such a file",
            ),
            (
                "unix:~/a",
                home,
                "the home directory in full, or ./~/a for such a path",
            ),
            (
                "/run/a.sock/",
                directory,
                "the name of a file in it, such as /run/a.sock/telemetry.sock",
            ),
            (
                "/",
                directory,
                "the name of a file in it, such as /telemetry.sock",
            ),
            (
                "/.",
                directory,
                "the name of a file in it, such as /telemetry.sock",
            ),
        ] {
            let found = error(address);
            assert_eq!(
                found,
                format!("the address {address} looks like {what}: write {instead}")
            );
        }
        assert!(error("run/").ends_with("run/telemetry.sock"));
        if ABSTRACT_NAMES {
            for (address, nearest) in [
                ("abstract:a", "@a, or ./abstract:a for such a file"),
                (
                    "unix-abstract:@a",
                    "@a, or ./unix-abstract:@a for such a file",
                ),
                ("unix://@a", "unix:@a"),
            ] {
                assert!(error(address).ends_with(&format!(": write {nearest}")));
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_an_error_that_says_so() {
        for (address, words) in [
            (
                "fifo:/run/x",
                "names a FIFO, which has no way back, and mixes the frames of two writers: write fd:N, with the number of its opened descriptor",
            ),
            ("Fifo:///run/x", "names a FIFO, which"),
            (
                "tab.pipe://./pipe/x",
                "names a named pipe of Windows, and there are no such pipes on this system: write unix:PATH, with the path of a socket",
            ),
            (
                "udp:h:1",
                "names a socket for datagrams, and messages need a stream: write tcp:h:1",
            ),
            ("udp://h:1", "messages need a stream: write tcp:h:1"),
            (
                "udp:h",
                "messages need a stream: write tcp:HOST:PORT, such as tcp:localhost:7000",
            ),
            (
                "vsock:2:3",
                "its guests, which is not opened here: write fd:N, with the number of its opened descriptor",
            ),
            ("vsock://2:3", "its guests"),
        ] {
            let found = Address::new(address).unwrap_err();
            assert!(
                matches!(found, AddressError::NoSuchKind { .. }),
                "{found:?}"
            );
            let found = found.to_string();
            assert!(
                found.starts_with(&format!("the address {address} ")),
                "{found}"
            );
            assert!(found.contains(words), "{found}");
        }
    }

    #[test]
    fn a_part_that_is_wrong_is_named_with_what_to_write() {
        let names = "an IP address, or a name of letters, digits, hyphens and dots";
        let no_port = " has no port: write ";
        let bad_port = " is no number from 0 to 65535, without a sign and zeros in front: write ";
        let bad_number =
            " is no number from 0 to 2147483647, without a sign and zeros in front: write ";
        for (address, part, words) in [
            ("tcp:host", "", format!("{no_port}tcp:host:PORT, with a port from 0 to 65535")),
            ("tcp:[::1]", "", format!("{no_port}tcp:[::1]:PORT, with a port from 0 to 65535")),
            ("tcp:::1", "", format!("{no_port}tcp:[::1]:PORT, with a port from 0 to 65535")),
            ("tcp:::", "", format!("{no_port}tcp:[::]:PORT, with a port from 0 to 65535")),
            ("tcp:70", "", format!("{no_port}tcp:localhost:70")),
            ("tcp:", "", format!("{no_port}tcp:HOST:PORT, such as tcp:localhost:7000")),
            ("tab.tcp://h", "", format!("{no_port}tcp:h:PORT, with a port from 0 to 65535")),
            ("tcp:host:99999", "port \"99999\"", format!("{bad_port}tcp:host:PORT")),
            ("tcp:host:", "port \"\"", format!("{bad_port}tcp:host:PORT")),
            ("tcp:host:http", "port \"http\"", format!("{bad_port}tcp:host:PORT")),
            ("tcp:[::1]:x", "port \"x\"", format!("{bad_port}tcp:[::1]:PORT")),
            ("tcp:host:-1", "port \"-1\"", format!("{bad_port}tcp:host:PORT")),
            ("tcp:host:080", "port \"080\"", format!("{bad_port}tcp:host:80")),
            ("tcp:host:auto", "port \"auto\"", format!("{bad_port}tcp:host:0")),
            ("tcp:host:1/x", "port \"1/x\"", format!("{bad_port}tcp:host:1")),
            ("tcp:::1:70", "host \"::1\"", " is an IPv6 address without brackets: write tcp:[::1]:70".into()),
            ("tcp::70", "host \"\"", " is empty: write tcp:localhost:70".into()),
            ("tcp:*:70", "host \"*\"", " has a character that is in no name of a host: write tcp:[::]:70".into()),
            ("tcp:[127.0.0.1]:70", "host \"[127.0.0.1]\"", " is no IPv6 address in brackets: write tcp:127.0.0.1:70".into()),
            ("tcp:[x]:70", "host \"[x]\"", " is no IPv6 address in brackets: write tcp:[ADDRESS]:PORT, such as tcp:[::1]:7000".into()),
            ("tcp:[fe80::1%eth0]:70", "host \"[fe80::1%eth0]\"", " has a zone, for which there is no room here: write an address that needs none, or a name of the host".into()),
            ("tcp:127.1:70", "host \"127.1\"", format!(" ends in a number and is no IPv4 address: write {names}")),
            ("tcp:127.0.0.1.:70", "host \"127.0.0.1.\"", " ends in a number and is no IPv4 address: write tcp:127.0.0.1:70".into()),
            ("tcp:a..b:70", "host \"a..b\"", format!(" has a part that is empty or longer than 63 bytes: write {names}")),
            ("tcp:-a:70", "host \"-a\"", format!(" has a part that begins or ends with a hyphen: write {names}")),
            ("tcp:/run/x:70", "host \"/run/x\"", format!(" has a character that is in no name of a host: write {names}")),
            ("tab.tcp://:70", "host \"\"", " is empty: write tcp:localhost:70".into()),
            ("fd:", "descriptor \"\"", format!("{bad_number}fd:N, such as fd:3")),
            ("fd:x", "descriptor \"x\"", format!("{bad_number}fd:N, such as fd:3")),
            ("fd:-1", "descriptor \"-1\"", format!("{bad_number}fd:N, such as fd:3")),
            ("fd:2147483648", "descriptor \"2147483648\"", format!("{bad_number}fd:N, such as fd:3")),
            ("fd:03", "descriptor \"03\"", format!("{bad_number}fd:3")),
            ("fd:+3", "descriptor \"+3\"", format!("{bad_number}fd:3")),
        ] {
            let of = if part.is_empty() { String::new() } else { format!("{part} of the ") };
            assert_eq!(error(address), format!("the {of}address {address}{words}"));
        }
        let long = "x".repeat(64);
        assert!(error(&format!("tcp:{long}:1")).contains("63 bytes"));
        let long = ["x"; 128].join(".");
        assert!(error(&format!("tcp:{long}:1")).contains("longer than 253 bytes"));
    }

    #[test]
    fn what_is_refused_without_end_is_refused_at_once() {
        for piece in [
            "+", "0", "/", "[", "fd:+0", "unix://", "tcp:", "~/", ":0", "domain/",
        ] {
            let many = piece.repeat(50_000);
            for start in [
                "",
                "fd:",
                "fd://",
                "unix://",
                "tcp:",
                "tcp:[",
                "tab.domain://",
                "FD:",
                "udp:",
            ] {
                assert!(
                    Address::new(format!("{start}{many}")).is_err(),
                    "{start}{piece}"
                );
            }
        }
    }

    #[test]
    fn a_path_may_have_colons_and_whatever_else_there_is_in_a_file_name() {
        for path in [
            "/run/a:1",
            "./a:1",
            "run/a:1",
            "a:b",
            "a:65536",
            "a:+1",
            "a:",
            "://a",
            "1x://a",
            "a_b://c",
            "/tcp://a",
            "./-",
            "./~",
            "~a",
            "-a",
            "./tcp:a:1",
            "./fd:3",
            "/fd:3",
            "--",
            "tcp",
            "fd",
            "unix",
            "http:a",
            "tab.pipe:a",
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
    #[cfg(all(unix, feature = "systemd"))]
    fn only_a_bare_file_name_is_put_into_the_directory() {
        let in_run = |address| Address::new_in(Some(Path::new("/run/x")), OsStr::new(address));
        for (given, meant) in [
            ("a.sock", "/run/x/a.sock"),
            ("unix:a.sock", "/run/x/a.sock"),
            ("a:b", "/run/x/a:b"),
            ("unix:-", "/run/x/-"),
            ("tab.domain:///y/domain/a", "/y/a"),
            ("tab.domain://./domain/a", "./a"),
            ("/a.sock", "/a.sock"),
            ("./a.sock", "./a.sock"),
            ("y/a.sock", "y/a.sock"),
        ] {
            let meant = path::absolute(meant).unwrap();
            assert_eq!(in_run(given).unwrap().path(), Some(&*meant), "{given}");
        }
        for same in ["tcp:a:1", "fd:3", "-"] {
            assert_eq!(in_run(same).unwrap().to_string(), same);
        }
        for wrong in ["localhost:514", "tcp://a", ""] {
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
        let piece = proptest::sample::select(vec![
            "unix:",
            "@",
            "/",
            "//",
            "://",
            ":80",
            ":",
            "~",
            "-",
            ".",
            "a",
            "\u{e9} ",
            "tcp",
            "tcp:",
            "tcp4",
            "TCP:",
            "udp",
            "fd:",
            "FD",
            "fifo:",
            "vsock:",
            "abstract:",
            "tab.",
            "tab.tcp://",
            "tab.domain://",
            "/domain/",
            "tab.pipe://",
            "auto",
            "[",
            "]",
            "::1",
            "%",
            "127.0.0.1",
            "0",
            "3",
            "65536",
            "+",
            "*",
            "B",
            "_",
        ]);
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    /// One of each kind, as it is printed.
    fn printed() -> impl Strategy<Value = String> {
        let label = "[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?";
        let name = format!(r"({label}\.){{0,3}}[a-z_]\.?");
        prop_oneof![
            "/[a-z0-9@:~-]{1,20}",
            Just("-".to_owned()),
            (0..=i32::MAX).prop_map(|number| format!("fd:{number}")),
            any::<SocketAddr>().prop_map(|socket| {
                let (ip, port) = (socket.ip(), socket.port());
                format!("tcp:{}", SocketAddr::new(ip, port))
            }),
            (proptest::string::string_regex(&name).unwrap(), any::<u16>())
                .prop_map(|(name, port)| format!("tcp:{name}:{port}")),
            "[a-z/:~-]{0,8}(:[0-9]{1,4}|[a-z/@.-])".prop_map(|name| {
                if ABSTRACT_NAMES {
                    format!("@{name}")
                } else {
                    format!("/a{}", name.replace('/', "_"))
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn an_address_that_is_printed_is_read_as_the_same(text in prop_oneof![pieces(), any::<String>()]) {
            match Address::new(&text) {
                Ok(address) => {
                    prop_assert_eq!(&address.to_string().parse::<Address>().unwrap(), &address);
                    prop_assert_eq!(&Address::new(&address).unwrap(), &address);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn what_is_printed_is_an_address_of_its_kind(text in printed()) {
            let address = Address::new(&text).unwrap();
            prop_assert_eq!(address.to_string(), text);
        }

        #[test]
        fn what_an_error_says_to_write_is_an_address(text in prop_oneof![pieces(), any::<String>()]) {
            let Err(error) = Address::new(&text) else { return Ok(()) };
            let error = error.to_string();
            if error.contains("for such a file") {
                let file = Address::new(format!("./{text}")).unwrap();
                prop_assert_eq!(file.path(), Some(&*path::absolute(format!("./{text}")).unwrap()));
            }
            if let Some(nearest) = nearest(OsStr::new(&text)) {
                prop_assert!(Address::new(&nearest).is_ok(), "{} for {}", nearest, text);
                if !error.contains("opened descriptor") && !text.contains('\0') {
                    prop_assert!(error.contains(&format!("write {nearest}")), "{}", error);
                }
            }
        }

        #[test]
        fn any_bytes_are_an_address_that_is_read_as_the_same_or_an_error(
            start in prop_oneof![Just(""), Just("tcp:"), Just("fd:"), Just("tab.domain:///"), Just("unix:")],
            bytes in any::<Vec<u8>>(),
        ) {
            let bytes = [start.as_bytes(), &bytes].concat();
            match Address::new(OsStr::from_bytes(&bytes)) {
                Ok(address) => prop_assert_eq!(&Address::new(&address).unwrap(), &address),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
