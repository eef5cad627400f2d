//! What users give a reader to do.

use std::error::Error;
use std::sync::Arc;

use crate::peer::Peer;

/// What to do with the messages of a reader.
///
/// A closure for [`start`](crate::BoundReader::start) suffices for most; this trait is for those
/// who want to know the peer, to see connections open and close, or to do something once a batch.
///
/// All calls come from the reader's threads; those of one batch from one thread, so that it may
/// gather them in a thread's local. Those for one connection come one at a time and in order; those
/// for different connections come side by side, which is why they take `&self`. A call that blocks
/// holds up its own connection only. When a shutdown's time is over nothing more is called, neither
/// the end of a batch nor of a connection. Panics are caught, counted and reported, and the
/// connection goes on (with `panic = "abort"` nothing can be caught).
///
/// ```
/// use std::fs::File;
/// use std::io::{self, BufWriter, Write};
/// use std::sync::Mutex;
/// use uds_ipc::{Handler, Peer};
///
/// /// Takes its lock once a message, and hands them to the system once a batch. It does for
/// /// messages that may be lost; for others see `guide::delivery`.
/// struct Log(Mutex<BufWriter<File>>);
///
/// impl Handler for Log {
///     type Error = io::Error;
///
///     fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
///         let mut file = self.0.lock().unwrap();
///         write!(file, "[{}] ", peer.connection)?;
///         file.write_all(message)?;
///         file.write_all(b"\n")
///     }
///
///     fn batch_end(&self, _: &Peer) -> io::Result<()> {
///         self.0.lock().unwrap().flush()
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What a failed call returns. It is counted, and told to the event observer.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// One message, valid for the call only. It is never empty.
    ///
    /// # Errors
    /// Whatever went wrong. It is counted and told, and the connection goes on with the next
    /// message: this one counts as dealt with all the same, and does not come again. To have it
    /// again, remember the failure and return it from [`batch_end`](Self::batch_end).
    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error>;

    /// The end of a batch: of what one turn at the connection brought, at least one message. Here a
    /// handler flushes its file or gives up its lock. It follows each call of
    /// [`message`](Self::message) on the same thread before another connection has it, also when
    /// that call panicked or the connection has ended; only when the time for a shutdown is
    /// over nothing more is called.
    ///
    /// # Errors
    /// Whatever went wrong: the batch was not stored. The connection goes on, unless its peer has
    /// ever asked for a receipt: it gets none any more, and its connection ends. That of a writer
    /// with [`AtLeastOnce`](crate::Delivery::AtLeastOnce) is closed at once, and the batch comes
    /// again, and what is behind it. Otherwise what the peer has sent is read and handled first.
    fn batch_end(&self, peer: &Peer) -> Result<(), Self::Error> {
        let _ = peer;
        Ok(())
    }

    /// A peer has connected and was let in. Comes before its first message.
    fn opened(&self, peer: &Peer) {
        let _ = peer;
    }

    /// A connection has ended. Comes after its last message.
    fn closed(&self, peer: &Peer) {
        let _ = peer;
    }
}

/// A handler that somebody else keeps a reference to, to look at it while the reader runs or
/// afterwards.
impl<H: Handler> Handler for Arc<H> {
    type Error = H::Error;

    #[inline]
    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        (**self).message(message, peer)
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), Self::Error> {
        (**self).batch_end(peer)
    }

    fn opened(&self, peer: &Peer) {
        (**self).opened(peer);
    }

    fn closed(&self, peer: &Peer) {
        (**self).closed(peer);
    }
}

/// A closure as a handler.
#[derive(Debug)]
pub(super) struct Closure<F>(pub(super) F);

impl<F, E> Handler for Closure<F>
where
    F: Fn(&[u8]) -> Result<(), E> + Send + Sync + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Error = E;

    #[inline]
    fn message(&self, message: &[u8], _: &Peer) -> Result<(), E> {
        (self.0)(message)
    }
}
