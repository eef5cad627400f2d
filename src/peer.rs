//! The process at the other end of a connection.
//! Values; the system is asked elsewhere.

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

/// One connection of a reader, and the process that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Peer {
    /// Counts the connections of this reader from 1; no number is used twice.
    pub connection: u64,
    /// The process that connected.
    pub credentials: Credentials,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} ({})", self.connection, self.credentials)
    }
}
