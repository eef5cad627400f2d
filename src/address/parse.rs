//! From what is given to what it names, or to an error that says what to write.
//! Touches nothing but the working directory, to make a path absolute.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ffi::{OsStr, OsString};
use std::path::{self, Path, PathBuf};

use super::bytes::os_str;
use super::error::AddressError;
use super::tcp::{self, BadHost, Host, Tcp};

pub(super) const ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

pub(super) const MAX_LEN: usize = if ABSTRACT_NAMES { 107 } else { 103 };

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Parsed {
    /// Absolute.
    Path(PathBuf),
    /// With its `@`.
    Name(OsString),
    Tcp(Tcp),
    /// Not negative.
    Descriptor(i32),
    Standard,
    /// Never read from a text.
    Label(&'static str),
}

impl Parsed {
    /// What is read as the same again, but for a label.
    pub(super) fn text(&self) -> OsString {
        match self {
            Self::Path(path) => path.into(),
            Self::Name(name) => name.clone(),
            Self::Tcp(tcp) => tcp.to_string().into(),
            Self::Descriptor(descriptor) => format!("fd:{descriptor}").into(),
            Self::Standard => "-".into(),
            Self::Label(word) => word.into(),
        }
    }
}

/// What `given` names. A bare file name is one in `directory`, where there is one.
pub(super) fn parse(given: &OsStr, directory: Option<&Path>) -> Result<Parsed, AddressError> {
    let bytes = given.as_encoded_bytes();
    if bytes.contains(&0) {
        return Err(AddressError::Nul {
            address: given.into(),
        });
    }
    #[cfg(not(unix))]
    super::bytes::check(given)?;
    let text = given.to_string_lossy();
    if let Some((word, rest)) = text.split_once(':') {
        match (word, rest.strip_prefix("//")) {
            ("unix", None) => {
                let rest = bytes.strip_prefix(b"unix:").unwrap_or_default();
                return path_or_name(given, os_str(rest), directory);
            }
            ("tcp", None) => return host_and_port(given, rest),
            ("tab.tcp", Some(rest)) => {
                return match rest.strip_suffix(":auto") {
                    Some(host) => host_and_port(given, &format!("{host}:0")),
                    None => host_and_port(given, rest),
                };
            }
            ("tab.domain", Some(_)) => {
                let rest = bytes.strip_prefix(b"tab.domain://").unwrap_or_default();
                return domain(given, rest);
            }
            ("fd", None) => return descriptor(given, rest),
            (_, slashes) => refuse_other_kinds(given, word, slashes.is_some())?,
        }
    }
    if text == "-" {
        return Ok(Parsed::Standard);
    }
    let is_name = ABSTRACT_NAMES && text.starts_with('@');
    if !is_name && is_host_and_port(&text) {
        let instead = nearest_or(given, A_TCP);
        return Err(AddressError::LooksLike {
            address: given.into(),
            what: "a host and a port",
            instead: instead + &or_such_a_file(given),
        });
    }
    if let Some((what, instead)) = half_of_tcp(&text) {
        return Err(AddressError::LooksLike {
            address: given.into(),
            what,
            instead: instead + &or_such_a_file(given),
        });
    }
    path_or_name(given, given, directory)
}

/// What a host without a port is, or a port without a host, and what to write in its place.
fn half_of_tcp(given: &str) -> Option<(&'static str, String)> {
    if let Ok(ip) = given.parse::<IpAddr>() {
        let zero = Tcp {
            host: Host::Ip(ip),
            port: 0,
        };
        let zero = zero.to_string();
        let host = zero.strip_suffix('0')?;
        return Some(("a host without a port", format!("{host}PORT")));
    }
    let port = tcp::port(given)?;
    Some(("a port without a host", format!("tcp:localhost:{port}")))
}

/// What to write in the place of something else.
const A_PATH: &str = "the path of a socket, such as /run/collector/telemetry.sock";
const A_PATH_OR_TCP: &str =
    "tcp:HOST:PORT, or the path of a socket, such as /run/collector/telemetry.sock";
const A_TCP: &str = "tcp:HOST:PORT, such as tcp:localhost:7000";
const A_DESCRIPTOR: &str = "fd:N, such as fd:3";
const A_DOMAIN: &str = "tab.domain://DIRECTORY/domain/NAME, or the path of the socket";

/// What has no kind in front, or stands behind `unix:`.
fn path_or_name(
    given: &OsStr,
    rest: &OsStr,
    directory: Option<&Path>,
) -> Result<Parsed, AddressError> {
    match rest.as_encoded_bytes() {
        [] => Err(AddressError::Empty),
        [b'@', ..] if ABSTRACT_NAMES => name(rest),
        _ => {
            refuse_home(given, rest)?;
            match directory {
                Some(directory) if is_file_name(rest) => absolute(directory.join(rest).as_os_str()),
                Some(_) | None => absolute(rest),
            }
        }
    }
}

/// `~` and `~/…`: no shell has replaced it, and it would be a directory of that name.
fn refuse_home(given: &OsStr, path: &OsStr) -> Result<(), AddressError> {
    match path.as_encoded_bytes() {
        [b'~'] | [b'~', b'/', ..] => Err(AddressError::LooksLike {
            address: given.into(),
            what: "a path that a shell expands",
            instead: format!(
                "the home directory in full, or ./{} for such a path",
                Path::new(path).display()
            ),
        }),
        _ => Ok(()),
    }
}

fn is_file_name(path: &OsStr) -> bool {
    Path::new(path)
        .components()
        .eq([path::Component::Normal(path)])
}

fn absolute(given: &OsStr) -> Result<Parsed, AddressError> {
    let path = path::absolute(given).map_err(|source| AddressError::WorkingDirectory {
        path: given.into(),
        source,
    })?;
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let file = path.join("telemetry.sock");
        return Err(AddressError::LooksLike {
            address: given.into(),
            what: "a directory",
            instead: format!("the name of a file in it, such as {}", file.display()),
        });
    }
    if path.as_os_str().len() > MAX_LEN {
        return Err(AddressError::TooLong {
            len: path.as_os_str().len(),
            path,
            limit: MAX_LEN,
        });
    }
    Ok(Parsed::Path(path))
}

