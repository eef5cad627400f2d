//! How tests wait: for conditions, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// Only a failure waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How late what has a timeout may be, on a machine that has much else to do.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// Waits until `is_so`; fails with `what` when patience is over.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::park_timeout(Duration::from_micros(200));
    }
}
