//! No process at the other end is known.

use super::stream::Stream;

/// There is none.
#[derive(Debug)]
pub(crate) enum PeerProcess {}

impl PeerProcess {
    pub(crate) fn of(_: &Stream) -> Option<Self> {
        None
    }

    pub(crate) fn is_dead(&self) -> bool {
        match *self {}
    }
}
