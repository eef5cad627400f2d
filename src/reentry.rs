//! Whether the current thread is inside a callback of a given writer or reader.
//! Only remembers; what follows from it is the caller's business.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static INSIDE: Cell<Option<Scope>> = const { Cell::new(None) };
}

/// The threads that run callbacks of one writer or reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope(u64);

impl Scope {
    /// A scope unlike any other in this process.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its number, which is never 0.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Marks the current thread as this object's own: its threads do nothing else.
    pub(crate) fn enter(self) {
        INSIDE.set(Some(self));
    }

    /// Whether the caller runs on one of this object's threads, that is in one of its callbacks.
    pub(crate) fn is_current(self) -> bool {
        // During the thread's own end its locals are gone, and then no callback runs on it.
        INSIDE
            .try_with(|inside| inside.get() == Some(self))
            .unwrap_or(false)
    }
}