/// `given` begins with an `@`.
fn name(given: &OsStr) -> Result<Parsed, AddressError> {
    match given.len() - 1 {
        0 => Err(AddressError::NoName),
        len if len > MAX_LEN => Err(AddressError::TooLong {
            path: given.into(),
            len,
            limit: MAX_LEN,
        }),
        _ => Ok(Parsed::Name(given.into())),
    }
}

fn host_and_port(given: &OsStr, rest: &str) -> Result<Parsed, AddressError> {
    let no_port = |instead: String| AddressError::NoPort {
        address: given.into(),
        instead,
    };
    let (host, port) = match rest.rsplit_once(':') {
        // Unless that colon is one inside an IPv6 address.
        Some((host, port)) if !port.ends_with(']') && !is_bare_ipv6(rest, host) => (host, port),
        Some(_) | None => {
            let host = if rest.contains(':') && !rest.starts_with('[') {
                format!("[{rest}]")
            } else {
                rest.to_owned()
            };
            let instead = match Host::parse(&host) {
                Ok(_) => format!("tcp:{host}:PORT, with a port from 0 to 65535"),
                Err(_) => A_TCP.into(),
            };
            return Err(no_port(nearest_or(given, &instead)));
        }
    };
    let bad_host = |why: BadHost| AddressError::BadHost {
        address: given.into(),
        host: host.into(),
        what: why.what(),
        instead: nearest_or(given, why.instead()),
    };
    let host = Host::parse(host).map_err(bad_host)?;
    let port = tcp::port(port).ok_or_else(|| {
        let zero = Tcp {
            host: host.clone(),
            port: 0,
        };
        let zero = zero.to_string();
        let without = zero.strip_suffix('0').unwrap_or(&zero);
        AddressError::BadPort {
            address: given.into(),
            port: port.into(),
            instead: nearest_or(given, &format!("{without}PORT")),
        }
    })?;
    Ok(Parsed::Tcp(Tcp { host, port }))
}

