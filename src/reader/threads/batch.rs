//! What a turn at a connection brought, and what went wrong in it, which is counted at once.

use crate::metrics::Tally;
use crate::reader::handler::BoxError;
use crate::reader::shared::Core;

/// What a turn brought, and what went wrong in it: the first of each, since more would not be told.
#[derive(Debug, Default)]
pub(in crate::reader) struct Batch {
    pub(in crate::reader) tally: Tally,
    /// How much was read, whole messages or not.
    pub(in crate::reader) read_len: usize,
    /// There was an empty frame in it.
    pub(in crate::reader) asks: bool,
    /// Its last message failed, and comes again.
    pub(in crate::reader) last_failed: bool,
    pub(in crate::reader) error: Option<BoxError>,
    pub(in crate::reader) panic: Option<String>,
}

/// How a call of the handler failed.
#[derive(Debug)]
pub(in crate::reader) enum Failure {
    Error(BoxError),
    Panic(String),
}

impl Batch {
    pub(in crate::reader) fn note(&mut self, core: &Core, failure: Failure) {
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
