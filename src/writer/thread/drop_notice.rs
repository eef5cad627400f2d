//! A message of the user's making that tells of messages that were dropped. When it is due is
//! decided here; the worker sends it.

use std::fmt;
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
        let ago = self.since.elapsed().unwrap_or_default();
        let Self { dropped, .. } = self;
        write!(
            f,
            "dropped {dropped} in the last {:.1} s",
            ago.as_secs_f64()
        )
    }
}

type Make = Box<dyn Fn(DropNotice) -> Vec<u8> + Send + Sync>;

/// What has been told of drops, and how.
pub(crate) struct DropNotices {
    make: Make,
    told: Tally,
    /// Not before then.
    next: Deadline,
    /// How long the last one was for which there was no room.
    len: usize,
}

impl DropNotices {
    pub(crate) fn new<M: Into<Vec<u8>>>(
        make: impl Fn(DropNotice) -> M + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(move |notice| make(notice).into()),
            told: Tally::default(),
            next: None,
            len: 1,
        }
    }

    /// For how many bytes there must be room if a notice of all `dropped` is due. The last one, at
    /// the `end`, does not wait.
    pub(crate) fn due(&self, dropped: Tally, now: Instant, is_end: bool) -> Option<usize> {
        let may_come = is_end || self.next.is_none() || has_come(self.next, now);
        (dropped.messages > self.told.messages && may_come).then_some(self.len)
    }

    /// When to look again, if it is only time that is waited for.
    pub(crate) fn wakes_at(&self, dropped: Tally, now: Instant) -> Deadline {
        let is_early = !has_come(self.next, now);
        self.next
            .filter(|_| dropped.messages > self.told.messages && is_early)
    }

    /// The message, or nothing where making it panicked.
    pub(crate) fn make(&self, dropped: Tally, since_1970: Duration) -> Option<Vec<u8>> {
        let dropped = dropped.beyond(self.told);
        let since = SystemTime::UNIX_EPOCH + since_1970;
        guarded(|| (self.make)(DropNotice { dropped, since })).ok()
    }

    pub(crate) fn on_no_room(&mut self, len: usize) {
        self.len = len;
    }

    pub(crate) fn on_told(&mut self, dropped: Tally, now: Instant) {
        self.told = dropped;
        self.next = now.checked_add(PAUSE);
        self.len = 1;
    }
}

impl fmt::Debug for DropNotices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropNotices")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
