//! How long tests and benches wait for what must come. No timeout of the crate's.

use std::time::Duration;

/// Only a failure waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