/// Whether the whole is an IPv6 address without its brackets, and `host`, what is before the last
/// colon of it, is none. Where both are, as with `::1:70`, the last number is taken for a port.
fn is_bare_ipv6(whole: &str, host: &str) -> bool {
    whole.parse::<Ipv6Addr>().is_ok() && host.parse::<Ipv6Addr>().is_err()
}

fn descriptor(given: &OsStr, digits: &str) -> Result<Parsed, AddressError> {
    let descriptor = number(digits).ok_or_else(|| AddressError::BadDescriptor {
        address: given.into(),
        descriptor: digits.into(),
        instead: nearest_or(given, A_DESCRIPTOR),
    })?;
    Ok(Parsed::Descriptor(descriptor))
}

/// The digits of a descriptor, which have one spelling for each.
fn number(digits: &str) -> Option<i32> {
    let number = digits.parse::<i32>().ok()?;
    (number >= 0 && number.to_string() == digits).then_some(number)
}

/// DIRECTORY/domain/NAME, of Hyper's. The word in the middle is a part of the descriptor only: the
/// socket that Hyper binds is DIRECTORY/NAME.
fn domain(given: &OsStr, rest: &[u8]) -> Result<Parsed, AddressError> {
    const MIDDLE: &[u8] = b"/domain/";
    let looks_like = |what, instead: &str| AddressError::LooksLike {
        address: given.into(),
        what,
        instead: instead.into(),
    };
    // The last one: the directory may have such a part too, and a name has no slash.
    let middle = rest
        .windows(MIDDLE.len())
        .rposition(|window| window == MIDDLE);
    let parts = middle.and_then(|at| Some((rest.get(..at)?, rest.get(at + MIDDLE.len()..)?)));
    match parts {
        Some((_, b"auto")) => Err(looks_like(
            "a descriptor for whose socket Hyper makes up a name",
            "the descriptor that Hyper has made of it, or the path of the socket",
        )),
        Some((directory @ [_, ..], name)) if is_file_name(os_str(name)) => {
            let directory = os_str(directory);
            refuse_home(given, directory)?;
            absolute(Path::new(directory).join(os_str(name)).as_os_str())
        }
        Some(_) | None => Err(looks_like(
            "a descriptor of Hyper's that lacks a directory or a name",
            A_DOMAIN,
        )),
    }
}

/// An error for a kind of address that there is not, or that is spelled otherwise. `word` is what
/// stands before the first colon.
fn refuse_other_kinds(given: &OsStr, word: &str, is_url: bool) -> Result<(), AddressError> {
    let names = |what, instead: String| {
        Err(AddressError::NoSuchKind {
            address: given.into(),
            what,
            instead,
        })
    };
    let generic = match &*word.to_ascii_lowercase() {
        "fifo" => {
            return names(
                "a FIFO, which has no way back, and mixes the frames of two writers",
                "fd:N, with the number of its opened descriptor".into(),
            );
        }
        "udp" | "udp4" | "udp6" => {
            return names(
                "a socket for datagrams, and messages need a stream",
                nearest_or(given, A_TCP),
            );
        }
        "vsock" => {
            return names(
                "a socket between a machine and its guests, which is not opened here",
                "fd:N, with the number of its opened descriptor".into(),
            );
        }
        "tab.pipe" if is_url => {
            return names(
                "a named pipe of Windows, and there are no such pipes on this system",
                "unix:PATH, with the path of a socket".into(),
            );
        }
        "tcp" | "tcp4" | "tcp6" | "tab.tcp" => A_TCP,
        "unix" => "unix:PATH, such as unix:/run/collector/telemetry.sock",
        "abstract" | "unix-abstract" if ABSTRACT_NAMES => "@NAME, such as @telemetry",
        "abstract" | "unix-abstract" => A_PATH,
        "fd" => A_DESCRIPTOR,
        "tab.domain" => A_DOMAIN,
        _ if is_url && is_scheme(word) => A_PATH_OR_TCP,
        _ => return Ok(()),
    };
    let mut instead = nearest_or(given, generic);
    if !is_url {
        instead += &or_such_a_file(given);
    }
    Err(AddressError::LooksLike {
        address: given.into(),
        what: if is_url {
            "a URL"
        } else {
            "a kind of address that is spelled otherwise"
        },
        instead,
    })
}

