//! What a handler gets: a call, and the handle to answer it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::connection::Connection;
use super::machine::Key;
use super::shared::Shared;
use crate::calls::error::ReplyError;
use crate::calls::message::{CallFrame, Cause, ReplyFrame, frame, frame_of_answer};
use crate::clock::now;
use crate::deadline::Deadline;
use crate::peer::Peer;

/// A call, as the handler of a [`Responder`](super::Responder) gets it.
pub struct Call {
    pub(super) method: String,
    pub(super) body: Bytes,
    pub(super) peer: Peer,
    pub(super) deadline: Deadline,
    pub(super) is_notification: bool,
}

impl Call {
    pub(super) fn new(frame: CallFrame, peer: Peer, deadline: Deadline) -> Self {
        Self {
            is_notification: frame.id == 0,
            method: frame.method,
            body: frame.body,
            peer,
            deadline,
        }
    }

    /// What is asked for. It was allowed to this peer.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// What the caller sent for the handler.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Who calls, as the system vouches for it, and on which connection.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When the caller stops waiting, by this process's clock; `None` is never. What was under way
    /// before the call was read is not in it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether nobody waits for an answer in any case.
    #[must_use]
    pub fn is_notification(&self) -> bool {
        self.is_notification
    }
}

/// Bodies are long, and may be secret.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("body_len", &self.body.len())
            .field("peer", &self.peer)
            .field("deadline", &self.deadline)
            .field("is_notification", &self.is_notification)
            .finish()
    }
}

/// The handle to answer a call, from any thread and at any time.
///
/// A call is answered once: [`send`](Self::send) or [`fail`](Self::fail), with any number of
/// [`send_part`](Self::send_part) before. A handle that is dropped without either tells the caller
/// [`Unanswered`](crate::calls::CallError::Unanswered).
///
/// ```
/// use std::thread;
/// use std::time::Duration;
/// use uds_ipc::calls::{Caller, Responder};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("admin.sock");
/// let responder = Responder::builder(&path).bind()?.start(|call, reply| {
///     thread::spawn(move || {
///         for byte in call.body() {
///             if reply.send_part([*byte]).is_err() {
///                 return; // Nobody waits any more.
///             }
///         }
///         let _ = reply.send("");
///     });
/// })?;
///
/// let caller = Caller::new(&path)?;
/// let answers = caller.call_many("spell", "abc", Duration::from_secs(5))?;
/// let answers: Vec<_> = answers.collect::<Result<_, _>>()?;
/// assert_eq!(answers, [b"a", b"b", b"c"]);
/// # responder.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a handle that is dropped tells the caller that there is no answer"]
pub struct Reply {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    id: u64,
    key: Key,
    /// What it holds of the responder's bound.
    len: usize,
    is_over: bool,
}

impl Reply {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Arc<Connection>,
        id: u64,
        key: Key,
        len: usize,
    ) -> Self {
        Self {
            shared,
            connection,
            id,
            key,
            len,
            is_over: false,
        }
    }

    /// Answers the call. For a call with several answers it is the last, and an empty one says no
    /// more than that. The answer to a notification goes nowhere, and is no error.
    ///
    /// It waits only while answers to this peer hold
    /// [`max_bytes_in_flight`](super::ResponderBuilder::max_bytes_in_flight): until the peer has
    /// read some, the call's time is over, or
    /// [`write_timeout`](super::ResponderBuilder::write_timeout) is.
    ///
    /// # Errors
    /// When nobody waits for it any more, it is too long, or the peer does not read. That it was
    /// taken does not say that the caller has got it.
    pub fn send(mut self, body: impl AsRef<[u8]>) -> Result<(), ReplyError> {
        self.answer(body.as_ref(), true)
    }

    /// Sends one of several answers; others follow. Likewise it may wait.
    ///
    /// # Errors
    /// As [`send`](Self::send); the call stays open.
    pub fn send_part(&self, body: impl AsRef<[u8]>) -> Result<(), ReplyError> {
        self.check_len(body.as_ref())?;
        self.queue(frame_of_answer(self.id, body.as_ref(), true), false)
    }

    /// Answers that the call failed. The text goes to the caller as it is.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn fail(mut self, error: impl AsRef<str>) -> Result<(), ReplyError> {
        self.end(Cause::Handler, error.as_ref())
    }

    /// Whether an answer is of use: not once the caller has given up or gone, its time is over, or
    /// this is a notification; nor in a process that `fork` made. A handler that takes long looks
    /// now and then.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.shared.process.is_elsewhere()
            && self.connection.lock().machine.is_wanted(self.key, now())
    }

    /// Whether the call is to be done no more: its caller has given up or gone, or its time is
    /// over; or this is a process that `fork` made. Of a notification only the time counts: who
    /// sent it may end at once, and wants it done all the same.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.process.is_elsewhere()
            || !self.connection.lock().machine.is_current(self.key, now())
    }

    /// Whether the responder [stops](super::Responder::shutdown), and waits for this answer among
    /// others. A feed that has no end of its own ends then.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::SeqCst)
    }

    fn answer(&mut self, body: &[u8], is_last: bool) -> Result<(), ReplyError> {
        if let Err(too_large) = self.check_len(body) {
            let _ = self.end(Cause::Handler, &too_large.to_string());
            return Err(too_large);
        }
        self.is_over = is_last;
        self.queue(frame_of_answer(self.id, body, !is_last), is_last)
    }

    fn end(&mut self, cause: Cause, error: &str) -> Result<(), ReplyError> {
        // What is too long is cut: the caller is to know that it failed, at least.
        let limit = self.shared.settings.max_reply_len.saturating_sub(ENVELOPE);
        let error = error
            .get(..error.floor_char_boundary_at(limit))
            .unwrap_or_default();
        self.is_over = true;
        self.queue(frame(&ReplyFrame::failure(self.id, cause, error)), true)
    }

    fn check_len(&self, body: &[u8]) -> Result<(), ReplyError> {
        let (len, limit) = (
            body.len().saturating_add(ENVELOPE),
            self.shared.settings.max_reply_len,
        );
        if len > limit {
            return Err(ReplyError::TooLarge { len, limit });
        }
        Ok(())
    }

    fn queue(&self, answer: Bytes, is_last: bool) -> Result<(), ReplyError> {
        // The locks may be held by a thread that is not here.
        if self.shared.process.is_elsewhere() {
            return Err(ReplyError::InForkedChild);
        }
        if self.id == 0 {
            if !is_last {
                // Nobody hears it: a handler that goes on while it is wanted must end.
                return Err(ReplyError::NotWanted);
            }
            self.connection.lock().machine.close(self.key);
            return Ok(());
        }
        self.shared
            .answer(&self.connection, self.key, answer, is_last)
    }
}

/// The most that stands around a body in a reply.
const ENVELOPE: usize = 32;

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.end(Cause::Unanswered, "the handler ended without an answer");
        }
        if !self.shared.process.is_elsewhere() {
            self.shared.is_over(self.len);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// `str::floor_char_boundary` is younger than the oldest compiler.
trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at.min(self.len()))
            .rev()
            .find(|at| self.is_char_boundary(*at))
            .unwrap_or(0)
    }
}
