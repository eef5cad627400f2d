//! The receiving end: what users hold of it.
//! Thin: connections are served by `threads`, with what is in `connection`.

mod arenas;
mod batch;
mod batch_queue;
#[cfg(feature = "async")]
mod batch_stream;
mod batches;
mod builder;
mod callbacks;
mod connection;
mod counters;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gatherer;
mod handler;
#[cfg(all(unix, feature = "systemd"))]
mod health;
mod recover;
mod shared;
#[cfg(test)]
mod simulated;
mod target;
mod thread_pool;
mod threads;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use batch::Batch;
pub use batches::{Batches, BatchesIntoIter};
pub use builder::ReaderBuilder;
pub use handler::Handler;
#[cfg(all(unix, feature = "systemd"))]
pub(crate) use health::Health;
pub use recover::Recover;
#[cfg(test)]
pub(crate) use simulated::{SimulatedBatch, SimulatedConnection, SimulatedFate};

use self::handler::Closure;
use self::shared::{DEFERRED, LISTENER, Life, Registered, Settings, Shared};
use self::target::Target;
use self::threads::supervisor::Supervisor;
use crate::address::Address;
use crate::clock;
use crate::deadline;
use crate::descriptor_store::{End, Store};
use crate::error::{ServeError, ShutdownError, StartError};
use crate::event::{ReaderEvent, RefuseCause};
use crate::listen::Listener;
#[cfg(feature = "metrics")]
use crate::metrics::Publisher;
use crate::metrics::ReaderMetrics;
use crate::outcome::Outcome;
use crate::own_thread::OwnThread;
use crate::sys::fork::HomeProcess;
use crate::sys::{AdoptError, Interest, OwnedDescriptor, Stream};

/// How long a reader that is dropped without a shutdown still reads what was sent.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

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
/// })?;
/// // ...
/// let report = reader.shutdown(Duration::from_secs(5))?;
/// assert_eq!(report.cut, 0);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    shared: Arc<Shared>,
    /// The supervisor; it runs nothing of the user's.
    thread: OwnThread,
}

/// A reader with a socket, on which peers can connect already. [`start`](Self::start) makes it a
/// [`Reader`]; dropped before, it removes the socket's file.
#[must_use = "nothing is accepted until it is started"]
pub struct BoundReader {
    address: Address,
    incoming: Option<Incoming>,
    settings: Option<Settings>,
    process: HomeProcess,
}

/// Where the connections of a reader come from.
#[derive(Debug, Default)]
struct Incoming {
    listener: Option<Listener>,
    /// One that is there already.
    stream: Option<Stream>,
}

impl From<Listener> for Incoming {
    fn from(listener: Listener) -> Self {
        Self {
            listener: Some(listener),
            stream: None,
        }
    }
}

impl From<Stream> for Incoming {
    fn from(stream: Stream) -> Self {
        Self {
            listener: None,
            stream: Some(stream),
        }
    }
}

/// What a reader's shutdown came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether anything was cut off"]
pub struct ReaderReport {
    /// Connections that were cut off, because the time was over before all that was sent on them
    /// had been handled. Those that still waited to be accepted count too.
    pub cut: u64,
    /// The figures at the end.
    pub metrics: ReaderMetrics,
}

impl Reader {
    /// The settings of a reader at `address`, a path or whatever else an [`Address`] can be, to be
    /// changed, bound and started.
    pub fn builder(address: impl AsRef<OsStr>) -> ReaderBuilder {
        ReaderBuilder::at(address.as_ref())
    }

    /// The settings of a reader without a socket to listen on, for the streams that
    /// [`serve`](Self::serve) gives it. Its address reads `streams`, and names nothing.
    pub fn without_listener() -> ReaderBuilder {
        ReaderBuilder::without_listener()
    }

