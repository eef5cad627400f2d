//! What a writer is built with: the enums that users choose from, and the numbers that the queue
//! and the thread go by. Values.

use std::time::Duration;

/// What the writer promises of a message whose reader dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Delivery {
    /// A message is done with once the kernel has taken its last byte. A reader that is killed
    /// loses what lay in its socket's buffer; nothing arrives twice.
    #[default]
    AtMostOnce,
    /// A message is kept until the reader's receipt says that its handler has handled it, and is
    /// sent again after a loss: nothing is lost, and some messages may arrive twice. It needs a
    /// reader that gives receipts, as the reader of this crate does.
    AtLeastOnce,
}

/// How far messages must have come for a [`flush`](crate::Writer::flush) to return. The levels are
/// ordered: a message that has come to one has come to those below it.
///
/// ```
/// use uds_ipc::FlushLevel;
///
/// assert!(FlushLevel::Written < FlushLevel::Read && FlushLevel::Read < FlushLevel::Handled);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FlushLevel {
    /// The kernel has them. It says nothing of the reader. With [`Delivery::AtLeastOnce`] this may
    /// become untrue again, and so may `Read`: what is not confirmed is sent again after a loss.
    #[default]
    Written,
    /// The reader has taken them from the kernel. It works with any reader, on Linux only.
    Read,
    /// The reader's handler has handled them, as a receipt says. It needs a reader that gives
    /// receipts, as the reader of this crate does; the [`Delivery`] of this writer does not matter.
    Handled,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
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

/// How long each wait takes, as set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) keepalive: Option<Duration>,
}

/// Up to here small messages share a block. Writes of 128 to 256 KiB were the fastest, and a write
/// carries several.
pub(crate) const BLOCK_SIZE: usize = 128 * 1024;

/// Up to this length a message is copied, under the queue's lock where its thread's lane does not
/// take it: that is faster than to hand it over.
pub(crate) const MOST_COPIED: usize = 16 * 1024 - 1;

/// Up to this length it is copied into the lane, where that takes it.
pub(crate) const MOST_IN_LANE: usize = 120 * 1024;

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_in_a_file_by_their_names() {
        let text = r#"["at_least_once","handled","drop_oldest"]"#;
        let settings = (
            Delivery::AtLeastOnce,
            FlushLevel::Handled,
            Overflow::DropOldest,
        );
        assert_eq!(serde_json::to_string(&settings).unwrap(), text);
        let read: (Delivery, FlushLevel, Overflow) = serde_json::from_str(text).unwrap();
        assert_eq!(read, settings);
    }
}
