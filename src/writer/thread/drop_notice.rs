//! A message of the user's making that tells of messages that were dropped. When it is due is
//! decided here; the worker sends it.

use std::fmt;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use crate::deadline::{Deadline, has_come};
use crate::metrics::Tally;
use crate::panic_guard::guarded;

/// How long after a notice the next one comes at the earliest: a queue that stays full has room
/// again after every write.
const PAUSE: Duration = Duration::from_secs(1);

/// What a writer had no room for since its last notice: see
/// [`WriterBuilder::drop_notice`](crate::WriterBuilder::drop_notice).
///
/// Its `Display` is a line for a log: how many, how many bytes, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropNotice {
    /// The messages that were refused because the queue was full, or dropped to make room.
    pub dropped: Tally,
    /// When the first of them was.
    pub since: SystemTime,
}

impl fmt::Display for DropNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever sets the clock back makes it nothing.
        let seconds = self.since.elapsed().unwrap_or_default().as_secs();
        write!(f, "dropped {} in the last ", self.dropped)?;
        match seconds {
            0 | 1 => f.write_str("second"),
            _ => write!(f, "{seconds} seconds"),
        }
    }
}

type Make = Box<dyn Fn(DropNotice) -> Vec<u8> + Send + Sync>;

/// What has been told of drops, and how.
pub(crate) struct DropNotices {
    make: Make,
    told: Tally,
    /// Not before then.
    next: Deadline,
    /// Made, and there was no room for it.
    waiting: Option<Vec<u8>>,
}

impl DropNotices {
    pub(crate) fn new<M: Into<Vec<u8>>>(
        make: impl Fn(DropNotice) -> M + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(move |notice| make(notice).into()),
            told: Tally::default(),
            next: None,
            waiting: None,
        }
    }

    /// For how many bytes there must be room if a notice of all `dropped` is due. The last one, at
    /// the `end`, does not wait.
    pub(crate) fn due(&self, dropped: Tally, now: Instant, is_end: bool) -> Option<usize> {
        if let Some(message) = &self.waiting {
            return Some(message.len());
        }
        let may_come = is_end || self.next.is_none() || has_come(self.next, now);
        (dropped.messages > self.told.messages && may_come).then_some(1)
    }

    /// When the next one may come.
    pub(crate) fn next(&self) -> Deadline {
        self.next
    }

    /// The message, which tells of all `dropped`; nothing where making it panicked.
    pub(crate) fn make(
        &mut self,
        dropped: Tally,
        since_1970: Duration,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let told = mem::replace(&mut self.told, dropped);
        self.next = now.checked_add(PAUSE);
        let dropped = dropped.beyond(told);
        let since = SystemTime::UNIX_EPOCH + since_1970;
        guarded(|| (self.make)(DropNotice { dropped, since })).ok()
    }

    /// There was no room for it.
    pub(crate) fn wait(&mut self, message: Vec<u8>) {
        self.waiting = Some(message);
    }

    /// The one that waited for room, which is not made anew.
    pub(crate) fn take_waiting(&mut self) -> Option<Vec<u8>> {
        self.waiting.take()
    }

    /// Whether one is due, now or later.
    pub(crate) fn is_pending(&self, dropped: Tally) -> bool {
        self.waiting.is_some() || dropped.messages > self.told.messages
    }
}

impl fmt::Debug for DropNotices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropNotices")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
