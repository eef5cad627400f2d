//! A caller for async code, whatever its runtime: what would block is awaited.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::Caller;
use super::driver::Shared;
use super::machine::{Answers, Key, Outcome};
use crate::address::Address;
use crate::calls::error::CallError;
use crate::error::StartError;
use crate::own_thread::OwnThread;
use crate::reentry::Scope;

/// A [`Caller`] for async code, with any runtime: with the feature `async`.
///
/// A thread of its own reads the answers, for the caller that it was made from and all its clones
/// too. A future that is dropped cancels its call. A clone is another handle to the same.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::calls::{AsyncCaller, Caller, Responder};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("admin.sock");
/// # let responder = Responder::builder(&path).bind()?.start(|call, reply| {
/// #     let _ = reply.send(call.body());
/// # })?;
/// # futures_executor::block_on(async {
/// let caller = AsyncCaller::new(Caller::new(&path)?)?;
/// let answer = caller.call("echo", "hello", Duration::from_secs(5)).await?;
/// assert_eq!(answer, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # responder.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCaller {
    driver: Arc<Driver>,
}

/// The thread that reads the answers; it ends with the last handle.
#[derive(Debug)]
struct Driver {
    shared: Arc<Shared>,
    thread: OwnThread,
    scope: Scope,
}

impl AsyncCaller {
    /// Makes an async caller of a caller, which can be used beside it, and so can its clones.
    ///
    /// # Errors
    /// When the system refuses a thread, the caller has such a thread already (clone the async
    /// caller instead), or it was made in the parent of this process.
    pub fn new(caller: Caller) -> Result<Self, StartError> {
        let shared = caller.shared;
        let address = shared.address.clone();
        let refused = StartError::system("start a thread", &address);
        if !shared.is_of_this_process() {
            let error = std::io::Error::other(CallError::InForkedChild);
            return Err(refused(error));
        }
        if !shared.claim_thread() {
            let error =
                std::io::Error::other("the caller has a thread already: clone the AsyncCaller");
            return Err(refused(error));
        }
        let (driven, scope) = (Arc::clone(&shared), Scope::new());
        let run = move || {
            scope.enter();
            driven.run();
        };
        let thread = OwnThread::start("uds-ipc-caller", run).map_err(|error| {
            shared.disclaim_thread();
            refused(error)
        })?;
        Ok(Self {
            driver: Arc::new(Driver {
                shared,
                thread,
                scope,
            }),
        })
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.driver.shared.address
    }

    /// Makes a call, and waits for its answer: see [`Caller::call`]. It is written in the first
    /// poll.
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub async fn call(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let mut open = self.open(method, body.as_ref(), Answers::One, timeout)?;
        match poll_fn(|context| open.poll(context)).await {
            Outcome::Answer { body, .. } => Ok(body.into()),
            end @ (Outcome::End(_) | Outcome::Pending) => end.end().map(|()| Vec::new()),
        }
    }

    /// Makes a call that has no answer: see [`Caller::notify`].
    ///
    /// # Errors
    /// As [`Caller::notify`].
    pub async fn notify(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let mut open = self.open(method, body.as_ref(), Answers::None, timeout)?;
        poll_fn(|context| open.poll(context)).await.end()
    }

    /// Makes a call that has several answers, and returns them as a stream: see
    /// [`Caller::call_many`]. It is made at once, and not with the first poll.
    ///
    /// # Errors
    /// As [`Caller::call_many`].
    pub fn call_many(
        &self,
        method: &str,
        body: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<AsyncReplies, CallError> {
        let open = self.open(method, body.as_ref(), Answers::Many, timeout)?;
        Ok(AsyncReplies { open })
    }

    fn open(
        &self,
        method: &str,
        body: &[u8],
        answers: Answers,
        timeout: Duration,
    ) -> Result<Open, CallError> {
        let key = self.driver.shared.open(method, body, answers, timeout)?;
        Ok(Open {
            driver: Arc::clone(&self.driver),
            key: Some(key),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.shared.is_of_this_process() {
            self.shared.end();
            // A task that is woken may run, and end, on the thread itself.
            if !self.scope.is_current() {
                self.thread.join();
            }
        }
    }
}

/// One open call, cancelled when it is dropped.
#[derive(Debug)]
struct Open {
    driver: Arc<Driver>,
    /// `None` once it is over.
    key: Option<Key>,
}

impl Open {
    fn poll(&mut self, context: &Context<'_>) -> Poll<Outcome> {
        let Some(key) = self.key else {
            return Poll::Ready(Outcome::End(Ok(())));
        };
        match self.driver.shared.poll(key, context.waker()) {
            Outcome::Pending => Poll::Pending,
            Outcome::End(end) => {
                self.key = None;
                Poll::Ready(Outcome::End(end))
            }
            Outcome::Answer { body, is_last } => {
                self.key = self.key.filter(|_| !is_last);
                Poll::Ready(Outcome::Answer { body, is_last })
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.shared.forget(key);
        }
    }
}

/// The answers to a call with several, as a `Stream`: see
/// [`AsyncCaller::call_many`]. To drop it before its end cancels the call.
#[derive(Debug)]
#[must_use = "a dropped stream cancels the call"]
pub struct AsyncReplies {
    open: Open,
}

impl Stream for AsyncReplies {
    type Item = Result<Vec<u8>, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.open.poll(context).map(|outcome| match outcome {
            Outcome::Answer { body, .. } => Some(Ok(body.into())),
            end @ (Outcome::End(_) | Outcome::Pending) => end.end().err().map(Err),
        })
    }
}
