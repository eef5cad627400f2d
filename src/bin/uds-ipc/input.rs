//! What is to be sent, message by message, into a writer.
//! Blocks on the input and on a full queue; when to stop is decided elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::{Mutex, MutexGuard};
use uds_ipc::metrics::Tally;
use uds_ipc::{SendError, Writer};

use crate::clock::now;
use crate::frames::{Frame, FrameError, Frames};
use crate::patient::Patient;

/// How much one read takes.
const BUFFER_SIZE: usize = 256 * 1024;

/// How much of what was held up is made good.
const MOST_LATE: Duration = Duration::from_secs(1);

/// How messages stand in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Each ends with this byte, the last one perhaps without.
    Ended(u8),
    Frames,
    /// All of it is one message.
    Whole,
}

/// Where messages are read.
#[derive(Debug)]
pub(crate) enum Origin {
    Stream(File),
    /// They stood on the command line.
    Given(Vec<OsString>),
}

impl Origin {
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            // Said now, and not once somebody listens.
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self::Stream(file))
    }

    pub(crate) fn standard_input() -> io::Result<Self> {
        let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::Stream(input.into()))
    }

    /// How many bytes it has, where it is a file.
    pub(crate) fn len(&self) -> Option<u64> {
        let Self::Stream(file) = self else {
            return None;
        };
        let metadata = file.metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    }
}

/// How fast to send.
pub(crate) struct Pace {
    /// The time between two messages.
    pub(crate) interval: Duration,
    /// Ends a pause, and the reading, once its other end is gone.
    pub(crate) stop: Receiver<()>,
}

/// Held by the input's thread while it has something to send, and free while it waits for more.
/// Whoever takes it at such a moment has stopped the input, and nothing that was read is lost but
/// half a line.
pub(crate) type Busy = Mutex<()>;

/// What the thread works with.
pub(crate) struct Input {
    pub(crate) writer: Arc<Writer>,
    pub(crate) from: Origin,
    pub(crate) shape: Shape,
    pub(crate) pace: Option<Pace>,
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
        let Self {
            writer,
            from,
            shape,
            pace,
            limit,
            busy,
            refused,
        } = self;
        let (end, ended) = bounded(1);
        let read = move || {
            let mut outward = Outward {
                writer,
                limit,
                refused,
                pace,
                due: None,
            };
            let held = Some(busy.lock());
            let result = match from {
                Origin::Given(messages) => Ok(outward.send_all(&messages)),
                Origin::Stream(file) => {
                    let input = Patient(file);
                    let busy = &busy;
                    let source = Source { input, busy, held };
                    let input = BufReader::with_capacity(BUFFER_SIZE, source);
                    outward.read(input, shape)
                }
            };
            let _ = end.send(result);
        };
        thread::Builder::new()
            .name("uds-ipc-input".into())
            .spawn(read)?;
        Ok(ended)
    }
}

/// The way of messages into the writer.
struct Outward {
    writer: Arc<Writer>,
    limit: usize,
    refused: Arc<Mutex<Tally>>,
    pace: Option<Pace>,
    /// When the next message may go, once one has gone.
    due: Option<Instant>,
}

impl Outward {
    fn read(&mut self, input: impl BufRead, shape: Shape) -> Result<Extent, FrameError> {
        match shape {
            Shape::Ended(end) => self.read_lines(input, end).map_err(FrameError::Read),
            Shape::Frames => self.read_frames(input),
            Shape::Whole => self.read_whole(input).map_err(FrameError::Read),
        }
    }

    fn send_all(&mut self, messages: &[OsString]) -> Extent {
        for message in messages {
            if let Err(Closed) = self.send(message.as_bytes()) {
                return Extent::Part;
            }
        }
        Extent::All
    }

    fn read_lines(&mut self, mut input: impl BufRead, end: u8) -> io::Result<Extent> {
        // Room for the end, so that a line as long as the limit is read whole.
        let most = widen(self.limit).saturating_add(1);
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(most).read_until(end, &mut line)? == 0 {
                return Ok(Extent::All);
            }
            let sent = match line.strip_suffix(&[end]) {
                None if line.len() > self.limit => {
                    self.refuse(widen(line.len()) + skip_line(&mut input, end)?);
                    Ok(())
                }
                stripped => self.send(stripped.unwrap_or(&line)),
            };
            if let Err(Closed) = sent {
                return Ok(Extent::Part);
            }
        }
    }

    fn read_frames(&mut self, input: impl BufRead) -> Result<Extent, FrameError> {
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

    fn read_whole(&mut self, mut input: impl Read) -> io::Result<Extent> {
        let mut message = Vec::new();
        let most = widen(self.limit).saturating_add(1);
        input.by_ref().take(most).read_to_end(&mut message)?;
        if message.len() > self.limit {
            let rest = io::copy(&mut input, &mut io::sink())?;
            self.refuse(widen(message.len()) + rest);
            return Ok(Extent::All);
        }
        Ok(match self.send(&message) {
            Ok(()) => Extent::All,
            Err(Closed) => Extent::Part,
        })
    }

    /// Sends a message, waiting for room as long as it takes: a shutdown of the writer ends the
    /// wait.
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Closed> {
        if self.pace.is_some() && !message.is_empty() {
            self.pause()?;
        }
        match self.writer.send_timeout(message, Duration::MAX) {
            Err(SendError::Closed(())) => Err(Closed),
            // An empty line is no message. Too large cannot be, since the limit is the writer's
            // own; full cannot be either, without an end of time.
            _ => Ok(()),
        }
    }

    /// Waits until the next message may go. What waits is in nobody's hands but ours, so that a
    /// stop finds it unsent.
    fn pause(&mut self) -> Result<(), Closed> {
        let Some(pace) = &self.pace else {
            return Ok(());
        };
        let now = now();
        let due = self.due.unwrap_or(now);
        match pace.stop.recv_timeout(due.saturating_duration_since(now)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Err(Closed),
        }
        // From when it was due, not from now: what a busy machine held up is made good, up to a
        // second of it.
        let from = now
            .checked_sub(MOST_LATE)
            .map_or(due, |least| due.max(least));
        self.due = from.checked_add(pace.interval);
        Ok(())
    }

    /// Counts a message that is above the limit, and was not kept.
    fn refuse(&self, len: u64) {
        let mut refused = self.refused.lock();
        refused.messages += 1;
        refused.bytes += len;
    }
}

/// Passes over the rest of a line, without keeping it; says how long that was.
fn skip_line(input: &mut impl BufRead, end: u8) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffered = input.fill_buf()?;
        let len = buffered.len();
        if let Some(rest) = buffered.iter().position(|byte| *byte == end) {
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
