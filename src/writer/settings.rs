//! How much a writer's queue holds, and what happens to what does not fit.
//! Values.

/// The channel allocates all its slots at once: a user's bounds beyond any memory must not.
const MOST_SLOTS: u64 = 64 * 1024;

/// There is a slot for each message of this size, from which on they have blocks of their own. When
/// blocks are sealed in between that are not full, the slots may be taken before there is no more
/// room: then owned messages are copied.
const SLOT_SIZE: u64 = 8 * 1024;

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It is refused: the newest is dropped, and its sender is told.
    #[default]
    Refuse,
    /// The oldest messages are dropped to make room for it. Only what is being written at that very
    /// moment stays, so that a queue of a few messages may still refuse.
    DropOldest,
}

/// How much may be accepted and not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) overflow: Overflow,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// How many sealed blocks there can be.
pub(crate) fn slots(limits: Limits) -> usize {
    let by_bytes = limits.bytes / SLOT_SIZE + 8;
    usize::try_from(
        by_bytes
            .min(limits.messages.saturating_add(2))
            .min(MOST_SLOTS),
    )
    .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_capacity_allocates_no_slots_for_it() {
        let limits = |messages, bytes| Limits {
            messages,
            bytes,
            overflow: Overflow::Refuse,
        };
        assert_eq!(slots(limits(u64::MAX, u64::MAX)), 65_536);
        assert_eq!(slots(limits(10_000, 64 << 20)), 8_200);
        assert_eq!(slots(limits(1, 1)), 3);
    }
}
