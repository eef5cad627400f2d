//! What became of a write, of a read, and of a descriptor that is to be a stream.
//! Values.

use std::io;

use crate::descriptor_kind::DescriptorKind;

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The kernel took that many bytes: at least one.
    Some(usize),
    /// It took none: there is no room.
    Blocked,
    /// It took none: it is short of memory, and gives no sign when that is over.
    NoMemory,
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Received {
    /// That many bytes: at least one.
    Some(usize),
    /// Nothing is there yet.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// Why a descriptor cannot be used.
#[derive(Debug)]
pub(crate) enum AdoptError {
    /// It is no stream that is connected, but this.
    Kind(DescriptorKind),
    Io(io::Error),
}
