//! Waiting for the writer's thread, and notifying the threads that wait.
//! Blocks only where a caller asked to wait.

use std::time::Duration;

use parking_lot::Condvar;

use crate::deadline::Deadline;
use crate::error::FlushError;
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::shared::locked::{Guard, Locked, Passage};
use crate::writer::shared::{Shared, deadline};

/// How long the start of a writer waits for the first try to connect, which over a Unix socket is
/// over at once.
const FIRST_TRY: Duration = Duration::from_millis(100);

/// How long a first message is waited for to be written.
const PASSAGE: Duration = Duration::from_millis(10);

impl Shared {
    /// Waits until there may be room; false when the time is over.
    pub(crate) fn wait_for_room(&self, locked: &mut Guard<'_>, deadline: Deadline) -> bool {
        self.wake_for_caller(locked);
        locked.waiting_for_room += 1;
        let in_time = Self::wait_on(&self.room, locked, deadline);
        locked.waiting_for_room -= 1;
        in_time
    }

    /// Waits for some progress; false when the time is over.
    pub(crate) fn wait(&self, locked: &mut Guard<'_>, deadline: Deadline) -> bool {
        self.wake_for_caller(locked);
        Self::wait_on(&self.progress, locked, deadline)
    }

    /// A lingering thread would let us wait for nothing, and a sleeping one does not look what was
    /// read.
    pub(crate) fn wake_for_caller(&self, locked: &mut Locked) {
        let is_worth_it = locked.queue.is_unwritten() || locked.watches_reads();
        if is_worth_it && locked.queue.must_wake() {
            self.waker.wake();
        }
    }

    pub(crate) fn wait_on(condvar: &Condvar, locked: &mut Guard<'_>, deadline: Deadline) -> bool {
        locked.waiting += 1;
        let in_time = if let Some(deadline) = deadline {
            !condvar.wait_until(&mut locked.0, deadline).timed_out()
        } else {
            condvar.wait(&mut locked.0);
            true
        };
        locked.waiting -= 1;
        in_time
    }

    /// Notifies the waiting threads that something has changed.
    pub(crate) fn notify_all(&self, locked: &mut Locked) {
        if locked.waiting_for_room > 0 {
            self.room.notify_all();
            locked.room_notices += 1;
        }
        if locked.waiting > locked.waiting_for_room {
            self.progress.notify_all();
            locked.progress_notices += 1;
        }
        #[cfg(feature = "async")]
        locked.tasks.wake_all();
    }

    /// Likewise, if anything has become free that they do not know of.
    pub(crate) fn notify_of_freed(&self, locked: &mut Locked) {
        if locked.queue.take_freed() {
            self.notify_all(locked);
        }
    }

    /// Waits until a first connection was tried: whoever begins to send finds the reader there.
    pub(crate) fn wait_for_first_try(&self) {
        let deadline = deadline(FIRST_TRY);
        let mut locked = self.lock();
        while locked.passage == Passage::Untried && locked.end().is_none() {
            if !Self::wait_on(&self.progress, &mut locked, deadline) {
                return;
            }
        }
    }

    /// Behind a message that was accepted: if the reader is there, and has yet to get the memory in
    /// which the queue stands, waits until the thread has passed it. The thread only has to write
    /// once, into an empty socket.
    pub(crate) fn wait_for_passage(&self) {
        if !self.is_crash_proof || self.scope.is_current() {
            return;
        }
        let mut locked = self.lock();
        if locked.passage != Passage::Due {
            return;
        }
        let deadline = deadline(PASSAGE);
        while locked.passage == Passage::Due && locked.end().is_none() {
            if !self.wait(&mut locked, deadline) {
                // An observer may hold the thread up. No other sender is to wait for that.
                return locked.set_passage(Passage::Settled);
            }
        }
    }

    /// Refuses new messages, and waits until all others have come to the level that is set, if the
    /// thread's own end does not wait for that. Reports any loss since the writer began.
    pub(crate) fn settle(&self, deadline: Deadline) -> Result<(), FlushError> {
        let mut locked = self.lock();
        locked.queue.close();
        self.notify_all(&mut locked);
        drop(locked);
        if self.shutdown_level == FlushLevel::Written || self.delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        self.flush_since(0, self.shutdown_level, deadline).map(drop)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "times in the real world")]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::writer::Writer;
    use crate::writer::send::Patience;

    /// Only a failure waits this long.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "waited in vain");
            thread::park_timeout(Duration::from_micros(200));
        }
    }

    #[test]
    fn a_shutdown_waits_for_a_write_that_is_under_way() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut worker = Writer::builder(&path).build().unwrap();
        wait_until(|| {
            assert!(worker.take_step().is_continue());
            worker.shared.counters.metrics().connects == 1
        });
        for _ in 0..2 {
            worker.shared.push_copy(Patience::None, b"message").unwrap();
        }
        let shared = Arc::clone(&worker.shared);
        let outbox = shared.lock().queue.begin_write();
        let now = Some(Instant::now());
        shared.drain(now);
        let waiting = Arc::clone(&shared);
        let shutdown = thread::spawn(move || waiting.wait_for_end(now).0.left);
        for _ in 0..3 {
            wait_until(|| shared.lock().waiting == 1 || shutdown.is_finished());
            assert!(
                shared.lock().end().is_none(),
                "the queue ended under the write"
            );
            thread::park_timeout(Duration::from_millis(10));
        }
        let len = outbox.remaining_len();
        let _taken = shared.lock().queue.end_write(outbox, len);
        assert_eq!(shutdown.join().unwrap().messages, 0, "it was written");
        assert_eq!(shared.counters.metrics().sent.messages, 2);
    }
}
