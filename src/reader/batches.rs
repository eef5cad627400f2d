//! Messages in batches that their receiver confirms, for a loop instead of a handler.

use std::sync::Arc;

use super::batch::{Batch, Messages};
use super::batch_queue::{BatchQueue, Next};
use super::connection::batch_end::BatchEnd;
use super::gatherer::Gatherer;
use super::handler::BoxError;
use super::target::Ended;
use super::{BoundReader, Reader};
use crate::error::StartError;
use crate::outcome::Outcome;
use crate::sys::fork::HomeProcess;

/// What a reader receives, batch by batch: made by
/// [`start_batches`](crate::BoundReader::start_batches).
///
/// A batch is what one turn at a connection brought. Those of one connection come in order, and are
/// confirmed in any order: receipts cover what is confirmed without a gap.
///
/// A batch is out until it is [done](Batch::done) or dropped. A connection with eight of them out,
/// or with 1 MiB, is not read on; neither is any while 64 MiB are out. So a receiver that is slow
/// holds up the connections, and in the end the writers' queues.
///
/// Keep the [`Reader`] as well: when it is dropped or shut down, this ends, after what came before.
/// It can be shared among threads; each batch goes to one of them. When it is dropped, all that
/// comes from then on counts as not stored.
#[derive(Debug)]
pub struct Batches {
    pub(super) queue: Arc<BatchQueue>,
    process: HomeProcess,
}

impl Batches {
    /// Waits for the next batch; `None` once the reader has ended, and in a forked child.
    ///
    /// It blocks: in async code use the `Stream` of the feature `async`.
    #[must_use]
    pub fn recv(&self) -> Option<Batch> {
        if self.process.is_elsewhere_for_certain() {
            return None;
        }
        self.queue.next()
    }

    /// The next batch, if one is there.
    #[must_use]
    pub fn try_recv(&self) -> Option<Batch> {
        match self.try_next() {
            Next::Batch(batch) => Some(batch),
            Next::Nothing | Next::End => None,
        }
    }

    /// Likewise, and whether any will come.
    pub(super) fn try_next(&self) -> Next {
        if self.process.is_elsewhere_for_certain() {
            // Before any lock: a thread that is not here may hold it for ever.
            return Next::End;
        }
        self.queue.try_next()
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if !self.process.is_elsewhere_for_certain() {
            self.queue.close();
        }
    }
}

/// Waits for each batch, until the reader has ended.
impl IntoIterator for Batches {
    type Item = Batch;
    type IntoIter = BatchesIntoIter;

    fn into_iter(self) -> BatchesIntoIter {
        BatchesIntoIter(self)
    }
}

/// [`Batches`] as an iterator, which waits for each.
#[derive(Debug)]
pub struct BatchesIntoIter(Batches);

impl Iterator for BatchesIntoIter {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.0.recv()
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
        let (queue, process) = (Arc::default(), HomeProcess::this());
        let sender = Sender(Arc::clone(&queue));
        let put = move |gathered: Messages, end: BatchEnd, connection: &_, shared: &_| {
            sender
                .0
                .put(Batch::new(gathered, end, connection, shared, process));
            Ok(Ended::Out)
        };
        let reader = self.start_target(Gatherer(put))?;
        Ok((reader, Batches { queue, process }))
    }

    /// Begins to accept, and lends each whole batch to `handler`, on the reader's threads: what one
    /// turn at a connection brought, at least one message. Each message is a slice of the buffer
    /// that it was read into, so that they can be written on together, without a copy.
    ///
    /// What the closure returns holds for the batch: an error, or a panic, is counted and told as
    /// one of [`Handler::batch_end`](crate::Handler::batch_end). To take batches away, and to
    /// confirm them later, see [`start_batches`](Self::start_batches). To look at each message by
    /// itself [`start`](Self::start) is faster: here 16 bytes took 1.2 times the processor time,
    /// 1 KiB the same.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Write;
    /// use uds_ipc::{Batch, Reader};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// let log = File::create(directory.path().join("log"))?;
    /// let reader = Reader::builder(&path).bind()?.start_batch_handler(move |batch: &Batch| {
    ///     let lines: Vec<u8> = batch.messages().collect::<Vec<_>>().join(&b'\n');
    ///     (&log).write_all(&lines)?;
    ///     log.sync_data()
    /// })?;
    /// # let _ = reader.shutdown(std::time::Duration::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start_batch_handler<F, R>(self, handler: F) -> Result<Reader, StartError>
    where
        F: Fn(&Batch) -> R + Send + Sync + 'static,
        R: Outcome<Error: Into<BoxError>>,
    {
        let lend = move |gathered: Messages, _: BatchEnd, connection: &Arc<_>, shared: &Arc<_>| {
            Batch::lend(gathered, connection, shared, |batch| {
                handler(batch).into_result()
            })
            .map(|()| Ended::Stored)
            .map_err(Into::into)
        };
        self.start_target(Gatherer(lend))
    }
}

/// Whoever puts batches into the queue. The end comes after the last one.
struct Sender(Arc<BatchQueue>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.end();
    }
}
