//! How a reader is, for whoever watches it from outside.

use std::fmt;
use std::sync::Arc;

use super::pool_size::Progress;
use super::shared::Core;
use crate::address::Address;
use crate::event::ReaderEvent;

pub(crate) struct Vitals(pub(super) Arc<Core>);

impl Vitals {
    /// What must have changed by the next look if the reader is alive.
    pub(crate) fn progress(&self) -> Progress {
        let inner = self.0.inner.lock();
        let served = inner.entries.values().filter(|entry| entry.is_served);
        Progress::new(
            &inner.crew,
            served.map(|entry| entry.connection.handled()).sum(),
        )
    }

    /// Has an event told by one of the reader's threads.
    pub(crate) fn tell_later(&self, event: impl FnOnce(Address) -> ReaderEvent) {
        self.0.tell_later(event(self.0.address.clone()));
    }
}

/// Where it listens, and its figures.
impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.address, self.0.counters.metrics())
    }
}
