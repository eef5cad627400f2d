//! The blocks that the kernel has not taken whole: being written, or kept to be sent again.
//! Pure: no I/O, no threads, no clock. This is the retry buffer; there is no second one.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::block::Block;
use crate::metrics::Tally;

/// How many connections in a row may end in the middle of one message before it is given up.
const MOST_CUTS: u32 = 3;

/// Blocks in the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    blocks: VecDeque<Box<Block>>,
    remaining_len: usize,
    suspect: Option<Suspect>,
}

/// A message that the last connections ended in the middle of: perhaps the reader will not have it.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    number: u64,
    cuts: u32,
}

/// Why a connection is over, as far as it matters to the message that it ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer ended it.
    Peer,
    /// Our own write timeout did: that says nothing about the message.
    Timeout,
}

impl Outbox {
    /// The bytes that the kernel has yet to take.
    pub(super) fn remaining_len(&self) -> usize {
        self.remaining_len
    }

    /// The number of the oldest message in it.
    pub(super) fn front(&self) -> Option<u64> {
        self.blocks.front().map(|block| block.first())
    }

    /// The messages in it.
    pub(super) fn tally(&self) -> Tally {
        self.blocks.iter().fold(Tally::default(), |sum, block| sum + block.tally())
    }

    /// The message that the peer has a part of, if there is one.
    pub(super) fn cut(&self) -> Tally {
        self.blocks
            .front()
            .filter(|block| block.is_cut())
            .and_then(|block| block.front_tally())
            .unwrap_or_default()
    }

    pub(super) fn push(&mut self, block: Box<Block>) {
        self.remaining_len += block.remaining_len();
        self.blocks.push_back(block);
    }

    /// Puts the blocks of `later` behind its own.
    pub(super) fn append(&mut self, mut later: Self) {
        self.remaining_len += later.remaining_len;
        self.blocks.append(&mut later.blocks);
    }

