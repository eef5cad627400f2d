//! A sender who waits for room writes in the thread's stead: what it has just put into the queue lies in its processor's cache, and a thread on
//! another one would have to fetch it from there. So, under load, no more threads are at work than there would be without a queue.
//!
//! The thread lends its worker and rests. The sender takes it for one write at a time, which never blocks; whatever is not simply a write, it leaves
//! to the thread. Several senders would only get in each other's way: for them the thread writes.

use std::fmt;
use std::mem;
use std::process;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::attention::{Attention, Wake};
use super::kernel::{Kernel, System};
use super::outbox::Portion;
use super::shared::{Inner, Life, Shared};
use super::worker::Worker;
use crate::sys::{self, Wanted};

/// Who has the worker.
pub(super) enum Post {
    /// The thread.
    Held,
    /// Nobody: a sender may take it.
    Lent(Box<Worker<System>>),
    /// A sender, for one write.
    Helping,
}

impl Post {
    fn take_lent(&mut self) -> Option<Box<Worker<System>>> {
        match mem::replace(self, Self::Helping) {
            Self::Lent(worker) => Some(worker),
            other @ (Self::Held | Self::Helping) => {
                *self = other;
                None
            }
        }
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "Held",
            Self::Lent(_) => "Lent",
            Self::Helping => "Helping",
        })
    }
}

impl Inner {
    /// Whether nobody counts on the thread itself. Who waits for something else than room may have found it awake, and so not woken it.
    pub(super) fn may_lend(&self) -> bool {
        matches!(self.life, Life::Running) && self.waiting == self.waiting_for_room
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
    inner.queue.set_attention(Attention::Lent);
    inner.post = Post::Lent(worker);
    shared.tell(&mut inner);
    drop(inner);
    let ready = sys::wait(&shared.waker, None, Wanted::default(), Some(rest));
    if ready.woken {
        shared.waker.reset();
    }
    let mut worker = shared.take_back();
    if ready.woken {
        worker.state.end_lending();
    }
    worker
}

impl Shared {
    /// Writes once in the thread's stead, if that is what is next. Says when; `None` when it is not.
    pub(super) fn help(&self, inner: &mut MutexGuard<'_, Inner>) -> Option<Instant> {
        // A forked child must not write to its parent's connection.
        if !matches!(inner.post, Post::Lent(_)) || self.process != process::id() {
            return None;
        }
        let mut worker = inner.post.take_lent()?;
        let written_at = MutexGuard::unlocked(inner, || worker.help());
        inner.post = Post::Lent(worker);
        // The thread, which may want it back.
        self.progress.notify_all();
        if written_at.is_none() && inner.queue.rouse() == Wake::Yes {
            self.waker.wake();
        }
        written_at
    }

    /// Ends the lending, once the sender who is at it has written.
    fn take_back(&self) -> Box<Worker<System>> {
        let mut inner = self.inner.lock();
        inner.queue.set_attention(Attention::Awake);
        loop {
            if let Some(worker) = inner.post.take_lent() {
                inner.post = Post::Held;
                return worker;
            }
            Self::wait_on(&self.progress, &mut inner, None);
        }
    }
}

impl<K: Kernel> Worker<K> {
    /// Writes once, if that is what is next. Says when; `None` when the thread is needed.
    pub(super) fn help(&mut self) -> Option<Instant> {
        if self.trouble.is_some() {
            return None;
        }
        let now = self.kernel.now();
        let mut inner = self.shared.inner.lock();
        let is_alone = inner.waiting == 0;
        if !(is_alone && inner.may_lend() && self.state.may_help(now, inner.pending())) {
            return None;
        }
        let outbox = inner.queue.begin_write();
        drop(inner);
        match self.write(outbox, Portion::All) {
            Ok(true) => {
                self.state.lend(now);
                Some(now)
            }
            Ok(false) => None,
            Err(trouble) => {
                self.trouble = Some(trouble);
                None
            }
        }
    }
}
