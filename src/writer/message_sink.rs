//! A writer as a `Sink`, for what comes as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use crate::error::FlushError;
use crate::message::IntoMessage;
use crate::send_error::{SendError, SinkError};
use crate::writer::Writer;
use crate::writer::async_writer::{FlushCall, Waiting};
use crate::writer::send::Patience;
use crate::writer::settings::FlushLevel;
use crate::writer::shared::flush::Flushed;

/// A [`Writer`] as a [`Sink`] of messages: with the feature `async`, for
/// `SinkExt` and `StreamExt::forward`, on any runtime.
///
/// It is ready when there is room in the queue. Its flush waits until all messages have come to a
/// level, as [`Writer::flush`] does, and reports what was lost since the last one. Its close is a
/// flush too: it shuts nothing down, since the writer may have other handles.
///
/// At most one message waits in the sink itself, for room; dropped then, it was not sent.
///
/// ```
/// use futures_util::{SinkExt, StreamExt, stream};
/// use uds_ipc::{FlushLevel, MessageSink, Reader, Writer};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// # let reader = Reader::builder(&path).bind()?.start(|_| ())?;
/// # futures_executor::block_on(async {
/// let writer = Writer::start(&path)?;
/// let mut sink = MessageSink::new(writer.clone(), FlushLevel::Handled);
/// sink.send("requests:17|c").await?;
/// let more = stream::iter(["requests:18|c", "requests:19|c"]);
/// more.map(Ok).forward(sink).await?;
/// assert_eq!(reader.metrics().received.messages, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it does nothing by itself"]
pub struct MessageSink<M> {
    writer: Writer,
    level: FlushLevel,
    /// There was no room for it.
    waiting_message: Option<M>,
    waiting: Option<Waiting>,
    flush: Option<FlushCall>,
    /// Connections that were lost before the last flush ended, or the sink began.
    losses: u64,
}

impl<M: IntoMessage> MessageSink<M> {
    /// A sink whose flush waits for `level`.
    pub fn new(writer: Writer, level: FlushLevel) -> Self {
        let shared = &*writer.shared;
        let losses = if shared.home.is_elsewhere() {
            0
        } else {
            shared.lock().losses(level, shared.delivery)
        };
        Self {
            writer,
            level,
            waiting_message: None,
            waiting: None,
            flush: None,
            losses,
        }
    }

    /// The writer behind it.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Sends a message, or keeps it while there is no room.
    fn send(&mut self, message: M) -> Result<(), SinkError<M::Returned>> {
        let shared = &*self.writer.shared;
        let sent = match self.writer.shed_from.filter(|from| shared.must_shed(*from)) {
            Some(_) => Err(shared.shed(message)),
            None => match shared.send(message, Patience::Polls, None) {
                Err(SendError::Full(message)) => {
                    self.waiting_message = Some(message);
                    return Ok(());
                }
                sent => sent,
            },
        };
        self.waiting = None;
        sent.map_err(|error| SinkError::Send(error.map(M::give_back)))
    }

    /// Waits until no message waits.
    fn poll_room(&mut self, context: &Context<'_>) -> Poll<Result<(), SinkError<M::Returned>>> {
        let Some(message) = self.waiting_message.take() else {
            return Poll::Ready(Ok(()));
        };
        // Before the try: what becomes free after it is told. In a forked child the try is refused.
        let shared = &self.writer.shared;
        if !shared.home.is_elsewhere() {
            let waiting = self.waiting.get_or_insert_with(|| Waiting::new(shared));
            waiting.wait(context);
        }
        self.send(message)?;
        if self.waiting_message.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl<M: IntoMessage> Sink<M> for MessageSink<M> {
    type Error = SinkError<M::Returned>;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_room(context)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), Self::Error> {
        let sink = self.get_mut();
        sink.flush = None;
        if sink.waiting_message.is_some() {
            // It was not ready.
            return Err(SinkError::Send(SendError::Full(message.give_back())));
        }
        sink.send(message)
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        let sink = self.get_mut();
        ready!(sink.poll_room(context))?;
        let (shared, level) = (&sink.writer.shared, sink.level);
        if sink.flush.is_none() {
            shared.check_flush(level)?;
        }
        let begin = || FlushCall::new(shared, level, sink.losses);
        let call = sink.flush.get_or_insert_with(begin);
        let flushed = ready!(call.poll(context));
        sink.flush = None;
        match flushed {
            Ok(Flushed { losses, .. }) | Err(FlushError::Lost { losses }) => sink.losses = losses,
            Err(_) => {}
        }
        Poll::Ready(flushed.map(drop).map_err(SinkError::Flush))
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(context)
    }
}

/// No part of it is ever pinned.
impl<M> Unpin for MessageSink<M> {}

impl<M> fmt::Debug for MessageSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink")
            .field("writer", &self.writer)
            .field("level", &self.level)
            .field("waits", &self.waiting_message.is_some())
            .finish_non_exhaustive()
    }
}
