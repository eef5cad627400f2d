//! What users give a reader to do with messages: a closure, or a handler.

use std::error::Error;
use std::sync::Arc;

use crate::outcome::Outcome;
use crate::peer::Peer;

/// An error of a handler, of whatever type.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What to do with the messages of a reader.
///
/// A closure for [`start`](crate::BoundReader::start) suffices for most. This trait also tells the
/// peer, the end of each batch, and when connections open and close.
///
/// * All calls come from the reader's threads; the calls of one batch from one thread, so that a
///   handler may gather its messages in a thread-local variable.
/// * The calls for one connection come one at a time and in order. Those for different connections
///   come side by side, which is why they take `&self`. A call that blocks holds up its own
///   connection only.
/// * When a shutdown's time is over nothing more is called, neither the end of a batch nor of a
///   connection.
///
/// # Errors and panics
/// An error, or a panic, of [`message`](Self::message) or [`batch_end`](Self::batch_end) is counted
/// and told to the event observer. (With `panic = "abort"` no panic can be caught.) What follows
/// depends on the writer's [`Delivery`](crate::Delivery):
///
/// | fails | the writer has `AtMostOnce` | the writer has `AtLeastOnce` |
/// | --- | --- | --- |
/// | `message` | the next message comes | the message was not stored: the batch ends before it, what came before is confirmed, and the connection is closed |
/// | `batch_end` | the next batch comes; if the writer has asked for a receipt, the connection is closed once what it sent is handled | the batch was not stored: none of it is confirmed, and the connection is closed |
///
/// With `AtLeastOnce` the writer then sends again, from the first message that was not confirmed,
/// after its backoff. It does so until that message is handled: a handler that wants to skip a
/// message returns `Ok`.
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
    /// What a failed call returns: an error type of yours,
    /// [`Infallible`](std::convert::Infallible), or `Box<dyn Error + Send + Sync>` for any error.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// One message, valid for the call only. It is never empty.
    ///
    /// # Errors
    /// The message was not handled. With `AtMostOnce` it is lost, and the next one comes. With
    /// `AtLeastOnce` it comes again, on another connection, and so does what is behind it.
    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error>;

    /// The end of a batch: of what one turn at the connection brought, at least one message. Here a
    /// handler flushes its file or gives up its lock. After calls of [`message`](Self::message)
    /// this comes on the same thread, before that thread serves another connection; also when the
    /// last of those calls failed or panicked, and when the connection has ended.
    ///
    /// # Errors
    /// The batch was not stored. With `AtLeastOnce` all of it comes again, on another connection,
    /// and so does what is behind it. With `AtMostOnce` it is lost; a writer that has asked for a
    /// receipt gets none any more, so that it does not take the batch for handled: its connection
    /// ends once what it sent is handled.
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

/// A handler that is shared: it can be looked at while the reader runs, and afterwards.
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

impl<F, R> Handler for Closure<F>
where
    F: Fn(&[u8]) -> R + Send + Sync + 'static,
    R: Outcome<Error: Into<BoxError>>,
{
    type Error = R::Error;

    #[inline]
    fn message(&self, message: &[u8], _: &Peer) -> Result<(), R::Error> {
        (self.0)(message).into_result()
    }
}
