//! A run of whole frames in memory, and how much of it the kernel has taken.
//! Pure: no I/O, no threads, no clock.

use std::io::IoSlice;

use bytes::Bytes;

use crate::frame::{self, Parsed, Prefix};
use crate::metrics::{Tally, widen};

/// Up to here small messages share a block. Writes of 128 to 256 KiB were the fastest, and a write carries several.
pub(super) const BLOCK_SIZE: usize = 128 * 1024;

/// From this length on an owned message becomes a block of its own instead of being copied.
pub(super) const OWN_BLOCK_SIZE: usize = 32 * 1024;

/// A run of whole frames: either many small ones, or one that keeps its owner's buffer.
#[derive(Debug)]
pub(super) struct Block {
    body: Body,
    /// The place of the block's first remaining message in the order of all that were accepted.
    first: u64,
    /// The messages that remain in it.
    tally: Tally,
    /// Where the first frame begins of which the kernel lacks a byte.
    settled: usize,
    /// How far this connection has taken the block: `settled`, or somewhere in the frame that begins there.
    taken: usize,
}

#[derive(Debug)]
enum Body {
    Copied(Vec<u8>),
    Owned { prefix: Prefix, payload: Bytes },
}

impl Block {
    /// An empty block, whose first message will be number `first`.
    pub(super) fn empty(first: u64) -> Self {
        Self::new(Body::Copied(Vec::new()), first, Tally::default())
    }

    /// A block of one message, which is not copied.
    pub(super) fn owned(payload: Bytes, first: u64) -> Self {
        let tally = Tally::one(payload.len());
        Self::new(Body::Owned { prefix: Prefix::new(payload.len()), payload }, first, tally)
    }

    fn new(body: Body, first: u64, tally: Tally) -> Self {
        Self { body, first, tally, settled: 0, taken: 0 }
    }

    /// Empties a used block, keeping its memory. `None` where there is none worth keeping.
    pub(super) fn recycle(mut self: Box<Self>) -> Option<Box<Self>> {
        let Body::Copied(frames) = &mut self.body else { return None };
        frames.clear();
        (self.tally, self.settled, self.taken) = (Tally::default(), 0, 0);
        Some(self)
    }

    pub(super) fn set_first(&mut self, first: u64) {
        self.first = first;
    }

    /// Whether a frame of a message this long still belongs into this block.
    pub(super) fn has_room(&self, message_len: usize, block_size: usize) -> bool {
        self.is_empty() || self.wire_len() + frame::MAX_PREFIX_LEN + message_len <= block_size
    }

    /// Adds a copy of `message` as a frame. Only for a block made by [`Block::empty`].
    #[inline]
    pub(super) fn push(&mut self, message: &[u8]) {
        let Body::Copied(frames) = &mut self.body else { return };
        let needed = frames.len() + frame::MAX_PREFIX_LEN + message.len();
        if needed > frames.capacity() {
            grow(frames, needed);
        }
        if let Ok(len @ 0..=0x7f) = u8::try_from(message.len()) {
            frames.push(len);
        } else {
            frames.extend_from_slice(Prefix::new(message.len()).as_slice());
        }
        frames.extend_from_slice(message);
        self.tally += Tally::one(message.len());
    }

    /// The messages that remain.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tally.messages == 0
    }

    /// The number of the first message that remains.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the message after the last.
    pub(super) fn end(&self) -> u64 {
        self.first + self.tally.messages
    }

    fn wire_len(&self) -> usize {
        match &self.body {
            Body::Copied(frames) => frames.len(),
            Body::Owned { prefix, payload } => prefix.as_slice().len() + payload.len(),
        }
    }

    /// The bytes that the kernel has yet to take.
    pub(super) fn remaining_len(&self) -> usize {
        self.wire_len() - self.taken
    }

    /// The bytes that the kernel has yet to take, in one or two slices.
    pub(super) fn slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let (head, tail) = match &self.body {
            Body::Copied(frames) => (frames.get(self.taken..), None),
            Body::Owned { prefix, payload } => {
                let prefix = prefix.as_slice();
                let in_payload = self.taken.saturating_sub(prefix.len());
                (prefix.get(self.taken..), payload.get(in_payload..))
            }
        };
        head.into_iter().chain(tail).filter(|slice| !slice.is_empty()).map(IoSlice::new)
    }

    /// Notes that the kernel took the next `len` bytes; says which messages it has now taken whole.
    pub(super) fn advance(&mut self, len: usize) -> Tally {
        self.taken += len;
        debug_assert!(self.taken <= self.wire_len(), "the kernel cannot take more than it was given");
        let before = self.tally;
        if self.taken >= self.wire_len() {
            self.settled = self.taken;
            self.first += self.tally.messages;
            self.tally = Tally::default();
        } else {
            while let Some((frame_len, message_len)) =
                self.front().filter(|(len, _)| self.settled + len <= self.taken)
            {
                self.remove_front(frame_len, message_len);
            }
        }
        before - self.tally
    }

    /// The connection is gone, and what it took of an unfinished frame with it.
    pub(super) fn rewind(&mut self) {
        self.taken = self.settled;
    }

    /// Whether the kernel took a part of the first remaining frame.
    pub(super) fn is_cut(&self) -> bool {
        self.taken > self.settled
    }

    /// The first message that remains.
    pub(super) fn front_tally(&self) -> Option<Tally> {
        self.front().map(|(_, message_len)| Tally::one(message_len))
    }

    /// Removes the first message. It must not be cut.
    pub(super) fn evict(&mut self) -> Option<Tally> {
        debug_assert!(!self.is_cut(), "the peer has the beginning of this frame");
        let (frame_len, message_len) = self.front()?;
        self.remove_front(frame_len, message_len);
        self.taken = self.settled;
        Some(Tally::one(message_len))
    }

    /// Splits off the first message, which is cut, so that those behind it can be evicted.
    pub(super) fn split_cut(&mut self) -> Option<Self> {
        let (frame_len, message_len) = self.front()?;
        if self.tally.messages == 1 {
            return None;
        }
        let Body::Copied(frames) = &self.body else { return None };
        let frame = frames.get(self.settled..self.settled + frame_len)?.to_vec();
        let cut = Self {
            body: Body::Copied(frame),
            first: self.first,
            tally: Tally::one(message_len),
            settled: 0,
            taken: self.taken - self.settled,
        };
        self.remove_front(frame_len, message_len);
        self.taken = self.settled;
        Some(cut)
    }

    /// The lengths of the first remaining frame and of its message. No index of the frames is kept: they are walked
    /// only after a partial write.
    fn front(&self) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        match &self.body {
            Body::Copied(frames) => match frame::parse_prefix(frames.get(self.settled..)?) {
                Parsed::Length { payload_len, prefix_len } => {
                    let message_len = usize::try_from(payload_len).ok()?;
                    Some((prefix_len.get() + message_len, message_len))
                }
                Parsed::Incomplete | Parsed::Invalid => None,
            },
            Body::Owned { prefix, payload } => Some((prefix.as_slice().len() + payload.len(), payload.len())),
        }
    }

    fn remove_front(&mut self, frame_len: usize, message_len: usize) {
        self.settled += frame_len;
        self.first += 1;
        self.tally -= Tally { messages: 1, bytes: widen(message_len) };
    }
}

