//! The least that frames cost: the sender itself frames each message into a piece of 128 KiB and
//! writes that when it is full. It has no queue: it stands still while the reader does, and one
//! thread sends, however many the others have.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use integer_encoding::VarInt;

use super::cases::{Case, Stream};
use super::counter::{Counter, FILL};
use super::ends::accept;
use super::failure::Failure;
use super::processes::{Present, Reader};
use super::sending::Sender;

const PIECE_SIZE: usize = 128 * 1024;
const READ_SIZE: usize = 256 * 1024;

/// Ten groups of seven bits hold any length.
const MOST_PREFIX_LEN: usize = 10;

pub(super) struct Staged {
    stream: File,
    piece: Vec<u8>,
    payload: Vec<u8>,
    present: Present,
}

impl Staged {
    pub(super) fn new(reader: &Reader, case: Case, present: Present) -> Result<Self, Failure> {
        let stream = reader.place().connect()?;
        Ok(Self {
            stream,
            piece: Vec::with_capacity(PIECE_SIZE + case.frame_len()),
            payload: vec![FILL; case.size],
            present,
        })
    }

    fn write(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.stream.write_all(&self.piece) {
            self.present.check()?;
            return Err(Failure::at("write to the stream of pieces")(error));
        }
        self.piece.clear();
        Ok(())
    }
}

impl Sender for Staged {
    fn send(&mut self, count: u64) -> Result<(), Failure> {
        let mut prefix = [0; MOST_PREFIX_LEN];
        for _ in 0..count {
            let prefix_len = self.payload.len().encode_var(&mut prefix);
            let prefix = prefix.get(..prefix_len).unwrap_or_default();
            self.piece.extend_from_slice(prefix);
            self.piece.extend_from_slice(&self.payload);
            if self.piece.len() >= PIECE_SIZE {
                self.write()?;
            }
        }
        self.write()
    }
}

/// Takes the frames out of a buffer, and keeps what is not whole for the next read.
pub(super) fn receive(
    stream: Stream,
    path: &Path,
    counter: &Counter,
) -> Result<(), Box<dyn Error>> {
    let mut stream = accept(stream, path)?;
    let (mut buffer, mut filled) = (vec![0; READ_SIZE], 0);
    loop {
        let len = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if len == 0 {
            return Ok(());
        }
        filled += len;
        let mut at = 0;
        let mut needed = 0;
        while let Some((payload_len, prefix_len)) =
            usize::decode_var(buffer.get(at..filled).unwrap_or_default())
        {
            let from = at + prefix_len;
            let Some(message) = buffer
                .get(..filled)
                .and_then(|filled| filled.get(from..from + payload_len))
            else {
                needed = prefix_len + payload_len;
                break;
            };
            if counter.take(message) {
                counter.answer()?;
            }
            at = from + payload_len;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if buffer.len() < needed {
            buffer.resize(needed, 0);
        }
    }
}
