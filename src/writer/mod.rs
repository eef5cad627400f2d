//! The sending end.
//! What users hold, and its docs; `send` has the ways into the queue, `thread` what is done with
//! it, `shared` what callers wait for.

mod ack_tracker;
mod arena;
#[cfg(feature = "async")]
mod async_writer;
mod builder;
mod connector;
mod counters;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod deaths;
mod end_of_program;
#[cfg(fuzzing)]
pub mod fuzzing;
mod io_write;
mod lane;
mod lines;
#[cfg(feature = "async")]
mod message_sink;
mod queue;
mod send;
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

#[cfg(feature = "async")]
pub use async_writer::AsyncWriter;
pub use builder::WriterBuilder;
pub use connector::Connector;
pub use end_of_program::ShutdownGuard;
pub use lines::Lines;
#[cfg(feature = "async")]
pub use message_sink::MessageSink;
pub use settings::{Delivery, FlushLevel, Overflow};
pub use shared::flush::Flushed;
pub use thread::drop_notice::DropNotice;

use crate::address::Address;
use crate::error::{FlushError, ShutdownError, StartError};
use crate::message::IntoMessage;
#[cfg(feature = "metrics")]
use crate::metrics::Publisher;
use crate::metrics::{Tally, WriterMetrics};
use crate::outcome::Outcome;
use crate::own_thread::OwnThread;
use crate::send_error::{EncodeError, SendError};
use crate::sys::OwnedDescriptor;
use send::Patience;
use shared::{Shared, deadline};

/// How long a writer that is dropped without a shutdown still drains.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The sending end: takes messages at once, and sends them from a thread of its own.
///
/// A clone is another handle to the same writer: clone it, or share it by reference, to send from
/// many threads. Messages of one thread arrive in the order in which it sent them, on one
/// connection; see [`write_timeout`](WriterBuilder::write_timeout) for two. Those of different
/// threads have no order among each other.
///
/// A thread that sends keeps up to 128 KiB of memory for it until it ends, or sends through another
/// writer after this one is gone.
///
/// When the last clone is dropped, it sends what is queued for up to a second;
/// [`shutdown`](Self::shutdown) says how long instead, and what was left.
///
/// A child made by `fork` has no thread to send: there each call returns at once with an error,
/// the figures stay as they were, and a drop does nothing. Start a writer of its own after the
/// fork.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::{Reader, Writer};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// let reader = Reader::builder(&path).bind()?.start(|message| {
///     println!("{}", String::from_utf8_lossy(message));
/// })?;
///
/// let writer = Writer::start(&path)?;
/// writer.try_send("requests:17|c")?;
///
/// assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
/// let report = reader.shutdown(Duration::from_secs(5))?;
/// assert_eq!(report.metrics.received.messages, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Arc<WriterThread>,
    /// From which content of the queue on this handle's messages are refused.
    shed_from: Option<Tally>,
}

/// The writer's thread, which ends with the last handle.
struct WriterThread {
    shared: Arc<Shared>,
    thread: OwnThread,
}

/// What a writer's shutdown came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether anything was left unsent"]
pub struct WriterReport {
    /// What was accepted, and not sent (with `AtLeastOnce`: not confirmed) when the time was over.
    /// It counts as failed.
    pub left: Tally,
    /// The figures at the end.
    pub metrics: WriterMetrics,
    reached: Result<(), FlushError>,
}

impl WriterReport {
    /// Whether all that was accepted came to the
    /// [`shutdown_level`](WriterBuilder::shutdown_level). With the default level: whether nothing
    /// was `left`. What was given up or dropped does not count.
    ///
    /// # Errors
    /// `Stopped` when messages were left unsent, or another call ended the writer first; `Timeout`
    /// when all were sent and the time was over before they were read or handled; `Lost` when a
    /// connection ended before that was known, at any time since the writer began.
    pub fn reached(&self) -> Result<(), FlushError> {
        self.reached
    }
}

impl Writer {
    /// Starts a writer to `address` with the default settings: a path, or whatever else an
    /// [`Address`] can be.
    ///
    /// # Errors
    /// As [`WriterBuilder::start`].
    pub fn start(address: impl AsRef<OsStr>) -> Result<Self, StartError> {
        Self::builder(address).start()
    }

    /// The settings of a writer to `address`, to be changed and then started.
    pub fn builder(address: impl AsRef<OsStr>) -> WriterBuilder {
        WriterBuilder::to(address.as_ref())
    }

