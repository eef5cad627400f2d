//! The clock. Only what runs threads or is called by the user reads it: the machines get `now`.

use std::time::Instant;

/// The monotonic clock now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
