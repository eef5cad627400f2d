//! The sending end.
//! Thin: what sends is the queue, what decides is the state, what waits is the worker.

mod ack_tracker;
mod builder;
mod counters;
#[cfg(fuzzing)]
pub mod fuzzing;
mod lane;
mod queue;
mod settings;
mod shared;
#[cfg(test)]
mod simulation;
mod slot;
mod state;
mod thread;
mod wake;

use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use builder::WriterBuilder;
pub use settings::{Delivery, Level, Overflow};
pub use shared::flush::Flushed;
pub use slot::WriteSlot;

use crate::address::Address;
use crate::error::{FlushError, SendError, ShutdownError, StartError};
use crate::message::Message;
use crate::metrics::{Tally, WriterMetrics};
use crate::own_thread::OwnThread;
use queue::block::{MOST_COPIED, OWN_BLOCK_SIZE};
use shared::{Patience, Shared, deadline};

/// How long a writer that is dropped without a shutdown still drains.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The sending end: takes messages at once, and sends them from a thread of its own.
///
/// All methods take `&self`: share a writer between threads by reference or in an `Arc`. Messages
/// of one thread arrive in the order in which it sent them, on one connection; see
/// [`write_timeout`](WriterBuilder::write_timeout) for two. Those of different threads
/// have no order among each other.
///
/// A thread that sends keeps up to 128 KiB of memory for it until it ends, or sends through another
/// writer after this one is gone.
///
/// Dropped, it sends what is queued for up to a second; [`shutdown`](Self::shutdown) says how long
/// instead, and what was left. In a child made by `fork` without `exec` there is no thread to send:
/// there a drop does nothing.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::{Reader, Writer};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// let reader = Reader::builder(&path).bind()?.start(|message| {
///     println!("{}", String::from_utf8_lossy(message));
///     Ok::<(), std::io::Error>(())
/// })?;
///
/// let writer = Writer::new(&path)?;
/// writer.try_send("requests:17|c")?;
///
/// assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
/// reader.shutdown(Duration::from_secs(5))?;
/// assert_eq!(reader.metrics().received.messages, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer {
    shared: Arc<Shared>,
    thread: OwnThread,
}

/// What a writer's shutdown came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether anything was left unsent"]
pub struct WriterReport {
    /// What was accepted, and not sent (with delivery at least once: not confirmed) when the time
    /// was over. It counts as failed.
    pub left: Tally,
    /// Whether all that was accepted came to the
    /// [`shutdown_level`](WriterBuilder::shutdown_level). With the default level: whether nothing
    /// was `left`. If not: `Stopped` when messages were left unsent, or another call ended it
    /// first; `Timeout` when all were sent and the time was over before they were read or handled;
    /// `Lost` when a connection ended before that was known, at any time since the writer began.
    /// What was given up or dropped does not count.
    pub reached: Result<(), FlushError>,
    /// The figures at the end.
    pub metrics: WriterMetrics,
}

impl Writer {
    /// Starts a writer to `address` with the default settings: a path, or on Linux `@name`.
    ///
    /// # Errors
    /// As [`WriterBuilder::start`].
    pub fn new(address: impl AsRef<OsStr>) -> Result<Self, StartError> {
        Self::builder(address).start()
    }

    /// The settings of a writer to `address`, to be changed and then started.
    pub fn builder(address: impl AsRef<OsStr>) -> WriterBuilder {
        WriterBuilder::new(address.as_ref())
    }

    fn new_started(shared: Arc<Shared>, thread: OwnThread) -> Self {
        Self { shared, thread }
    }

