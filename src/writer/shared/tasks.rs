//! The tasks that wait for room or for progress: with the feature `async`.
//! Values: who wakes them does so without the lock.

use std::mem;
use std::task::Waker;

/// Tasks that wait. A place is kept until its task has done with it, so that one that is forgotten
/// takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    next: u64,
    waiting: Vec<(Place, Option<Waker>)>,
    due: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Tasks {
    /// A place for a task that begins to wait.
    pub(crate) fn add(&mut self) -> Place {
        self.next += 1;
        let place = Place(self.next);
        self.waiting.push((place, None));
        place
    }

    /// The task is to be woken at the next change.
    pub(crate) fn wait(&mut self, place: Place, waker: &Waker) {
        for (_, waiting) in self.waiting.iter_mut().filter(|(at, _)| *at == place) {
            // The one before may be the same, and its drop is the runtime's code.
            if !waiting.as_ref().is_some_and(|it| it.will_wake(waker)) {
                self.due.extend(waiting.replace(waker.clone()));
            }
        }
    }

    /// The task waits no more.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(index) = self.waiting.iter().position(|(at, _)| *at == place) {
            // To be dropped without the lock: to wake a task in vain does no harm.
            let (_, waker) = self.waiting.swap_remove(index);
            self.due.extend(waker);
        }
    }

    /// Something has changed.
    pub(crate) fn wake_all(&mut self) {
        let wakers = self
            .waiting
            .iter_mut()
            .filter_map(|(_, waker)| waker.take());
        self.due.extend(wakers);
    }

    /// Those to be woken now.
    pub(crate) fn take_due(&mut self) -> Vec<Waker> {
        mem::take(&mut self.due)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
