//! What those who wait are told by: a condition variable. The simulation waits for none, and counts
//! what it would have been told.

#[cfg(not(test))]
pub(super) use parking_lot::Condvar as Signal;

#[cfg(test)]
pub(super) use counted::Signal;

#[cfg(test)]
mod counted {
    use std::ops::Deref;
    use std::sync::atomic::{AtomicU64, Ordering};

    use parking_lot::Condvar;

    #[derive(Debug)]
    pub(in super::super) struct Signal {
        condvar: Condvar,
        told: AtomicU64,
    }

    impl Signal {
        pub(in super::super) fn new() -> Self {
            Self {
                condvar: Condvar::new(),
                told: AtomicU64::new(0),
            }
        }

        pub(in super::super) fn notify_all(&self) {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.condvar.notify_all();
        }

        /// How often all who wait were told: one that is told alone may have given up.
        pub(in super::super) fn told(&self) -> u64 {
            self.told.load(Ordering::Relaxed)
        }
    }

    impl Deref for Signal {
        type Target = Condvar;

        fn deref(&self) -> &Condvar {
            &self.condvar
        }
    }
}