    /// Serves a stream that is connected already, like one that was accepted: with the same
    /// limits, the same check of the peer, and to its end when the reader stops. It may be a Unix
    /// or TCP socket, one end of a socketpair, or a pipe to read from. Returns the number of the
    /// connection, which the handler and the events have in [`Peer`](crate::Peer).
    ///
    /// The stream becomes non-blocking, and so do its copies, in other processes as well. Over a
    /// socketpair the kernel says who made the pair, which is this process: what it is told of the
    /// peer is nothing but that. Over a pipe nobody is known, and there is no way back: a writer
    /// with `AtLeastOnce` gets no receipts.
    ///
    /// # Errors
    /// When it is no such stream, a limit of connections is reached, the reader has stopped, or
    /// this is a forked child. The stream is closed then.
    pub fn serve(&self, stream: impl Into<OwnedDescriptor>) -> Result<u64, ServeError> {
        if !self.thread.is_of_this_process() {
            return Err(ServeError::InForkedChild);
        }
        let stream = Stream::adopt_to_read(stream.into()).map_err(|error| match error {
            AdoptError::Kind(kind) => ServeError::NotAStream { kind },
            AdoptError::Io(error) => ServeError::Io(error.into()),
        })?;
        self.serve_stream(stream)
    }

    fn serve_stream(&self, stream: Stream) -> Result<u64, ServeError> {
        let identity = stream
            .peer()
            .map_err(|error| ServeError::Io(error.into()))?;
        let settings = &self.shared.settings;
        match self.shared.serve(stream, identity, clock::now()) {
            Registered::Open(number) => Ok(number),
            Registered::TooManyOfUser(peer) => {
                let limit = settings.max_connections_per_user;
                self.shared.emit_later(ReaderEvent::Refused {
                    peer,
                    cause: RefuseCause::TooManyOfUser { limit },
                });
                Err(ServeError::TooManyOfUser { limit })
            }
            Registered::Full => Err(ServeError::TooMany {
                limit: settings.max_connections,
            }),
            Registered::Closed => Err(ServeError::Stopped),
            Registered::Unwatched(error) => Err(ServeError::Io(error.into())),
        }
    }

