//! Batches as a stream of async code, whatever its runtime.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::batch::Batch;
use super::batch_queue::Next;
use super::batches::Batches;

/// With the feature `async`: for one task, on any runtime. It ends when the reader has.
impl Stream for Batches {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        let ready = |next| match next {
            Next::Batch(batch) => Poll::Ready(Some(batch)),
            Next::Nothing => Poll::Pending,
            Next::End => Poll::Ready(None),
        };
        let poll = ready(self.try_next());
        if poll.is_ready() {
            return poll;
        }
        self.queue.task.register(context.waker());
        // It may have come before the waker was there.
        ready(self.try_next())
    }
}
