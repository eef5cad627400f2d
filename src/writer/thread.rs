//! The writer's thread: one step after the other, and rest while a sender writes.

use std::sync::Arc;
use std::time::Instant;

use super::attention::Attention;
use super::helping::Post;
use super::kernel::{Kernel, System};
use super::shared::{Life, Shared};
use super::worker::{Turn, Worker};
use crate::event::WriterEvent;
use crate::observer::{Observer, guarded};
use crate::sys::{self, Wanted, asymmetric_fence};

/// The thread.
pub(super) fn run(mut worker: Box<Worker<System>>) {
    asymmetric_fence::prepare();
    worker.shared.scope.enter();
    loop {
        worker = match worker.take_step() {
            Turn::Next => worker,
            Turn::Lend(until) => lend(worker, until),
            Turn::End => return worker.end(),
        };
    }
}

/// Rests, at the latest until then, while a sender writes.
pub(super) fn lend(mut worker: Box<Worker<System>>, until: Instant) -> Box<Worker<System>> {
    let shared = Arc::clone(&worker.shared);
    let rest = until.saturating_duration_since(worker.kernel.now());
    let mut inner = shared.inner.lock();
    if !inner.may_lend() {
        worker.state.end_lending();
        return worker;
    }
    inner
        .queue
        .set_attention(Attention::Lent { has_refused: false });
    inner.post = Post::Lent(worker);
    shared.tell(&mut inner);
    drop(inner);
    let ready = sys::wait(&shared.waker, None, Wanted::default(), Some(rest));
    if ready.woken {
        shared.waker.reset();
    }
    let (mut worker, is_helped) = shared.take_back();
    // A queue that a sender keeps full by writing no more than it sends would stay full for ever,
    // also where there is time between its messages.
    if ready.woken || !is_helped {
        worker.state.end_lending();
    }
    worker
}

impl Shared {
    /// Ends the lending, once the sender who is at it, if there is one, has written. Says whether
    /// there was.
    pub(super) fn take_back(&self) -> (Box<Worker<System>>, bool) {
        let mut inner = self.inner.lock();
        inner.queue.set_attention(Attention::Awake);
        let is_helped = matches!(inner.post, Post::Helping);
        loop {
            if let Some(worker) = inner.post.take_lent() {
                inner.post = Post::Held;
                return (worker, is_helped);
            }
            Self::wait_on(&self.progress, &mut inner, None);
        }
    }
}

impl Worker<System> {
    /// Ends the thread.
    fn end(mut self) {
        let left = self.finish();
        self.tell(|address| WriterEvent::Stopped { address, left });
        // What the user's closure holds goes before the end is told: nobody is to wait for it
        // beyond a timeout.
        let observer = std::mem::replace(&mut self.observer, Observer::none());
        let _ = guarded(|| drop(observer));
        let mut inner = self.shared.inner.lock();
        if let Life::Ended(end) = inner.life {
            inner.life = Life::Gone(end);
        }
        self.shared.tell(&mut inner);
    }
}