    /// The settings of a writer over one stream that is connected already: a Unix or TCP socket,
    /// one end of a socketpair, or a pipe to write to.
    ///
    /// A reader may be as slow as it likes, unless a
    /// [`write_timeout`](WriterBuilder::write_timeout) is set: there is no other connection. When
    /// it ends the writer tells so ([`Lost`](crate::event::WriterEvent::Lost), then
    /// [`Stopped`](crate::event::WriterEvent::Stopped) with what was left), and refuses messages as
    /// closed from then on. The stream becomes non-blocking, and so do its copies, in other
    /// processes as well. In events its address is the number of its descriptor.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    /// use uds_ipc::{Reader, Writer};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let reader = Reader::without_listener().bind()?.start(|message| {
    ///     println!("{}", String::from_utf8_lossy(message));
    /// })?;
    /// reader.serve(theirs)?;
    ///
    /// let writer = Writer::over(ours).start()?;
    /// writer.try_send("no path anywhere")?;
    /// assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
    /// assert_eq!(reader.shutdown(Duration::from_secs(5))?.metrics.received.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(stream: impl Into<OwnedDescriptor>) -> WriterBuilder {
        WriterBuilder::over(stream.into())
    }

    /// The settings of a writer whose connections `connector` makes: see [`Connector`]. The writer
    /// reconnects as it does to an address. Its events have `connector` for an address.
    pub fn with_connector(connector: impl Connector) -> WriterBuilder {
        WriterBuilder::with(connector)
    }

    fn new_started(shared: Arc<Shared>, thread: OwnThread) -> Self {
        let thread = Arc::new(WriterThread {
            shared: Arc::clone(&shared),
            thread,
        });
        Self {
            shared,
            thread,
            shed_from: None,
        }
    }

    /// Puts a message into the queue. Never blocks: not on I/O, not for the reader, not for room.
    /// (With [`crash_proof`](WriterBuilder::crash_proof) the first message on a connection waits
    /// for the writer's own thread, some 50 µs, at most 10 ms.)
    ///
    /// What is borrowed is copied. What is owned is handed over, without a copy where that is
    /// faster: see [`IntoMessage`]. Success means accepted, not sent: [`flush`](Self::flush) and
    /// the [`metrics`](Self::metrics) tell more.
    ///
    /// It may be called from async tasks, from the writer's own observer and from a reader's
    /// handler; not from a signal handler.
    ///
    /// # Errors
    /// When the queue is full, the message is empty or too large, or the writer was shut down: all
    /// are counted as dropped. And in a child made by `fork`. An owned message comes back in the
    /// error.
    #[inline]
    pub fn try_send<M: IntoMessage>(&self, message: M) -> Result<(), SendError<M::Returned>> {
        self.shared
            .send(message, Patience::None, self.shed_from)
            .map_err(|error| error.map(M::give_back))
    }

    /// Puts a message into the queue, and waits up to `timeout` for room; `Duration::MAX` is for
    /// ever.
    ///
    /// It waits on no I/O. In the writer's own observer it does not wait, since nothing would
    /// change meanwhile.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `Full` when there was no room in time.
    pub fn send_timeout<M: IntoMessage>(
        &self,
        message: M,
        timeout: Duration,
    ) -> Result<(), SendError<M::Returned>> {
        self.shared
            .send(message, Patience::For(timeout), self.shed_from)
            .map_err(|error| error.map(M::give_back))
    }

    /// Sends what `encode` writes into an empty buffer: one message, or nothing where it fails.
    /// Never blocks.
    ///
    /// The buffer is the calling thread's own and used again, up to 64 KiB; a longer message
    /// takes it along. Any encoder fits that writes into a `Vec<u8>`, as
    /// [`std::io::Write`] or as `bytes::BufMut`. `encode` may call this method itself.
    ///
    /// ```
    /// use std::io::Write;
    /// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
    ///
    /// writer.try_send_with(|buffer| write!(buffer, "requests:{}|c", 17))?;
    /// assert_eq!(writer.metrics().accepted.bytes, 13);
    /// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The encoder's own; else as [`try_send`](Self::try_send), with the message lost.
    pub fn try_send_with<R: Outcome>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<(), EncodeError<R::Error>> {
        self.shared
            .send_with(encode, Patience::None, self.shed_from)
    }

    /// Like [`try_send_with`](Self::try_send_with), but waits up to `timeout` for room, as
    /// [`send_timeout`](Self::send_timeout) does. `encode` runs once, before that.
    ///
    /// # Errors
    /// As [`try_send_with`](Self::try_send_with); `Full` when there was no room in time.
    pub fn send_timeout_with<R: Outcome>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> R,
        timeout: Duration,
    ) -> Result<(), EncodeError<R::Error>> {
        self.shared
            .send_with(encode, Patience::For(timeout), self.shed_from)
    }

    /// A handle for messages that matter less: once the queue is filled to this share, in messages
    /// or in bytes, they are refused, so that the rest of it is left to the others.
    ///
    /// 0.8 refuses while four fifths or more of `max_queued_messages` or `max_queued_bytes` are
    /// taken, 0 always; what is outside of 0 to 1 counts as the nearer end. The refusal is
    /// [`Full`](SendError::Full), also with [`Overflow::DropOldest`] and for those that would wait
    /// for room. It is the same writer in all else: the thread, the queue, the figures, the order
    /// of messages.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("nobody-is-there.sock");
    /// let writer = uds_ipc::Writer::builder(&path).max_queued_messages(10).start()?;
    /// let debug = writer.shed_at(0.8);
    /// for _ in 0..8 {
    ///     debug.try_send("a detail")?;
    /// }
    /// assert!(debug.try_send("a detail").is_err());
    /// writer.try_send("this matters")?;
    /// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shed_at(&self, fill: f64) -> Self {
        let fill = fill.clamp(0.0, 1.0);
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a limit need not be exact, and of no number it is none"
        )]
        let share = |limit: u64| (limit as f64 * fill) as u64;
        let capacity = self.shared.counters.capacity;
        Self {
            shed_from: Some(Tally {
                messages: share(capacity.messages),
                bytes: share(capacity.bytes),
            }),
            ..self.clone()
        }
    }

    /// Waits until all that was accepted before the call has come to `level`: the kernel has it,
    /// the reader has read it, or its handler has handled it.
    ///
    /// A message that was given up, or dropped to make room, is not waited for. Nor, with
    /// [`Delivery::AtMostOnce`], is one that went down with a connection: the call reports
    /// [`Lost`](FlushError::Lost) for a connection that ended during it. [`Flushed::losses`] counts
    /// those that ended at any time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use uds_ipc::{FlushLevel, Reader, Writer};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// # let reader = Reader::builder(&path).bind()?.start(|_| ())?;
    /// # let writer = Writer::start(&path)?;
    /// writer.try_send("the last words before a step that may fail")?;
    /// writer.flush(FlushLevel::Handled, Duration::from_secs(5))?;
    /// assert_eq!(reader.metrics().received.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When `timeout` is over first, or the writer ends first and leaves messages behind; with
    /// [`Delivery::AtMostOnce`] when a connection ended during the call, before it was known that
    /// the reader had all that was on it; where the system does not tell; inside the writer's own
    /// observer; and in a child made by `fork`.
    pub fn flush(&self, level: FlushLevel, timeout: Duration) -> Result<Flushed, FlushError> {
        self.shared.flush(level, deadline(timeout))
    }

    /// Refuses new messages, sends what is queued, and ends the thread; at the latest when
    /// `timeout` is over. With `AtLeastOnce` it also waits for the receipts; with `AtMostOnce` it
    /// waits until all is read or handled, if that is the
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
        self.thread.shutdown(timeout)
    }

    /// The figures now. Never blocks a sender.
    #[must_use]
    pub fn metrics(&self) -> WriterMetrics {
        self.shared.counters.metrics()
    }

    /// Hands the figures to the `metrics` crate, with `name` as a label: with the feature
    /// `metrics`. It does not keep the writer alive.
    #[cfg(feature = "metrics")]
    pub fn publisher(&self, name: impl Into<String>) -> Publisher {
        let counters = Arc::clone(&self.shared.counters);
        Publisher::of_writer(name.into(), move || counters.metrics())
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

impl WriterThread {
    fn shutdown(&self, timeout: Duration) -> Result<WriterReport, ShutdownError> {
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
            metrics: self.shared.counters.metrics(),
        })
    }
}

impl WriterThread {
    /// Waits until the thread has nothing left to do, after a shutdown.
    fn wait_to_be_gone(&self, timeout: Duration) {
        if self.thread.is_of_this_process() && !self.shared.scope.is_current() {
            let _ = self.shared.wait_for_end(deadline(timeout));
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        if !self.thread.is_of_this_process() {
            return;
        }
        self.shared.lock().leaves_rest = true;
        if self.shutdown(DROP_TIMEOUT) == Err(ShutdownError::InCallback) {
            // The observer held the last handle: the thread drains by itself.
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
