//! A caller: what users hold.

#[cfg(feature = "async")]
mod async_caller;
mod builder;
mod dial;
mod driver;
pub(super) mod machine;
mod replies;

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "async")]
pub use async_caller::{AsyncCaller, AsyncReplies};
pub use builder::CallerBuilder;
use driver::Shared;
use machine::{Answers, Key, Outcome};
pub use replies::Replies;

use super::error::CallError;
use crate::address::Address;
use crate::error::StartError;

/// Calls a [`Responder`](super::Responder), and gets its answers.
///
/// Any number of threads may call at once, over one connection; a clone is another handle to the
/// same. The connection is made by the first call, and made again after a loss, with backoff. There
/// is no thread behind it: the threads that wait for answers read them.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::calls::{Caller, Responder};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("admin.sock");
/// let responder = Responder::builder(&path).bind()?.start(|call, reply| {
///     let _ = match call.method() {
///         "double" => reply.send([call.body(), call.body()].concat()),
///         _ => reply.fail("no such method"),
///     };
/// })?;
///
/// let caller = Caller::new(&path)?;
/// assert_eq!(caller.call("double", b"ab", Duration::from_secs(5))?, b"abab");
///
/// let error = caller.call("halve", b"ab", Duration::from_secs(5)).unwrap_err();
/// assert_eq!(error.to_string(), "the call failed: no such method");
/// # responder.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    shared: Arc<Shared>,
}

/// Figures of a [`Caller`], of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CallerFigures {
    /// How many calls are open.
    pub open: usize,
    /// How many connections were made.
    pub connects: u64,
    /// How many answers came when nobody waited for them any more.
    pub late: u64,
}

impl Caller {
    /// A caller with the default settings, to `address`: a path, or any of the forms that
    /// [`Address`] takes of Unix sockets and TCP. It connects with the first call.
    ///
    /// # Errors
    /// As [`CallerBuilder::build`].
    pub fn new(address: impl AsRef<OsStr>) -> Result<Self, StartError> {
        Self::builder(address).build()
    }

    /// The settings, to be changed.
    pub fn builder(address: impl AsRef<OsStr>) -> CallerBuilder {
        CallerBuilder::at(address.as_ref())
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Makes a call, and waits for its answer.
    ///
    /// The method is a name that the handler and the rules of who may call what go by; the body is
    /// for the handler. `timeout` is for all of it: for a connection, to be sent, and for the
    /// answer. It travels with the call, and when it is over the responder is told that nobody
    /// waits any more. `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// See [`CallError`]: [`may_have_been_done`](CallError::may_have_been_done) says whether it may
    /// have had an effect. [`NotConnected`](CallError::NotConnected) comes once all of the time was
    /// spent on tries to connect.
    pub fn call(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let key = self
            .shared
            .open(method, body.as_ref(), Answers::One, timeout)?;
        self.answer(key)
    }

    /// Makes a call that has no answer: it returns once the call was written, which says nothing of
    /// whether it will be done.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn notify(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let key = self
            .shared
            .open(method, body.as_ref(), Answers::None, timeout)?;
        self.shared.wait(key).end()
    }

    /// Makes a call that has several answers, and returns them as an iterator: each as it comes.
    /// `timeout` is for all of them together, and for the connection: for a feed without an end,
    /// make a call that has a time before, to see that somebody is there. A dropped iterator
    /// cancels the call.
    ///
    /// Answers that are not taken yet are held, up to
    /// [`max_bytes_in_flight`](CallerBuilder::max_bytes_in_flight); while no thread waits for an
    /// answer of this caller they stay in the socket, and the handler waits for room in it: as long
    /// as the responder's [`write_timeout`](super::ResponderBuilder::write_timeout), then the
    /// connection is closed.
    ///
    /// # Errors
    /// As [`call`](Self::call); what happens later is an item of the iterator, the last.
    pub fn call_many(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<Replies, CallError> {
        let key = self
            .shared
            .open(method, body.as_ref(), Answers::Many, timeout)?;
        self.shared.send(key);
        Ok(Replies::new(Arc::clone(&self.shared), key))
    }

    /// Makes several calls at once, written together with one call of the system as far as the
    /// socket takes them, and waits for their answers: the results are in the order of the calls.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use uds_ipc::calls::{Caller, Responder};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("admin.sock");
    /// # let responder = Responder::builder(&path).bind()?.start(|call, reply| {
    /// #     let _ = reply.send(call.method());
    /// # })?;
    /// # let caller = Caller::new(&path)?;
    /// let calls = [("version", ""), ("figures", "queue")];
    /// for answer in caller.call_batch(calls, Duration::from_secs(5)) {
    ///     println!("{}", String::from_utf8_lossy(&answer?));
    /// }
    /// # responder.shutdown(Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_batch<M, B>(
        &self,
        calls: impl IntoIterator<Item = (M, B)>,
        timeout: Duration,
    ) -> Vec<Result<Vec<u8>, CallError>>
    where
        M: AsRef<str>,
        B: AsRef<[u8]>,
    {
        let calls: Vec<_> = calls.into_iter().collect();
        // The user's code, which may call: before the lock.
        let calls: Vec<_> = calls
            .iter()
            .map(|(method, body)| (method.as_ref(), body.as_ref()))
            .collect();
        let keys = self
            .shared
            .open_all(calls.into_iter(), Answers::One, timeout);
        keys.into_iter().map(|key| self.answer(key?)).collect()
    }

    /// Figures of this moment; all of them 0 in a process that `fork` made.
    #[must_use]
    pub fn figures(&self) -> CallerFigures {
        if !self.shared.is_of_this_process() {
            return CallerFigures::default();
        }
        let state = self.shared.lock();
        CallerFigures {
            open: state.machine.open_calls(),
            connects: state.connects,
            late: state.machine.late(),
        }
    }

    fn answer(&self, key: Key) -> Result<Vec<u8>, CallError> {
        match self.shared.wait(key) {
            Outcome::Answer { body, .. } => Ok(body.into()),
            end @ (Outcome::End(_) | Outcome::Pending) => end.end().map(|()| Vec::new()),
        }
    }
}
