//! A message that becomes a block of its own: made without the lock, since it may be long.
//! Pure: no I/O, no threads, no clock.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::frame::Prefix;
use crate::writer::arena::Arena;
use crate::writer::queue::block::Block;
use crate::writer::slot::{Filler, Frames, Slot};

#[derive(Debug)]
pub(crate) struct Whole {
    len: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Bytes(Bytes),
    /// Its frame, in slots that outlive the process.
    Pieces(Vec<Frames>),
}

impl Whole {
    /// The message itself.
    pub(crate) fn of(message: Bytes) -> Self {
        Self {
            len: message.len(),
            body: Body::Bytes(message),
        }
    }

    /// A copy of it: in the arena, where there is one.
    pub(crate) fn copy(message: &[u8], arena: Option<&Arc<Arena>>) -> Self {
        let Some(arena) = arena else {
            return Self::of(Bytes::copy_from_slice(message));
        };
        let prefix = Prefix::new(message.len());
        let mut filler = Filler::new(Slot::from(Some(arena)));
        filler.push_part(prefix.as_slice());
        let mut rest = filler.push_part(message);
        let mut pieces = vec![filler.written(0)];
        while !rest.is_empty() {
            let mut filler = Filler::new(Slot::from(Some(arena)));
            rest = filler.push_part(rest);
            pieces.push(filler.written(0));
        }
        Self {
            len: message.len(),
            body: Body::Pieces(pieces),
        }
    }

    /// Whether it stands in an arena that was left for this one.
    pub(crate) fn is_left_for(&self, arena: Option<&Arc<Arena>>) -> bool {
        match (&self.body, arena) {
            (Body::Pieces(pieces), Some(arena)) => {
                pieces.iter().any(|piece| piece.are_left_for(arena))
            }
            (Body::Bytes(_), _) | (Body::Pieces(_), None) => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn into_block(self, first: u64) -> Block {
        match self.body {
            Body::Bytes(bytes) => Block::owned(bytes, first),
            Body::Pieces(pieces) => Block::in_pieces(pieces, self.len, first),
        }
    }
}
