//! A sender who waits for room writes in the thread's stead: what it has just put into the queue
//! lies in its processor's cache, and a thread on another one would have to fetch it from there.
//! So, under load, no more threads are at work than there would be without a queue.
//!
//! The thread lends its worker and rests. The sender takes it for one write at a time, which never
//! blocks; whatever is not simply a write, it leaves to the thread. Several senders would only get
//! in each other's way: for them the thread writes.

use std::fmt;
use std::mem;
use std::process;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::attention::Wake;
use super::kernel::{Kernel, System};
use super::outbox::Portion;
use super::shared::{Inner, Life, Shared};
use super::worker::{Trouble, Worker, is_reset};
use crate::deadline::{Deadline, has_come};
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
    /// Whether nobody counts on the thread itself. Who waits for something else than room may have
    /// found it awake, and so not woken it.
    pub(super) fn may_lend(&self) -> bool {
        matches!(self.life, Life::Running) && self.waiting == self.waiting_for_room
    }
}

impl Shared {
    /// Writes once in the thread's stead, if that is what is next and the time is not over. Says
    /// when it had; `None` when it has not.
    pub(super) fn help(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        deadline: Deadline,
    ) -> Option<Instant> {
        // A forked child must not write to its parent's connection.
        if self.process != process::id() {
            return None;
        }
        let mut worker = inner.post.take_lent()?;
        // Whatever happens, the thread must have it back.
        let helped = MutexGuard::unlocked(inner, || guarded(|| worker.help(deadline)));
        self.give_back(inner, worker);
        let written_at = helped.ok().flatten();
        if written_at.is_some() {
            inner.queue.on_helped();
        } else if inner.queue.rouse() == Wake::Yes {
            self.waker.wake();
        }
        written_at
    }

    fn give_back(&self, inner: &mut Inner, worker: Box<Worker<System>>) {
        inner.post = Post::Lent(worker);
        // The thread may want it.
        self.progress.notify_all();
    }
}

impl<K: Kernel> Worker<K> {
    /// Writes once, if that is what is next. Says when it had; `None` when the thread is needed, or
    /// the time is over.
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "times in the real world")]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::super::Writer;
    use super::super::flush::Level;
    use super::super::shared::Patience;
    use super::super::thread::lend;
    use super::super::worker::Turn;
    use super::*;

    /// Only a failure waits this long.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "waited in vain");
            thread::park_timeout(Duration::from_micros(200));
        }
    }

    /// A worker that is connected, with a queue of two messages that is full; and what it is
    /// connected to.
    fn full() -> (Box<Worker<System>>, UnixListener) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let builder = Writer::builder(&path).queue_capacity(2);
        let mut worker = Box::new(builder.build().unwrap());
        wait_until(|| {
            assert_eq!(worker.take_step(), Turn::Next);
            worker.shared.counters.metrics().connects == 1
        });
        for _ in 0..2 {
            worker.shared.send(Patience::None, b"message").unwrap();
        }
        (worker, listener)
    }

    #[test]
    fn a_sender_writes_with_the_worker_that_the_thread_lends_and_the_thread_has_it_back() {
        let (worker, _listener) = full();
        let shared = Arc::clone(&worker.shared);
        let thread = thread::spawn(|| lend(worker, Instant::now() + 2 * PATIENCE));
        wait_until(|| matches!(shared.inner.lock().post, Post::Lent(_)));
        shared.send(Patience::For(PATIENCE), b"message").unwrap();
        assert_eq!(
            shared.counters.metrics().sent.messages,
            2,
            "nobody else could"
        );
        assert!(matches!(shared.inner.lock().post, Post::Lent(_)));
        // Who waits for something else needs the thread.
        let flushing = Arc::clone(&shared);
        let flush = thread::spawn(move || flushing.flush(Level::Written, None));
        let mut worker = thread.join().unwrap();
        assert!(matches!(shared.inner.lock().post, Post::Held));
        while shared.counters.metrics().sent.messages < 3 {
            assert_eq!(worker.take_step(), Turn::Next);
        }
        flush.join().unwrap().unwrap();
    }

    #[test]
    fn the_thread_waits_for_a_worker_that_a_sender_has() {
        let (worker, _listener) = full();
        let shared = Arc::clone(&worker.shared);
        shared.inner.lock().post = Post::Lent(worker);
        let worker = shared.inner.lock().post.take_lent().unwrap();
        let (back, came) = mpsc::channel();
        let taking = Arc::clone(&shared);
        thread::spawn(move || back.send(taking.take_back().1));
        wait_until(|| shared.inner.lock().waiting == 1);
        assert!(came.try_recv().is_err());
        shared.give_back(&mut shared.inner.lock(), worker);
        assert_eq!(
            came.recv_timeout(PATIENCE),
            Ok(true),
            "somebody was helping"
        );
        assert!(matches!(shared.inner.lock().post, Post::Held));
    }

    #[test]
    fn whoever_shuts_down_waits_for_a_write_that_is_under_way() {
        let (worker, _listener) = full();
        let shared = Arc::clone(&worker.shared);
        let outbox = shared.inner.lock().queue.begin_write();
        let now = Some(Instant::now());
        shared.drain(now);
        let waiting = Arc::clone(&shared);
        let shutdown = thread::spawn(move || waiting.wait_for_end(now).0.left);
        for _ in 0..3 {
            wait_until(|| shared.inner.lock().waiting == 1 || shutdown.is_finished());
            assert!(
                shared.inner.lock().end().is_none(),
                "the queue ended under the write"
            );
            thread::park_timeout(Duration::from_millis(10));
        }
        let len = outbox.remaining_len();
        let _taken = shared.inner.lock().queue.end_write(outbox, len);
        assert_eq!(shutdown.join().unwrap().messages, 0, "it was written");
        assert_eq!(shared.counters.metrics().sent.messages, 2);
    }
}
