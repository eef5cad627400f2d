//! The bare stream: blocks of the same bytes, written and read without frames. What the kernel
//! gives at most. It has no queue and knows no messages.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::cases::{Case, Stream};
use super::counter::{Counter, FILL};
use super::ends::accept;
use super::failure::Failure;
use super::numbers::widen;
use super::processes::{Present, Reader};
use super::sending::Sender;

const WRITE_SIZE: usize = 128 * 1024;
const READ_SIZE: usize = 256 * 1024;

pub(super) struct Raw {
    stream: File,
    block: Vec<u8>,
    frame_len: u64,
    present: Present,
}

impl Raw {
    pub(super) fn new(reader: &Reader, case: Case, present: Present) -> Result<Self, Failure> {
        let stream = reader.place().connect()?;
        Ok(Self {
            stream,
            block: vec![FILL; WRITE_SIZE],
            frame_len: widen(case.frame_len()),
            present,
        })
    }
}

impl Sender for Raw {
    /// As many bytes as so many frames have.
    fn send(&mut self, count: u64) -> Result<(), Failure> {
        let mut left = count * self.frame_len;
        while left > 0 {
            let len = usize::try_from(left).map_or(WRITE_SIZE, |left| left.min(WRITE_SIZE));
            let block = self.block.get(..len).unwrap_or_default();
            if let Err(error) = self.stream.write_all(block) {
                self.present.check()?;
                return Err(Failure::at("write to the raw stream")(error));
            }
            left -= widen(len);
        }
        Ok(())
    }
}

pub(super) fn receive(
    stream: Stream,
    path: &Path,
    counter: &Counter,
) -> Result<(), Box<dyn Error>> {
    let mut stream = accept(stream, path)?;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        if counter.take_bytes(buffer.get(..len).unwrap_or_default()) {
            counter.answer()?;
        }
    }
}
