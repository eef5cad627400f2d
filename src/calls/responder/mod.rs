//! A responder: what users hold.

mod builder;
mod call;
mod connection;
pub(super) mod machine;
mod registry;
mod shared;
mod worker;

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use builder::ResponderBuilder;
pub use call::{Call, Reply};
pub use registry::{ConnectionInfo, OpenCall};
use shared::{Accepting, Settings, Shared};
use worker::{Service, ensure_idle};

use crate::address::Address;
use crate::clock::now;
use crate::deadline::after;
use crate::error::{ShutdownError, StartError};
use crate::listen::Listener;
use crate::sys::fork::HomeProcess;

/// How long the drop of a responder waits for calls in hand.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the calls of [`Caller`](super::Caller)s, on threads of its own.
///
/// The handler gets each [`Call`], and a [`Reply`] to answer it with. It runs on the thread that
/// read the call, and may block: that holds up no other call, as long as there may be
/// [more threads](ResponderBuilder::max_threads). Calls of one connection may run at once, and end
/// in any order.
///
/// Unless [`allow`](ResponderBuilder::allow) says otherwise, only this process's own user and root
/// may call.
#[derive(Debug)]
#[must_use = "a responder that is dropped stops"]
pub struct Responder {
    shared: Arc<Shared>,
}

/// A responder whose socket is there, and that does not answer yet.
#[derive(Debug)]
#[must_use = "it answers nothing until it is started"]
pub struct BoundResponder {
    address: Address,
    parts: Option<(Listener, Settings)>,
    process: HomeProcess,
}

/// What a responder has come to by its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ResponderReport {
    /// How many calls were in hand when the time was over. Their callers do not know whether they
    /// were done, and their handlers may still run.
    pub left: usize,
    /// The figures of the end.
    pub figures: ResponderFigures,
}

/// Figures of a [`Responder`], of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ResponderFigures {
    /// How many connections are open.
    pub connections: usize,
    /// How many calls are in hand, those that wait for a thread too.
    pub in_hand: usize,
    /// How many calls were refused, notifications too: because the peer may not call them, because
    /// of a bound, or during the stop.
    pub refused: usize,
    /// How many connections were closed because of what the peer sent.
    pub malformed: usize,
    /// How often the handler, or the rule of who may call what, has panicked.
    pub panics: usize,
    /// How many threads there are.
    pub threads: usize,
}

