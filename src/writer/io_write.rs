//! `std::io::Write` for a writer: each write is one message.

use std::fmt;
use std::io::{self, IoSlice, Write};

use crate::send_error::EncodeError;
use crate::writer::Writer;

/// Each call is one message, byte for byte: for log libraries, which write a record at a time, and
/// for `write!`. For text that comes in pieces, or ends in a newline that is not to be sent, see
/// [`lines`](Writer::lines).
///
/// It never blocks and never fails but for an error of a formatter, with which nothing is sent. A
/// message that is refused (because the queue is full, or it is too large, or the writer was shut
/// down) counts as written: [`metrics`](Writer::metrics) counts it as dropped. Log libraries would
/// print an error for each, or panic. An empty write is no message and counts nowhere. `flush` does
/// nothing, since some call it after each record: [`Writer::flush`] waits.
///
/// ```
/// use std::io::Write;
/// # let mut writer = uds_ipc::Writer::start("/tmp/nobody-is-there.sock")?;
///
/// write!(writer, "requests:{}|c", 17)?;
/// assert_eq!(writer.metrics().accepted.messages, 1);
/// # let _ = writer.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Write for &Writer {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if !message.is_empty() {
            // Counted.
            let _ = self.try_send(message);
        }
        Ok(message.len())
    }

    /// The slices together are one message: std would take the first one alone.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if len > 0 {
            let _ = self.try_send_with(|buffer| {
                for slice in slices {
                    buffer.extend_from_slice(slice);
                }
            });
        }
        Ok(len)
    }

    /// What is formatted is one message: std would write each piece by itself.
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        if let Some(text) = arguments.as_str() {
            return self.write_all(text.as_bytes());
        }
        let format = |buffer: &mut Vec<u8>| match fmt::write(&mut Text(buffer), arguments) {
            Ok(()) if buffer.is_empty() => Err(None),
            formatted => formatted.map_err(Some),
        };
        match self.try_send_with(format) {
            Err(EncodeError::Encoder(Some(fmt::Error))) => Err(io::Error::other(
                "a value could not be formatted: nothing was sent",
            )),
            Ok(()) | Err(EncodeError::Encoder(None) | EncodeError::Send(_)) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Not the `write_fmt` of `Vec<u8>`, which panics where a formatter fails.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// As for `&Writer`.
impl Write for Writer {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        (&*self).write(message)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(slices)
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        (&*self).write_fmt(arguments)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
