//! Moments by which something ends or is due.
//! Pure: `now` comes in.

use std::time::{Duration, Instant};

/// Such a moment. `None` is never: too far off for the clock to name it.
pub(crate) type Deadline = Option<Instant>;

/// The moment that is `duration` after `now`.
pub(crate) fn after(now: Instant, duration: Duration) -> Deadline {
    now.checked_add(duration)
}

/// Whether `at` is past.
pub(crate) fn has_come(at: Deadline, now: Instant) -> bool {
    at.is_some_and(|at| now >= at)
}

/// The earlier of two moments.
pub(crate) fn earlier(a: Deadline, b: Deadline) -> Deadline {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// How long it is until `at`: nothing once that has come, `None` for never.
pub(crate) fn remaining(at: Deadline, now: Instant) -> Option<Duration> {
    at.map(|at| at.saturating_duration_since(now))
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to count from"
)]
mod tests {
    use super::*;

    #[test]
    fn never_is_later_than_any_moment_and_never_comes() {
        let now = Instant::now();
        let soon = after(now, Duration::from_secs(1));
        let never = after(now, Duration::MAX);
        assert_eq!(never, None);
        assert!(!has_come(never, now));
        assert_eq!(remaining(never, now), None);
        assert_eq!((earlier(soon, never), earlier(never, soon)), (soon, soon));
        assert_eq!(earlier(never, never), never);
    }

    #[test]
    fn a_moment_has_come_from_itself_on_and_then_nothing_remains() {
        const SECOND: Duration = Duration::from_secs(1);

        let now = Instant::now();
        let at = after(now, SECOND);
        assert!(!has_come(at, now));
        assert_eq!(remaining(at, now), Some(SECOND));
        for later in [now + SECOND, now + 2 * SECOND] {
            assert!(has_come(at, later));
            assert_eq!(remaining(at, later), Some(Duration::ZERO));
        }
        assert_eq!(earlier(at, Some(now)), Some(now));
    }
}
