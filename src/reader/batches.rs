//! Messages in batches that their receiver confirms, for a loop instead of a handler. Each batch
//! holds up its connection until it is confirmed.

use std::cell::RefCell;
use std::fmt;
use std::mem;
#[cfg(feature = "async")]
use std::sync::Arc;

#[cfg(feature = "async")]
use atomic_waker::AtomicWaker;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use thiserror::Error;

use super::handler::Handler;
use super::{BoundReader, Reader};
use crate::error::StartError;
use crate::peer::Peer;

thread_local! {
    /// The messages of the batch that this thread is at.
    static GATHERED: RefCell<Gathered> = const { RefCell::new(Gathered::new()) };
}

/// Messages, one behind the other.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Gathered {
    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn add(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }
}

/// What a reader receives, batch by batch: made by
/// [`start_batches`](crate::BoundReader::start_batches).
///
/// A batch is what one turn at a connection brought. Those of one connection come in order, the
/// next one only when the one before is [done](Batch::done) or dropped: so a receiver that is slow
/// holds up the connections, and in the end the writers' queues. As many batches are out at once
/// as there are connections with something to read, up to
/// [`max_threads`](crate::ReaderBuilder::max_threads).
///
/// Keep the [`Reader`] as well: when it is dropped or shut down, this ends, after what came before.
/// It can be shared among
/// threads; each batch goes to one of them. When it is dropped, all that comes from then on counts
/// as not stored.
#[derive(Debug)]
pub struct Batches {
    batches: Receiver<Batch>,
    /// The task that waits for the next one.
    #[cfg(feature = "async")]
    pub(super) task: Arc<AtomicWaker>,
}

impl Batches {
    /// Waits for the next batch; `None` once the reader has ended.
    ///
    /// It blocks: in async code use the `Stream` of the feature `async`.
    #[must_use]
    pub fn recv(&self) -> Option<Batch> {
        self.batches.recv().ok()
    }

    /// The next batch, if one is there.
    #[must_use]
    pub fn try_recv(&self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// Likewise, and whether any will come.
    #[cfg(feature = "async")]
    pub(super) fn next(&self) -> Result<Batch, crossbeam_channel::TryRecvError> {
        self.batches.try_recv()
    }
}

/// Waits for each batch, until the reader has ended.
impl IntoIterator for Batches {
    type Item = Batch;
    type IntoIter = crossbeam_channel::IntoIter<Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.into_iter()
    }
}

/// Messages that came together on one connection, to be confirmed together.
///
/// [`done`](Self::done) says that they are stored. A batch that is dropped without it is not: with
/// [`AtLeastOnce`](crate::Delivery::AtLeastOnce) its messages come again, on another connection;
/// with `AtMostOnce` they are counted as an error of the handler, and lost.
#[must_use = "a batch that is dropped without `done` counts as not stored"]
pub struct Batch {
    gathered: Gathered,
    peer: Peer,
    /// Brings the memory back. Dropped without that it says that nothing is stored.
    done: Sender<Gathered>,
}

impl Batch {
    /// The messages, in order; at least one.
    #[must_use]
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        let Gathered { bytes, ends } = &self.gathered;
        (0..ends.len()).map(move |index| {
            let start = index.checked_sub(1).and_then(|before| ends.get(before));
            let end = ends.get(index).copied().unwrap_or_default();
            bytes
                .get(start.copied().unwrap_or_default()..end)
                .unwrap_or_default()
        })
    }

    /// The connection that they came on.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The messages are stored: the writer is given a receipt for them, if it wants one, and the
    /// connection goes on. From any thread, at any time.
    pub fn done(self) {
        let Self { gathered, done, .. } = self;
        // Where the reader has ended meanwhile, nobody waits for it.
        let _ = done.try_send(gathered);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("messages", &self.gathered.ends.len())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl BoundReader {
    /// Begins to accept, and gives what comes to [`Batches`]: for a loop of one's own, instead of a
    /// handler on the reader's threads. With the feature `async` they are a `Stream` too.
    ///
    /// A shutdown handles what was sent, and so waits for the batches that are out: go on taking
    /// them while it runs, which in async code means to call it in `spawn_blocking`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use uds_ipc::{Delivery, Reader, Writer};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// let (reader, batches) = Reader::builder(&path).bind()?.start_batches()?;
    /// let store = std::thread::spawn(move || {
    ///     let mut stored = Vec::new();
    ///     for batch in batches {
    ///         stored.extend(batch.messages().map(<[u8]>::to_vec));
    ///         // Only now the writer may forget them.
    ///         batch.done();
    ///     }
    ///     stored
    /// });
    ///
    /// let builder = Writer::builder(&path).delivery(Delivery::AtLeastOnce);
    /// let writer = builder.start()?;
    /// writer.try_send("requests:17|c")?;
    /// assert_eq!(writer.shutdown(Duration::from_secs(5))?.left.messages, 0);
    /// let _ = reader.shutdown(Duration::from_secs(5))?;
    /// assert_eq!(store.join().unwrap(), [b"requests:17|c"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start_batches(self) -> Result<(Reader, Batches), StartError> {
        // As many as there are threads: each waits for its own.
        let (sender, batches) = unbounded();
        #[cfg(feature = "async")]
        let task = Arc::default();
        let gatherer = Gatherer {
            batches: Some(sender),
            #[cfg(feature = "async")]
            task: Arc::clone(&task),
        };
        let reader = self.start_handler(gatherer)?;
        let batches = Batches {
            batches,
            #[cfg(feature = "async")]
            task,
        };
        Ok((reader, batches))
    }
}

struct Gatherer {
    /// Until the end.
    batches: Option<Sender<Batch>>,
    #[cfg(feature = "async")]
    task: Arc<AtomicWaker>,
}

/// Why a batch was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the batch was dropped without being confirmed: call its `done` once it is stored")]
struct NotDone;

impl Handler for Gatherer {
    type Error = NotDone;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), NotDone> {
        GATHERED.with_borrow_mut(|gathered| gathered.add(message));
        Ok(())
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), NotDone> {
        let gathered = GATHERED.with_borrow_mut(mem::take);
        let (done, outcome) = bounded(1);
        let batch = Batch {
            gathered,
            peer: *peer,
            done,
        };
        if let Some(batches) = &self.batches {
            batches.send(batch).map_err(|_| NotDone)?;
        }
        #[cfg(feature = "async")]
        self.task.wake();
        let mut gathered = outcome.recv().map_err(|_| NotDone)?;
        gathered.bytes.clear();
        gathered.ends.clear();
        GATHERED.with_borrow_mut(|kept| *kept = gathered);
        Ok(())
    }
}

/// The end comes after the last batch.
impl Drop for Gatherer {
    fn drop(&mut self) {
        self.batches = None;
        #[cfg(feature = "async")]
        self.task.wake();
    }
}
