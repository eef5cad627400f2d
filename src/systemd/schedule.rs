//! When systemd is notified next: watchdog pings, figures, and more time to stop.
//! Pure: `now` comes in.

use std::time::{Duration, Instant};

use crate::deadline::{Deadline, after, earlier, has_come};

/// How often the figures are sent, if they have changed.
const STATUS_PACE: Duration = Duration::from_secs(5);

/// How often more time to stop is asked for, and for how long each time: two may be lost.
const EXTEND_PACE: Duration = Duration::from_secs(2);
pub(super) const EXTENSION: Duration = Duration::from_secs(6);

/// How soon a notification that found no room is tried again.
const RETRY_PACE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Schedule {
    /// How long systemd waits for a sign of life, if it does.
    watchdog: Option<Duration>,
    next_watchdog: Deadline,
    next_status: Deadline,
    /// While it stops.
    next_extension: Deadline,
    is_stopping: bool,
}

/// Which notifications are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) watchdog: bool,
    pub(super) status: bool,
    pub(super) extension: bool,
}

impl Schedule {
    /// `watchdog` is how long systemd waits for a sign of life, if it does. A timeout of zero
    /// disables it.
    pub(super) fn new(now: Instant, watchdog: Option<Duration>) -> Self {
        let watchdog = watchdog.filter(|timeout| !timeout.is_zero());
        Self {
            watchdog,
            next_watchdog: watchdog.and_then(|timeout| after(now, timeout / 2)),
            next_status: after(now, STATUS_PACE),
            next_extension: None,
            is_stopping: false,
        }
    }

    /// The service stops: from now on more time is asked for.
    pub(super) fn stop(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_stopping, true) {
            self.next_extension = after(now, EXTEND_PACE);
        }
    }

    /// What is due at `now`: each counts as done with this.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let is_due = |next: &mut Deadline, pace: Option<Duration>| {
            let is_due = has_come(*next, now);
            if is_due {
                *next = pace.and_then(|pace| after(now, pace));
            }
            is_due
        };
        Due {
            watchdog: is_due(
                &mut self.next_watchdog,
                self.watchdog.map(|timeout| timeout / 2),
            ),
            status: is_due(&mut self.next_status, Some(STATUS_PACE)),
            extension: is_due(&mut self.next_extension, Some(EXTEND_PACE)),
        }
    }

    /// There was no sign of life, or no room for it: looks again in an eighth of the timeout, which
    /// leaves time for four looks.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.next_watchdog = self.watchdog.and_then(|timeout| after(now, timeout / 8));
    }

    /// When something is due next. `has_unsent` is whether a notification found no room.
    pub(super) fn next(&self, now: Instant, has_unsent: bool) -> Deadline {
        let retry = if has_unsent {
            after(now, RETRY_PACE)
        } else {
            None
        };
        [self.next_watchdog, self.next_status, self.next_extension]
            .into_iter()
            .fold(retry, earlier)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to count from"
)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sign_of_life_is_due_at_half_of_what_systemd_waits_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, Some(SECOND));
        assert_eq!(schedule.next(start, false), Some(start + SECOND / 2));
        assert_eq!(schedule.due(start), Due::default());
        let half = start + SECOND / 2;
        assert_eq!(
            schedule.due(half),
            Due {
                watchdog: true,
                ..Due::default()
            }
        );
        assert_eq!(schedule.due(half), Due::default());
        assert_eq!(schedule.next(half, false), Some(start + SECOND));
        // Where there was none, it can still come in time.
        schedule.look_again(half);
        assert_eq!(schedule.next(half, false), Some(half + SECOND / 8));
    }

    #[test]
    fn without_a_watchdog_only_the_figures_are_sent() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, None);
        assert_eq!(schedule.next(start, false), Some(start + STATUS_PACE));
        assert_eq!(
            schedule.due(start + STATUS_PACE),
            Due {
                status: true,
                ..Due::default()
            }
        );
        assert_eq!(
            schedule.next(start + STATUS_PACE, true),
            Some(start + STATUS_PACE + RETRY_PACE)
        );
    }

    #[test]
    fn a_watchdog_without_time_is_none_and_one_with_all_time_is_never_due() {
        let start = Instant::now();
        for timeout in [
            Duration::ZERO,
            Duration::MAX,
            Duration::from_micros(u64::MAX),
        ] {
            let mut schedule = Schedule::new(start, Some(timeout));
            assert_eq!(
                schedule.next(start, false),
                Some(start + STATUS_PACE),
                "{timeout:?}"
            );
            assert!(!schedule.due(start + STATUS_PACE).watchdog, "{timeout:?}");
        }
    }

    #[test]
    fn more_time_is_asked_for_again_and_again_before_the_last_is_over() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, None);
        schedule.stop(start);
        let (mut now, mut last) = (start, start);
        while now < start + 60 * SECOND {
            now = schedule.next(now, false).unwrap();
            if schedule.due(now).extension {
                assert!(now < last + EXTENSION / 2, "two may be lost");
                last = now;
            }
            // Stopping twice changes nothing.
            schedule.stop(now);
        }
        assert!(last > start + 57 * SECOND);
    }
}
