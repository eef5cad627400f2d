//! Standard input, message by message, into a writer.
//! Blocks on the input and on a full queue; when to stop is decided elsewhere.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::{Mutex, MutexGuard};
use uds_ipc::metrics::Tally;
use uds_ipc::{SendError, Writer};

use crate::frames::{Frame, FrameError, Frames};
use crate::patient::Patient;

/// How much one read takes.
const BUFFER_SIZE: usize = 256 * 1024;

/// How messages stand in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Lines,
    Frames,
}

/// Held by the input's thread while it has something to send, and free while it waits for more.
/// Whoever takes it at such a moment has stopped the input, and nothing that was read is lost but
/// half a line.
pub(crate) type Busy = Mutex<()>;

/// What the thread works with.
pub(crate) struct Input {
    pub(crate) writer: Arc<Writer>,
    pub(crate) shape: Shape,
    /// The longest message, in bytes.
    pub(crate) limit: usize,
    pub(crate) busy: Arc<Busy>,
    /// Messages above the limit, which were not kept to be sent.
    pub(crate) refused: Arc<Mutex<Tally>>,
}

/// How much of the input was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    All,
    /// Until the writer took no more messages.
    Part,
}

/// The writer takes no more messages.
struct Closed;

impl Input {
    /// Starts to read, on a thread of its own. What comes back tells how the input ended.
    pub(crate) fn start(self) -> io::Result<Receiver<Result<Extent, FrameError>>> {
        let (end, ended) = bounded(1);
        let read = move || {
            let source = Source {
                input: Patient(io::stdin().lock()),
                busy: &self.busy,
                held: Some(self.busy.lock()),
            };
            let input = BufReader::with_capacity(BUFFER_SIZE, source);
            let result = match self.shape {
                Shape::Lines => self.read_lines(input).map_err(FrameError::Read),
                Shape::Frames => self.read_frames(input),
            };
            let _ = end.send(result);
        };
        thread::Builder::new()
            .name("uds-ipc-input".into())
            .spawn(read)?;
        Ok(ended)
    }

    fn read_lines(&self, mut input: impl BufRead) -> io::Result<Extent> {
        // Room for the newline, so that a line as long as the limit is read whole.
        let most = widen(self.limit).saturating_add(1);
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(Extent::All);
            }
            let sent = match line.strip_suffix(b"\n") {
                None if line.len() > self.limit => {
                    self.refuse(widen(line.len()) + skip_line(&mut input)?);
                    Ok(())
                }
                stripped => self.send(stripped.unwrap_or(&line)),
            };
            if let Err(Closed) = sent {
                return Ok(Extent::Part);
            }
        }
    }

    fn read_frames(&self, input: impl BufRead) -> Result<Extent, FrameError> {
        let mut frames = Frames::new(input, widen(self.limit));
        let mut sent = Ok(());
        while sent.is_ok() {
            let more = frames.next(|frame| match frame {
                Frame::Message(message) => sent = self.send(message),
                Frame::TooLarge { len } => self.refuse(len),
            })?;
            if !more {
                return Ok(Extent::All);
            }
        }
        Ok(Extent::Part)
    }

    /// Sends a message, waiting for room as long as it takes: a shutdown of the writer ends the
    /// wait.
    #[inline]
    fn send(&self, message: &[u8]) -> Result<(), Closed> {
        match self.writer.send_timeout(message, Duration::MAX) {
            Err(SendError::Closed(())) => Err(Closed),
            // An empty line is no message. Too large cannot be, since the limit is the writer's
            // own; full cannot be either, without an end of time.
            _ => Ok(()),
        }
    }

    /// Counts a message that is above the limit, and was not kept.
    fn refuse(&self, len: u64) {
        let mut refused = self.refused.lock();
        refused.messages += 1;
        refused.bytes += len;
    }
}

/// Passes over the rest of a line, without keeping it; says how long that was.
fn skip_line(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffered = input.fill_buf()?;
        let len = buffered.len();
        if let Some(rest) = buffered.iter().position(|byte| *byte == b'\n') {
            input.consume(rest + 1);
            return Ok(skipped + widen(rest));
        }
        if len == 0 {
            return Ok(skipped);
        }
        input.consume(len);
        skipped += widen(len);
    }
}

/// The input with its lock. A read that the system interrupts is resumed here, for all who read.
struct Source<'a, R> {
    input: R,
    busy: &'a Busy,
    held: Option<MutexGuard<'a, ()>>,
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(held) = self.held.take() {
            // Handed to who waits for it, who might else never get it from an input without pauses.
            MutexGuard::unlock_fair(held);
        }
        let read = loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.held = Some(self.busy.lock());
        read
    }
}

fn widen(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
