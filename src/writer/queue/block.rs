//! A run of whole frames in memory, and how far it has come: taken by the kernel, and settled.
//! Pure: no I/O, no threads, no clock.
//!
//! ```text
//! settled ≤ whole ≤ taken
//!    │        │       └ how far the kernel has taken it on this connection
//!    │        └ where the first frame begins of which the kernel lacks a byte
//!    └ where the first message begins that may have to be sent again
//! ```

use std::mem;

use bytes::Bytes;

use crate::metrics::Tally;
use crate::wire::frame::{self, ACK_REQUEST, AT_LEAST_ONCE, Parsed, Prefix};
use crate::writer::arena::Record;
use crate::writer::slot::{Frames, Slot};

/// Up to here a block is united with the one before it. What a receipt covers a part of is walked.
const SMALL: usize = 4 * 1024;

/// A run of whole frames: either many small ones in a part of a slot, or one that keeps its owner's
/// buffer. It may end with the question for a receipt.
#[derive(Debug)]
pub(crate) struct Block {
    body: Body,
    /// The empty frame behind the messages that requests a receipt; no bytes where there is none.
    ack_request: &'static [u8],
    /// The place of the block's first remaining message in the order of all that were accepted.
    first: u64,
    /// The messages that remain: those from `settled` on.
    tally: Tally,
    /// Those of them that the kernel has taken whole.
    whole_tally: Tally,
    settled: usize,
    whole: usize,
    taken: usize,
    /// By how much the numbers of its messages are lower than their places, once they have any.
    shift: Option<u64>,
    /// What of it outlives the process.
    record: Option<Record>,
}

#[derive(Debug)]
enum Body {
    Frames(Frames),
    Owned {
        prefix: Prefix,
        payload: Bytes,
    },
    /// One message that no slot has room for: its frame in pieces, each a slot.
    Pieces {
        pieces: Vec<Frames>,
        message_len: usize,
    },
}

/// What was in a used block.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// The slot, if nothing else is left in it.
    Slot(Option<Slot>),
    /// The slots of a long message.
    Slots(Vec<Frames>),
    /// A payload that was handed over.
    Payload(Bytes),
}

impl Block {
    /// A block without a message, at number `first`: for a question alone.
    pub(crate) fn empty(first: u64) -> Self {
        Self::new(Body::Frames(Frames::default()), first, Tally::default())
    }

    /// A block of these messages: the next in their slot.
    pub(crate) fn of(frames: Frames, first: u64, tally: Tally) -> Self {
        let record = frames.record(first);
        Self {
            record,
            ..Self::new(Body::Frames(frames), first, tally)
        }
    }

    /// A block of one message of which the frame lies in these pieces.
    pub(crate) fn in_pieces(pieces: Vec<Frames>, message_len: usize, first: u64) -> Self {
        let record = Frames::record_pieces(&pieces, first);
        let body = Body::Pieces {
            pieces,
            message_len,
        };
        Self {
            record,
            ..Self::new(body, first, Tally::one(message_len))
        }
    }

    /// A block of one message, which is not copied.
    pub(crate) fn owned(payload: Bytes, first: u64) -> Self {
        let tally = Tally::one(payload.len());
        let prefix = Prefix::new(payload.len());
        Self::new(Body::Owned { prefix, payload }, first, tally)
    }

    fn new(body: Body, first: u64, tally: Tally) -> Self {
        Self {
            body,
            ack_request: &[],
            first,
            tally,
            whole_tally: Tally::default(),
            settled: 0,
            whole: 0,
            taken: 0,
            shift: None,
            record: None,
        }
    }

    /// Empties a used block.
    pub(crate) fn take_leftover(&mut self) -> Leftover {
        // Its record ends before anything is written over what it was about.
        self.record = None;
        match mem::replace(self, Self::empty(0)).body {
            Body::Owned { payload, .. } => Leftover::Payload(payload),
            Body::Frames(frames) => Leftover::Slot(frames.into_slot()),
            Body::Pieces { pieces, .. } => Leftover::Slots(pieces),
        }
    }

    /// Lets the block end with a request for a receipt.
    pub(crate) fn request_ack(&mut self) {
        self.ack_request = ACK_REQUEST;
    }

    /// Makes an empty block the opening of a connection with `AtLeastOnce`.
    pub(crate) fn open_connection(&mut self) {
        self.ack_request = AT_LEAST_ONCE;
    }

