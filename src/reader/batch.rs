//! What a turn at a connection brought, and what went wrong in it, which is counted at once.

use super::core::Core;
use super::handler::BoxError;
use crate::metrics::Tally;

/// What a turn brought, and what went wrong in it: the first of each, since more would not be told.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tally: Tally,
    /// How much was read, whole messages or not.
    pub(super) read_len: usize,
    /// There was an empty frame in it.
    pub(super) asks: bool,
    /// Its last message failed, and comes again.
    pub(super) last_failed: bool,
    pub(super) error: Option<BoxError>,
    pub(super) panic: Option<String>,
}

/// How a call of the handler failed.
#[derive(Debug)]
pub(super) enum Failure {
    Error(BoxError),
    Panic(String),
}

impl Batch {
    pub(super) fn note(&mut self, core: &Core, failure: Failure) {
        match failure {
            Failure::Error(error) => {
                core.counters.handler_errors.add(1);
                if self.error.is_some() {
                    core.let_go(error);
                } else {
                    self.error = Some(error);
                }
            }
            Failure::Panic(message) => {
                core.counters.panics.add(1);
                self.panic.get_or_insert(message);
            }
        }
    }
}
