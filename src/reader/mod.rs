//! The receiving end.
//! Thin: what decodes is the decoder, what decides is the state, what waits is the dispatcher and
//! its threads.

mod batch;
mod builder;
mod callbacks;
mod connection;
mod core;
mod counters;
mod decoder;
mod dispatcher;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handler;
mod receipts;
#[cfg(test)]
mod simulated;
mod state;
#[cfg(feature = "systemd")]
mod vitals;
mod worker;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use builder::ReaderBuilder;
pub use handler::Handler;
#[cfg(test)]
pub(crate) use simulated::{SimulatedBatch, SimulatedConnection, SimulatedFate};
#[cfg(feature = "systemd")]
pub(crate) use vitals::Vitals;

use self::connection::READ_SIZE;
use self::core::{Core, ERRANDS, FILE, Inner, LISTENER, Life, Settings};
use self::counters::Counters;
use self::dispatcher::{Dispatcher, Stage};
use self::handler::Closure;
use crate::address::Address;
use crate::clock;
use crate::deadline;
use crate::error::{ShutdownError, StartError};
use crate::event::ReaderEvent;
use crate::listen::Listener;
use crate::metrics::ReaderMetrics;
use crate::own_thread::OwnThread;
use crate::pool::Pool;
use crate::reentry::Scope;
use crate::sys::{Interest, Poller, Waker};

/// How long a reader that is dropped without a shutdown still reads what was sent.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// How many read buffers are kept; each is 256 KiB. More are made while more threads read at once.
const BUFFERS_KEPT: usize = 4;

/// How many small buffers for half messages are kept, and up to which size.
const PIECES_KEPT: usize = 64;
const PIECE_SIZE: usize = 4096;

/// The receiving end: accepts connections, and gives every message to a handler.
///
/// Made in two steps: [`bind`](ReaderBuilder::bind) makes the socket, [`start`](BoundReader::start)
/// begins to accept. In between a daemon can drop its privileges.
///
/// Dropped, it stops as [`shutdown`](Self::shutdown) does, within a second. In a child made by
/// `fork` without `exec` a drop does nothing, and leaves the socket's file alone.
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::Reader;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// let reader = Reader::builder(&path).bind()?.start(|message| {
///     println!("{}", String::from_utf8_lossy(message));
///     Ok::<(), std::io::Error>(())
/// })?;
/// // ...
/// let report = reader.shutdown(Duration::from_secs(5))?;
/// assert_eq!(report.cut, 0);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    core: Arc<Core>,
    /// The dispatcher; it runs nothing of the user's.
    thread: OwnThread,
}

/// A reader with a socket, on which peers can connect already. [`start`](Self::start) makes it a
/// [`Reader`]; dropped before, it removes the socket's file.
#[must_use = "nothing is accepted until it is started"]
pub struct BoundReader {
    address: Address,
    listener: Option<Listener>,
    settings: Option<Settings>,
    process: u32,
}

/// What a reader's shutdown came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderReport {
    /// Connections that were cut off, because the time was over before all that was sent on them
    /// had been handled. Those that still waited to be accepted count too.
    pub cut: u64,
    /// The figures at the end.
    pub metrics: ReaderMetrics,
}

impl Reader {
    /// The settings of a reader at `address`, a path or on Linux `@name`, to be changed, bound and
    /// started.
    pub fn builder(address: impl AsRef<OsStr>) -> ReaderBuilder {
        ReaderBuilder::new(address.as_ref())
    }

    /// Stops: turns newcomers away, handles all that was sent, and ends; at the latest when
    /// `timeout` is over. On a socket that was taken over newcomers are not turned away: they
    /// wait in it for the next reader.
    ///
    /// A writer of this crate loses nothing by it: its next write fails, and what it has not sent
    /// it keeps for the next reader. (On macOS and the BSDs the last buffer of a writer that is
    /// sending can be lost.) Further calls, from any thread, wait for the same end, or bring it
    /// nearer by a shorter timeout. A handler that never returns is left behind in its thread;
    /// after its return nothing more is given to it. Two readers whose handlers shut each other
    /// down wait for each other, until the timeouts are over.
    ///
    /// The handler, the peer check and the observer are dropped when the reader's last thread ends:
    /// before this returns, unless a callback has not.
    ///
    /// # Errors
    /// Inside a callback of this reader's, for which it would have to wait; and in a forked child,
    /// which has no threads.
    pub fn shutdown(&self, timeout: Duration) -> Result<ReaderReport, ShutdownError> {
        self.may_wait()?;
        self.begin_stop(timeout);
        let mut inner = self.core.inner.lock();
        let cut = loop {
            match inner.life {
                Life::Stopped { cut } => break cut,
                // The dispatcher keeps the time: nothing of the user's can hold it up.
                Life::Running | Life::Draining { .. } => self.core.stopped.wait(&mut inner),
            }
        };
        drop(inner);
        self.thread.join();
        Ok(ReaderReport {
            cut,
            metrics: self.metrics(),
        })
    }

