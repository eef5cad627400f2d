//! Standard output for the messages of a reader.
//! Prints, and says when it no longer can; what follows from that is decided elsewhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::bounded;
use humantime::format_rfc3339_micros;
use parking_lot::{Mutex, MutexGuard};
use uds_ipc::Peer;

use crate::format::{Format, Layout};
use crate::patient::Patient;

/// As much as a pipe holds on Linux: more would not leave in one write.
const BUFFER_SIZE: usize = 64 * 1024;

/// Where all connections print, one whole message at a time.
pub(crate) struct Output {
    layout: Layout,
    is_timed: bool,
    /// Nothing is printed, and nothing counted.
    is_silent: bool,
    state: Mutex<State>,
    on_over: Box<dyn Fn(Over) + Send + Sync>,
}

struct State {
    sink: Sink,
    /// How many messages are still to be printed, where that has an end.
    wanted: Option<u64>,
    /// Messages of which not all may have left the buffer.
    buffered: u64,
    unprinted: u64,
}

/// Where messages go.
enum Sink {
    /// Not `Stdout`, which looks for newlines in every write, but the bare file below it.
    Open(BufWriter<Patient<File>>),
    /// What was wanted is printed.
    Done,
    Failed,
}

impl Sink {
    fn file(&mut self) -> Option<&mut BufWriter<Patient<File>>> {
        match self {
            Self::Open(file) => Some(file),
            Self::Done | Self::Failed => None,
        }
    }
}

/// Why no more is printed.
#[derive(Debug)]
pub(crate) enum Over {
    Failed(io::Error),
    /// As many are printed as were wanted.
    Enough,
}

/// What is left at the end.
pub(crate) struct Rest {
    /// Messages that came and were not printed, or only in part.
    pub(crate) unprinted: u64,
    /// How many are still wanted; none where there is no bound.
    pub(crate) wanted: u64,
}

impl Output {
    /// Opens standard output, for as many messages as are `wanted`. `on_over` is called once, when
    /// that many are printed, or when writing fails.
    pub(crate) fn new(
        layout: Layout,
        is_timed: bool,
        wanted: Option<u64>,
        on_over: impl Fn(Over) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let state = State {
            sink: Sink::Open(BufWriter::with_capacity(BUFFER_SIZE, Patient(file))),
            wanted,
            buffered: 0,
            unprinted: 0,
        };
        Ok(Self {
            layout,
            is_timed,
            is_silent: layout.format == Format::None && wanted.is_none(),
            state: Mutex::new(state),
            on_over: Box::new(on_over),
        })
    }

    /// A message is written under one lock, so that those of several connections do not mix.
    pub(crate) fn print(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        let came = self
            .is_timed
            .then(|| format_rfc3339_micros(SystemTime::now()));
        let mut state = self.state.lock();
        let Some(file) = state.sink.file() else {
            state.unprinted += 1;
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let written = self.layout.write(file, message, peer, came.as_ref());
        state.buffered += 1;
        if let Err(error) = written {
            return Err(self.fail(state, error));
        }
        let Some(wanted) = &mut state.wanted else {
            return Ok(());
        };
        *wanted = wanted.saturating_sub(1);
        if *wanted == 0 {
            let mut state = self.write_out(state)?;
            state.sink = Sink::Done;
            drop(state);
            (self.on_over)(Over::Enough);
        }
        Ok(())
    }

    /// What was printed goes out.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        self.write_out(self.state.lock()).map(drop)
    }

    /// Empties the buffer. An error also if that has failed before: the batch is not stored.
    fn write_out<'a>(&self, mut state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        let written = match &mut state.sink {
            Sink::Open(file) => file.flush(),
            Sink::Done => Ok(()),
            Sink::Failed => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(error) = written {
            return Err(self.fail(state, error));
        }
        state.buffered = 0;
        Ok(state)
    }

    /// Prints no more, and tells why. A copy of the error is for the handler.
    fn fail(&self, mut state: MutexGuard<'_, State>, error: io::Error) -> io::Error {
        let kind = error.kind();
        state.sink = Sink::Failed;
        state.unprinted += mem::take(&mut state.buffered);
        drop(state);
        (self.on_over)(Over::Failed(error));
        kind.into()
    }

    /// What was not printed. `None` where that is not known in time, since a write goes on for as
    /// long as nobody reads.
    pub(crate) fn rest(&self, timeout: Duration) -> Option<Rest> {
        let state = self.state.try_lock_for(timeout)?;
        Some(Rest {
            unprinted: state.unprinted + state.buffered,
            wanted: state.wanted.unwrap_or_default(),
        })
    }

    /// Calls `on_closed` once nobody can read standard output any more, on a thread of its own.
    pub(crate) fn watch(on_closed: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let output = Patient(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        let watch = move || {
            if output.wait_for_end().is_ok() {
                on_closed();
            }
        };
        thread::Builder::new()
            .name("uds-ipc-watch".into())
            .spawn(watch)?;
        Ok(())
    }

    /// Writes what connections that were cut off have left in the buffer; for up to `timeout`,
    /// since nobody may read it.
    pub(crate) fn write_rest(self: Arc<Self>, timeout: Duration) {
        let (done, is_done) = bounded(1);
        let flush = move || {
            let _ = self.flush();
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
