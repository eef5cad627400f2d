//! Standard output as a reader's handler.
//! Prints, and says when it no longer can; what follows from that is decided elsewhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use parking_lot::Mutex;
use uds_ipc::{Handler, Peer};

use crate::format::Format;
use crate::patient::Patient;

/// As much as a pipe holds on Linux: more would not leave in one write.
const BUFFER_SIZE: usize = 64 * 1024;

/// Where all connections print, one whole line at a time.
pub(crate) struct Output {
    format: Format,
    /// Gone once writing failed. Not `Stdout`, which looks for newlines in every write, but the
    /// bare file below it.
    file: Mutex<Option<BufWriter<Patient<File>>>>,
    on_failure: Box<dyn Fn(io::Error) + Send + Sync>,
}

/// Gives the messages of a reader to the output.
pub(crate) struct Printer(pub(crate) Arc<Output>);

impl Handler for Printer {
    type Error = io::Error;

    fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        let format = self.0.format;
        if format == Format::None {
            return Ok(());
        }
        self.0.with_file(|file| format.write(file, message, peer))
    }

    fn batch_end(&self, _: &Peer) -> io::Result<()> {
        if self.0.format == Format::None {
            Ok(())
        } else {
            self.0.with_file(Write::flush)
        }
    }
}

impl Output {
    /// Opens standard output. `on_failure` is called once, when writing fails.
    pub(crate) fn new(
        format: Format,
        on_failure: impl Fn(io::Error) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let file = Mutex::new(Some(BufWriter::with_capacity(BUFFER_SIZE, Patient(file))));
        Ok(Self {
            format,
            file,
            on_failure: Box::new(on_failure),
        })
    }

    /// A line is written under one lock, so that lines of several connections do not mix.
    #[inline]
    fn with_file(
        &self,
        write: impl FnOnce(&mut BufWriter<Patient<File>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = self.file.lock();
        let Some(open) = file.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let Err(error) = write(open) else {
            return Ok(());
        };
        let kind = error.kind();
        *file = None;
        drop(file);
        (self.on_failure)(error);
        Err(kind.into())
    }

    /// Writes what connections that were cut off have left in the buffer; for up to `timeout`,
    /// since nobody may read it.
    pub(crate) fn flush(self: Arc<Self>, timeout: Duration) {
        let (done, is_done) = bounded(1);
        let flush = move || {
            let _ = self.with_file(Write::flush);
            let _ = done.send(());
        };
        if thread::Builder::new()
            .name("uds-ipc-flush".into())
            .spawn(flush)
            .is_ok()
        {
            let _ = is_done.recv_timeout(timeout);
        }
    }
}
