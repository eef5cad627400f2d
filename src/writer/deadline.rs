//! Moments to end at.
//! Pure: `now` comes in.

use std::time::Instant;

/// A moment to end at. `None` is too far off to have a name.
pub(super) type Deadline = Option<Instant>;

/// Whether `at` is past.
pub(super) fn has_come(at: Deadline, now: Instant) -> bool {
    at.is_some_and(|at| now >= at)
}

/// The earlier of two deadlines.
pub(super) fn earlier(a: Deadline, b: Deadline) -> Deadline {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
