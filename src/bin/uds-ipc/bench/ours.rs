//! A writer and a reader of this crate, with their default settings but for the queue's size.
//! As fast as whoever reads the docs would have it, and no faster.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use uds_ipc::{IntoMessage, Reader as SocketReader, SendError, Writer, WriterBuilder};

use super::answers::Answer;
use super::cases::{Case, PATIENCE, Stream};
use super::counter::{Counter, FILL};
use super::ends::{Place, open_pipe};
use super::failure::Failure;
use super::processes::{Present, Reader};
use super::sending::{Sender, share};

/// How often a sender that finds no room looks whether there is still somebody to wait for.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Ours {
    writer: Writer,
    payload: Vec<u8>,
    /// Whether each message is a vector of its own.
    is_owned: bool,
    producers: usize,
    present: Present,
}

impl Ours {
    pub(super) fn new(
        reader: &Reader,
        case: Case,
        is_owned: bool,
        present: Present,
    ) -> Result<Self, Failure> {
        let writer = writer(reader.place())?
            .max_queued_bytes(case.max_queued_bytes())
            .start()?;
        Ok(Self {
            writer,
            payload: vec![FILL; case.size],
            is_owned,
            producers: case.producers,
            present,
        })
    }

    fn send_each<M: IntoMessage>(
        &self,
        count: u64,
        message: impl Fn() -> M,
    ) -> Result<(), Failure> {
        for _ in 0..count {
            if self.writer.try_send(message()).is_err() {
                send_late(&self.writer, &self.present, &message)?;
            }
        }
        Ok(())
    }
}

/// A writer to the place, with the settings that it has of its own.
pub(super) fn writer(place: &Place) -> Result<WriterBuilder, Failure> {
    Ok(match place {
        Place::Unix(path) => Writer::builder(path),
        Place::Tcp(address) => Writer::builder(format!("tcp:{address}")),
        Place::Pipe(_) => Writer::over(place.connect()?),
    })
}

/// Sends what the queue has no room for now.
pub(super) fn send_late<M: IntoMessage>(
    writer: &Writer,
    present: &Present,
    message: impl Fn() -> M,
) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        match writer.send_timeout(message(), LOOK) {
            Ok(()) => return Ok(()),
            Err(SendError::Full(_)) => present.check()?,
            Err(_) => break,
        }
        waited += LOOK;
    }
    Err(Failure::Silent)
}

impl Sender for Ours {
    fn send(&mut self, count: u64) -> Result<(), Failure> {
        share(count, self.producers, |count| {
            if self.is_owned {
                self.send_each(count, || self.payload.clone())
            } else {
                self.send_each(count, || &self.payload[..])
            }
        })
    }

    fn finish(&mut self) -> Result<(), Failure> {
        finish(&self.writer)
    }
}

/// Messages that took a second connection may have been lost with the first.
pub(super) fn finish(writer: &Writer) -> Result<(), Failure> {
    match writer.metrics().connects {
        1 => Ok(()),
        more => Err(Failure::Reconnected(more)),
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Nobody waits for what is left after a failure.
        let _ = self.writer.shutdown(Duration::ZERO);
    }
}

pub(super) fn receive(
    stream: Stream,
    path: &Path,
    counter: &Arc<Counter>,
) -> Result<(), Box<dyn Error>> {
    let counter = Arc::clone(counter);
    serve(stream, path, move |message| {
        if counter.take(message) {
            counter.answer()
        } else {
            Ok(())
        }
    })
}

/// Gives every message to `handle` until the process ends.
pub(super) fn serve(
    stream: Stream,
    path: &Path,
    handle: impl Fn(&[u8]) -> io::Result<()> + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    let builder = match stream {
        Stream::Unix => SocketReader::builder(path),
        Stream::Tcp => SocketReader::builder("tcp:127.0.0.1:0"),
        Stream::Pipe => SocketReader::without_listener(),
    };
    let reader = builder.bind()?.start(handle)?;
    let address = match stream {
        Stream::Unix => None,
        Stream::Tcp => tcp_address(&reader),
        Stream::Pipe => {
            reader.serve(open_pipe(path)?)?;
            None
        }
    };
    Answer::Ready(address).say()?;
    loop {
        thread::park();
    }
}

/// Where it listens: the kernel has chosen the port.
fn tcp_address(reader: &SocketReader) -> Option<SocketAddr> {
    let port = reader.address().port()?;
    Some((Ipv4Addr::LOCALHOST, port).into())
}
