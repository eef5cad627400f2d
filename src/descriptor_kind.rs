//! What a descriptor is, where it is no listening Unix stream socket.
//! A value; the system is asked elsewhere.

use std::fmt;

/// What a descriptor is, where it is no Unix stream socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DescriptorKind {
    /// A datagram socket.
    Datagram,
    /// A socket of sequenced packets.
    SeqPacket,
    /// A socket of the network.
    Internet,
    /// A connection: it has been accepted already.
    Connection,
    /// A stream socket that is bound at most.
    NotListening,
    /// No socket, in words.
    Other(&'static str),
}

impl fmt::Display for DescriptorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagram => "a datagram socket",
            Self::SeqPacket => "a socket of packets",
            Self::Internet => "a network socket",
            Self::Connection => "a connection, not a socket that listens",
            Self::NotListening => "a socket that does not listen",
            Self::Other(what) => what,
        })
    }
}
