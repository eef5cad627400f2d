//! The clock. Only what runs threads or is called by the user reads it: the machines get `now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The clock on the wall, as what has passed since 1970; nothing for one that stands before that.
pub(crate) fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
