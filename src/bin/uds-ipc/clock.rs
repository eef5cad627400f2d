//! What time it is: the one place that reads the clock. What takes a time takes it as an argument.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "somebody has to")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