    /// Fills `slices` with what to write next; says how many it filled.
    pub(super) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, place) in self.blocks.iter().flat_map(|block| block.slices()).zip(slices) {
            *place = slice;
            filled += 1;
        }
        filled
    }

    /// Notes that the kernel took the next `len` bytes; says which messages it has now taken whole, and hands the
    /// finished blocks to `recycle`.
    pub(super) fn advance(&mut self, mut len: usize, mut recycle: impl FnMut(Box<Block>)) -> Tally {
        debug_assert!(len <= self.remaining_len, "the kernel cannot take more than it was given");
        self.remaining_len -= len;
        let mut settled = Tally::default();
        while let Some(block) = self.blocks.front_mut() {
            let part = len.min(block.remaining_len());
            settled += block.advance(part);
            len -= part;
            if !block.is_empty() {
                break;
            }
            if let Some(done) = self.blocks.pop_front() {
                recycle(done);
            }
        }
        settled
    }

    /// The connection is over. What it had begun is to be sent again from the start of its frame; a message in the
    /// middle of which too many ended is removed and returned.
    pub(super) fn rewind(&mut self, ending: Ending) -> Option<Tally> {
        let Some(block) = self.blocks.front_mut() else {
            self.suspect = None;
            return None;
        };
        let was_cut = block.is_cut();
        let before = block.remaining_len();
        block.rewind();
        self.remaining_len += block.remaining_len() - before;
        let number = block.first();
        let earlier =
            self.suspect.filter(|suspect| suspect.number == number).map_or(0, |suspect| suspect.cuts);
        let cuts = match (ending, was_cut) {
            (Ending::Peer, true) => earlier + 1,
            (Ending::Peer, false) => 0,
            (Ending::Timeout, _) => earlier,
        };
        if cuts < MOST_CUTS {
            self.suspect = Some(Suspect { number, cuts });
            return None;
        }
        self.suspect = None;
        self.evict()
    }

    /// Removes the oldest message that the peer has no part of.
    pub(super) fn evict(&mut self) -> Option<Tally> {
        let front = self.blocks.front_mut()?;
        let mut at = 0;
        if front.is_cut() {
            at = 1;
            if let Some(cut) = front.split_cut() {
                self.blocks.push_front(Box::new(cut));
            }
        }
        let block = self.blocks.get_mut(at)?;
        let before = block.remaining_len();
        let evicted = block.evict();
        self.remaining_len -= before - block.remaining_len();
        if block.is_empty() {
            self.blocks.remove(at);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::widen;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Messages of the given lengths, alternately in shared blocks and in blocks of their own.
    fn outbox_of(lens: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (number, len) in lens.iter().enumerate() {
            let payload = vec![u8::try_from(number % 251).unwrap(); *len];
            if number % 3 == 0 {
                outbox.push(Box::new(Block::owned(Bytes::from(payload), widen(number))));
            } else {
                let mut block = Block::empty(widen(number));
                block.push(&payload);
                outbox.push(Box::new(block));
            }
        }
        outbox
    }

    fn contents(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 100];
        let filled = outbox.fill(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_message_that_three_connections_ended_in_is_given_up() {
        let mut outbox = outbox_of(&[200, 5]);
        for _ in 0..2 {
            assert_eq!(outbox.advance(50, drop), Tally::default());
            assert_eq!(outbox.rewind(Ending::Peer), None);
        }
        outbox.advance(50, drop);
        assert_eq!(outbox.rewind(Ending::Peer), Some(Tally::one(200)));
        assert_eq!((outbox.front(), outbox.remaining_len()), (Some(1), 6));
    }

    #[test]
    fn only_connections_in_a_row_count_and_none_that_timed_out() {
        let mut outbox = outbox_of(&[200]);
        let mut cut = |len, ending| {
            outbox.advance(len, drop);
            outbox.rewind(ending)
        };
        for _ in 0..10 {
            assert_eq!(cut(50, Ending::Timeout), None);
        }
        assert_eq!(cut(50, Ending::Peer), None);
        assert_eq!(cut(50, Ending::Peer), None);
        assert_eq!(cut(0, Ending::Peer), None, "this one ended before the message began");
        assert_eq!(cut(50, Ending::Peer), None);
        assert_eq!(cut(50, Ending::Peer), None);
        assert_eq!(cut(50, Ending::Timeout), None);
        assert_eq!(cut(50, Ending::Peer), Some(Tally::one(200)));
    }

    #[test]
    fn eviction_spares_the_message_that_the_peer_has_a_part_of() {
        let mut shared = Block::empty(0);
        for len in [10, 20, 30] {
            shared.push(&vec![9; len]);
        }
        let mut outbox = Outbox::default();
        outbox.push(Box::new(shared));
        outbox.advance(4, drop);
        assert_eq!(outbox.evict(), Some(Tally::one(20)));
        assert_eq!(outbox.evict(), Some(Tally::one(30)));
        assert_eq!(outbox.evict(), None);
        assert_eq!(outbox.remaining_len(), 7);
        assert_eq!(outbox.advance(7, drop), Tally::one(10));
        assert!(outbox.front().is_none());
    }

    proptest! {
        #[test]
        fn every_message_is_sent_once_and_in_order_whatever_is_taken_lost_or_evicted(
            lens in prop::collection::vec(1usize..400, 1..30),
            steps in prop::collection::vec((0usize..600, 0u8..10), 0..60),
        ) {
            let mut outbox = outbox_of(&lens);
            let mut taken = Vec::new();
            let mut frame_start = 0;
            let mut ended = Tally::default();
            for (len, then) in steps.into_iter().chain(std::iter::repeat_n((400, 9), 60)) {
                let waiting = contents(&outbox);
                prop_assert_eq!(waiting.len(), outbox.remaining_len());
                let len = len.min(waiting.len());
                taken.extend_from_slice(&waiting[..len]);
                ended += outbox.advance(len, drop);
                frame_start = last_frame_start(&taken, frame_start);
                match then {
                    0 => {
                        // The reader of the lost connection discards the half frame.
                        taken.truncate(frame_start);
                        ended += outbox.rewind(Ending::Peer).unwrap_or_default();
                    }
                    1 => ended += outbox.evict().unwrap_or_default(),
                    _ => {}
                }
            }
            prop_assert!(outbox.front().is_none());
            prop_assert_eq!(ended.messages, widen(lens.len()));
            let mut numbers: Vec<usize> = Vec::new();
            let mut rest = &taken[..];
            while let frame_len @ 1.. = frame_len(rest) {
                let number = usize::from(rest[frame_len - 1]);
                prop_assert_eq!(frame_len, lens[number] + 1 + usize::from(lens[number] > 127));
                numbers.push(number);
                rest = &rest[frame_len..];
            }
            prop_assert!(rest.is_empty());
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        }
    }

    fn frame_len(stream: &[u8]) -> usize {
        match crate::frame::parse_prefix(stream) {
            crate::frame::Parsed::Length { payload_len, prefix_len } => {
                let len = usize::try_from(payload_len).unwrap() + prefix_len.get();
                if len <= stream.len() { len } else { 0 }
            }
            crate::frame::Parsed::Incomplete | crate::frame::Parsed::Invalid => 0,
        }
    }

    fn last_frame_start(stream: &[u8], mut from: usize) -> usize {
        while let len @ 1.. = frame_len(&stream[from..]) {
            from += len;
        }
        from
    }
}
