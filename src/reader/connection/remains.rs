//! What a writer left behind, read like a stream: its frames, one behind the other. Messages that
//! had come are left out, and so is what is no frame, or longer than the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec;

use parking_lot::Mutex;

use super::passed::PassedArena;
use crate::arena::recovery::Run;
use crate::num::to_u64;
use crate::sys::Received;
use crate::wire::frame::{self, Parsed};

/// How much of one writer is recovered. More than any queue should hold, and no more than a
/// minute's work.
const MOST_RECOVERED: u64 = 4 * 1024 * 1024 * 1024;

/// How many runs are read for one buffer: whoever left them may have put nothing into them.
const RUNS_PER_READ: usize = 16;

#[derive(Debug)]
pub(in crate::reader) struct Remains {
    arena: Arc<PassedArena>,
    max_message_len: u64,
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
    runs: vec::IntoIter<Run>,
    /// So many of the next runs go on with the message that was begun.
    pieces: usize,
    frames: Vec<u8>,
    /// How much of `frames` was given.
    given: usize,
    left: u64,
    lost: bool,
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
            runs: runs.into_iter(),
            pieces: 0,
            frames: Vec::new(),
            given: 0,
            left: MOST_RECOVERED,
            lost: false,
        };
        Self {
            arena,
            max_message_len: to_u64(max_message_len),
            progress: Mutex::new(progress),
            count,
            sum,
        }
    }

    /// Nothing of a buffer may be filled, though more is to come.
    pub(in crate::reader) fn receive(&self, buffer: &mut [u8]) -> Received {
        let mut progress = self.progress.lock();
        for _ in 0..RUNS_PER_READ {
            if progress.given < progress.frames.len() {
                break;
            }
            if !self.advance(&mut progress) {
                return Received::End;
            }
        }
        let given = progress.given;
        let rest = progress.frames.get(given..).unwrap_or_default();
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
        let is_over = progress.runs.len() == 0 && progress.given == progress.frames.len();
        is_over && !progress.lost
    }

    /// Reads the next run. False where there is none.
    fn advance(&self, progress: &mut Progress) -> bool {
        let Some(run) = progress.runs.next() else {
            return false;
        };
        (progress.frames, progress.given) = (Vec::new(), 0);
        let len = u64::from(run.extent.to - run.extent.from);
        progress.left = progress.left.saturating_sub(len);
        let bytes = self.arena.bytes(run.extent).ok();
        let Some(bytes) = bytes.filter(|_| progress.left > 0) else {
            progress.lost = true;
            return false;
        };
        if progress.pieces > 0 {
            progress.pieces -= 1;
            progress.frames = bytes;
        } else if run.pieces > 0 {
            self.begin_long(progress, run, bytes);
        } else {
            let (frames, lost) = select(&bytes, run.skip, self.max_message_len);
            progress.frames = frames;
            progress.lost |= lost;
        }
        true
    }

    /// Begins a message that goes on in the next runs, or leaves it out with all of them.
    fn begin_long(&self, progress: &mut Progress, run: Run, head: Vec<u8>) {
        let more = progress
            .runs
            .as_slice()
            .get(..run.pieces)
            .unwrap_or_default();
        let lens = more
            .iter()
            .map(|run| u64::from(run.extent.to - run.extent.from));
        let len = to_u64(head.len()) + lens.sum::<u64>();
        let is_good = matches!(
            frame::parse_prefix(&head),
            Parsed::Length { payload_len, prefix_len }
                if (1..=self.max_message_len).contains(&payload_len)
                    && payload_len.checked_add(to_u64(prefix_len.get())) == Some(len)
        );
        if is_good && run.skip == 0 {
            progress.pieces = run.pieces;
            progress.frames = head;
        } else {
            progress.lost |= !is_good;
            for _ in 0..run.pieces {
                progress.runs.next();
            }
        }
    }
}

/// The frames without the first `skip`, and without those that are too long, up to what is no
/// message. Says whether anything was left out that had not come.
fn select(bytes: &[u8], mut skip: u64, max_message_len: u64) -> (Vec<u8>, bool) {
    let mut selected = Vec::with_capacity(bytes.len());
    let mut lost = false;
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((frame, payload_len, next)) = split_frame(rest) else {
            return (selected, true);
        };
        rest = next;
        if payload_len == 0 {
            return (selected, true);
        } else if skip > 0 {
            skip -= 1;
        } else if payload_len > max_message_len {
            lost = true;
        } else {
            selected.extend_from_slice(frame);
        }
    }
    (selected, lost)
}

/// The first frame, the length of its message, and what follows.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let Parsed::Length {
        payload_len,
        prefix_len,
    } = frame::parse_prefix(bytes)
    else {
        return None;
    };
    let len = usize::try_from(payload_len).ok()?;
    let (frame, rest) = bytes.split_at_checked(len.checked_add(prefix_len.get())?)?;
    Some((frame, payload_len, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_come_and_what_is_no_message_is_left_out() {
        let frames = b"\x01a\x02bb\x03ccc\x01d".to_vec();
        assert_eq!(select(&frames, 0, 9), (frames.clone(), false));
        assert_eq!(select(&frames, 2, 9), (b"\x03ccc\x01d".to_vec(), false));
        assert_eq!(select(&frames, 9, 9), (Vec::new(), false));
        assert_eq!(select(&frames, 1, 2), (b"\x02bb\x01d".to_vec(), true));
        assert_eq!(select(&[1, 7, 0, 1, 9, 1], 0, 99), (vec![1, 7], true));
        assert_eq!(select(&[0xff; 12], 0, 99), (Vec::new(), true));
    }
}
