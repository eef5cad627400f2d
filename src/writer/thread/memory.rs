//! The memory of an arena: made by the system, and passed to the reader.
//! Unsafe code: it vouches for the system's memory.

#![expect(
    unsafe_code,
    reason = "who uses a region must be able to rely on what it is"
)]

use std::io::{self, IoSlice};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::arena::ticket::Ticket;
use crate::event::CrashProofError;
use crate::sys::{Sent, SharedMemory, SharedMemoryError, Stream, lend, sealed_copy};
use crate::writer::arena::{Arena, Region, layout_for};
use crate::writer::settings::Limits;

/// What the queue stands in, to be passed.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<SharedMemory>);

// SAFETY: the system gives pages of zeros to nobody else in this process, and takes them back when
// the last reference has gone.
unsafe impl Region for Memory {
    fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Memory {
    /// Memory for a queue with these limits, and the arena in it.
    pub(crate) fn new(limits: Limits) -> Result<(Self, Arc<Arena>), CrashProofError> {
        let layout = layout_for(limits);
        let size = layout.size().ok_or(CrashProofError::Unsupported)?;
        let memory = SharedMemory::new(size).map_err(|error| match error {
            SharedMemoryError::TooLarge { limit } => CrashProofError::FileSizeLimit { limit },
            SharedMemoryError::Unsupported => CrashProofError::Unsupported,
            SharedMemoryError::Io(error) => CrashProofError::Io(error.into()),
        })?;
        let memory = Self(Arc::new(memory));
        let arena = Arena::new(Box::new(memory.clone()), layout);
        Ok((memory, arena.ok_or(CrashProofError::Unsupported)?))
    }

    /// Writes, and passes this with the first byte. Says whether it went.
    pub(crate) fn send(
        &self,
        stream: &Stream,
        slices: &[IoSlice<'_>],
        ticket: Ticket,
    ) -> io::Result<(Sent, bool)> {
        match sealed_copy(&ticket.encode()) {
            Ok(ticket) => stream.send_with(slices, &[lend(&*self.0), lend(&ticket)]),
            Err(_) => Ok((stream.send(slices)?, false)),
        }
    }

    /// Takes the lock again that says that this process lives.
    pub(crate) fn lock(&self) {
        // Only a peer that locks it itself can prevent that, to its own loss.
        let _ = self.0.lock();
    }
}
