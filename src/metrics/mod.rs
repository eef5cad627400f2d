//! Figures of both ends, in messages and bytes.
//!
//! [`Writer::metrics`](crate::Writer::metrics) gives [`WriterMetrics`],
//! [`Reader::metrics`](crate::Reader::metrics) gives [`ReaderMetrics`]: a snapshot, to read which
//! holds up nothing. Most figures only grow, so that the difference of two snapshots is what
//! happened in between. Their `Display` is a line for a log or a status.
//!
//! | in | stand |
//! | --- | --- |
//! | [`Tally`] | a number of messages, and their bytes |
//! | [`Dropped`] | messages that a writer refused, or removed to make room, by cause |
//! | [`Failed`] | messages that a writer took and could not send, by cause |
//! | [`ProtocolErrors`] | connections that a reader ended for what their peers sent, by cause |
//!
//! [`Exposition`] makes a page for Prometheus of them, and with the feature `metrics` a
//! `Publisher` hands them to the `metrics` crate.

mod exposition;
mod figure;
#[cfg(feature = "metrics")]
mod publisher;

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::atomic::{AtomicU64, Ordering};

pub use exposition::Exposition;
#[cfg(feature = "metrics")]
pub use publisher::Publisher;

use crate::num::to_u64;

/// A number of messages and of the bytes in them, without their length prefixes.
///
/// ```
/// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
/// let before = writer.metrics().accepted;
/// writer.try_send("five!")?;
/// let since = writer.metrics().accepted - before;
/// assert_eq!(since.to_string(), "1 message (5 bytes)");
/// // Never below zero:
/// assert_eq!((before - writer.metrics().accepted).messages, 0);
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct Tally {
    /// How many messages.
    pub messages: u64,
    /// The sum of their lengths, in bytes.
    pub bytes: u64,
}

impl Tally {
    /// One message of `len` bytes.
    pub(crate) fn one(len: usize) -> Self {
        Self {
            messages: 1,
            bytes: to_u64(len),
        }
    }

    /// By how much it is more than `other`, if it is.
    pub(crate) fn beyond(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Never below zero: of figures that are read while others count, a part may seem to shrink.
impl Sub for Tally {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        // In the crate's own books nothing is taken away that was not there: the simulation runs
        // with this check.
        #[cfg(test)]
        assert!(
            other.messages <= self.messages && other.bytes <= self.bytes,
            "{other:?} of {self:?}"
        );
        self.beyond(other)
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = Counted(self.messages, "message", "messages");
        write!(f, "{messages} ({})", Counted(self.bytes, "byte", "bytes"))
    }
}

/// A number, and of what: of one, or of more.
struct Counted(u64, &'static str, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, more) = self;
        write!(f, "{count} {}", if *count == 1 { one } else { more })
    }
}

/// The figures of a [`Writer`](crate::Writer) at one moment. All but `queued` and `connected` only
/// grow.
///
/// At rest the books balance, in messages and in bytes:
/// `accepted = sent + dropped.oldest + failed.given_up + failed.left + queued`, and with
/// [`AtLeastOnce`](crate::Delivery::AtLeastOnce) `confirmed` stands in the place of `sent`. Every
/// attempt to send ends as accepted or as one of the refusals in [`Dropped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct WriterMetrics {
    /// What the queue took.
    pub accepted: Tally,
    /// Messages of which the kernel took the last byte. Not: read, handled, kept. Each counts
    /// once.
    pub sent: Tally,
    /// Messages that the reader's receipts cover: its handler has handled them. With
    /// [`AtMostOnce`](crate::Delivery::AtMostOnce) it is 0.
    pub confirmed: Tally,
    /// Messages that were sent again, as often as they were: the connection had ended before a
    /// receipt covered them.
    pub resent: Tally,
    /// What waits to be sent, or for a receipt: accepted, and not yet ended one way or the other.
    pub queued: Tally,
    /// The most that can: `max_queued_messages` and `max_queued_bytes`.
    pub capacity: Tally,
    /// What was refused, or evicted.
    pub dropped: Dropped,
    /// What was accepted and could not be sent.
    pub failed: Failed,
    /// Connections made.
    pub connects: u64,
    /// Connections lost whose peer had not read all that the kernel held for it: those messages
    /// counted as sent and were not received. Linux only; elsewhere 0.
    pub lost_with_unread: u64,
    /// Writes that took at least one byte; each is one system call.
    pub writes: u64,
    /// Panics of the event observer that were caught.
    pub observer_panics: u64,
    /// Whether there is a connection now.
    pub connected: bool,
}

