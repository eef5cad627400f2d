//! A sender who waits for room writes in the thread's stead: what it has just put into the queue lies in its processor's cache, and a thread on
//! another one would have to fetch it from there. So, under load, no more threads are at work than there would be without a queue.
//!
//! The thread lends its worker and rests. The sender takes it for one write at a time, which never blocks; whatever is not simply a write, it leaves
//! to the thread. Several senders would only get in each other's way: for them the thread writes.

use std::fmt;
use std::mem;
use std::process;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::attention::Wake;
use super::deadline::{Deadline, has_come};
use super::kernel::{Kernel, System};
use super::outbox::Portion;
use super::shared::{Inner, Life, Shared};
use super::worker::{Trouble, Worker, is_reset};
use crate::observer::guarded;

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
    pub(super) fn take_lent(&mut self) -> Option<Box<Worker<System>>> {
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

impl Shared {
    /// Writes once in the thread's stead, if that is what is next and the time is not over. Says when it had; `None` when it has not.
    pub(super) fn help(&self, inner: &mut MutexGuard<'_, Inner>, deadline: Deadline) -> Option<Instant> {
        // A forked child must not write to its parent's connection.
        if self.process != process::id() {
            return None;
        }
        let mut worker = inner.post.take_lent()?;
        // Whatever happens, the thread must have it back.
        let helped = MutexGuard::unlocked(inner, || guarded(|| worker.help(deadline)));
        inner.post = Post::Lent(worker);
        // The thread may want it.
        self.progress.notify_all();
        let written_at = helped.ok().flatten();
        if written_at.is_some() {
            inner.queue.on_helped();
        } else if inner.queue.rouse() == Wake::Yes {
            self.waker.wake();
        }
        written_at
    }
}

impl<K: Kernel> Worker<K> {
    /// Writes once, if that is what is next. Says when it had; `None` when the thread is needed, or the time is over.
    pub(super) fn help(&mut self, deadline: Deadline) -> Option<Instant> {
        let now = self.kernel.now();
        if has_come(deadline, now) || self.bad_receipt.is_some() {
            return None;
        }
        let mut inner = self.shared.inner.lock();
        let is_alone = inner.waiting == 0;
        if !(is_alone && inner.may_lend() && self.state.may_help(now, inner.pending())) {
            return None;
        }
        let outbox = inner.queue.begin_write();
        drop(inner);
        let written = self.write(outbox, Portion::All);
        let now = self.kernel.now();
        match written {
            Ok(true) => {
                self.state.lend(now);
                Some(now)
            }
            Ok(false) => None,
            // It may be this sender alone who may not write. The thread will see.
            Err(Trouble::Refused(error)) => {
                self.was_reset |= is_reset(&error);
                None
            }
            Err(Trouble::BadReceipt(bad)) => {
                self.bad_receipt = Some(bad);
                None
            }
        }
    }
}
