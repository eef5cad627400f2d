//! Sequence numbers: the oldest message that has not ended, and the oldest that is not written.
//! Values.

use crate::metrics::Tally;

/// How far the messages have come, in their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// The oldest that has not ended: all with lower numbers have.
    pub(crate) unsettled: u64,
    /// The oldest of which the kernel lacks a byte: it has all with lower numbers, or they have
    /// ended.
    pub(crate) unwritten: u64,
}

/// What must be known of the outbox while it is away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    /// The number of its oldest message.
    pub(crate) front: Option<u64>,
    /// The number of its oldest message of which the kernel lacks a byte.
    pub(crate) unwritten: Option<u64>,
    /// What is in it, and so cannot make room.
    pub(crate) tally: Tally,
}
