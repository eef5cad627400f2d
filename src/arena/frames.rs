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
    skipped: u64,
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
            skipped: 0,
        }
    }

    /// How many messages were left out so far that had come, or may have.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Gives what is yet to be read, message by message.
    pub(crate) fn each_message(&mut self, mut give: impl FnMut(&[u8])) {
        let mut bytes = Vec::new();
        while let Some(mut more) = self.next() {
            bytes.append(&mut more);
            let mut rest = &bytes[..];
            while let Some((Frame { message, .. }, next)) = split_frame(rest) {
                give(message);
                rest = next;
            }
            // What is left goes on in the next run.
            let given = bytes.len() - rest.len();
            bytes.drain(..given);
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
        let selected = select(&bytes, run.skip, self.max_message_len);
        self.lost |= selected.lost;
        self.skipped += selected.skipped;
        Some(selected.frames)
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
        self.skipped += u64::from(is_good);
        for _ in 0..run.pieces {
            self.runs.next();
        }
        Vec::new()
    }
}

/// What is chosen of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selected {
    frames: Vec<u8>,
    /// Something was left out that had not come.
    lost: bool,
    /// So many messages were left out that had.
    skipped: u64,
}

/// The frames without the first `skip`, and without those that are too long, up to what is no
/// message.
fn select(bytes: &[u8], skip: u64, max_message_len: u64) -> Selected {
    let mut selected = Selected {
        frames: Vec::with_capacity(bytes.len()),
        ..Selected::default()
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((Frame { bytes, message }, next)) = split_frame(rest) else {
            selected.lost = true;
            break;
        };
        rest = next;
        if message.is_empty() {
            selected.lost = true;
            break;
        } else if selected.skipped < skip {
            selected.skipped += 1;
        } else if to_u64(message.len()) > max_message_len {
            selected.lost = true;
        } else {
            selected.frames.extend_from_slice(bytes);
        }
    }
    selected
}

/// A frame, and the message in it.
struct Frame<'a> {
    bytes: &'a [u8],
    message: &'a [u8],
}

/// The first frame, and what follows.
fn split_frame(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let Parsed::Length {
        payload_len,
        prefix_len,
    } = frame::parse_prefix(bytes)
    else {
        return None;
    };
    let len = usize::try_from(payload_len).ok()?;
    let (bytes, rest) = bytes.split_at_checked(len.checked_add(prefix_len.get())?)?;
    let (_, message) = bytes.split_at_checked(prefix_len.get())?;
    Some((Frame { bytes, message }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_come_and_what_is_no_message_is_left_out() {
        let frames = b"\x01a\x02bb\x03ccc\x01d".to_vec();
        let selected = |bytes: &[u8], skip, max| {
            let selected = select(bytes, skip, max);
            (selected.frames, selected.lost, selected.skipped)
        };
        assert_eq!(selected(&frames, 0, 9), (frames.clone(), false, 0));
        assert_eq!(
            selected(&frames, 2, 9),
            (b"\x03ccc\x01d".to_vec(), false, 2)
        );
        assert_eq!(selected(&frames, u64::MAX, 9), (Vec::new(), false, 4));
        assert_eq!(selected(&frames, 1, 2), (b"\x02bb\x01d".to_vec(), true, 1));
        assert_eq!(selected(&[1, 7, 0, 1, 9, 1], 0, 99), (vec![1, 7], true, 0));
        assert_eq!(selected(&[0xff; 12], 0, 99), (Vec::new(), true, 0));
    }
}
