//! The retry buffer: what a partial write left, what waits to be written, and what no receipt
//! covers yet. It probes and gives up a message that the reader refuses. Pure: no I/O, no threads,
//! no clock.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use crate::metrics::Tally;
use crate::writer::queue::block::Block;
use crate::writer::settings::Delivery;

/// How many connections in a row may end just behind the length of one message before it is given
/// up.
const MOST_REFUSALS: u32 = 3;

/// Blocks in the order in which they were accepted: first those that wait for a receipt, then those
/// that wait for the kernel.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    delivery: Delivery,
    blocks: VecDeque<Box<Block>>,
    /// The first block of which the kernel lacks a byte.
    next: usize,
    remaining_len: usize,
    /// All messages in it.
    tally: Tally,
    /// Those that the kernel has taken whole, and no receipt covers.
    whole_tally: Tally,
    /// The kernel has taken all messages with a lower number whole, on some connection.
    sent_to: u64,
    suspect: Option<Suspect>,
    /// The opening of this connection was put before its first message.
    is_opened: bool,
    /// The kernel has taken bytes on this connection.
    has_sent: bool,
    /// The number of the next message to be numbered.
    numbered_to: u64,
    /// Blocks that are done with, and can be used again.
    #[expect(clippy::vec_box, reason = "blocks travel in their boxes")]
    done: Vec<Box<Block>>,
}

/// With `AtMostOnce`, a message in the middle of which the last connection ended. Which message a
/// stop or a crash cuts is chance, and the same chance again where the same bytes go out again. So
/// the next connection sends the message's length alone at first, as a probe: a reader that refuses
/// the message hangs up on that. (With `AtLeastOnce` the reader names what it refuses; there a
/// connection that ends behind a probe may as well have failed at an earlier message.)
#[derive(Clone, Copy, Debug)]
struct Suspect {
    number: u64,
    /// How many connections have ended in it.
    cuts: u32,
    /// How many connections in a row ended just behind its length.
    refusals: u32,
}

/// Why a connection is over, as far as it matters to the message that it ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer ended it, and had read all that was sent.
    Peer,
    /// The peer ended it without having read all, as when it is killed.
    Died,
    /// We did: that says nothing about the message.
    Ours,
    /// The peer said that it refuses the first message that is not settled.
    Refused,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The messages that the kernel has now taken whole.
    pub(crate) whole: Tally,
    /// Those of them that it had taken before, on another connection.
    pub(crate) again: Tally,
    /// After how many of them the last request for a receipt stood, if there was one.
    pub(crate) requested_after: Option<u64>,
}

