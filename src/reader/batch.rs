//! What a turn at a connection brought, and what went wrong in it, which is counted at once.

use std::error::Error;

use super::core::Core;
use crate::metrics::Tally;

/// What a turn brought, and what went wrong in it: the first of each, since more would not be told.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tally: Tally,
    /// How much was read, whole messages or not.
    pub(super) read_len: usize,
    /// There was an empty frame in it.
    pub(super) asks: bool,
    pub(super) error: Option<BoxError>,
    pub(super) panic: Option<String>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Batch {
    pub(super) fn note_error(&mut self, core: &Core, error: BoxError) {
        core.counters.handler_errors.add(1);
        if self.error.is_some() {
            core.let_go(error);
        } else {
            self.error = Some(error);
        }
    }

    pub(super) fn note_panic(&mut self, core: &Core, message: String) {
        core.counters.panics.add(1);
        self.panic.get_or_insert(message);
    }
}
