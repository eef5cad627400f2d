//! Batches as a stream of async code, whatever its runtime.

use std::pin::Pin;
use std::task::{Context, Poll};

use crossbeam_channel::TryRecvError;
use futures_core::Stream;

use super::batches::{Batch, Batches};

/// With the feature `async`: for one task, on any runtime. It ends when the reader has.
impl Stream for Batches {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        match self.next() {
            Err(TryRecvError::Empty) => {}
            result => return Poll::Ready(result.ok()),
        }
        self.task.register(context.waker());
        // It may have come before the waker was there.
        match self.next() {
            Err(TryRecvError::Empty) => Poll::Pending,
            result => Poll::Ready(result.ok()),
        }
    }
}