impl Responder {
    /// The settings of a responder at `address`: a path, or any of the forms that [`Address`] takes
    /// of Unix sockets and of TCP on a loopback address. It is a socket of its own, never that
    /// of a [`Reader`](crate::Reader).
    pub fn builder(address: impl AsRef<OsStr>) -> ResponderBuilder {
        ResponderBuilder::at(address.as_ref())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Who is connected, since when, and what is in flight, in the order of the connections; nobody
    /// in a process that `fork` made.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        if self.shared.process.is_elsewhere() {
            return Vec::new();
        }
        registry::of(&self.shared)
    }

    /// Figures of this moment; all of them 0 in a process that `fork` made.
    #[must_use]
    pub fn figures(&self) -> ResponderFigures {
        let shared = &self.shared;
        if shared.process.is_elsewhere() {
            return ResponderFigures::default();
        }
        ResponderFigures {
            connections: shared.connections.lock().entries.len(),
            in_hand: shared.in_hand(),
            refused: shared.figures.refused.load(Ordering::Relaxed),
            malformed: shared.figures.malformed.load(Ordering::Relaxed),
            panics: shared.figures.panics.load(Ordering::Relaxed),
            threads: shared.threads(),
        }
    }

    /// Stops: accepts nobody any more, refuses new calls with
    /// [`Refusal::Stopping`](crate::calls::Refusal::Stopping), and waits until those in hand are
    /// answered and their answers written, for up to `timeout`. Then it closes all connections.
    ///
    /// A handler may see that it [stops](Reply::is_stopping), and one whose call is left then sees
    /// that as [cancelled](Reply::is_cancelled); nobody waits for it to return. Further calls of
    /// this function, from any thread, wait for the same end.
    ///
    /// # Errors
    /// When it is called by a handler of this responder, or in a process that `fork` made.
    pub fn shutdown(&self, timeout: Duration) -> Result<ResponderReport, ShutdownError> {
        if self.shared.process.is_elsewhere() {
            return Err(ShutdownError::InForkedChild);
        }
        if self.shared.scope.is_current() {
            return Err(ShutdownError::InCallback);
        }
        let left = self.stop(timeout);
        let figures = self.figures();
        Ok(ResponderReport { left, figures })
    }

    /// Returns how many calls were left.
    fn stop(&self, timeout: Duration) -> usize {
        let shared = &self.shared;
        let mut stopped = shared.stopped.lock();
        if let Some(left) = *stopped {
            return left;
        }
        let until = after(now(), timeout);
        shared.is_stopping.store(true, Ordering::SeqCst);
        shared.listener.end();
        {
            let connections = shared.connections.lock();
            if connections.accepting != Accepting::Ended {
                // Those that wait are let in, to be refused with a word.
                shared.arm_listener();
            }
        }
        shared.wait_for_end(until, |connections| {
            let mut entries = connections.entries.values();
            shared.in_hand() == 0 && entries.all(|connection| connection.lock().is_written())
        });
        let left = shared.in_hand();
        shared.has_stopped.store(true, Ordering::SeqCst);
        loop {
            let mut connections = shared.connections.lock();
            connections.accepting = Accepting::Ended;
            let Some((_, connection)) = connections.entries.pop_first() else {
                break;
            };
            drop(connections);
            shared.remove(&connection);
        }
        shared.poller.close();
        // Those that run no handler end at once.
        if left == 0 {
            shared.wait_for_end(after(now(), DROP_TIMEOUT), |_| shared.threads() == 0);
        }
        shared.listener.remove_file();
        *stopped = Some(left);
        left
    }
}

/// Stops it within a second.
impl Drop for Responder {
    fn drop(&mut self) {
        if !self.shared.has_stopped() && !self.shared.process.is_elsewhere() {
            // Called by a handler it would wait for that.
            let timeout = if self.shared.scope.is_current() {
                Duration::ZERO
            } else {
                DROP_TIMEOUT
            };
            self.stop(timeout);
        }
    }
}

impl BoundResponder {
    fn new(address: Address, listener: Listener, settings: Settings) -> Self {
        Self {
            address,
            parts: Some((listener, settings)),
            process: HomeProcess::this(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Starts to answer: `handle` is called for each call, on several threads at once.
    ///
    /// A panic of it is caught, and counted; the caller is told that there is no answer.
    ///
    /// # Errors
    /// When the system refuses the thread, or the descriptors to wait with.
    pub fn start(
        mut self,
        handle: impl Fn(Call, Reply) + Send + Sync + 'static,
    ) -> Result<Responder, StartError> {
        let refused = |doing| StartError::system(doing, &self.address);
        let Some((listener, settings)) = self.parts.take() else {
            return Err(refused("start twice")(
                std::io::ErrorKind::InvalidInput.into(),
            ));
        };
        let shared = Shared::new(self.address.clone(), settings, listener);
        let shared = Arc::new(shared.map_err(refused("make a poller"))?);
        let service = Arc::new(Service {
            shared: Arc::clone(&shared),
            handle: Box::new(handle),
        });
        let responder = Responder { shared };
        ensure_idle(&service).map_err(refused("start a thread"))?;
        Ok(responder)
    }
}

/// The socket's file goes with it, but for one in a process that `fork` made.
impl Drop for BoundResponder {
    fn drop(&mut self) {
        if self.process.is_elsewhere_for_certain() {
            return;
        }
        if let Some((listener, _)) = &self.parts {
            listener.end();
            listener.remove_file();
        }
    }
}
