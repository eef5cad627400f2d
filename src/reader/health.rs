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
            locked.entries.values().any(|entry| entry.is_held_up),
            self.0.settled(),
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
    /// A connection waits for a receiver of batches.
    is_held_up: bool,
    turns: u64,
    /// The messages of the connections that are being served.
    handled: u64,
    /// Batches that were settled.
    settled: u64,
}

impl Progress {
    fn new(pool: &ThreadPool, handled: u64, is_held_up: bool, settled: u64) -> Self {
        Self {
            all_busy: pool.threads > 0 && pool.all_busy(),
            is_held_up,
            turns: pool.turns,
            handled,
            settled,
        }
    }

    /// False if every thread is in a call of the user's, or a connection waits for a receiver of
    /// batches, and nothing has come back since `before`.
    pub(crate) fn has_moved_since(&self, before: &Self) -> bool {
        let is_users = |look: &Self| look.all_busy || look.is_held_up;
        let hangs = is_users(self) && is_users(before) && !self.has_done_more_than(before);
        !hangs
    }

    /// Whether anything was handled since `before`: as it is all the time while there is much to
    /// drain.
    pub(crate) fn has_done_more_than(&self, before: &Self) -> bool {
        (self.turns, self.handled, self.settled) != (before.turns, before.handled, before.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look at a reader with a free thread.
    fn look(is_held_up: bool, turns: u64, settled: u64) -> Progress {
        let pool = ThreadPool {
            threads: 1,
            busy: 0,
            turns,
        };
        Progress::new(&pool, 0, is_held_up, settled)
    }

    #[test]
    fn a_receiver_hangs_that_holds_a_connection_up_and_gives_nothing_back() {
        for (before, now, hangs) in [
            (look(true, 7, 3), look(true, 7, 3), true),
            (look(true, 7, 3), look(true, 7, 4), false),
            (look(true, 7, 3), look(true, 8, 3), false),
            // Whoever keeps its last batches until more come holds up nobody.
            (look(false, 7, 3), look(false, 7, 3), false),
            (look(false, 7, 3), look(true, 7, 3), false),
        ] {
            assert_eq!(now.has_moved_since(&before), !hangs, "{before:?} {now:?}");
        }
    }
}
