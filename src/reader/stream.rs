//! Batches as a stream of async code, whatever its runtime.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crossbeam_channel::TryRecvError;
use futures_core::Stream;
use parking_lot::Mutex;

use super::batches::{Batch, Batches};

/// The task that waits for the next batch.
#[derive(Debug, Default)]
pub(super) struct Task(Mutex<Option<Waker>>);

impl Task {
    /// Something has come, or the end.
    pub(super) fn wake(&self) {
        let waker = self.0.lock().take();
        // Without the lock: it is the runtime's code.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn set(&self, waker: &Waker) {
        let before = self.0.lock().replace(waker.clone());
        drop(before);
    }
}

/// With the feature `async`: for one task, on any runtime. It ends when the reader has.
impl Stream for Batches {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        match self.next() {
            Err(TryRecvError::Empty) => {}
            result => return Poll::Ready(result.ok()),
        }
        self.task.set(context.waker());
        // It may have come before the waker was there.
        match self.next() {
            Err(TryRecvError::Empty) => Poll::Pending,
            result => Poll::Ready(result.ok()),
        }
    }
}
