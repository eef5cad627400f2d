//! Ways to connect that are the user's own.

use std::fmt;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sys::OwnedDescriptor;

/// Makes the connections of a writer: for vsock, a proxy, or a stream that another program hands
/// out. See [`Writer::with_connector`](crate::Writer::with_connector).
///
/// Closures of this form are connectors:
///
/// ```
/// use std::net::{SocketAddr, TcpListener, TcpStream};
/// use std::time::Duration;
/// use uds_ipc::Writer;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address: SocketAddr = listener.local_addr()?;
/// let connect = move |timeout: Duration| TcpStream::connect_timeout(&address, timeout);
/// let writer = Writer::with_connector(connect).start()?;
/// # writer.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Connector: Send + 'static {
    /// Makes one connection: a stream socket that is connected, or a pipe to write to.
    ///
    /// It is called on the writer's thread, for the first connection and after each loss, with
    /// backoff. Meanwhile nothing is written, and messages gather in the queue. It should return
    /// within `timeout`, which is the writer's
    /// [`connect_timeout`](crate::WriterBuilder::connect_timeout): nobody can interrupt it.
    ///
    /// # Errors
    /// What the event [`ConnectFailed`](crate::event::WriterEvent::ConnectFailed) is to tell. A
    /// panic counts as one.
    fn connect(&mut self, timeout: Duration) -> io::Result<OwnedDescriptor>;
}

impl<F, S> Connector for F
where
    F: FnMut(Duration) -> io::Result<S> + Send + 'static,
    S: Into<OwnedDescriptor>,
{
    fn connect(&mut self, timeout: Duration) -> io::Result<OwnedDescriptor> {
        Ok(self(timeout)?.into())
    }
}

/// Where the connections of a writer come from.
pub(crate) enum Source {
    /// Its address.
    Address,
    /// Never locked: so a builder can be shared, whatever the connector is.
    Connector(Mutex<Box<dyn Connector>>),
    /// This one, and no other.
    Stream(crate::sys::Stream),
    /// That one was used.
    Used,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "Address",
            Self::Connector(_) => "Connector",
            Self::Stream(_) => "Stream",
            Self::Used => "Used",
        })
    }
}