/// Grows in few steps and to no more than a block: an idle writer keeps little, a busy one allocates rarely.
#[cold]
fn grow(frames: &mut Vec<u8>, needed: usize) {
    let target = frames.capacity().saturating_mul(4).clamp(4096, BLOCK_SIZE).max(needed);
    frames.reserve_exact(target - frames.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block_of(messages: &[Vec<u8>]) -> Block {
        let mut block = Block::empty(0);
        for message in messages {
            block.push(message);
        }
        block
    }

    fn remaining(block: &Block) -> Vec<u8> {
        block.slices().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn an_owned_message_goes_out_as_prefix_and_payload() {
        let mut block = Block::owned(Bytes::from(vec![7; 300]), 5);
        assert_eq!(block.slices().map(|slice| slice.len()).collect::<Vec<_>>(), [2, 300]);
        assert_eq!(block.advance(1), Tally::default());
        assert_eq!(block.slices().map(|slice| slice.len()).collect::<Vec<_>>(), [1, 300]);
        block.advance(101);
        assert_eq!(block.slices().map(|slice| slice.len()).collect::<Vec<_>>(), [200]);
        assert!(block.is_cut());
        block.rewind();
        assert_eq!(block.remaining_len(), 302);
        assert_eq!(block.advance(302), Tally::one(300));
        assert_eq!((block.first(), block.is_empty()), (6, true));
    }

    #[test]
    fn the_cut_message_is_split_off_with_what_the_kernel_took() {
        let mut block = block_of(&[vec![1; 10], vec![2; 20], vec![3; 30]]);
        assert_eq!(block.advance(11 + 5), Tally::one(10));
        let cut = block.split_cut().unwrap();
        assert_eq!((cut.first(), cut.tally(), cut.remaining_len()), (1, Tally::one(20), 16));
        assert_eq!((block.first(), block.tally(), block.is_cut()), (2, Tally::one(30), false));
        assert_eq!(block.evict(), Some(Tally::one(30)));
        assert!(block.is_empty());
        assert_eq!(block.evict(), None);
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_takes_the_rest_begins_at_a_frame(
            lens in prop::collection::vec(prop_oneof![1usize..4, 100usize..300, 16_000usize..17_000], 1..20),
            cuts in prop::collection::vec(0usize..40_000, 0..20),
        ) {
            let messages: Vec<_> = lens.iter().map(|len| vec![u8::try_from(len % 251).unwrap(); *len]).collect();
            let mut block = block_of(&messages);
            let whole = remaining(&block);
            let ends: Vec<_> = lens.iter().scan(0, |at, len| {
                *at += Prefix::new(*len).as_slice().len() + len;
                Some(*at)
            }).collect();
            let mut taken = 0;
            let mut settled = Tally::default();
            for cut in cuts {
                let take = cut.min(whole.len() - taken);
                taken += take;
                settled += block.advance(take);
                let done = ends.iter().filter(|end| **end <= taken).count();
                prop_assert_eq!(settled.messages, widen(done));
                prop_assert_eq!(block.first(), widen(done));
                prop_assert_eq!(settled.bytes, lens[..done].iter().map(|len| widen(*len)).sum::<u64>());
                let frame = done.checked_sub(1).map_or(0, |last| ends[last]);
                prop_assert_eq!(block.is_cut(), taken > frame);
                prop_assert_eq!(remaining(&block), &whole[taken..]);
                if cut % 3 == 0 {
                    block.rewind();
                    taken = frame;
                    prop_assert_eq!(remaining(&block), &whole[frame..]);
                }
            }
        }
    }
}