    /// Puts a message into the queue. Never blocks: not on I/O, not for the reader, not for room.
    ///
    /// What is borrowed is copied, what is owned is handed over, from 8 KiB on without a copy: see
    /// [`Message`]. Success means accepted, not sent: [`flush`](Self::flush) and the
    /// [`metrics`](Self::metrics) tell more. An empty message is accepted and sends nothing.
    ///
    /// It may be called from async tasks, from the writer's own observer and from a reader's
    /// handler; not from a signal handler.
    ///
    /// # Errors
    /// When the queue is full, the message is too large, or the writer was shut down. An owned
    /// message comes back in the error. All are counted as dropped.
    #[inline]
    pub fn try_send<M: Message>(&self, message: M) -> Result<(), SendError<M::Returned>> {
        self.send(message, Patience::None)
    }

    /// Puts a message into the queue, and waits up to `timeout` for room; `Duration::MAX` is for
    /// ever.
    ///
    /// It waits on no I/O. In the writer's own observer it does not wait, since nothing would
    /// change meanwhile.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `Full` when there was no room in time.
    pub fn send_timeout<M: Message>(
        &self,
        message: M,
        timeout: Duration,
    ) -> Result<(), SendError<M::Returned>> {
        self.send(message, Patience::For(timeout))
    }

    #[inline]
    fn send<M: Message>(
        &self,
        message: M,
        patience: Patience,
    ) -> Result<(), SendError<M::Returned>> {
        let bytes = message.bytes();
        let len = bytes.len();
        let is_copied = len < OWN_BLOCK_SIZE || (!M::OWNED && len <= MOST_COPIED);
        if len == 0 || !is_copied || len > self.shared.max_message_len {
            return self.send_unusual(message, patience);
        }
        let pushed = self.shared.send(patience, bytes);
        pushed.map_err(|refusal| {
            self.shared
                .refuse(refusal, Tally::one(len), message.give_back())
        })
    }

    /// Sends what is empty or large, or refuses what is too large.
    fn send_unusual<M: Message>(
        &self,
        message: M,
        patience: Patience,
    ) -> Result<(), SendError<M::Returned>> {
        let len = message.bytes().len();
        if len == 0 {
            let open = self.shared.push(Patience::None, |queue| queue.check_open());
            return open.map_err(|_| SendError::Closed(message.give_back()));
        }
        if len > self.shared.max_message_len {
            return Err(self.too_large(len, message.give_back()));
        }
        if !M::OWNED {
            // A copy this long is not made under the lock: first room for it, then the copy, then
            // its place.
            let pushed = self
                .shared
                .push(patience, |queue| queue.reserve(len))
                .and_then(|()| {
                    let mut copy = Some(Bytes::copy_from_slice(message.bytes()));
                    self.shared.push_in_order(Patience::None, |queue| {
                        queue.unreserve(len);
                        queue.push_owned(len, || copy.take().unwrap_or_default())
                    })
                });
            return pushed.map_err(|refusal| {
                self.shared
                    .refuse(refusal, Tally::one(len), message.give_back())
            });
        }
        let mut message = Some(message);
        let mut give = || message.take().map(Message::into_bytes).unwrap_or_default();
        let pushed = self
            .shared
            .push_in_order(patience, |queue| queue.push_owned(len, &mut give));
        match (pushed, message) {
            (Err(refusal), Some(message)) => {
                Err(self
                    .shared
                    .refuse(refusal, Tally::one(len), message.give_back()))
            }
            // The queue takes the message only once nothing stands in its way.
            _ => Ok(()),
        }
    }

    #[cold]
    fn too_large<M>(&self, len: usize, message: M) -> SendError<M> {
        self.shared.counters.dropped_too_large.add(Tally::one(len));
        SendError::TooLarge {
            message,
            len,
            limit: self.shared.max_message_len,
        }
    }