impl Outbox {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            ..Self::default()
        }
    }

    /// The bytes that the kernel has yet to take.
    pub(crate) fn remaining_len(&self) -> usize {
        self.remaining_len
    }

    /// The number of the oldest message in it.
    pub(crate) fn front(&self) -> Option<u64> {
        // A request for a receipt alone is no message.
        self.blocks
            .iter()
            .find(|block| !block.is_empty())
            .map(|block| block.first())
    }

    /// The number of the oldest message of which the kernel lacks a byte.
    pub(crate) fn first_unwritten(&self) -> Option<u64> {
        let unwritten = self.blocks.iter().skip(self.next);
        unwritten
            .map(|block| (block.first_unwritten(), block.end()))
            .find(|(at, end)| at < end)
            .map(|(at, _)| at)
    }

    /// The messages in it.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The messages that the peer has, or has a part of.
    pub(crate) fn begun(&self) -> Tally {
        self.whole_tally
            + self
                .blocks
                .get(self.next)
                .and_then(|block| block.cut())
                .unwrap_or_default()
    }

    /// Whether the kernel has the length of a suspect, and nothing more of it: a probe. Says how
    /// many probes came before it.
    pub(crate) fn probe(&self) -> Option<u32> {
        let (suspect, block) = self.suspected()?;
        block.is_cut_behind_prefix().then_some(suspect.cuts - 1)
    }

    /// The suspect, if it is the next message to be written, and its block.
    fn suspected(&self) -> Option<(Suspect, &Block)> {
        let suspect = self.suspect?;
        let block = self.blocks.get(self.next)?;
        (block.first_unwritten() == suspect.number).then_some((suspect, block))
    }

    /// The reader is another process, or was away: what cut a message before says nothing of this
    /// reader.
    pub(crate) fn forget_suspect(&mut self) {
        self.suspect = None;
    }

    /// Whether the connection needs an opening, and has none yet.
    pub(crate) fn must_open(&self) -> bool {
        self.delivery == Delivery::AtLeastOnce && !self.is_opened
    }

    /// Puts the opening of a new connection before all else.
    pub(crate) fn push_opening(&mut self, opening: Box<Block>) {
        debug_assert!(self.next == 0, "the connection has begun");
        self.remaining_len += opening.remaining_len();
        self.blocks.push_front(opening);
        self.is_opened = true;
    }

    pub(crate) fn push(&mut self, block: Box<Block>) {
        self.remaining_len += block.remaining_len();
        self.tally += block.tally();
        self.blocks.push_back(block);
    }

    /// Takes a block that is done with.
    pub(crate) fn take_done(&mut self) -> Option<Box<Block>> {
        self.done.pop()
    }

    /// All blocks.
    pub(crate) fn into_blocks(self) -> impl Iterator<Item = Box<Block>> {
        self.blocks.into_iter().chain(self.done)
    }

    /// Puts the blocks of `later`, of which nothing is begun, behind its own.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.remaining_len += later.remaining_len;
        self.tally += later.tally;
        self.blocks.append(&mut later.blocks);
    }

    /// Fills `slices` with what to write next, up to a probe where there is a suspect; says how
    /// many it filled.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let probe = self.suspected();
        let probe = probe.and_then(|(_, block)| block.len_to_prefix_end());
        let mut most = probe.unwrap_or(usize::MAX);
        let mut filled = 0;
        let waiting = self
            .blocks
            .iter()
            .skip(self.next)
            .flat_map(|block| block.slices());
        for (slice, place) in waiting.zip(slices) {
            let slice = slice.get(..most).unwrap_or(slice);
            if slice.is_empty() {
                break;
            }
            most -= slice.len();
            *place = IoSlice::new(slice);
            filled += 1;
        }
        filled
    }

    /// Notes that the kernel took the next `len` bytes.
    pub(crate) fn advance(&mut self, mut len: usize) -> Taken {
        debug_assert!(
            len <= self.remaining_len,
            "the kernel cannot take more than it was given"
        );
        self.remaining_len -= len;
        self.has_sent |= len > 0;
        let mut taken = Taken::default();
        while let Some(block) = self.blocks.get_mut(self.next) {
            let part = len.min(block.remaining_len());
            let (whole, again) = block.advance_past(part, self.sent_to);
            len -= part;
            taken.whole += whole;
            taken.again += again;
            self.sent_to = self.sent_to.max(block.first_unwritten());
            if self.delivery == Delivery::AtMostOnce {
                self.tally -= block.settle(whole.messages);
            } else {
                self.whole_tally += whole;
            }
            if block.remaining_len() > 0 {
                break;
            }
            if block.ack_request_len() > 0 {
                taken.requested_after = Some(taken.whole.messages);
            }
            if block.is_empty() {
                self.done.extend(self.blocks.remove(self.next));
            } else {
                self.next += 1;
                self.merge_last();
            }
        }
        taken
    }

    /// Unites what was written last with what was written before it, if it is little and stands
    /// behind it: one message a block would take far more than its bytes until it is confirmed.
    fn merge_last(&mut self) {
        let Some(before) = self.next.checked_sub(2) else {
            return;
        };
        let Some(last) = self.blocks.remove(before + 1) else {
            return;
        };
        if self
            .blocks
            .get_mut(before)
            .is_some_and(|block| block.absorb(&last))
        {
            self.next -= 1;
            self.done.push(last);
        } else {
            self.blocks.insert(before + 1, last);
        }
    }

    /// A receipt covers the next `messages`; says what was in them.
    pub(crate) fn confirm(&mut self, mut messages: u64) -> Tally {
        debug_assert!(
            messages <= self.whole_tally.messages,
            "the kernel has not taken these"
        );
        let mut confirmed = Tally::default();
        while let Some(block) = self.blocks.front_mut().filter(|_| messages > 0) {
            let part = messages.min(block.whole_tally().messages);
            if part == 0 {
                break;
            }
            messages -= part;
            confirmed += block.settle(part);
            if block.is_empty() {
                // Its request may not have gone out: the answer is there.
                self.remaining_len -= block.remaining_len();
                self.next = self.next.saturating_sub(1);
                self.done.extend(self.blocks.pop_front());
            }
        }
        self.tally -= confirmed;
        self.whole_tally -= confirmed;
        confirmed
    }

    /// The connection is over. What is not settled is to be sent again, from the start of a frame.
    /// A message that the reader refuses is removed and returned.
    pub(crate) fn rewind(&mut self, ending: Ending) -> Option<Tally> {
        let cut = self.blocks.get(self.next).and_then(|block| {
            block.cut()?;
            Some((block.first_unwritten(), block.is_cut_behind_prefix()))
        });
        for block in self.blocks.iter_mut().take(self.next + 1) {
            let before = block.remaining_len();
            block.rewind();
            self.remaining_len += block.remaining_len() - before;
        }
        self.next = 0;
        (self.is_opened, self.has_sent) = (false, false);
        let whole_tally = mem::take(&mut self.whole_tally);
        self.forget_ack_requests();
        let is_refused = match ending {
            Ending::Ours => return None,
            // A peer cannot refuse what it has no byte of.
            Ending::Refused => cut.is_some() || whole_tally.messages > 0,
            Ending::Peer | Ending::Died => self.suspect(cut, ending == Ending::Peer),
        };
        if !is_refused {
            return None;
        }
        self.suspect = None;
        // It is the oldest: all before it are settled.
        self.evict_at(0)
    }

    /// Suspects the message that was cut, if any. Says whether that is enough to give it up.
    fn suspect(&mut self, cut: Option<(u64, bool)>, was_read: bool) -> bool {
        let before = self.suspect.take();
        let Some((number, is_behind_prefix)) = cut else {
            return false;
        };
        if self.delivery == Delivery::AtLeastOnce {
            return false;
        }
        let before = before.filter(|before| before.number == number);
        let refusals = match before {
            Some(before) if is_behind_prefix && was_read => before.refusals + 1,
            _ => 0,
        };
        self.suspect = Some(Suspect {
            number,
            cuts: before.map_or(0, |before| before.cuts) + 1,
            refusals,
        });
        refusals == MOST_REFUSALS
    }

    /// Removes the requests for receipts that stand alone: they were about another connection.
    fn forget_ack_requests(&mut self) {
        let alone = self.blocks.iter().filter(|block| block.is_empty());
        self.remaining_len -= alone.map(|block| block.remaining_len()).sum::<usize>();
        let (alone, kept) = mem::take(&mut self.blocks)
            .into_iter()
            .partition::<VecDeque<_>, _>(|block| block.is_empty());
        self.blocks = kept;
        self.done.extend(alone);
    }

    /// Numbers what has no number: before it goes out.
    pub(crate) fn number(&mut self) {
        let numbered = self.blocks.iter().rposition(|block| block.is_numbered());
        for block in self.blocks.iter_mut().skip(numbered.map_or(0, |at| at + 1)) {
            self.numbered_to += block.number(self.numbered_to);
        }
    }

    /// The number of the next message to go out, once numbers are given.
    pub(crate) fn next_number(&self) -> u64 {
        let mut unwritten = self.blocks.iter().skip(self.next);
        let next = unwritten.find_map(|block| block.next_number());
        next.unwrap_or(self.numbered_to)
    }

    /// Takes the numbers back of what is not begun, since what stands before it is to be dropped.
    /// From the last on: at no time something that has one comes behind something that has not.
    fn unnumber(&mut self) {
        let unbegun = |block: &&mut Box<Block>| !block.is_begun();
        let numbered = self
            .blocks
            .iter_mut()
            .skip(self.next)
            .take_while(|block| block.is_numbered() || block.is_empty());
        let mut blocks: Vec<_> = numbered.filter(unbegun).collect();
        for block in blocks.iter_mut().rev() {
            self.numbered_to = block.unnumber().unwrap_or(self.numbered_to);
        }
    }

    /// Removes the oldest message that the peer has no part of.
    pub(crate) fn evict(&mut self) -> Option<Tally> {
        if self.has_sent {
            // On one connection no number may be left out.
            self.unnumber();
        }
        let mut at = self.next;
        if let Some(block) = self.blocks.get_mut(at).filter(|block| block.is_begun()) {
            let end = block.number_behind_begun();
            if let Some(begun) = block.split_begun() {
                self.numbered_to = end.unwrap_or(self.numbered_to);
                // It has a request of its own, if the block had one.
                self.remaining_len += begun.ack_request_len();
                self.next += usize::from(begun.remaining_len() == 0);
                self.blocks.insert(at, Box::new(begun));
            }
            at += 1;
        }
        at += self
            .blocks
            .iter()
            .skip(at)
            .position(|block| !block.is_empty())?;
        self.evict_at(at)
    }

    /// Removes the first message of the block at `at`, of which nothing is begun.
    fn evict_at(&mut self, at: usize) -> Option<Tally> {
        let block = self.blocks.get_mut(at)?;
        let before = block.remaining_len();
        let evicted = block.evict();
        self.remaining_len -= before - block.remaining_len();
        self.tally -= evicted.unwrap_or_default();
        if block.is_empty() {
            self.remaining_len -= block.remaining_len();
            self.done.extend(self.blocks.remove(at));
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::to_u64;
    use crate::writer::slot::Frames;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Messages of the given lengths, alternately in shared blocks and in blocks of their own.
    fn outbox_of(lens: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (number, len) in lens.iter().enumerate() {
            let payload = vec![u8::try_from(number % 251).unwrap(); *len];
            if number % 3 == 0 {
                outbox.push(Box::new(Block::owned(Bytes::from(payload), to_u64(number))));
            } else {
                let tally = Tally::one(payload.len());
                let block = Block::of(Frames::of(&[payload]), to_u64(number), tally);
                outbox.push(Box::new(block));
            }
        }
        outbox
    }

    fn contents(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 100];
        let filled = outbox.fill(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    /// A connection that the peer ends after it has read all that there is, up to a probe.
    fn hang_up_on_all(outbox: &mut Outbox) -> Option<Tally> {
        let len = contents(outbox).len();
        outbox.advance(len);
        outbox.rewind(Ending::Peer)
    }

    #[test]
    fn a_message_is_given_up_after_three_connections_that_ended_just_behind_its_length() {
        let mut outbox = outbox_of(&[200, 5]);
        outbox.advance(50);
        assert_eq!(outbox.rewind(Ending::Died), None, "it was cut by chance");
        assert_eq!(contents(&outbox), [0xc8, 0x01], "a probe");
        for _ in 0..2 {
            assert_eq!(hang_up_on_all(&mut outbox), None);
        }
        assert_eq!(hang_up_on_all(&mut outbox), Some(Tally::one(200)));
        assert_eq!((outbox.front(), outbox.remaining_len()), (Some(1), 6));
        assert_eq!(contents(&outbox).len(), 6, "nothing is suspected any more");
    }

    #[test]
    fn the_rest_goes_out_after_a_probe() {
        let mut outbox = outbox_of(&[5, 300, 200]);
        outbox.advance(6 + 50);
        outbox.rewind(Ending::Died);
        assert_eq!(
            contents(&outbox),
            [0xac, 0x02],
            "the first message was settled"
        );
        outbox.advance(1);
        assert_eq!((contents(&outbox), outbox.probe()), (vec![0x02], None));
        outbox.advance(1);
        assert_eq!(outbox.probe(), Some(0));
        assert_eq!(contents(&outbox).len(), outbox.remaining_len());
        outbox.advance(1);
        assert_eq!(outbox.probe(), None);
        outbox.rewind(Ending::Died);
        outbox.advance(2);
        assert_eq!(outbox.probe(), Some(1), "the second probe");
        outbox.rewind(Ending::Peer);
        outbox.forget_suspect();
        assert_eq!(contents(&outbox).len(), outbox.remaining_len());
    }

    #[test]
    fn with_receipts_only_the_readers_word_counts_against_a_message() {
        let mut outbox = outbox_of(&[200, 5]);
        outbox.delivery = Delivery::AtLeastOnce;
        for _ in 0..10 {
            outbox.advance(2);
            assert_eq!(outbox.rewind(Ending::Peer), None);
            assert_eq!(contents(&outbox).len(), outbox.remaining_len(), "no probe");
        }
        outbox.advance(2);
        assert_eq!(outbox.rewind(Ending::Refused), Some(Tally::one(200)));
    }

    #[test]
    fn only_connections_in_a_row_count_that_the_peer_ended_just_behind_the_length() {
        let mut outbox = outbox_of(&[200]);
        let mut cut = |len, ending| {
            outbox.advance(len);
            outbox.rewind(ending)
        };
        for _ in 0..10 {
            assert_eq!(cut(50, Ending::Ours), None);
            assert_eq!(cut(50, Ending::Peer), None);
            assert_eq!(cut(2, Ending::Died), None);
        }
        assert_eq!(cut(2, Ending::Peer), None);
        assert_eq!(cut(2, Ending::Peer), None);
        assert_eq!(cut(50, Ending::Peer), None, "it read on");
        assert_eq!(cut(2, Ending::Peer), None);
        assert_eq!(cut(2, Ending::Peer), None);
        assert_eq!(cut(0, Ending::Peer), None, "it ended before the message");
        for ending in [Ending::Died, Ending::Peer, Ending::Peer] {
            assert_eq!(cut(2, ending), None);
        }
        assert_eq!(cut(2, Ending::Ours), None, "it says nothing");
        assert_eq!(cut(2, Ending::Peer), Some(Tally::one(200)));
    }

    #[test]
    fn what_the_reader_says_that_it_refuses_is_given_up_at_once() {
        let mut outbox = outbox_of(&[10, 20, 30]);
        outbox.advance(outbox.remaining_len() - 3);
        assert_eq!(outbox.rewind(Ending::Refused), Some(Tally::one(30)));
        assert_eq!(outbox.front(), None);
    }

    #[test]
    fn eviction_spares_the_message_that_the_peer_has_a_part_of() {
        let messages = [10, 20, 30].map(|len| vec![9; len]);
        let tally = Tally {
            messages: 3,
            bytes: 60,
        };
        let shared = Block::of(Frames::of(&messages), 0, tally);
        let mut outbox = Outbox::default();
        outbox.push(Box::new(shared));
        outbox.advance(4);
        assert_eq!(outbox.evict(), Some(Tally::one(20)));
        assert_eq!(outbox.evict(), Some(Tally::one(30)));
        assert_eq!(outbox.evict(), None);
        assert_eq!(outbox.remaining_len(), 7);
        assert_eq!(outbox.advance(7).whole, Tally::one(10));
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
                prop_assert!(waiting.len() == outbox.remaining_len() || outbox.suspect.is_some());
                let len = len.min(waiting.len());
                taken.extend_from_slice(&waiting[..len]);
                ended += outbox.advance(len).whole;
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
            prop_assert_eq!(ended.messages, to_u64(lens.len()));
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
        match crate::wire::frame::parse_prefix(stream) {
            crate::wire::frame::Parsed::Length {
                payload_len,
                prefix_len,
            } => {
                let len = usize::try_from(payload_len).unwrap() + prefix_len.get();
                if len <= stream.len() { len } else { 0 }
            }
            crate::wire::frame::Parsed::Incomplete | crate::wire::frame::Parsed::Invalid => 0,
        }
    }

    fn last_frame_start(stream: &[u8], mut from: usize) -> usize {
        while let len @ 1.. = frame_len(&stream[from..]) {
            from += len;
        }
        from
    }
}
