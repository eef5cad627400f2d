//! Varint frames from a stream: an unsigned LEB128 length, then that many bytes.
//! Reads whatever it is given; what becomes of a message is the caller's business.

use std::io::{self, BufRead, Read};

use thiserror::Error;

/// The groups of seven bits that hold 64.
const MAX_PREFIX_LEN: u32 = 10;

/// Why the input ended as it did.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("cannot read the input")]
    Read(#[from] io::Error),
    #[error("truncated frame at byte {start}: the input ends inside its length")]
    TruncatedPrefix { start: u64 },
    #[error("truncated frame at byte {start}: the input ends after {found} of its {len} bytes")]
    Truncated { start: u64, found: u64, len: u64 },
    #[error("invalid frame at byte {start}: its length is no 64-bit varint")]
    Invalid { start: u64 },
}

/// One frame of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message(&'a [u8]),
    /// Longer than the limit, and passed over without being kept.
    TooLarge {
        len: u64,
    },
}

/// Reads frames one after the other.
pub(crate) struct Frames<R> {
    input: R,
    limit: u64,
    position: u64,
    /// Holds a frame that is not whole in the input's buffer.
    pieces: Vec<u8>,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(input: R, limit: u64) -> Self {
        Self {
            input,
            limit,
            position: 0,
            pieces: Vec::new(),
        }
    }

    /// Gives the next frame to `take`. False at the end of the input.
    pub(crate) fn next(&mut self, take: impl FnOnce(Frame<'_>)) -> Result<bool, FrameError> {
        let start = self.position;
        let Some(len) = self.prefix(start)? else {
            return Ok(false);
        };
        if len > self.limit {
            let found = io::copy(&mut self.input.by_ref().take(len), &mut io::sink())?;
            self.pass(start, found, len)?;
            take(Frame::TooLarge { len });
            return Ok(true);
        }
        let buffered = self.input.fill_buf()?;
        let whole = usize::try_from(len)
            .ok()
            .and_then(|len| buffered.get(..len));
        if let Some(message) = whole {
            let message_len = message.len();
            take(Frame::Message(message));
            self.input.consume(message_len);
            self.position += len;
            return Ok(true);
        }
        self.pieces.clear();
        // It grows with what arrives, not with what was announced.
        self.input
            .by_ref()
            .take(len)
            .read_to_end(&mut self.pieces)?;
        let found = u64::try_from(self.pieces.len()).unwrap_or(u64::MAX);
        self.pass(start, found, len)?;
        take(Frame::Message(&self.pieces));
        Ok(true)
    }

    /// Notes the end of the frame that began at `start`.
    fn pass(&mut self, start: u64, found: u64, len: u64) -> Result<(), FrameError> {
        self.position += found;
        if found < len {
            Err(FrameError::Truncated { start, found, len })
        } else {
            Ok(())
        }
    }

    /// The length before a payload; `None` at the end of the input.
    fn prefix(&mut self, start: u64) -> Result<Option<u64>, FrameError> {
        let mut len = 0;
        for group in 0..MAX_PREFIX_LEN {
            let Some(byte) = self.input.fill_buf()?.first().copied() else {
                return if group == 0 {
                    Ok(None)
                } else {
                    Err(FrameError::TruncatedPrefix { start })
                };
            };
            self.input.consume(1);
            self.position += 1;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * group);
            if shifted >> (7 * group) != bits {
                break;
            }
            len |= shifted;
            if byte < 0x80 {
                return Ok(Some(len));
            }
        }
        Err(FrameError::Invalid { start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// All messages of `input`, read through a buffer of `capacity` bytes, and how it ended.
    fn read(input: &[u8], capacity: usize) -> (Vec<Vec<u8>>, Result<(), String>) {
        let mut frames = Frames::new(BufReader::with_capacity(capacity, input), 300);
        let mut messages = Vec::new();
        let note = |messages: &mut Vec<Vec<u8>>, frame: Frame<'_>| match frame {
            Frame::Message(message) => messages.push(message.to_vec()),
            Frame::TooLarge { len } => messages.push(format!("too large: {len}").into()),
        };
        loop {
            match frames.next(|frame| note(&mut messages, frame)) {
                Ok(true) => {}
                Ok(false) => return (messages, Ok(())),
                Err(error) => return (messages, Err(error.to_string())),
            }
        }
    }

    #[test]
    fn frames_are_the_same_however_small_the_buffer() {
        let long = [&[0xac, 0x02][..], &[7; 300]].concat();
        let larger = [&[0xad, 0x02][..], &[7; 301]].concat();
        let input = [
            &[1, b'a', 0, 0x82, 0x80, 0x00, b'b', b'c'][..],
            &long,
            &larger,
            &[1, b'z'],
        ]
        .concat();
        let expected = [&b"a"[..], b"", b"bc", &[7; 300], b"too large: 301", b"z"];
        for capacity in [1, 2, 3, 64, 4096] {
            assert_eq!(
                read(&input, capacity),
                (expected.map(<[u8]>::to_vec).to_vec(), Ok(())),
                "{capacity}"
            );
        }
    }

    #[test]
    fn broken_input_is_an_error_that_names_the_place() {
        for (input, problem) in [
            (
                &[1, b'a', 0x80][..],
                "truncated frame at byte 2: the input ends inside its length",
            ),
            (
                &[1, b'a', 3, b'b'],
                "truncated frame at byte 2: the input ends after 1 of its 3 bytes",
            ),
            (
                &[1, b'a', 0xad, 0x02, 0],
                "truncated frame at byte 2: the input ends after 1 of its 301 bytes",
            ),
            (
                &[
                    1, b'a', 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02,
                ],
                "invalid frame at byte 2: its length is no 64-bit varint",
            ),
            (
                &[0x80; 12],
                "invalid frame at byte 0: its length is no 64-bit varint",
            ),
        ] {
            for capacity in [1, 4096] {
                assert_eq!(read(input, capacity).1, Err(problem.to_owned()));
            }
        }
    }
}