    /// Reserves room for a message of `len` bytes, to be filled in place and then committed. Never
    /// blocks.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), for a message of that length.
    pub fn reserve(&self, len: usize) -> Result<WriteSlot<'_>, SendError<()>> {
        self.reserve_with(len, Patience::None)
    }

    /// Like [`reserve`](Self::reserve), but waits up to `timeout` for room, as
    /// [`send_timeout`](Self::send_timeout) does.
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout), for a message of that length.
    pub fn reserve_timeout(
        &self,
        len: usize,
        timeout: Duration,
    ) -> Result<WriteSlot<'_>, SendError<()>> {
        self.reserve_with(len, Patience::For(timeout))
    }

    fn reserve_with(&self, len: usize, patience: Patience) -> Result<WriteSlot<'_>, SendError<()>> {
        if len > self.shared.max_message_len {
            return Err(self.too_large(len, ()));
        }
        let reserved = self.shared.push(patience, |queue| queue.reserve(len));
        reserved.map_err(|refusal| self.shared.refuse(refusal, Tally::one(len), ()))?;
        Ok(WriteSlot::new(&self.shared, len))
    }

    /// Waits until all that was accepted before the call has come to `level`: the kernel has it,
    /// the reader has read it, or its handler has dealt with it.
    ///
    /// A message that was given up, or dropped to make room, is not waited for. Nor, with
    /// [`Delivery::AtMostOnce`], is one that went down with a connection: the call reports
    /// [`Lost`](FlushError::Lost) for a connection that ended during it. [`Flushed::losses`] counts
    /// those that ended at any time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use uds_ipc::{Level, Reader, Writer};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// # let reader = Reader::builder(&path).bind()?.start(|_| Ok::<(), std::io::Error>(()))?;
    /// # let writer = Writer::new(&path)?;
    /// writer.try_send("the last words before a step that may fail")?;
    /// writer.flush(Level::Handled, Duration::from_secs(5))?;
    /// assert_eq!(reader.metrics().received.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When `timeout` is over first, or the writer ends first and leaves messages behind; with
    /// [`Delivery::AtMostOnce`] when a connection ended during the call, before it was known that
    /// the reader had all that was on it; where the system does not tell; and inside the writer's
    /// own observer.
    pub fn flush(&self, level: Level, timeout: Duration) -> Result<Flushed, FlushError> {
        self.shared.flush(level, deadline(timeout))
    }

    /// Refuses new messages, sends what is queued, and ends the thread; at the latest when
    /// `timeout` is over. With delivery at least once it also waits for the receipts, and at
    /// most once until all is read or handled, if that is the
    /// [`shutdown_level`](WriterBuilder::shutdown_level).
    ///
    /// It connects anew where that is needed, as long as there is time. What is left then counts as
    /// failed. Further calls, from any thread, wait for the same end, or bring it nearer by a
    /// shorter timeout.
    ///
    /// # Errors
    /// Inside the writer's own observer, for which it would have to wait; and in a forked child,
    /// which has no threads.
    pub fn shutdown(&self, timeout: Duration) -> Result<WriterReport, ShutdownError> {
        if !self.thread.is_of_this_process() {
            return Err(ShutdownError::InForkedChild);
        }
        if self.shared.scope.is_current() {
            return Err(ShutdownError::InCallback);
        }
        let deadline = deadline(timeout);
        let settled = self.shared.settle(deadline);
        self.shared.drain(deadline);
        let (end, gone) = self.shared.wait_for_end(deadline);
        if gone {
            self.thread.join();
        }
        let left = end.left.messages;
        let reached = if left > 0 {
            Err(FlushError::Stopped { left })
        } else {
            settled
        };
        Ok(WriterReport {
            left: end.left,
            reached,
            metrics: self.metrics(),
        })
    }

    /// The figures now. Never blocks a sender.
    #[must_use]
    pub fn metrics(&self) -> WriterMetrics {
        self.shared.counters.metrics()
    }

    /// Whether there is a connection now. A reader that was killed while nothing is being sent is
    /// noticed at once.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.counters.is_connected()
    }

    /// Where the writer writes to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.thread.is_of_this_process() {
            return;
        }
        if self.shutdown(DROP_TIMEOUT) == Err(ShutdownError::InCallback) {
            // The observer held the last reference: the thread drains by itself.
            self.shared.drain(deadline(DROP_TIMEOUT));
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("address", self.address())
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}
