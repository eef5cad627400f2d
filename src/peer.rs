//! Who is at the other end of a connection.
//! Values; the system is asked elsewhere.

use core::net::SocketAddr;
use std::fmt;

/// The identity of a peer's process when it connected (seen from a writer: when the reader began to
/// listen).
///
/// The kernel gives it, not the peer. It is that of the process that made the socket; another one
/// may write to it now, since a descriptor can be passed on. In a user namespace that does not map
/// an id, that id is the overflow id, 65534.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Credentials {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The process id: on Linux only, and `None` for a process outside our pid namespace. Good for
    /// a log, not for a permission: the kernel gives the number to another process once this one
    /// has ended.
    pub pid: Option<u32>,
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, gid, pid } = self;
        match pid {
            Some(pid) => write!(f, "uid {uid}, gid {gid}, pid {pid}"),
            None => write!(f, "uid {uid}, gid {gid}"),
        }
    }
}

/// Who is at the other end of a stream, as far as the system vouches for it.
///
/// ```
/// use uds_ipc::Reader;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// // A peer over TCP, or over a pipe, has no user that is known: it is not let in here.
/// let bound = Reader::builder(&path)
///     .peer_check(|peer| peer.identity.uid() == Some(1000))
///     .bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Identity {
    /// A process on this machine, over a Unix socket. The kernel says which.
    Process(Credentials),
    /// Over TCP: where the stream comes from. Any program there may be behind it.
    Remote(SocketAddr),
    /// Nothing is known, as over a pipe.
    Unknown,
}

impl Identity {
    /// Its credentials, if it is known for certain who it is.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        match self {
            Self::Process(credentials) => Some(*credentials),
            Self::Remote(_) | Self::Unknown => None,
        }
    }

    /// Its effective user id, likewise.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        Some(self.credentials()?.uid)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(credentials) => credentials.fmt(f),
            Self::Remote(address) => address.fmt(f),
            Self::Unknown => f.write_str("nobody knows who"),
        }
    }
}

/// One connection of a reader, and who is at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Peer {
    /// Counts the connections of this reader from 1; no number is used twice.
    pub connection: u64,
    /// Who connected.
    pub identity: Identity,
    /// It is no connection that was made: the process has died, and these are the messages that
    /// it had left in its queue. See [`crash_proof`](crate::WriterBuilder::crash_proof).
    pub recovered: bool,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connection,
            identity,
            recovered,
        } = self;
        let recovered = if *recovered { ", recovered" } else { "" };
        write!(f, "connection {connection} ({identity}{recovered})")
    }
}
