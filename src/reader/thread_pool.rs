//! How many workers there are: when another is needed, and when one may end.
//! Pure: counts come in. No I/O, no threads, no clock.

/// The workers, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThreadPool {
    pub(super) threads: usize,
    /// How many of them are at work.
    pub(super) busy: usize,
    /// How many times a worker has finished what it worked on.
    pub(super) turns: u64,
}

impl ThreadPool {
    /// Whether a connection that becomes ready has to wait for a worker.
    pub(super) fn all_busy(&self) -> bool {
        self.busy >= self.threads
    }

    /// Whether a worker that has found nothing to do for a while may end: another must be free, to
    /// notice what becomes ready next.
    pub(super) fn can_spare_one(&self) -> bool {
        self.busy + 1 < self.threads
    }

    /// How many workers to add, when something is `ready` to be served, and `turns_before` was seen
    /// some milliseconds ago.
    ///
    /// * Up to one a processor: one, since it brings more than it costs.
    /// * Beyond, only when none has finished anything in that time: as many again, so that a few
    ///   steps suffice for many handlers that block.
    pub(super) fn wanted(
        &self,
        ready: bool,
        turns_before: u64,
        processors: usize,
        most: usize,
    ) -> usize {
        if !ready || !self.all_busy() || self.threads == 0 {
            0
        } else if self.threads < processors.min(most) {
            1
        } else if self.turns == turns_before {
            self.threads.min(most.saturating_sub(self.threads))
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_only_where_connections_wait() {
        let threads = |threads, busy, turns| ThreadPool {
            threads,
            busy,
            turns,
        };
        for (threads, ready, before, wanted) in [
            (threads(0, 0, 9), true, 9, 0),
            (threads(1, 0, 9), true, 9, 0),
            (threads(1, 1, 9), false, 9, 0),
            (threads(1, 1, 9), true, 5, 1),
            (threads(2, 2, 9), true, 5, 0),
            (threads(2, 2, 9), true, 9, 2),
            (threads(16, 16, 9), true, 9, 16),
            (threads(48, 48, 9), true, 9, 16),
            (threads(64, 64, 9), true, 9, 0),
        ] {
            assert_eq!(threads.wanted(ready, before, 2, 64), wanted, "{threads:?}");
        }
        assert_eq!(
            threads(1, 1, 0).wanted(true, 0, 2, 1),
            0,
            "the limit is the limit"
        );
    }

    #[test]
    fn the_last_free_thread_stays() {
        let can_spare = |threads, busy| {
            ThreadPool {
                threads,
                busy,
                turns: 0,
            }
            .can_spare_one()
        };
        assert!(!can_spare(1, 0) && !can_spare(2, 1) && !can_spare(64, 63));
        assert!(can_spare(2, 0) && can_spare(64, 62));
    }
}
