//! What a writer left behind, read like a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::arena::frames::Frames;
use crate::arena::passed::PassedArena;
use crate::arena::recovery::Run;
use crate::sys::Received;

/// How many runs are read for one buffer: whoever left them may have put nothing into them.
const RUNS_PER_READ: usize = 16;

#[derive(Debug)]
pub(in crate::reader) struct Remains {
    progress: Mutex<Progress>,
    /// How many runs there were, and the sum for all that are recovered.
    count: usize,
    sum: Arc<AtomicUsize>,
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Progress {
    frames: Frames,
    bytes: Vec<u8>,
    /// How much of `bytes` was given.
    given: usize,
}

impl Remains {
    pub(in crate::reader) fn new(
        arena: Arc<PassedArena>,
        mut runs: Vec<Run>,
        max_message_len: usize,
        sum: Arc<AtomicUsize>,
    ) -> Self {
        runs.shrink_to_fit();
        let count = runs.len();
        sum.fetch_add(count, Ordering::Relaxed);
        let progress = Progress {
            frames: Frames::new(arena, runs, max_message_len),
            bytes: Vec::new(),
            given: 0,
        };
        Self {
            progress: Mutex::new(progress),
            count,
            sum,
        }
    }

    /// Nothing of a buffer may be filled, though more is to come.
    pub(in crate::reader) fn receive(&self, buffer: &mut [u8]) -> Received {
        let mut progress = self.progress.lock();
        for _ in 0..RUNS_PER_READ {
            if progress.given < progress.bytes.len() {
                break;
            }
            match progress.frames.next() {
                Some(bytes) => (progress.bytes, progress.given) = (bytes, 0),
                None => return Received::End,
            }
        }
        let given = progress.given;
        let rest = progress.bytes.get(given..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        progress.given = given + len;
        Received::Some(len)
    }

    /// Whether all was read, and none of it was no message, too long, or too much.
    pub(in crate::reader) fn is_whole(&self) -> bool {
        let progress = self.progress.lock();
        progress.frames.is_whole() && progress.given == progress.bytes.len()
    }
}
