//! What a turn at a connection brought, and what went wrong in it.
//! Values: what is counted and told of it is the turn's business.

use crate::metrics::Tally;
use crate::reader::handler::BoxError;

/// What a turn brought, and what went wrong in it: the first of each, since more would not be told.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tally: Tally,
    /// Messages that had come on an earlier connection.
    pub(super) repeated: u64,
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
    /// Keeps a failure to be told of. Returns an error that is not kept: the user's code may run
    /// when it is dropped.
    pub(super) fn note(&mut self, failure: Failure) -> Option<BoxError> {
        match failure {
            Failure::Error(error) if self.error.is_some() => return Some(error),
            Failure::Error(error) => self.error = Some(error),
            Failure::Panic(message) => {
                self.panic.get_or_insert(message);
            }
        }
        None
    }
}