    /// Stops: turns new peers away, handles all that was sent, and ends; at the latest when
    /// `timeout` is over. On a socket that was passed to this process new peers are not turned
    /// away: they wait in it for the next reader.
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
        let mut locked = self.shared.lock();
        let cut = loop {
            match locked.life {
                Life::Stopped { cut } => break cut,
                // The supervisor keeps the time: nothing of the user's can hold it up.
                Life::Running | Life::Draining { .. } => self.shared.stopped.wait(&mut locked),
            }
        };
        drop(locked);
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
        if self.shared.scope.is_current() {
            Err(ShutdownError::InCallback)
        } else {
            Ok(())
        }
    }

    pub(crate) fn begin_stop(&self, timeout: Duration) {
        let deadline = deadline::after(clock::now(), timeout);
        let mut locked = self.shared.lock();
        locked.life = match locked.life {
            Life::Running => Life::Draining { deadline },
            Life::Draining { deadline: before } => Life::Draining {
                deadline: deadline::earlier(before, deadline),
            },
            stopped @ Life::Stopped { .. } => stopped,
        };
        drop(locked);
        self.shared.supervisor_waker.wake();
    }

    /// The figures now. Never blocks the reading.
    #[must_use]
    pub fn metrics(&self) -> ReaderMetrics {
        self.shared.counters.metrics()
    }

    /// Hands the figures to the `metrics` crate, with `name` as a label: with the feature
    /// `metrics`. It does not keep the reader running.
    #[cfg(feature = "metrics")]
    pub fn publisher(&self, name: impl Into<String>) -> Publisher {
        let shared = Arc::clone(&self.shared);
        Publisher::of_reader(name.into(), move || shared.counters.metrics())
    }

    /// A look at the reader from outside.
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn health(&self) -> Health {
        Health(Arc::clone(&self.shared))
    }

    /// Where the reader listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.thread.is_of_this_process() {
            return;
        }
        if self.shutdown(DROP_TIMEOUT).is_err() {
            // A callback held the last reference: its thread ends after it.
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
    fn new(address: Address, incoming: Incoming, settings: Settings) -> Self {
        Self {
            address,
            incoming: Some(incoming),
            settings: Some(settings),
            process: HomeProcess::this(),
        }
    }

    /// Where peers connect.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether peers can connect to it. Not to one without a listener, nor to one at `fd:N` or `-`
    /// that found a connected stream there: when that has
    /// [ended](crate::event::ReaderEvent::Closed), nothing more comes.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.incoming
            .as_ref()
            .is_some_and(|incoming| incoming.listener.is_some())
    }

    /// Begins to accept, and gives every message to `handler`, on the reader's threads.
    ///
    /// The slice is valid for the call only. The closure returns nothing, or a `Result<(), E>`: an
    /// error, or a panic, is counted and told to the event observer, and with
    /// [`AtLeastOnce`](crate::Delivery::AtLeastOnce) the message comes again. (For any error take
    /// `Box<dyn Error + Send + Sync>`: it goes to another thread.) For more than the
    /// message itself see [`Handler`] and [`start_handler`](Self::start_handler).
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start<F, R>(self, handler: F) -> Result<Reader, StartError>
    where
        F: Fn(&[u8]) -> R + Send + Sync + 'static,
        R: Outcome<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        self.start_handler(Closure(handler))
    }

    /// Begins to accept, and gives every message and the rest of what happens on a connection to
    /// `handler`.
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start_handler<H: Handler>(self, handler: H) -> Result<Reader, StartError> {
        self.start_target(handler)
    }

    fn start_target(mut self, target: impl Target) -> Result<Reader, StartError> {
        let address = self.address.clone();
        // They are taken only here, and this consumes their owner.
        let (Some(incoming), Some(settings)) = (self.incoming.take(), self.settings.take()) else {
            let refused = StartError::system("start a second time", &address);
            return Err(refused(std::io::ErrorKind::NotConnected.into()));
        };
        let listener = incoming.listener.map(Arc::new);
        let started = Self::start_threads(&address, listener.as_ref(), settings, target);
        let reader = started.inspect_err(|_| {
            if let Some(listener) = &listener {
                listener.remove_file();
            }
        })?;
        if let Some(stream) = incoming.stream {
            // Nothing else is served yet.
            let refused = StartError::system("serve what was given", &address);
            reader
                .serve_stream(stream)
                .map_err(|error| refused(std::io::Error::other(error)))?;
        }
        Ok(reader)
    }

    fn start_threads(
        address: &Address,
        listener: Option<&Arc<Listener>>,
        settings: Settings,
        target: impl Target,
    ) -> Result<Reader, StartError> {
        let refused = StartError::system("make what the threads wait with", address);
        let store = if settings.descriptor_store {
            Store::open(End::Reader, address)
        } else {
            Ok(None)
        };
        let (store, not_stored) = match store {
            Ok(store) => (store, None),
            Err(error) => (None, Some(error)),
        };
        let shared = Shared::new(address.clone(), settings, listener.cloned(), store);
        let shared = Arc::new(shared.map_err(&refused)?);
        let mut added = shared
            .poller
            .add(&shared.worker_waker, DEFERRED, Interest::Read);
        if let Some(listener) = listener {
            let add = || {
                shared
                    .poller
                    .add(listener.socket(), LISTENER, Interest::Read)
            };
            added = added.and_then(|()| add());
        }
        added.map_err(refused)?;
        let file = listener.and_then(|listener| listener.watch_file(&shared.supervisor_waker));
        let store = shared.store.as_ref();
        // Before any connection is read: what has come before is known then.
        let inherited = store.map_or_else(Vec::new, |store| shared.inherit(store));
        let thread = Supervisor::start(&shared, target, file)
            .map_err(StartError::system("start the threads", address))?;
        // Each of them: what stays has the place of what this reader leaves, and says less.
        let remove = |name: &String| store.and_then(|store| store.remove(name).err());
        let not_removed: Vec<_> = inherited.iter().filter_map(remove).collect();
        if let Some(error) = not_stored.or(not_removed.into_iter().next()) {
            shared.tell_not_stored(error);
        }
        Ok(Reader { shared, thread })
    }
}

impl Drop for BoundReader {
    fn drop(&mut self) {
        if let Some(listener) = self
            .incoming
            .take()
            .and_then(|incoming| incoming.listener)
            .filter(|_| !self.process.is_elsewhere_for_certain())
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