    /// How many bytes the request for a receipt takes, if there is one.
    pub(crate) fn ack_request_len(&self) -> usize {
        self.ack_request.len()
    }

    /// The messages that remain.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Those of them that the kernel has taken whole.
    pub(crate) fn whole_tally(&self) -> Tally {
        self.whole_tally
    }

    /// Whether no message remains.
    pub(crate) fn is_empty(&self) -> bool {
        self.tally.messages == 0
    }

    /// The number of the first message that remains.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the first message of which the kernel lacks a byte.
    pub(crate) fn first_unwritten(&self) -> u64 {
        self.first + self.whole_tally.messages
    }

    /// The number of the message after the last.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.tally.messages
    }

    pub(crate) fn frames_len(&self) -> usize {
        match &self.body {
            Body::Frames(frames) => frames.len(),
            Body::Owned { prefix, payload } => prefix.as_slice().len() + payload.len(),
            Body::Pieces { pieces, .. } => pieces.iter().map(|piece| piece.len()).sum(),
        }
    }

    /// Numbers its messages, before the kernel has the first byte of any; returns how many.
    pub(crate) fn number(&mut self, number: u64) -> u64 {
        debug_assert!(self.shift.is_none(), "they have numbers");
        if self.is_empty() {
            return 0;
        }
        self.shift = Some(self.first - number);
        if let Some(record) = &mut self.record {
            record.number(number);
        }
        self.tally.messages
    }

    pub(crate) fn is_numbered(&self) -> bool {
        self.shift.is_some()
    }

    /// The number of the first message of which the kernel lacks a byte, once there are numbers.
    pub(crate) fn next_number(&self) -> Option<u64> {
        let is_left = self.first_unwritten() < self.end();
        let shift = self.shift.filter(|_| is_left)?;
        Some(self.first_unwritten() - shift)
    }

    /// The number behind those that are begun.
    pub(crate) fn number_behind_begun(&self) -> Option<u64> {
        let cut = u64::from(self.cut().is_some());
        Some(self.first_unwritten() + cut - self.shift?)
    }

    /// Takes the numbers of messages back of which the peer has nothing; returns the first.
    pub(crate) fn unnumber(&mut self) -> Option<u64> {
        debug_assert!(!self.is_begun(), "the peer has the beginning of this block");
        let number = self.first - self.shift.take()?;
        let (is_whole, first) = (self.settled == 0, self.first);
        match &mut self.record {
            Some(record) if is_whole => record.unnumber(first),
            _ => self.renew_record(first),
        }
        Some(number)
    }

    /// Makes a new record of what is not settled, waiting at this place, instead of the one that
    /// covers more.
    fn renew_record(&mut self, order: u64) {
        let renewed = self
            .record
            .as_ref()
            .and_then(|record| record.rest(self.offset(self.settled), order));
        self.record = renewed;
    }

    /// Where that lies in the slot.
    fn offset(&self, at: usize) -> u32 {
        let start = match &self.body {
            Body::Frames(frames) => frames.start(),
            Body::Owned { .. } | Body::Pieces { .. } => 0,
        };
        u32::try_from(start + at).unwrap_or(u32::MAX)
    }

    fn wire_len(&self) -> usize {
        self.frames_len() + self.ack_request.len()
    }

    /// The bytes that the kernel has yet to take.
    pub(crate) fn remaining_len(&self) -> usize {
        self.wire_len() - self.taken
    }

    /// The bytes that the kernel has yet to take, slice by slice.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (head, tail, pieces): (&[u8], &[u8], &[Frames]) = match &self.body {
            Body::Frames(frames) => (frames, &[], &[]),
            Body::Owned { prefix, payload } => (prefix.as_slice(), payload, &[]),
            Body::Pieces { pieces, .. } => (&[], &[], pieces),
        };
        let pieces = pieces.iter().map(|piece| &**piece);
        let all = [head, tail].into_iter().chain(pieces);
        let mut taken = self.taken;
        all.chain([self.ack_request]).filter_map(move |slice| {
            let left = slice.get(taken..);
            taken = taken.saturating_sub(slice.len());
            left.filter(|left| !left.is_empty())
        })
    }

    /// Notes that the kernel took the next `len` bytes; says which messages it has now taken whole.
    pub(crate) fn advance(&mut self, len: usize) -> Tally {
        self.taken += len;
        debug_assert!(
            self.taken <= self.wire_len(),
            "the kernel cannot take more than it was given"
        );
        let before = self.whole_tally;
        let frames_len = self.frames_len();
        if self.taken >= frames_len {
            self.whole = frames_len;
            self.whole_tally = self.tally;
        } else {
            while let Some((frame_len, message_len)) = self
                .frame_at(self.whole)
                .filter(|(len, _)| self.whole + len <= self.taken)
            {
                self.whole += frame_len;
                self.whole_tally += Tally::one(message_len);
            }
        }
        self.whole_tally - before
    }

    /// Likewise; says beside it which of these messages have numbers below `sent_to`.
    pub(crate) fn advance_past(&mut self, len: usize, sent_to: u64) -> (Tally, Tally) {
        let (mut at, from) = (self.whole, self.first_unwritten());
        let whole = self.advance(len);
        if from >= sent_to {
            return (whole, Tally::default());
        }
        if self.first_unwritten() <= sent_to {
            return (whole, whole);
        }
        let mut again = Tally::default();
        while from + again.messages < sent_to {
            let Some((frame_len, message_len)) = self.frame_at(at) else {
                break;
            };
            at += frame_len;
            again += Tally::one(message_len);
        }
        (whole, again)
    }

    /// The first `messages` that remain, of those that the kernel took whole, need not be sent
    /// again; says which that were.
    pub(crate) fn settle(&mut self, messages: u64) -> Tally {
        debug_assert!(
            messages <= self.whole_tally.messages,
            "the kernel has not taken these"
        );
        let before = self.tally;
        if messages >= self.whole_tally.messages {
            self.settled = self.whole;
            self.first += self.whole_tally.messages;
            self.tally -= self.whole_tally;
            self.whole_tally = Tally::default();
        } else {
            for _ in 0..messages {
                let Some((frame_len, message_len)) = self.frame_at(self.settled) else {
                    break;
                };
                self.settled += frame_len;
                self.first += 1;
                self.tally -= Tally::one(message_len);
                self.whole_tally -= Tally::one(message_len);
            }
        }
        before - self.tally
    }

    /// Takes the messages of `next` over, which come next, if both blocks are written to their
    /// ends, they stand in one piece, and it is small.
    pub(crate) fn absorb(&mut self, next: &Self) -> bool {
        let are_written = self.remaining_len() == 0 && next.remaining_len() == 0;
        let is_small = next.frames_len() <= SMALL;
        let are_neighbours = self.end() == next.first() && self.shift == next.shift;
        if !(are_written && is_small && next.settled == 0 && are_neighbours) {
            return false;
        }
        let (Body::Frames(frames), Body::Frames(more)) = (&mut self.body, &next.body) else {
            return false;
        };
        if !frames.extend_over(more) {
            return false;
        }
        if let (Some(record), Some(next)) = (&mut self.record, &next.record) {
            record.end_at(next.ends_at());
        }
        if self.ack_request.is_empty() {
            self.ack_request = next.ack_request;
        }
        self.tally += next.tally;
        self.whole_tally += next.whole_tally;
        (self.whole, self.taken) = (self.frames_len(), self.wire_len());
        true
    }

    /// The connection is gone: whatever it took that is not settled is to be sent again.
    pub(crate) fn rewind(&mut self) {
        (self.whole, self.taken) = (self.settled, self.settled);
        self.whole_tally = Tally::default();
    }

    /// The message that the kernel took a part of.
    pub(crate) fn cut(&self) -> Option<Tally> {
        if self.taken <= self.whole || self.whole >= self.frames_len() {
            return None;
        }
        self.frame_at(self.whole)
            .map(|(_, message_len)| Tally::one(message_len))
    }

    /// Whether the kernel took any byte of what is not settled.
    pub(crate) fn is_begun(&self) -> bool {
        self.taken > self.settled
    }

    /// How much of the next message's prefix the kernel has yet to take. `None` where it has all.
    pub(crate) fn len_to_prefix_end(&self) -> Option<usize> {
        let (frame_len, message_len) = self.frame_at(self.whole)?;
        let end = self.whole + frame_len - message_len;
        end.checked_sub(self.taken).filter(|len| *len > 0)
    }

    /// Whether the kernel took the prefix of a message, and nothing more of it.
    pub(crate) fn is_cut_behind_prefix(&self) -> bool {
        self.frame_at(self.whole)
            .is_some_and(|(frame_len, message_len)| {
                self.taken == self.whole + frame_len - message_len
            })
    }

    /// Removes the first message of a block that is not begun.
    pub(crate) fn evict(&mut self) -> Option<Tally> {
        debug_assert!(!self.is_begun(), "the peer has the beginning of this block");
        let (frame_len, message_len) = self.frame_at(self.settled)?;
        self.settled += frame_len;
        self.first += 1;
        self.tally -= Tally::one(message_len);
        self.rewind();
        self.shorten_record();
        Some(Tally::one(message_len))
    }

    /// The message before `settled` is dropped, and not delivered any more.
    fn shorten_record(&mut self) {
        if self.is_empty() {
            self.record = None;
            return;
        }
        let (from, first) = (self.offset(self.settled), self.first);
        match (&mut self.record, self.shift) {
            (Some(record), None) => record.begin_at(from),
            (Some(record), Some(shift)) => {
                // One that counts from another number, before this one ends.
                self.record = record.rest_numbered(from, first - shift);
            }
            (None, _) => {}
        }
    }

    /// Splits off the messages that are begun, so that those behind them can be evicted. `None`
    /// when there are none behind them.
    pub(crate) fn split_begun(&mut self) -> Option<Self> {
        let (cut_len, cut) = match self.frame_at(self.whole) {
            Some((frame_len, message_len)) if self.cut().is_some() => {
                (frame_len, Tally::one(message_len))
            }
            _ => (0, Tally::default()),
        };
        self.split(self.whole + cut_len, self.whole_tally + cut)
    }

    /// Splits off what stands before `end`, which is that many messages.
    fn split(&mut self, end: usize, messages: Tally) -> Option<Self> {
        let Body::Frames(frames) = &self.body else {
            return None;
        };
        if end == self.settled || end >= frames.len() {
            return None;
        }
        let begun = frames.part(self.settled, end);
        let (record, at) = (self.record.take(), self.offset(end));
        // The rest is not begun, whatever number it had.
        let order = self.first + messages.messages;
        let rest = record.as_ref().and_then(|record| record.rest(at, order));
        let mut split = Self {
            body: Body::Frames(begun),
            ack_request: self.ack_request,
            first: self.first,
            tally: messages,
            whole_tally: self.whole_tally,
            settled: 0,
            whole: self.whole - self.settled,
            taken: self.taken - self.settled,
            shift: self.shift.take(),
            record,
        };
        if let Some(record) = &mut split.record {
            record.end_at(at);
        }
        self.record = rest;
        self.settled = end;
        self.first += messages.messages;
        self.tally -= messages;
        self.rewind();
        Some(split)
    }

    /// The lengths of the frame that begins at `at`, and of its message. No index of the frames is
    /// kept: they are walked only after a partial write, or for a receipt that covers a part.
    fn frame_at(&self, at: usize) -> Option<(usize, usize)> {
        match &self.body {
            Body::Frames(frames) => match frame::parse_prefix(frames.get(at..)?) {
                Parsed::Length {
                    payload_len,
                    prefix_len,
                } => {
                    let message_len = usize::try_from(payload_len).ok()?;
                    Some((prefix_len.get() + message_len, message_len))
                }
                Parsed::Incomplete | Parsed::Invalid => None,
            },
            Body::Owned { prefix, payload } => {
                (at == 0).then(|| (prefix.as_slice().len() + payload.len(), payload.len()))
            }
            Body::Pieces { message_len, .. } => {
                (at == 0).then(|| (self.frames_len(), *message_len))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::to_u64;
    use proptest::prelude::*;

    fn block_of(messages: &[Vec<u8>]) -> Block {
        let tally = messages.iter().map(|message| Tally::one(message.len()));
        let tally = tally.fold(Tally::default(), |sum, one| sum + one);
        Block::of(Frames::of(messages), 0, tally)
    }

    fn remaining(block: &Block) -> Vec<u8> {
        block.slices().flatten().copied().collect()
    }

    #[test]
    fn an_owned_message_goes_out_as_prefix_and_payload() {
        let mut block = Block::owned(Bytes::from(vec![7; 300]), 5);
        assert_eq!(
            block.slices().map(<[u8]>::len).collect::<Vec<_>>(),
            [2, 300]
        );
        assert_eq!(block.advance(1), Tally::default());
        assert_eq!(
            block.slices().map(<[u8]>::len).collect::<Vec<_>>(),
            [1, 300]
        );
        block.advance(101);
        assert_eq!(block.slices().map(<[u8]>::len).collect::<Vec<_>>(), [200]);
        assert!(block.cut().is_some());
        block.rewind();
        assert_eq!(block.remaining_len(), 302);
        assert_eq!(block.advance(302), Tally::one(300));
        assert_eq!((block.first(), block.first_unwritten()), (5, 6));
        assert_eq!(block.settle(1), Tally::one(300));
        assert_eq!((block.first(), block.is_empty()), (6, true));
    }

    #[test]
    fn what_is_begun_is_split_off_with_what_the_kernel_took() {
        let mut block = block_of(&[vec![1; 10], vec![2; 20], vec![3; 30]]);
        block.request_ack();
        assert_eq!(block.advance(11 + 5), Tally::one(10));
        let begun = block.split_begun().unwrap();
        assert_eq!(
            (
                begun.first(),
                begun.tally().messages,
                begun.first_unwritten()
            ),
            (0, 2, 1)
        );
        assert_eq!(
            (
                begun.remaining_len(),
                begun.ack_request_len() == 1,
                begun.cut().is_some()
            ),
            (17, true, true)
        );
        assert_eq!(
            (block.first(), block.tally(), block.is_begun()),
            (2, Tally::one(30), false)
        );
        assert_eq!(block.evict(), Some(Tally::one(30)));
        assert!(block.is_empty());
        assert_eq!(block.evict(), None);
    }

    #[test]
    fn the_request_for_a_receipt_comes_last_and_is_no_message() {
        let mut block = block_of(&[vec![1; 2]]);
        block.request_ack();
        assert_eq!(remaining(&block), [2, 1, 1, 0]);
        assert_eq!(block.advance(3), Tally::one(2));
        assert_eq!(
            (block.cut().is_some(), block.is_begun(), remaining(&block)),
            (false, true, vec![0])
        );
        assert_eq!(block.advance(1), Tally::default());
        assert_eq!(block.remaining_len(), 0);
        block.rewind();
        assert_eq!(remaining(&block), [2, 1, 1, 0]);
    }

    #[test]
    fn what_was_sent_before_is_told_apart() {
        let mut block = block_of(&[vec![1; 1], vec![2; 10], vec![3; 100]]);
        assert_eq!(
            block.advance_past(13, 1),
            (Tally::one(1) + Tally::one(10), Tally::one(1))
        );
        block.rewind();
        assert_eq!(block.advance_past(2, 2), (Tally::one(1), Tally::one(1)));
        assert_eq!(
            block.advance_past(112, 2),
            (Tally::one(10) + Tally::one(100), Tally::one(10))
        );
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_takes_the_rest_begins_at_a_frame(
            lens in prop::collection::vec(prop_oneof![3 => 1usize..4, 3 => 100usize..300, 1 => 16_000usize..17_000], 1..20)
                .prop_filter("they fit into a slot", |lens| lens.iter().sum::<usize>() < 120_000),
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
            // How many frames have been settled, and how many are whole beyond.
            let (mut settled, mut whole_tally) = (0, Tally::default());
            for cut in cuts {
                let take = cut.min(whole.len() - taken);
                taken += take;
                whole_tally += block.advance(take);
                let done = ends.iter().filter(|end| **end <= taken).count();
                let bytes = |from: usize| lens[from..done].iter().map(|len| to_u64(*len)).sum::<u64>();
                prop_assert_eq!(whole_tally, Tally { messages: to_u64(done - settled), bytes: bytes(settled) });
                prop_assert_eq!((block.first(), block.first_unwritten()), (to_u64(settled), to_u64(done)));
                let start = |frame: usize| frame.checked_sub(1).map_or(0, |last| ends[last]);
                prop_assert_eq!(block.cut().is_some(), taken > start(done));
                prop_assert_eq!(remaining(&block), &whole[taken..]);
                if cut % 2 == 0 {
                    let part = cut / 7 % (done - settled + 1);
                    let tally = block.settle(to_u64(part));
                    prop_assert_eq!(tally.messages, to_u64(part));
                    settled += part;
                    whole_tally -= tally;
                    prop_assert_eq!(whole_tally.bytes, bytes(settled));
                }
                if cut % 3 == 0 {
                    block.rewind();
                    taken = start(settled);
                    whole_tally = Tally::default();
                    prop_assert_eq!(remaining(&block), &whole[taken..]);
                }
            }
        }
    }
}
