//! Text into a writer: each line is one message.

use std::fmt;
use std::io::{self, Write};
use std::mem;

use crate::writer::Writer;

/// The most memory that is kept for the next unfinished line.
const MOST_KEPT: usize = 64 * 1024;

/// Text for a [`Writer`]: each line is one message, without its newline. Made by
/// [`Writer::lines`].
///
/// For log libraries, `writeln!`, and the output of a child process. It takes text in pieces of any
/// size. What has no newline yet is kept until one comes, or until this value is dropped; where it
/// grows to `max_message_len` bytes that much of it is sent. Empty lines are left out. A line is
/// what ends in `\n`: a `\r` before that is a part of it.
///
/// A log library that makes a writer for each record wants a closure:
/// `with_writer(move || writer.lines())` in `tracing-subscriber`.
///
/// As with a [`Writer`] itself, no write blocks or fails, what is refused is counted, and `flush`
/// does nothing.
///
/// ```
/// use std::io::Write;
/// # let writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
///
/// let mut lines = writer.lines();
/// write!(lines, "one ")?;
/// writeln!(lines, "line")?;
/// write!(lines, "and another one")?;
/// drop(lines);
/// assert_eq!(writer.metrics().accepted.messages, 2);
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Lines {
    writer: Writer,
    unfinished: Vec<u8>,
}

impl Writer {
    /// A place for text, of which each line is sent as one message: see [`Lines`].
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines {
            writer: self.clone(),
            unfinished: Vec::new(),
        }
    }
}

impl Lines {
    /// The line ends with `end`.
    fn finish(&mut self, end: &[u8]) {
        if self.unfinished.is_empty() && end.len() <= self.writer.shared.max_message_len {
            self.send(end);
        } else {
            self.keep(end);
            self.send_unfinished();
        }
    }

    /// The line goes on with `piece`.
    fn keep(&mut self, mut piece: &[u8]) {
        loop {
            let room = self.writer.shared.max_message_len - self.unfinished.len();
            let Some((fitting, rest)) = piece.split_at_checked(room) else {
                break;
            };
            self.unfinished.extend_from_slice(fitting);
            self.send_unfinished();
            piece = rest;
        }
        self.unfinished.extend_from_slice(piece);
    }

    fn send_unfinished(&mut self) {
        let mut line = mem::take(&mut self.unfinished);
        self.send(&line);
        if line.capacity() <= MOST_KEPT {
            line.clear();
            self.unfinished = line;
        }
    }

    fn send(&self, line: &[u8]) {
        if !line.is_empty() {
            // Counted.
            let _ = self.writer.try_send(line);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut pieces = text.split(|byte| *byte == b'\n');
        // What follows the last newline is no line yet.
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.finish(piece);
        }
        self.keep(rest);
        Ok(text.len())
    }

    /// Std's own panics where a formatter fails.
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        fmt::write(&mut Text(self), arguments)
            .map_err(|fmt::Error| io::Error::other("a value could not be formatted"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Text<'a>(&'a mut Lines);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Sends the unfinished line, if there is one.
impl Drop for Lines {
    fn drop(&mut self) {
        self.send_unfinished();
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("writer", &self.writer)
            .field("unfinished", &self.unfinished.len())
            .finish()
    }
}
