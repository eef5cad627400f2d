//! Why no socket could be taken over from systemd.

use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

use crate::descriptor_kind::DescriptorKind;

/// Why no listening socket could be taken over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A variable of the protocol has a value that systemd does not set.
    #[error(
        "{variable} is {value:?}, which systemd would not set: unset it, or start the program by a socket unit"
    )]
    #[non_exhaustive]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// `LISTEN_FDNAMES` does not fit `LISTEN_FDS`.
    #[error(
        "LISTEN_FDNAMES has {names} names for the {descriptors} descriptors of LISTEN_FDS: both must come from systemd"
    )]
    #[non_exhaustive]
    Names {
        /// How many names there are.
        names: usize,
        /// How many descriptors there are to be.
        descriptors: usize,
    },
    /// A descriptor that was to be passed is not there.
    #[error(
        "descriptor {number} is one of those that LISTEN_FDS announces, and is not open: it was closed before"
    )]
    #[non_exhaustive]
    NotOpen {
        /// Its number.
        number: i32,
    },
    /// A descriptor is no Unix stream socket that listens.
    #[error("descriptor {number}{} is {kind}: {}", Named(name), advice(*kind))]
    #[non_exhaustive]
    NotAListener {
        /// Its number.
        number: i32,
        /// Its name; empty where it has none.
        name: String,
        /// What it is.
        kind: DescriptorKind,
    },
    /// No descriptor has this name.
    #[error(
        "no socket named {name:?} was passed, only {names:?}: set FileDescriptorName={name} in the socket unit"
    )]
    #[non_exhaustive]
    NoSuchName {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// Another reader of this process has it.
    #[error(
        "the socket named {name:?} has been taken already: another reader of this process has it"
    )]
    #[non_exhaustive]
    Taken {
        /// Its name.
        name: String,
    },
}

/// What to change in the units of systemd.
fn advice(kind: DescriptorKind) -> &'static str {
    match kind {
        DescriptorKind::Datagram => {
            "the socket unit needs ListenStream= in the place of ListenDatagram="
        }
        DescriptorKind::SeqPacket => {
            "the socket unit needs ListenStream= in the place of ListenSequentialPacket="
        }
        DescriptorKind::Internet => {
            "ListenStream= in the socket unit needs a path or @name, not an address or a port, unless the reader has a tcp: address"
        }
        DescriptorKind::Unix => {
            "ListenStream= in the socket unit needs an address and a port, not a path or @name"
        }
        DescriptorKind::Connection => "the socket unit needs Accept=no in the place of Accept=yes",
        DescriptorKind::NotListening
        | DescriptorKind::Listening
        | DescriptorKind::NotConnected
        | DescriptorKind::ReadEnd
        | DescriptorKind::WriteEnd
        | DescriptorKind::Taken
        | DescriptorKind::Closed
        | DescriptorKind::Other(_) => "it must come from ListenStream= of a socket unit",
    }
}

/// A name in brackets, or nothing.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.0)
        }
    }
}