    /// Whether this thread may wait for the end.
    pub(crate) fn may_wait(&self) -> Result<(), ShutdownError> {
        if !self.thread.is_of_this_process() {
            return Err(ShutdownError::InForkedChild);
        }
        if self.core.scope.is_current() {
            Err(ShutdownError::InCallback)
        } else {
            Ok(())
        }
    }

    pub(crate) fn begin_stop(&self, timeout: Duration) {
        let deadline = deadline::after(clock::now(), timeout);
        let mut inner = self.core.inner.lock();
        inner.life = match inner.life {
            Life::Running => Life::Draining { deadline },
            Life::Draining { deadline: before } => Life::Draining {
                deadline: deadline::earlier(before, deadline),
            },
            stopped @ Life::Stopped { .. } => stopped,
        };
        drop(inner);
        self.core.waker.wake();
    }

    /// The figures now. Never blocks the reading.
    #[must_use]
    pub fn metrics(&self) -> ReaderMetrics {
        self.core.counters.metrics()
    }

    /// What tells from outside how it is.
    #[cfg(feature = "systemd")]
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals(Arc::clone(&self.core))
    }

    /// Where the reader listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.core.address
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.thread.is_of_this_process() {
            return;
        }
        if self.shutdown(DROP_TIMEOUT).is_err() {
            // A callback held the last reference: the threads end by themselves.
            self.begin_stop(DROP_TIMEOUT);
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("address", self.address())
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl BoundReader {
    fn new(address: Address, listener: Listener, settings: Settings) -> Self {
        Self {
            address,
            listener: Some(listener),
            settings: Some(settings),
            process: process::id(),
        }
    }

    /// Where peers connect.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Begins to accept, and gives every message to `handler`, on the reader's threads.
    ///
    /// The slice is valid for the call only. A closure that cannot fail must name an error all the
    /// same: `Ok::<(), std::convert::Infallible>(())`. For more than the message itself see
    /// [`Handler`] and [`start_handler`](Self::start_handler).
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start<F, E>(self, handler: F) -> Result<Reader, StartError>
    where
        F: Fn(&[u8]) -> Result<(), E> + Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.start_handler(Closure(handler))
    }

    /// Begins to accept, and gives every message and the rest of what happens on a connection to
    /// `handler`.
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start_handler<H: Handler>(mut self, handler: H) -> Result<Reader, StartError> {
        let address = self.address.clone();
        let system = |source| StartError::System {
            address: address.clone(),
            source,
        };
        // They are taken only here, and this consumes their owner.
        let (Some(listener), Some(settings)) = (self.listener.take(), self.settings.take()) else {
            return Err(system(std::io::ErrorKind::NotConnected.into()));
        };
        let listener = Arc::new(listener);
        let started = Self::start_threads(&address, &listener, settings, handler).map_err(system);
        started.inspect_err(|_| listener.remove_file())
    }

    fn start_threads<H: Handler>(
        address: &Address,
        listener: &Arc<Listener>,
        settings: Settings,
        handler: H,
    ) -> std::io::Result<Reader> {
        let core = Arc::new(Core {
            address: address.clone(),
            settings,
            counters: Counters::default(),
            scope: Scope::new(),
            poller: Poller::new()?,
            listener: Mutex::new(Some(Arc::clone(listener))),
            accept_turn: Mutex::new(()),
            waker: Waker::new()?,
            errands: Waker::new()?,
            buffers: Pool::new(BUFFERS_KEPT, READ_SIZE),
            pieces: Pool::new(PIECES_KEPT, PIECE_SIZE),
            held: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            inner: Mutex::new(Inner::new()),
            stopped: Condvar::new(),
        });
        let file = listener.watch_file();
        core.poller.add(&**listener, LISTENER, Interest::Read)?;
        core.poller.add(&core.errands, ERRANDS, Interest::Read)?;
        if let Some(file) = &file {
            core.poller.add(file, FILE, Interest::Read)?;
        }
        if listener.is_displaced() {
            // It went between the two steps, where nothing watched it.
            core.tell_later(ReaderEvent::Displaced {
                address: address.clone(),
            });
        }
        let dispatcher = Dispatcher {
            core: Arc::clone(&core),
            handler: Some(Arc::new(handler)),
            file: Arc::new(file),
            processors: thread::available_parallelism().map_or(1, usize::from),
            turns_before: 0,
            next_look: None,
            is_short: false,
            starving_since: None,
            stage: Stage::Running,
        };
        dispatcher.spawn()?;
        let thread = OwnThread::start("uds-ipc-watch", || dispatcher.run());
        // Without its dispatcher the thread that has been started must not stay.
        let thread = thread.inspect_err(|_| core.poller.close())?;
        Ok(Reader { core, thread })
    }
}

impl Drop for BoundReader {
    fn drop(&mut self) {
        if let Some(listener) = self
            .listener
            .take()
            .filter(|_| self.process == process::id())
        {
            listener.remove_file();
        }
    }
}

impl fmt::Debug for BoundReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundReader")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
