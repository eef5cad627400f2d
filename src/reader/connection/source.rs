//! Where a connection's messages come from: a stream, or what a dead writer left.

use std::io::{self, IoSlice};

use super::remains::Remains;
use crate::sys::{Abilities, OwnedDescriptor, PeerEnd, Received, Sent, Stream};

#[derive(Debug)]
pub(in crate::reader) enum Source {
    Stream(Stream),
    Remains(Remains),
}

impl Source {
    /// The stream, if that is what it is: what is left behind is always ready to be read.
    pub(in crate::reader) fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Remains(_) => None,
        }
    }

    pub(in crate::reader) fn remains(&self) -> Option<&Remains> {
        match self {
            Self::Stream(_) => None,
            Self::Remains(remains) => Some(remains),
        }
    }

    pub(in crate::reader) fn abilities(&self) -> Abilities {
        match self {
            Self::Stream(stream) => stream.abilities(),
            Self::Remains(_) => Abilities {
                answers: false,
                peer_end: PeerEnd::Closes,
                tells_unread: false,
                tells_credentials: true,
                passes_memory: false,
            },
        }
    }

    pub(in crate::reader) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Stream(stream) => stream.receive(buffer),
            Self::Remains(remains) => Ok(remains.receive(buffer)),
        }
    }

    /// Likewise, and takes descriptors that came with what was read.
    pub(in crate::reader) fn receive_with(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(Received, Vec<OwnedDescriptor>)> {
        match self {
            Self::Stream(stream) => stream.receive_with(buffer),
            Self::Remains(remains) => Ok((remains.receive(buffer), Vec::new())),
        }
    }

    pub(in crate::reader) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        match self {
            Self::Stream(stream) => stream.send(slices),
            Self::Remains(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(in crate::reader) fn stop_receiving(&self) {
        if let Self::Stream(stream) = self {
            stream.stop_receiving();
        }
    }

    pub(in crate::reader) fn end_sending(&self) {
        if let Self::Stream(stream) = self {
            stream.end_sending();
        }
    }

    pub(in crate::reader) fn cut(&self) {
        if let Self::Stream(stream) = self {
            stream.cut();
        }
    }
}
