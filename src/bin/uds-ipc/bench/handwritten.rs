//! What people write by hand: a channel of vectors, a thread that drains it into a buffered writer,
//! and a reader that reads frame by frame.
//! Nothing in it is slower than it has to be; nothing in it is cleverer than it usually is.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::thread;

use crossbeam_channel::{Receiver, Sender as ChannelSender, bounded};
use integer_encoding::{VarIntReader, VarIntWriter};

use super::cases::{Case, Stream};
use super::counter::{Counter, FILL};
use super::ends::accept;
use super::failure::Failure;
use super::processes::{Present, Reader};
use super::sending::{Sender, share};

/// The slots of the channel: as many messages as a writer's queue holds by default, and fewer of
/// large ones, which have the same bound in bytes.
pub(super) const SLOTS: usize = 10_000;

pub(super) struct Handwritten {
    channel: ChannelSender<Vec<u8>>,
    payload: Vec<u8>,
    producers: usize,
    present: Present,
}

impl Handwritten {
    pub(super) fn new(reader: &Reader, case: Case, present: Present) -> Result<Self, Failure> {
        let stream = reader.place().connect()?;
        let (channel, messages) = bounded(SLOTS.min(case.max_queued_bytes() / case.size));
        let write = move || {
            // Whoever sends finds the channel closed.
            let _ = write_all(&messages, stream);
        };
        let thread = thread::Builder::new().name("handwritten".into());
        // It ends with the channel.
        let _ = thread
            .spawn(write)
            .map_err(Failure::at("start the hand-written sender"))?;
        Ok(Self {
            channel,
            payload: vec![FILL; case.size],
            producers: case.producers,
            present,
        })
    }
}

impl Sender for Handwritten {
    fn send(&mut self, count: u64) -> Result<(), Failure> {
        share(count, self.producers, |count| {
            for _ in 0..count {
                if self.channel.send(self.payload.clone()).is_err() {
                    self.present.check()?;
                    return Err(Failure::HandwrittenBroke);
                }
            }
            Ok(())
        })
    }
}

fn write_all(messages: &Receiver<Vec<u8>>, stream: File) -> io::Result<()> {
    let mut stream = BufWriter::new(stream);
    while let Ok(message) = messages.recv() {
        write_frame(&mut stream, &message)?;
        while let Ok(message) = messages.try_recv() {
            write_frame(&mut stream, &message)?;
        }
        stream.flush()?;
    }
    Ok(())
}

fn write_frame(stream: &mut BufWriter<File>, message: &[u8]) -> io::Result<()> {
    stream.write_varint(message.len())?;
    stream.write_all(message)
}

pub(super) fn receive(
    stream: Stream,
    path: &Path,
    counter: &Counter,
) -> Result<(), Box<dyn Error>> {
    let mut stream = BufReader::new(accept(stream, path)?);
    let mut message = Vec::new();
    loop {
        let len: usize = stream.read_varint()?;
        message.resize(len, 0);
        stream.read_exact(&mut message)?;
        if counter.take(&message) {
            counter.answer()?;
        }
    }
}