/// For a log or a status line: what has gone, and whatever troubles there were.
impl fmt::Display for WriterMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.connected {
            "connected"
        } else {
            "not connected"
        };
        let queued = self.queued.messages;
        write!(f, "{} sent, {queued} queued, {state}", self.sent)?;
        for (count, one, more) in [
            (self.confirmed.messages, "confirmed", "confirmed"),
            (self.dropped.total().messages, "dropped", "dropped"),
            (self.failed.total().messages, "failed", "failed"),
            (self.resent.messages, "resent", "resent"),
            (
                self.lost_with_unread,
                "connection lost with unread messages",
                "connections lost with unread messages",
            ),
            (
                self.observer_panics,
                "panic of the observer",
                "panics of the observer",
            ),
        ] {
            if count > 0 {
                write!(f, ", {}", Counted(count, one, more))?;
            }
        }
        Ok(())
    }
}

/// What a writer dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct Dropped {
    /// Refused: there was no room in the queue.
    pub full: Tally,
    /// Refused: longer than `max_message_len`.
    pub too_large: Tally,
    /// Refused: the message was empty.
    pub empty: Tally,
    /// Refused: after `shutdown`.
    pub closed: Tally,
    /// Evicted: accepted earlier, then removed to make room, with
    /// [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    pub oldest: Tally,
}

impl Dropped {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> Tally {
        self.full + self.too_large + self.empty + self.closed + self.oldest
    }
}

/// What a writer accepted and could not send (with `AtLeastOnce`: or not see confirmed), by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct Failed {
    /// Given up, because the reader refuses the message: it said so in a receipt, or three
    /// connections in a row ended just behind the message's length.
    pub given_up: Tally,
    /// Left in the queue when the time for the shutdown was over.
    pub left: Tally,
}

impl Failed {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> Tally {
        self.given_up + self.left
    }
}

/// The figures of a [`Reader`](crate::Reader) at one moment. All but `open` and `threads` only
/// grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct ReaderMetrics {
    /// Messages given to the handler, and their bytes. Counted after each read, so that a slow
    /// handler has had more than stand here.
    pub received: Tally,
    /// Those of them that writers left behind whose processes had died, and their bytes.
    pub recovered: Tally,
    /// Messages that came again from a writer that is
    /// [`crash_proof`](crate::WriterBuilder::crash_proof) after its connection was lost, and that
    /// the handler was spared.
    pub repeated: u64,
    /// Connections accepted since the start, and those that were recovered.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Calls of the handler (for a message or the end of a batch) that returned an error.
    pub handler_errors: u64,
    /// Calls of the handler, the peer check or the event observer that panicked.
    pub panics: u64,
    /// Connections ended because of what the peer sent, by cause.
    pub protocol_errors: ProtocolErrors,
    /// Peers refused before a byte of theirs was read.
    pub refused_peers: u64,
    /// Times that accepting paused because the system was short of something, such as descriptors.
    pub accept_pauses: u64,
    /// Threads that serve connections now.
    pub threads: u64,
}

