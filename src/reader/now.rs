//! The clock that the reader's threads look at.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "the threads are where time comes from"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
