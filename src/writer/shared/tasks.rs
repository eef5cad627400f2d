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
    /// Not to be woken, and to be dropped without the lock.
    done: Vec<Waker>,
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
    pub(crate) fn wait(&mut self, place: Place, waker: Waker) {
        let waiting = self.waiting.iter_mut().find(|(at, _)| *at == place);
        let before = match waiting {
            Some((_, before)) => before.replace(waker),
            None => Some(waker),
        };
        self.done.extend(before);
    }

    /// The task waits no more.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(index) = self.waiting.iter().position(|(at, _)| *at == place) {
            let (_, waker) = self.waiting.swap_remove(index);
            self.done.extend(waker);
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

    /// Those to be woken now, and those to be dropped.
    pub(crate) fn take_due(&mut self) -> (Vec<Waker>, Vec<Waker>) {
        (mem::take(&mut self.due), mem::take(&mut self.done))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