/// Whether a URL can begin with it (RFC 3986, 3.1).
fn is_scheme(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.bytes().all(is_letter)
}

/// Whether `given` ends in a colon and a port, and has no slash, as every path in another directory
/// than the current one has.
fn is_host_and_port(given: &str) -> bool {
    let port = given.rsplit_once(':').map(|(_, port)| port);
    !given.contains('/')
        && port.is_some_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

/// What to add for whoever means the file that is called so, where there can be one.
fn or_such_a_file(given: &OsStr) -> String {
    let path = Path::new(".").join(given);
    match (given.to_str(), absolute(path.as_os_str())) {
        (Some(given), Ok(_)) => format!(", or ./{given} for such a file"),
        _ => String::new(),
    }
}

fn nearest_or(given: &OsStr, generic: &str) -> String {
    nearest(given).unwrap_or_else(|| generic.into())
}

/// The address that was most likely meant by what is none.
pub(super) fn nearest(given: &OsStr) -> Option<String> {
    let given = given.to_str()?;
    let (word, rest) = given.split_once(':')?;
    let (rest, is_url) = match rest.strip_prefix("//") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    // Each is checked by what reads its kind, which looks for nothing nearer: no spelling, however
    // long, leads from one to the next.
    match &*word.to_ascii_lowercase() {
        "tcp" | "tcp4" | "tcp6" | "tab.tcp" | "udp" | "udp4" | "udp6" => nearest_tcp(rest),
        "unix" => {
            let path = rest.trim_start_matches('/');
            let slash = if path.len() < rest.len() { "/" } else { "" };
            let found = format!("{slash}{path}");
            let rest = OsStr::new(&found);
            path_or_name(rest, rest, None).ok()?;
            Some(format!("unix:{found}"))
        }
        "abstract" | "unix-abstract" if ABSTRACT_NAMES => {
            let found = format!("@{}", rest.strip_prefix('@').unwrap_or(rest));
            name(OsStr::new(&found)).ok()?;
            Some(found)
        }
        "fd" => {
            let digits = rest.strip_prefix('+').unwrap_or(rest);
            let digits = without_zeros(digits.strip_suffix('/').unwrap_or(digits));
            number(digits).map(|number| format!("fd:{number}"))
        }
        "tab.domain" => {
            let found = format!("tab.domain://{rest}");
            domain(OsStr::new(&found), rest.as_bytes()).ok()?;
            Some(found)
        }
        _ if !is_url && is_host_and_port(given) => nearest_tcp(given),
        _ => None,
    }
}

/// Of a host and a port that may have a path behind them, as in a URL.
fn nearest_tcp(rest: &str) -> Option<String> {
    let rest = rest.split(['/', '?', '#']).next()?;
    let (host, port) = rest.rsplit_once(':').unwrap_or(("", rest));
    let port = match port {
        "auto" => 0,
        digits => tcp::port(without_zeros(digits))?,
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    let host = if bare.is_empty() {
        Host::Name("localhost".into())
    } else if bare == "*" {
        Host::Ip(Ipv6Addr::UNSPECIFIED.into())
    } else if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        Host::Ip(ip.into())
    } else if let Ok(ip) = bare.strip_suffix('.').unwrap_or(bare).parse::<Ipv4Addr>() {
        Host::Ip(ip.into())
    } else {
        Host::parse(host).ok()?
    };
    Some(Tcp { host, port }.to_string())
}

/// `0` for `000`, and nothing for nothing.
fn without_zeros(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" if !digits.is_empty() => "0",
        rest => rest,
    }
}
