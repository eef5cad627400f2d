//! What a descriptor is, where it is not what was asked for.
//! A value; the system is asked elsewhere.

use std::fmt;

/// What a descriptor is, where it is not what was asked for: a stream socket that listens, or a
/// stream that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DescriptorKind {
    /// A datagram socket.
    Datagram,
    /// A socket of sequenced packets.
    SeqPacket,
    /// A socket of the network, where another kind is wanted.
    Internet,
    /// A Unix socket that listens, where TCP is wanted.
    Unix,
    /// A connection: it has been accepted already.
    Connection,
    /// A stream socket that is bound at most.
    NotListening,
    /// A socket that listens, where a connection is wanted.
    Listening,
    /// A stream socket without a peer.
    NotConnected,
    /// The end of a pipe to read from, where one writes.
    ReadEnd,
    /// The end of a pipe to write to, where one reads.
    WriteEnd,
    /// A descriptor that another writer or reader of this process took by its number.
    Taken,
    /// No descriptor: nothing is open under that number.
    Closed,
    /// No socket, in words.
    Other(&'static str),
}

impl fmt::Display for DescriptorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagram => "a datagram socket",
            Self::SeqPacket => "a socket of packets",
            Self::Internet => "a network socket",
            Self::Unix => "a Unix socket",
            Self::Connection => "a connection, not a socket that listens",
            Self::NotListening => "a socket that does not listen",
            Self::Listening => "a socket that listens, not a connection",
            Self::NotConnected => "a socket that is not connected",
            Self::ReadEnd => "the end of a pipe to read from",
            Self::WriteEnd => "the end of a pipe to write to",
            Self::Taken => "in use by another writer or reader of this process",
            Self::Closed => "not open",
            Self::Other(what) => what,
        })
    }
}
