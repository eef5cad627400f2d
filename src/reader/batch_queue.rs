//! The batches that wait for their receiver: a queue that a thread or a task waits at. It does not
//! spin: where processors are few, that takes time from those who fill it.

use std::collections::VecDeque;

#[cfg(feature = "async")]
use atomic_waker::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use super::batch::Batch;
#[cfg(feature = "async")]
use crate::panic_guard::guarded;

#[derive(Debug, Default)]
pub(super) struct BatchQueue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The task that waits for the next one.
    #[cfg(feature = "async")]
    pub(super) task: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// No more will come, or none will be taken.
    is_closed: bool,
}

/// What is to be had of the queue.
#[derive(Debug)]
pub(super) enum Next {
    Batch(Batch),
    Nothing,
    End,
}

impl BatchQueue {
    /// Adds a batch. Where none will be taken any more, it is dropped.
    pub(super) fn put(&self, batch: Batch) {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            drop(waiting);
            return drop(batch);
        }
        waiting.batches.push_back(batch);
        drop(waiting);
        self.changed.notify_one();
        #[cfg(feature = "async")]
        self.wake_task();
    }

    /// A runtime's code, which may panic: the batch is in the queue all the same.
    #[cfg(feature = "async")]
    fn wake_task(&self) {
        let _ = guarded(|| self.task.wake());
    }

    pub(super) fn try_next(&self) -> Next {
        loop {
            let mut waiting = self.waiting.lock();
            let batch = waiting.batches.pop_front();
            let is_closed = waiting.is_closed;
            drop(waiting);
            match batch {
                Some(batch) if batch.is_void() => {}
                Some(batch) => return Next::Batch(batch),
                None if is_closed => return Next::End,
                None => return Next::Nothing,
            }
        }
    }

    /// Waits for a batch. `None` is the end.
    pub(super) fn next(&self) -> Option<Batch> {
        loop {
            match self.try_next() {
                Next::Batch(batch) => return Some(batch),
                Next::End => return None,
                Next::Nothing => {
                    let mut waiting = self.waiting.lock();
                    if waiting.batches.is_empty() && !waiting.is_closed {
                        self.changed.wait(&mut waiting);
                    }
                }
            }
        }
    }

    /// No more will come.
    pub(super) fn end(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_all();
        #[cfg(feature = "async")]
        self.wake_task();
    }

    /// None will be taken any more.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        let left = std::mem::take(&mut waiting.batches);
        drop(waiting);
        drop(left);
    }
}
