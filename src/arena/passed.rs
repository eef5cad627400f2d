//! An arena that a peer has passed: read with `pread(2)`, and trusted in nothing.

use std::io::{self, ErrorKind};

use crate::arena::layout::{Extent, HEADER_WORDS, Header, Layout, SlotWord};
use crate::arena::recovery::{Remains, Run};
use crate::arena::ticket::{TICKET_SIZE, Ticket};
use crate::sys::{BorrowedDescriptor, OwnedDescriptor, PassedMemory, lend};

/// How much of the records is read at once.
const PIECE: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct PassedArena {
    memory: PassedMemory,
    /// As it was when it came. It never changes.
    layout: Layout,
}

/// What came with the first byte of a connection.
#[derive(Debug)]
pub(crate) enum Passed {
    Arena(PassedArena, Ticket),
    /// Something else. To close it may take for ever, as with a file of the network.
    Others(Vec<OwnedDescriptor>),
}

impl Passed {
    pub(crate) fn check(descriptors: Vec<OwnedDescriptor>) -> Self {
        let mut memories = Vec::new();
        let mut others = Vec::new();
        for descriptor in descriptors {
            match PassedMemory::check(descriptor) {
                Ok(memory) => memories.push(memory),
                Err(other) => others.push(other),
            }
        }
        if let (Ok([arena, ticket]), true) = (<[_; 2]>::try_from(memories), others.is_empty()) {
            let mut bytes = [0; TICKET_SIZE];
            let ticket = ticket.read_at(&mut bytes, 0);
            if let (Ok(arena), Ok(())) = (PassedArena::of(arena), ticket) {
                return Self::Arena(arena, Ticket::decode(&bytes));
            }
        }
        Self::Others(others)
    }
}

impl PassedArena {
    /// An error where it is none.
    pub(crate) fn check(descriptor: OwnedDescriptor) -> io::Result<Self> {
        // Who gives that away does not have it answered by the network.
        let memory = PassedMemory::check(descriptor).map_err(|_| ErrorKind::InvalidData)?;
        Self::of(memory)
    }

    fn of(memory: PassedMemory) -> io::Result<Self> {
        let Header { layout, .. } = header(&memory)?;
        Ok(Self { memory, layout })
    }

    /// No other arena has these numbers while this one is open.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.memory.identity()
    }

    /// Whether another process holds the lock: the writer, as long as it lives.
    pub(crate) fn is_locked(&self) -> bool {
        // What cannot be asked is dead for nobody.
        self.memory.is_locked().unwrap_or(true)
    }

    /// From now on a successor of its writer sees that this process has it: until this process
    /// closes any descriptor of it.
    pub(crate) fn keep(&self) {
        // Where that is refused, the claim still decides who delivers what is left.
        let _ = self.memory.keep();
    }

    /// Whether another process has it: a reader, that is.
    pub(crate) fn is_kept(&self) -> bool {
        self.memory.is_kept().unwrap_or(true)
    }

    /// To be kept by somebody else.
    pub(crate) fn lend(&self) -> BorrowedDescriptor<'_> {
        lend(&self.memory)
    }

    /// Whether what is in it is this caller's to be delivered: nobody else's then.
    pub(crate) fn claim(&self) -> bool {
        self.memory.claim()
    }

    pub(crate) fn header(&self) -> io::Result<Header> {
        let header = header(&self.memory)?;
        if header.layout == self.layout {
            Ok(header)
        } else {
            Err(ErrorKind::InvalidData.into())
        }
    }

    /// What is to be delivered of it, after all messages with numbers below `received`.
    pub(crate) fn runs(&self, received: u64) -> io::Result<Vec<Run>> {
        let Header {
            layout,
            records_used,
            slots_used,
            ..
        } = self.header()?;
        let mut remains = Remains::new(layout, received);
        let (from, to) = (
            Layout::record_offset(0),
            Layout::record_offset(records_used),
        );
        self.each_piece(from, to, |words, index| {
            for (record, index) in words.chunks_exact(2).zip(index / 2..) {
                if let [place, extent] = *record {
                    remains.add_record(index, place, extent);
                }
            }
        })?;
        let (from, to) = (
            layout.slot_words_offset(0),
            layout.slot_words_offset(slots_used),
        );
        let stride = layout.slot_words_offset(1) - from;
        self.each_piece(from, to, |words, index| {
            let stride = stride / 8;
            let first = index / u32::try_from(stride).unwrap_or(u32::MAX);
            for (slot, index) in words.chunks_exact(stride).zip(first..) {
                let word = |word: SlotWord| slot.get(word.offset() / 8).copied().unwrap_or(0);
                remains.add_slot(index, word(SlotWord::Published), word(SlotWord::Covered));
            }
        })?;
        Ok(remains.into_runs())
    }

    /// Gives the words between two offsets, a piece at a time, and the index of each piece's first.
    fn each_piece(
        &self,
        from: usize,
        to: usize,
        mut take: impl FnMut(&[u64], u32),
    ) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let end = to.min(at + PIECE);
            let index = u32::try_from((at - from) / 8).unwrap_or(u32::MAX);
            take(&words(&self.memory, at, (end - at) / 8)?, index);
            at = end;
        }
        Ok(())
    }

    /// The bytes of a part of a slot.
    pub(crate) fn bytes(&self, extent: Extent) -> io::Result<Vec<u8>> {
        let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size(extent.to.saturating_sub(extent.from))];
        let offset = self
            .layout
            .slot_offset(extent.slot)
            .saturating_add(size(extent.from));
        read(&self.memory, &mut bytes, offset)?;
        Ok(bytes)
    }
}

fn header(memory: &PassedMemory) -> io::Result<Header> {
    let words = words(memory, 0, HEADER_WORDS)?;
    let words = <[u64; HEADER_WORDS]>::try_from(words).ok();
    words
        .and_then(|words| Header::parse(&words, memory.len()))
        .ok_or_else(|| ErrorKind::InvalidData.into())
}

fn words(memory: &PassedMemory, offset: usize, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    read(memory, &mut bytes, offset)?;
    let words = bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok());
    Ok(words.map(u64::from_ne_bytes).collect())
}

fn read(memory: &PassedMemory, bytes: &mut [u8], offset: usize) -> io::Result<()> {
    let offset = u64::try_from(offset).map_err(io::Error::other)?;
    memory.read_at(bytes, offset)
}

/// Arenas without messages.
#[cfg(target_os = "linux")]
#[cfg(test)]
pub(crate) mod testing {
    use std::fs::File;

    use super::PassedArena;
    use crate::arena::layout::{HEADER_WORDS, HeaderWord, Layout};
    use crate::sys::{OwnedDescriptor, sealed_memory};

    /// With more words in their headers.
    pub(crate) fn memory(more: &[(HeaderWord, u64)]) -> OwnedDescriptor {
        let layout = Layout {
            records: 1,
            slots: 1,
        };
        let mut words = [0; HEADER_WORDS];
        for (word, value) in layout.first_words().iter().chain(more) {
            words[word.offset() / 8] = *value;
        }
        sealed_memory(&words, layout.size().unwrap())
    }

    impl PassedArena {
        /// Has it kept as by another process, until what is returned is dropped.
        pub(crate) fn keep_elsewhere(&self) -> File {
            self.memory.keep_elsewhere()
        }
    }
}
