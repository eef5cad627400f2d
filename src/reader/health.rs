//! Whether the workers make progress, and the figures: for systemd's watchdog and status.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;
use super::thread_pool::ThreadPool;
use crate::address::Address;
use crate::event::ReaderEvent;

pub(crate) struct Health(pub(super) Arc<Shared>);

impl Health {
    /// What must have changed by the next look if the reader is alive.
    pub(crate) fn progress(&self) -> Progress {
        let locked = self.0.lock();
        let served = locked.entries.values().filter(|entry| entry.is_served);
        Progress::new(
            &locked.thread_pool,
            served.map(|entry| entry.connection.handled()).sum(),
        )
    }

    /// Has one of the reader's threads emit an event.
    pub(crate) fn emit_later(&self, event: impl FnOnce(Address) -> ReaderEvent) {
        self.0.emit_later(event(self.0.address.clone()));
    }
}

/// Where it listens, and its figures.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.address, self.0.counters.metrics())
    }
}

/// How far a reader has come, as seen from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    all_busy: bool,
    turns: u64,
    /// The messages of the connections that are being served.
    handled: u64,
}

impl Progress {
    fn new(pool: &ThreadPool, handled: u64) -> Self {
        Self {
            all_busy: pool.threads > 0 && pool.all_busy(),
            turns: pool.turns,
            handled,
        }
    }

    /// False if every thread is in a call of the user's, and none has returned from one since
    /// `before`.
    pub(crate) fn has_moved_since(&self, before: &Self) -> bool {
        let hangs = self.all_busy && before.all_busy && !self.has_done_more_than(before);
        !hangs
    }

    /// Whether anything was handled since `before`: as it is all the time while there is much to
    /// drain.
    pub(crate) fn has_done_more_than(&self, before: &Self) -> bool {
        (self.turns, self.handled) != (before.turns, before.handled)
    }
}
