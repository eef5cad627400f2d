//! A writer for async code, whatever its runtime: what would block is awaited.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_channel::bounded;

use crate::error::{FlushError, ShutdownError};
use crate::message::IntoMessage;
use crate::send_error::SendError;
use crate::sys::with_signals_blocked;
use crate::writer::send::Patience;
use crate::writer::settings::FlushLevel;
use crate::writer::shared::Shared;
use crate::writer::shared::flush::{Flush, Flushed, Verdict};
use crate::writer::shared::tasks::Place;
use crate::writer::{Writer, WriterReport};

/// A [`Writer`] for async code, with any runtime: with the feature `async`.
///
/// It waits for room, for a flush and for the end without blocking its thread. For all that never
/// blocks, such as [`try_send`](Writer::try_send), use the [`writer`](Self::writer) itself. A clone
/// is another handle to the same writer.
///
/// Each future may be dropped at any time, as `tokio::time::timeout` and `select!` do: then a
/// message whose send was not ready was not sent, and a shutdown goes on by itself.
///
/// ```
/// use uds_ipc::{AsyncWriter, Delivery, FlushLevel, Reader, Writer};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// # let reader = Reader::builder(&path).bind()?.start(|_| ())?;
/// # futures_executor::block_on(async {
/// let writer = AsyncWriter::from(Writer::start(&path)?);
/// writer.send("requests:17|c").await?;
/// writer.flush(FlushLevel::Handled).await?;
/// let report = writer.shutdown(std::time::Duration::from_secs(5)).await?;
/// assert_eq!(report.left.messages, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsyncWriter {
    writer: Writer,
}

impl From<Writer> for AsyncWriter {
    fn from(writer: Writer) -> Self {
        Self { writer }
    }
}

impl AsyncWriter {
    /// The writer itself, for what never blocks.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Puts a message into the queue, and waits for room as long as it takes.
    ///
    /// Whoever waits has no place in a line: when there is room, all try again.
    ///
    /// # Errors
    /// As [`try_send`](Writer::try_send), but never `Full`: except for a handle of
    /// [`shed_at`](Writer::shed_at), which does not wait.
    pub async fn send<M: IntoMessage>(&self, message: M) -> Result<(), SendError<M::Returned>> {
        let shared = &*self.writer.shared;
        if let Some(from) = self.writer.shed_from {
            if shared.must_shed(from) {
                return Err(shared.shed(message).map(M::give_back));
            }
        }
        // The first try needs no place among those that wait.
        let mut message = match shared.send(message, Patience::Polls, None) {
            Err(SendError::Full(message)) => Some(message),
            sent => return sent.map_err(|error| error.map(M::give_back)),
        };
        let waiting = Waiting::new(&self.writer.shared);
        poll_fn(|context| {
            let Some(unsent) = message.take() else {
                return Poll::Ready(Ok(()));
            };
            // Before the try: what becomes free after it is told.
            waiting.wait(context);
            match shared.send(unsent, Patience::Polls, None) {
                Err(SendError::Full(unsent)) => {
                    message = Some(unsent);
                    Poll::Pending
                }
                sent => Poll::Ready(sent.map_err(|error| error.map(M::give_back))),
            }
        })
        .await
    }

    /// Waits until all that was accepted before the first poll has come to `level`: see
    /// [`Writer::flush`].
    ///
    /// # Errors
    /// As [`Writer::flush`], but never `Timeout`: drop the future when it takes too long.
    pub async fn flush(&self, level: FlushLevel) -> Result<Flushed, FlushError> {
        let shared = &self.writer.shared;
        shared.check_flush(level)?;
        let losses = shared.lock().losses(level, shared.delivery);
        let mut call = FlushCall::new(shared, level, losses);
        poll_fn(|context| call.poll(context)).await
    }

    /// Shuts the writer down: see [`Writer::shutdown`]. A thread of its own waits for it; where the
    /// system refuses one, the caller's does.
    ///
    /// # Errors
    /// As [`Writer::shutdown`].
    pub async fn shutdown(&self, timeout: Duration) -> Result<WriterReport, ShutdownError> {
        let task = Arc::new(AtomicWaker::new());
        let (tell, outcome) = bounded(1);
        let (writer, woken) = (self.writer.clone(), Arc::clone(&task));
        let wait = move || {
            let _ = tell.send(writer.shutdown(timeout));
            woken.wake();
        };
        let thread = thread::Builder::new().name("uds-ipc-shutdown".to_owned());
        // In the writer's own observer there is nothing to wait for.
        if self.writer.shared.scope.is_current()
            || with_signals_blocked(|| thread.spawn(wait)).is_err()
        {
            return self.writer.shutdown(timeout);
        }
        poll_fn(|context| {
            task.register(context.waker());
            outcome.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// A place among the tasks that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
    place: Place,
}

impl Waiting {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            place: shared.lock().tasks.add(),
        }
    }

    /// The task is woken at the next change.
    pub(super) fn wait(&self, context: &Context<'_>) {
        if self.shared.home.is_elsewhere() {
            // Before any lock: a thread that is not here may hold it for ever.
            return;
        }
        let waker = context.waker().clone();
        let mut locked = self.shared.lock();
        locked.tasks.wait(self.place, waker);
        self.shared.wake_for_caller(&mut locked);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.shared.home.is_elsewhere() {
            self.shared.lock().tasks.remove(self.place);
        }
    }
}

/// A flush that is waited for.
#[derive(Debug)]
pub(super) struct FlushCall {
    waiting: Waiting,
    flush: Flush,
    level: FlushLevel,
}

impl FlushCall {
    /// It reports losses beyond the first `losses`.
    pub(super) fn new(shared: &Arc<Shared>, level: FlushLevel, losses: u64) -> Self {
        let waiting = Waiting::new(shared);
        let mut locked = shared.lock();
        Self {
            waiting,
            flush: locked.begin_flush(level, shared.delivery, losses),
            level,
        }
    }

    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<Flushed, FlushError>> {
        let shared = &*self.waiting.shared;
        if shared.home.is_elsewhere() {
            return Poll::Ready(Err(FlushError::InForkedChild));
        }
        let waker = context.waker().clone();
        let mut locked = shared.lock();
        let verdict = locked.look(&mut self.flush);
        if matches!(verdict, Verdict::Left(_)) && locked.end().is_none() {
            locked.tasks.wait(self.waiting.place, waker);
            shared.wake_for_caller(&mut locked);
            return Poll::Pending;
        }
        Poll::Ready(shared.outcome(&locked, verdict, self.level))
    }
}

impl Drop for FlushCall {
    fn drop(&mut self) {
        let shared = &self.waiting.shared;
        if !shared.home.is_elsewhere() {
            shared.lock().end_flush(self.level);
        }
    }
}