/// For a log or a status line: what has come, and whatever troubles there were.
impl fmt::Display for ReaderMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = Counted(self.open, "connection open", "connections open");
        write!(f, "{} received, {open}", self.received)?;
        for (count, one, more) in [
            (self.handler_errors, "handler error", "handler errors"),
            (self.panics, "panic", "panics"),
            (
                self.protocol_errors.total(),
                "protocol error",
                "protocol errors",
            ),
            (self.refused_peers, "peer refused", "peers refused"),
        ] {
            if count > 0 {
                write!(f, ", {}", Counted(count, one, more))?;
            }
        }
        Ok(())
    }
}

/// Connections that ended because of what the peer sent, or failed to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct ProtocolErrors {
    /// A length above `max_message_len`.
    pub too_large: u64,
    /// A length prefix that is no 64-bit varint.
    pub invalid_prefix: u64,
    /// The stream ended inside a frame.
    pub truncated: u64,
    /// The rest of a frame did not come in time.
    pub too_slow: u64,
}

impl ProtocolErrors {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.too_large + self.invalid_prefix + self.truncated + self.too_slow
    }
}

/// A counter that every thread may read at any time. It neither locks nor waits.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    // Relaxed throughout: a figure orders nothing, it is only looked at.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// Publishes a number that is kept under a lock: a plain store, where `add` would be a
    /// locked instruction.
    #[inline]
    pub(crate) fn publish(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Two counters that make a [`Tally`].
#[derive(Debug, Default)]
pub(crate) struct TallyCounter {
    messages: Counter,
    bytes: Counter,
}

impl TallyCounter {
    pub(crate) fn value(&self) -> Tally {
        Tally {
            messages: self.messages.value(),
            bytes: self.bytes.value(),
        }
    }

    pub(crate) fn add(&self, more: Tally) {
        self.messages.add(more.messages);
        self.bytes.add(more.bytes);
    }

    #[inline]
    pub(crate) fn publish(&self, value: Tally) {
        self.messages.publish(value.messages);
        self.bytes.publish(value.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(messages: u64, bytes: u64) -> Tally {
        Tally { messages, bytes }
    }

    #[test]
    fn figures_as_text_name_the_troubles_that_there_were() {
        let mut writer = WriterMetrics {
            sent: tally(3, 12),
            queued: tally(2, 8),
            connected: true,
            ..WriterMetrics::default()
        };
        assert_eq!(
            writer.to_string(),
            "3 messages (12 bytes) sent, 2 queued, connected"
        );
        writer.connected = false;
        writer.dropped.full = tally(4, 5);
        writer.dropped.oldest = tally(1, 1);
        writer.failed.left = tally(2, 2);
        writer.lost_with_unread = 6;
        assert_eq!(
            writer.to_string(),
            "3 messages (12 bytes) sent, 2 queued, not connected, 5 dropped, 2 failed, \
             6 connections lost with unread messages"
        );
        let mut reader = ReaderMetrics {
            received: tally(3, 12),
            ..ReaderMetrics::default()
        };
        assert_eq!(
            reader.to_string(),
            "3 messages (12 bytes) received, 0 connections open"
        );
        reader.protocol_errors.too_slow = 2;
        reader.panics = 1;
        assert_eq!(
            reader.to_string(),
            "3 messages (12 bytes) received, 0 connections open, 1 panic, 2 protocol errors"
        );
    }

    #[test]
    #[cfg(feature = "serde")]
    fn figures_are_read_as_they_were_written_also_where_some_are_missing() {
        let mut writer = WriterMetrics {
            sent: tally(3, 12),
            connected: true,
            ..WriterMetrics::default()
        };
        writer.dropped.full = tally(4, 5);
        let text = serde_json::to_string(&writer).unwrap();
        assert!(
            text.contains(r#""sent":{"messages":3,"bytes":12}"#),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<WriterMetrics>(&text).unwrap(),
            writer
        );

        let reader = ReaderMetrics {
            open: 2,
            ..ReaderMetrics::default()
        };
        assert_eq!(
            serde_json::from_str::<ReaderMetrics>(r#"{"open":2}"#).unwrap(),
            reader
        );
    }
}
