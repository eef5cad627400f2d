//! The memory of an arena: made by the system, passed to the reader, and given back.
//! Unsafe code: it vouches for the system's memory.

#![expect(
    unsafe_code,
    reason = "who uses a region must be able to rely on what it is"
)]

use std::io::{self, IoSlice};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::arena::ticket::Ticket;
use crate::clock;
use crate::descriptor_store::{Store, StoreError, Stored};
use crate::event::CrashProofError;
use crate::sys::{
    Mapping, Sent, SharedFile, SharedMemory, SharedMemoryError, Stream, lend, sealed_copy,
};
use crate::writer::arena::{Arena, Region, layout_for};
use crate::writer::settings::Limits;

/// What the queue stands in, to be passed.
#[derive(Debug)]
pub(crate) struct Memory {
    file: SharedFile,
    limits: Limits,
    kept: Option<Kept>,
}

/// Where the service manager keeps it for the next process, and the name that something has there.
#[derive(Debug)]
struct Kept {
    store: Store,
    name: Option<String>,
}

// SAFETY: the system gives pages of zeros to nobody else in this process, and takes them back when
// this is dropped.
unsafe impl Region for Mapping {
    fn start(&self) -> NonNull<u8> {
        self.start()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn give_back(&self) {
        // Where the system refuses, it is given back later.
        let _ = self.give_back();
    }

    fn is_absent(&self) -> bool {
        self.is_absent()
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
        let SharedMemory { file, mapping } = memory;
        let arena = Arena::new(Box::new(mapping), layout).ok_or(CrashProofError::Unsupported)?;
        let memory = Self {
            file,
            limits,
            kept: None,
        };
        Ok((memory, arena))
    }

    /// Has it kept for the process that comes after this one.
    pub(crate) fn keep_in(&mut self, store: Store) -> Result<(), StoreError> {
        self.kept = Some(Kept { store, name: None });
        self.keep()
    }

    /// Likewise, in the place of the memory before, of which nothing is left. It waits for room at
    /// the manager, for two seconds at most.
    pub(crate) fn keep(&mut self) -> Result<(), StoreError> {
        let Some(Kept { store, name }) = &mut self.kept else {
            return Ok(());
        };
        // In this order: there may be room for one.
        let removed = name.take().map_or(Ok(()), |name| store.remove(&name));
        let number = self.file.number().unwrap_or_default();
        let stored = Stored {
            since: clock::since_1970(),
            number,
        };
        let new = stored.encode();
        store.add(&new, lend(&self.file))?;
        *name = Some(new);
        removed
    }

    /// No process after this one is to have it.
    pub(crate) fn release(&self) {
        if let Some(Kept {
            store,
            name: Some(name),
        }) = &self.kept
        {
            // What stays there says itself that nothing is left.
            let _ = store.remove(name);
        }
    }

    /// Other memory takes its place, for the same queue. It is yet to be [kept](Self::keep).
    pub(crate) fn renew(&mut self) -> Option<Arc<Arena>> {
        let (mut memory, arena) = Self::new(self.limits).ok()?;
        memory.kept = self.kept.take();
        *self = memory;
        Some(arena)
    }

    /// Writes, and passes this with the first byte. Says whether it went.
    pub(crate) fn send(
        &self,
        stream: &Stream,
        slices: &[IoSlice<'_>],
        ticket: Ticket,
    ) -> io::Result<(Sent, bool)> {
        match sealed_copy(&ticket.encode()) {
            Ok(ticket) => stream.send_with(slices, &[lend(&self.file), lend(&ticket)]),
            Err(_) => Ok((stream.send(slices)?, false)),
        }
    }

    /// Takes the lock again that says that this process lives.
    pub(crate) fn lock(&self) {
        // Only a peer that locks it itself can prevent that, to its own loss.
        let _ = self.file.lock();
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "times in the real world")]
mod tests {
    use std::io::Read;
    use std::iter;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;

    use crate::event::{CrashProofError, WriterEvent};
    use crate::writer::Writer;
    use crate::writer::send::Patience;

    /// Only a failure waits this long.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_quiet_writer_gives_memory_back_and_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join("s")).unwrap();
        let builder = Writer::builder(place.path().join("s")).crash_proof(true);
        let writer = builder.start().unwrap();
        let reading = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut first = vec![0; 20 * (3 + 300_000)];
            stream.read_exact(&mut first).unwrap();
            // As a reader does with one that is quiet.
            drop(stream);
            let mut rest = Vec::new();
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_to_end(&mut rest).unwrap();
            rest
        });
        for _ in 0..20 {
            writer.send_timeout(vec![7; 300_000], PATIENCE).unwrap();
        }
        let touched = || {
            let locked = writer.shared.lock();
            locked.queue.arena().unwrap().touched()
        };
        assert!(touched() > 300_000);
        // This process reads itself, so the memory is not passed: it may be given back on either
        // connection. What is sent behind has to find the second.
        let start = Instant::now();
        while touched() > 0 || writer.metrics().connects < 2 {
            assert!(start.elapsed() < PATIENCE, "it keeps {}", touched());
            thread::park_timeout(Duration::from_millis(1));
        }
        writer.try_send("behind").unwrap();
        let _ = writer.shutdown(PATIENCE).unwrap();
        assert_eq!(reading.join().unwrap(), b"\x06behind");
    }

    #[test]
    fn memory_that_is_used_up_is_told_and_messages_go_on() {
        let place = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&told);
        let builder = Writer::builder(place.path().join("s")).crash_proof(true);
        let builder = builder.on_event(move |event| noted.lock().push(event));
        let mut worker = builder.build().unwrap();
        let arena = worker.shared.lock().queue.arena().cloned().unwrap();
        let slots: Vec<_> = iter::from_fn(|| arena.take_slot()).collect();
        assert!(slots.len() > 1_000);
        worker.shared.push_copy(Patience::None, b"a").unwrap();
        let _ = worker.take_step();
        let is_it = |event: &WriterEvent| {
            let cause = CrashProofError::Exhausted;
            matches!(event, WriterEvent::NotCrashProof { cause: told, .. } if *told == cause)
        };
        assert!(told.lock().iter().any(is_it), "{told:?}");
        assert_eq!(worker.shared.counters.metrics().accepted.messages, 1);
    }
}
