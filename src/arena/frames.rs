//! The frames of what a writer left behind, a piece after the other. Messages that had come are
//! left out, and so is what is no frame, or longer than the limit.

use std::sync::Arc;
use std::vec;

use crate::arena::passed::PassedArena;
use crate::arena::recovery::Run;
use crate::num::to_u64;
use crate::wire::frame::{self, Parsed};

/// How much of one writer is recovered. More than any queue should hold, and no more than a
/// minute's work.
const MOST_RECOVERED: u64 = 4 * 1024 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Frames {
    arena: Arc<PassedArena>,
    max_message_len: u64,
    runs: vec::IntoIter<Run>,
    /// So many of the next runs go on with the message that was begun.
    pieces: usize,
    left: u64,
    lost: bool,
}

impl Frames {
    pub(crate) fn new(arena: Arc<PassedArena>, runs: Vec<Run>, max_message_len: usize) -> Self {
        Self {
            arena,
            max_message_len: to_u64(max_message_len),
            runs: runs.into_iter(),
            pieces: 0,
            left: MOST_RECOVERED,
            lost: false,
        }
    }

    /// Whether all was read, and none of it was no message, too long, or too much.
    pub(crate) fn is_whole(&self) -> bool {
        self.runs.len() == 0 && !self.lost
    }

    /// Reads the next run, of which there may be nothing to give. `None` behind the last.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let run = self.runs.next()?;
        let len = u64::from(run.extent.to - run.extent.from);
        self.left = self.left.saturating_sub(len);
        let bytes = self.arena.bytes(run.extent).ok();
        let Some(bytes) = bytes.filter(|_| self.left > 0) else {
            self.lost = true;
            return None;
        };
        if self.pieces > 0 {
            self.pieces -= 1;
            return Some(bytes);
        }
        if run.pieces > 0 {
            return Some(self.begin_long(run, bytes));
        }
        let (frames, lost) = select(&bytes, run.skip, self.max_message_len);
        self.lost |= lost;
        Some(frames)
    }

    /// Begins a message that goes on in the next runs, or leaves it out with all of them.
    fn begin_long(&mut self, run: Run, head: Vec<u8>) -> Vec<u8> {
        let more = self.runs.as_slice().get(..run.pieces).unwrap_or_default();
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
            self.pieces = run.pieces;
            return head;
        }
        self.lost |= !is_good;
        for _ in 0..run.pieces {
            self.runs.next();
        }
        Vec::new()
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
