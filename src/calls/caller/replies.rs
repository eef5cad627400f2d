//! The answers to one call, as an iterator.

use std::iter::FusedIterator;
use std::sync::Arc;

use super::driver::Shared;
use super::machine::{Key, Outcome};
use crate::calls::error::CallError;

/// The answers to a call with several: see [`Caller::call_many`](super::Caller::call_many).
///
/// Each step waits for the next answer, as long as the call's time lasts. After an error, and after
/// the last answer, there is nothing more. To drop it before cancels the call.
#[derive(Debug)]
#[must_use = "a dropped iterator cancels the call"]
pub struct Replies {
    shared: Arc<Shared>,
    /// `None` once it is over.
    key: Option<Key>,
}

impl Replies {
    pub(super) fn new(shared: Arc<Shared>, key: Key) -> Self {
        Self {
            shared,
            key: Some(key),
        }
    }
}

impl Iterator for Replies {
    type Item = Result<Vec<u8>, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.shared.wait(self.key?) {
            Outcome::Answer { body, is_last } => {
                self.key = self.key.filter(|_| !is_last);
                Some(Ok(body.into()))
            }
            end @ (Outcome::End(_) | Outcome::Pending) => {
                self.key = None;
                end.end().err().map(Err)
            }
        }
    }
}

impl FusedIterator for Replies {}

impl Drop for Replies {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.forget(key);
        }
    }
}
