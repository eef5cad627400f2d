//! Where a TCP socket is: a host and a port.
//! The types are those of `core`: values, without the sockets that `std` has beside them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// The longest name of a host, in bytes (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// The longest part of it between two dots.
const MAX_LABEL: usize = 63;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tcp {
    pub(crate) host: Host,
    /// 0 for whichever is free, to whom binds it.
    pub(crate) port: u16,
}

/// An IP address, or a name that the system looks up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// In lower case, and as good as a name of a host can be.
    Name(Box<str>),
}

impl Host {
    /// What stands before the colon and the port, or what is wrong with it.
    pub(super) fn parse(host: &str) -> Result<Self, BadHost> {
        if let Some(rest) = host.strip_prefix('[') {
            let inside = rest.strip_suffix(']').ok_or(BadHost::NoIpv6)?;
            return match inside.parse::<Ipv6Addr>() {
                Ok(ip) => Ok(Self::Ip(ip.into())),
                Err(_) if inside.contains('%') => Err(BadHost::Zone),
                Err(_) => Err(BadHost::NoIpv6),
            };
        }
        if host.parse::<Ipv6Addr>().is_ok() {
            return Err(BadHost::NoBrackets);
        }
        match host.parse::<Ipv4Addr>() {
            Ok(ip) => Ok(Self::Ip(ip.into())),
            Err(_) => Self::name(host),
        }
    }

    fn name(host: &str) -> Result<Self, BadHost> {
        let name = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return Err(BadHost::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(BadHost::TooLong);
        }
        let mut last = "";
        for label in name.split('.') {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !label.bytes().all(is_letter) {
                return Err(BadHost::Letters);
            }
            if label.is_empty() || label.len() > MAX_LABEL {
                return Err(BadHost::Label);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(BadHost::Hyphen);
            }
            last = label;
        }
        // A resolver would read 127.1 as 127.0.0.1, and 010.0.0.1 as 8.0.0.1.
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadHost::NoIpv4);
        }
        Ok(Self::Name(host.to_ascii_lowercase().into()))
    }
}

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHost {
    Empty,
    Hyphen,
    Label,
    Letters,
    NoBrackets,
    NoIpv4,
    NoIpv6,
    TooLong,
    Zone,
}

impl BadHost {
    /// The end of a sentence that begins with the host.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Hyphen => "has a part that begins or ends with a hyphen",
            Self::Label => "has a part that is empty or longer than 63 bytes",
            Self::Letters => "has a character that is in no name of a host",
            Self::NoBrackets => "is an IPv6 address without brackets",
            Self::NoIpv4 => "ends in a number and is no IPv4 address",
            Self::NoIpv6 => "is no IPv6 address in brackets",
            Self::TooLong => "is longer than 253 bytes",
            Self::Zone => "has a zone, for which there is no room here",
        }
    }

    /// What to write in its place, where nothing better is known.
    pub(super) fn instead(self) -> &'static str {
        match self {
            Self::Zone => "an address that needs none, or a name of the host",
            Self::NoIpv6 => "tcp:[ADDRESS]:PORT, such as tcp:[::1]:7000",
            Self::Empty
            | Self::Hyphen
            | Self::Label
            | Self::Letters
            | Self::NoBrackets
            | Self::NoIpv4
            | Self::TooLong => "an IP address, or a name of letters, digits, hyphens and dots",
        }
    }
}

/// The digits of a port, which have one spelling for each.
pub(super) fn port(digits: &str) -> Option<u16> {
    digits
        .parse()
        .ok()
        .filter(|port: &u16| port.to_string() == digits)
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "tcp:{ip}:{port}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "tcp:[{ip}]:{port}"),
            Host::Name(name) => write!(f, "tcp:{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_host_is_of_labels_and_may_end_in_a_dot() {
        let label = "x".repeat(63);
        let longest = format!("{}.{}", [&*label; 3].join("."), "y".repeat(61));
        assert_eq!(longest.len(), MAX_NAME);
        for good in [
            "localhost",
            "a",
            "a.b.",
            "xn--bcher-kva.example",
            "_srv._tcp.a",
            "a--b",
            "1a",
            "1.a",
            &longest,
            &format!("{longest}."),
        ] {
            assert_eq!(Host::parse(good), Ok(Host::Name(good.into())), "{good}");
        }
        for (bad, why) in [
            ("", BadHost::Empty),
            (".", BadHost::Label),
            ("a..b", BadHost::Label),
            ("a..", BadHost::Label),
            (".a", BadHost::Label),
            (&format!("{label}x.a"), BadHost::Label),
            ("-a", BadHost::Hyphen),
            ("a-.b", BadHost::Hyphen),
            ("a b", BadHost::Letters),
            ("b\u{fc}cher", BadHost::Letters),
            ("a:b", BadHost::Letters),
            ("a]", BadHost::Letters),
            (&format!("{longest}y"), BadHost::TooLong),
            ("::1", BadHost::NoBrackets),
            ("[::1", BadHost::NoIpv6),
            ("[::1]x", BadHost::NoIpv6),
            ("[127.0.0.1]", BadHost::NoIpv6),
            ("[]", BadHost::NoIpv6),
            ("[fe80::1%eth0]", BadHost::Zone),
            ("[fe80::1%1]", BadHost::Zone),
            ("127.1", BadHost::NoIpv4),
            ("256.0.0.1", BadHost::NoIpv4),
            ("010.0.0.1", BadHost::NoIpv4),
            ("1.2.3.4.", BadHost::NoIpv4),
            ("70", BadHost::NoIpv4),
        ] {
            assert_eq!(Host::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_port_has_one_spelling() {
        for number in [0, 1, 80, u16::MAX] {
            assert_eq!(port(&number.to_string()), Some(number));
        }
        for bad in [
            "", "00", "080", "+80", "-1", "65536", " 80", "80 ", "http", "8\u{660}",
        ] {
            assert_eq!(port(bad), None, "{bad}");
        }
    }
}
