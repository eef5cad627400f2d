//! What was accepted and has not ended: the open block, the sealed ones behind a bounded channel, and the outbox.
//! Pure: no I/O, no waiting, no clock. One lock around the whole of it belongs to the caller.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::attention::{Attention, Wake};
use super::block::{BLOCK_SIZE, Block};
use super::counters::Counters;
use super::handed::Returns;
use super::limits::{Limits, Overflow, Refusal, slots};
use super::outbox::{Delivery, Ending, Outbox, Taken};
use crate::metrics::{Tally, widen};

/// How much one write takes along. More brings nothing.
pub(super) const WRITE_SIZE: usize = 256 * 1024;

/// Used blocks that are kept for the next ones.
const MOST_SPARE: usize = 8;

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    delivery: Delivery,
    block_messages: u64,
    block_size: usize,
    open: Box<Block>,
    sealed: (Sender<Box<Block>>, Receiver<Box<Block>>),
    outbox: Outbox,
    pub(super) returns: Returns,
    #[expect(clippy::vec_box, reason = "blocks travel through the channel in their boxes")]
    spare: Vec<Box<Block>>,
    /// The number of the next message to be accepted: how many were, so far.
    next: u64,
    /// The number of the first message in the sealed blocks or the open one; `next` when there is none.
    waiting_from: u64,
    /// The outbox is away: the thread is writing from it.
    writing: Option<Writing>,
    /// Somebody wants a receipt for all messages below this number.
    ask_for: Option<u64>,
    accepted: Tally,
    /// Accepted and not ended, wherever it is: what the bounds are about, with `reserved`.
    held: Tally,
    reserved: Tally,
    /// Room has become free, and those who wait for it have not been told.
    freed: bool,
    attention: Attention,
    closed: bool,
    counters: Arc<Counters>,
}

/// How far the messages have come, in their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fronts {
    /// The oldest that has not ended: all with lower numbers have.
    pub(super) unsettled: u64,
    /// The oldest of which the kernel lacks a byte: it has all with lower numbers, or they have ended.
    pub(super) unwritten: u64,
}

/// What must be known of the outbox while it is away.
#[derive(Clone, Copy, Debug)]
struct Writing {
    /// The number of its oldest message.
    front: Option<u64>,
    /// The number of its oldest message of which the kernel lacks a byte.
    unwritten: Option<u64>,
    /// What is in it, and so cannot make room.
    tally: Tally,
}

impl Queue {
    pub(super) fn new(limits: Limits, delivery: Delivery, counters: Arc<Counters>) -> Self {
        Self {
            limits,
            delivery,
            // A lingering thread is woken by a sealed block; that must happen well before the queue is full.
            block_messages: (limits.messages / 4).max(1),
            block_size: usize::try_from(limits.bytes / 4)
                .map_or(BLOCK_SIZE, |quarter| quarter.min(BLOCK_SIZE)),
            open: Box::new(Block::empty(0)),
            sealed: bounded(slots(limits)),
            outbox: Outbox::new(delivery),
            returns: Returns::new(),
            spare: Vec::new(),
            next: 0,
            waiting_from: 0,
            writing: None,
            ask_for: None,
            accepted: Tally::default(),
            held: Tally::default(),
            reserved: Tally::default(),
            freed: false,
            attention: Attention::Awake,
            closed: false,
            counters,
        }
    }

    /// Accepts a copy of `message`.
    #[inline]
    pub(super) fn push(&mut self, message: &[u8]) -> Result<Wake, Refusal> {
        self.make_room(message.len())?;
        let mut sealed = false;
        if !self.open.has_room(message.len(), self.block_size)
            || self.open.tally().messages >= self.block_messages
        {
            self.seal()?;
            sealed = true;
        }
        self.open.push(message);
        self.note_accepted(message.len());
        Ok(self.wake(sealed))
    }

    /// Accepts `message` without a copy. `message` is made only once there is room for it.
    pub(super) fn push_owned(
        &mut self,
        len: usize,
        message: impl FnOnce() -> Bytes,
    ) -> Result<Wake, Refusal> {
        self.make_room(len)?;
        let (sender, _) = &self.sealed;
        if sender.capacity().unwrap_or(0).saturating_sub(sender.len()) < 2 {
            return Err(Refusal::Full);
        }
        self.seal()?;
        let block = Box::new(Block::owned(self.returns.hand(message()), self.next));
        // There is a slot: only the holder of the lock fills them.
        let _ = self.sealed.0.try_send(block);
        self.note_accepted(len);
        self.open.set_first(self.next);
        Ok(self.wake(true))
    }

    /// Keeps room for a message of `len` bytes, which [`Queue::unreserve`] gives up again.
    pub(super) fn reserve(&mut self, len: usize) -> Result<Wake, Refusal> {
        self.make_room(len)?;
        self.reserved += Tally::one(len);
        Ok(Wake::No)
    }

    pub(super) fn unreserve(&mut self, len: usize) {
        self.reserved -= Tally::one(len);
        self.freed = true;
    }

    /// Whether those who wait for room, or for an end, are to be told. Asking is telling.
    pub(super) fn take_freed(&mut self) -> bool {
        mem::take(&mut self.freed)
    }

    /// Whether messages are taken at all.
    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        if self.closed { Err(Refusal::Closed) } else { Ok(()) }
    }

    fn make_room(&mut self, len: usize) -> Result<(), Refusal> {
        self.check_open()?;
        if self.fits(self.held, len) {
            return Ok(());
        }
        // Nothing is dropped for a message that would not fit all the same.
        if self.limits.overflow == Overflow::Refuse || !self.fits(self.pinned(), len) {
            return Err(Refusal::Full);
        }
        while !self.fits(self.held, len) {
            if !self.evict() {
                return Err(Refusal::Full);
            }
        }
        Ok(())
    }

    /// Whether a message fits beside the reserved room and `held`.
    #[inline]
    fn fits(&self, held: Tally, len: usize) -> bool {
        let held = held + self.reserved;
        held.messages < self.limits.messages && held.bytes.saturating_add(widen(len)) <= self.limits.bytes
    }

    /// What cannot make room: it is being written, or the peer has at least a part of it.
    fn pinned(&self) -> Tally {
        self.writing.map_or_else(|| self.outbox.begun(), |writing| writing.tally)
    }

    #[inline]
    fn note_accepted(&mut self, len: usize) {
        self.next += 1;
        self.accepted += Tally::one(len);
        self.held += Tally::one(len);
        self.counters.accepted.publish(self.accepted);
        self.counters.queued.publish(self.held);
    }

    fn note_ended(&mut self, ended: Tally) {
        self.held -= ended;
        self.freed = true;
        self.counters.queued.publish(self.held);
    }

    #[inline]
    fn wake(&mut self, sealed: bool) -> Wake {
        if self.attention == Attention::Lingering && !sealed { Wake::No } else { self.rouse() }
    }

    /// Claims the thread's attention for somebody who waits.
    pub(super) fn rouse(&mut self) -> Wake {
        self.attention.rouse()
    }

    /// Makes the open block a sealed one, unless it is empty. Refused when the channel has no slot.
    fn seal(&mut self) -> Result<(), Refusal> {
        if self.open.is_empty() {
            self.open.set_first(self.next);
            return Ok(());
        }
        let fresh = self.fresh_block();
        match self.sealed.0.try_send(mem::replace(&mut self.open, fresh)) {
            Ok(()) => Ok(()),
            Err(refused) => {
                let fresh = mem::replace(&mut self.open, refused.into_inner());
                self.recycle(fresh);
                Err(Refusal::Full)
            }
        }
    }

    fn fresh_block(&mut self) -> Box<Block> {
        let mut block = self.spare.pop().unwrap_or_else(|| Box::new(Block::empty(0)));
        block.set_first(self.next);
        block
    }

    fn recycle(&mut self, block: Box<Block>) {
        if self.spare.len() < MOST_SPARE {
            self.spare.extend(block.recycle());
        }
    }

    /// Drops the oldest message that is not being written. False when there is none.
    fn evict(&mut self) -> bool {
        loop {
            if let Some(evicted) = self.outbox.evict() {
                self.note_ended(evicted);
                self.counters.dropped_oldest.add(evicted);
                return true;
            }
            if !self.move_block() {
                return false;
            }
        }
    }

    /// Moves the oldest block to the outbox: a sealed one, or else the open one.
    fn move_block(&mut self) -> bool {
        let mut block = match self.sealed.1.try_recv() {
            Ok(block) => block,
            Err(_) if self.open.is_empty() => return false,
            Err(_) => {
                let fresh = self.fresh_block();
                mem::replace(&mut self.open, fresh)
            }
        };
        self.waiting_from = block.end();
        if self.delivery == Delivery::AtLeastOnce {
            block.ask();
        }
        self.outbox.push(block);
        true
    }

    /// Asks for a receipt of all that was accepted so far. A question that waits already is not put off: who wants more asks again, once
    /// that is written.
    pub(super) fn ask(&mut self) {
        self.ask_for.get_or_insert(self.next);
    }

    /// Hands the thread what to write next; [`Queue::end_write`] takes it back.
    pub(super) fn begin_write(&mut self) -> Outbox {
        while self.outbox.remaining_len() < WRITE_SIZE && self.move_block() {}
        if self.ask_for.is_some_and(|end| end <= self.waiting_from) {
            self.ask_for = None;
            let mut question = self.fresh_block();
            question.set_first(self.waiting_from);
            question.ask();
            self.outbox.push(question);
        }
        self.writing = Some(Writing {
            front: self.outbox.front(),
            unwritten: self.outbox.first_unwritten(),
            tally: self.outbox.tally(),
        });
        mem::take(&mut self.outbox)
    }

    /// Takes the outbox back, after the kernel took the next `len` bytes of it.
    pub(super) fn end_write(&mut self, mut outbox: Outbox, len: usize) -> Taken {
        let taken = outbox.advance(len, |block| self.recycle(block));
        // Whatever was evicted meanwhile came from blocks behind these.
        outbox.append(mem::take(&mut self.outbox));
        self.outbox = outbox;
        self.writing = None;
        self.counters.sent.add(taken.whole - taken.again);
        self.counters.resent.add(taken.again);
        match self.delivery {
            Delivery::AtMostOnce => self.note_ended(taken.whole),
            // Those who wait for a level below the end.
            Delivery::AtLeastOnce => self.freed = true,
        }
        taken
    }

    /// A receipt covers the next `messages` of those that were written.
    pub(super) fn confirm(&mut self, messages: u64) {
        if self.delivery == Delivery::AtLeastOnce {
            let mut outbox = mem::take(&mut self.outbox);
            let confirmed = outbox.confirm(messages, |block| self.recycle(block));
            self.outbox = outbox;
            self.counters.confirmed.add(confirmed);
            self.note_ended(confirmed);
        }
    }

    /// The connection is over; returns a message that is given up because of it.
    pub(super) fn rewind(&mut self, ending: Ending) -> Option<Tally> {
        let given_up = self.outbox.rewind(ending)?;
        self.counters.given_up.add(given_up);
        self.note_ended(given_up);
        Some(given_up)
    }

    /// The reader is another one, or was away.
    pub(super) fn forget_suspect(&mut self) {
        self.outbox.forget_suspect();
    }

    /// Whether the reader is to get a taste first.
    pub(super) fn doubts(&self) -> bool {
        self.outbox.doubts()
    }

    /// How far the messages have come.
    pub(super) fn fronts(&self) -> Fronts {
        let (front, unwritten) =
            self.writing.map_or((None, None), |writing| (writing.front, writing.unwritten));
        Fronts {
            unsettled: front.or_else(|| self.outbox.front()).unwrap_or(self.waiting_from),
            unwritten: unwritten.or_else(|| self.outbox.first_unwritten()).unwrap_or(self.waiting_from),
        }
    }

    /// The number of the next message to be accepted.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Whether anything waits to be written.
    pub(super) fn is_unwritten(&self) -> bool {
        self.has_block() || self.waiting_from < self.next
    }

    /// Whether more than the open block waits to be written.
    pub(super) fn has_block(&self) -> bool {
        self.outbox.remaining_len() > 0 || !self.sealed.1.is_empty() || self.ask_for.is_some()
    }

    /// Accepted and not ended.
    pub(super) fn held(&self) -> Tally {
        self.held
    }

    pub(super) fn set_attention(&mut self, attention: Attention) {
        self.attention = attention;
    }

    /// Refuses every message from now on.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the outbox is away, being written from.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Gives up everything that is left.
    pub(super) fn discard(&mut self) -> Tally {
        let left = self.held;
        while self.move_block() {}
        self.outbox = Outbox::new(self.delivery);
        self.counters.left.add(left);
        self.note_ended(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Portion;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::io::IoSlice;

    fn queue(messages: u64, bytes: u64, overflow: Overflow) -> Queue {
        Queue::new(Limits { messages, bytes, overflow }, Delivery::AtMostOnce, Arc::default())
    }

    fn stream(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.fill(Portion::All, &mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_sleeping_thread_is_woken_once_and_a_lingering_one_only_for_a_full_block() {
        let mut queue = queue(8, 1 << 20, Overflow::Refuse);
        assert_eq!(queue.push(b"a"), Ok(Wake::No), "it is awake");
        queue.set_attention(Attention::Asleep);
        assert_eq!(queue.push(b"b"), Ok(Wake::Yes));
        queue.set_attention(Attention::Lingering);
        let outbox = queue.begin_write();
        queue.end_write(outbox, 4);
        assert_eq!(queue.push(b"c"), Ok(Wake::No));
        assert_eq!(queue.push(b"d"), Ok(Wake::No));
        assert_eq!(queue.push(b"e"), Ok(Wake::Yes), "a quarter of the capacity is a full block");
        assert_eq!(queue.push(b"f"), Ok(Wake::No), "it has been woken");
    }

    #[test]
    fn a_quarter_of_the_messages_does_not_use_the_slots_up() {
        let mut queue = queue(3, 1 << 30, Overflow::Refuse);
        for _ in 0..3 {
            assert!(queue.push_owned(40_000, || Bytes::from(vec![0; 40_000])).is_ok());
        }
        assert_eq!(queue.push(b"x"), Err(Refusal::Full));
    }

    #[test]
    fn nothing_is_dropped_for_a_message_that_would_not_fit_all_the_same() {
        let mut queue = queue(100, 1000, Overflow::DropOldest);
        for _ in 0..50 {
            assert!(queue.push(&[1; 10]).is_ok());
        }
        assert!(queue.reserve(500).is_ok());
        assert_eq!(queue.push(&[2; 600]), Err(Refusal::Full));
        assert_eq!(queue.held().messages, 50);
        queue.unreserve(500);
        let outbox = queue.begin_write();
        assert_eq!(queue.push(&[2; 600]), Err(Refusal::Full), "they are being written");
        queue.end_write(outbox, 0);
        assert!(queue.push(&[2; 600]).is_ok());
        assert_eq!(queue.held().messages, 41);
    }

    #[test]
    fn what_is_evicted_while_nothing_is_being_written_has_ended() {
        let mut queue = queue(1, 100, Overflow::DropOldest);
        let nothing = queue.begin_write();
        assert!(queue.push(b"a").is_ok() && queue.push(b"b").is_ok());
        assert_eq!((queue.fronts().unsettled, queue.end()), (1, 2));
        queue.end_write(nothing, 0);
        assert_eq!(queue.fronts().unsettled, 1);
    }

    /// What a producer, the thread or a connection may do.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Push(usize),
        PushOwned(usize),
        Reserve(usize),
        Commit,
        DropSlot,
        BeginWrite,
        EndWrite(usize),
        Lose(Ending),
    }

    fn any_act() -> impl Strategy<Value = Act> {
        let len = || prop_oneof![3 => 1usize..10, 2 => 100usize..200, 1 => 20_000usize..60_000];
        prop_oneof![
            8 => len().prop_map(Act::Push),
            2 => len().prop_map(Act::PushOwned),
            1 => len().prop_map(Act::Reserve),
            1 => Just(Act::Commit),
            1 => Just(Act::DropSlot),
            4 => Just(Act::BeginWrite),
            4 => prop_oneof![0usize..20, 0usize..300_000].prop_map(Act::EndWrite),
            1 => prop_oneof![Just(Act::Lose(Ending::Peer)), Just(Act::Lose(Ending::Ours))],
        ]
    }

    proptest! {
        /// The bounds hold, the books balance, and what the kernel took is a run of whole messages in order, whatever comes.
        #[test]
        fn no_history_breaks_bounds_books_or_order(
            acts in prop::collection::vec(any_act(), 1..120),
            messages in 1u64..30, bytes in 60_000u64..200_000, drops_oldest in any::<bool>(),
        ) {
            let overflow = if drops_oldest { Overflow::DropOldest } else { Overflow::Refuse };
            let mut queue = queue(messages, bytes, overflow);
            let mut reserved = VecDeque::new();
            let mut away: Option<Outbox> = None;
            // What the reader got on the connections that ended, and on this one.
            let (mut before, mut current) = (Vec::new(), Vec::new());
            let mut number = 0u8;
            let mut message = |len: usize| {
                number = number.wrapping_add(1);
                vec![number; len]
            };
            for act in acts {
                match act {
                    Act::Push(len) => drop(queue.push(&message(len))),
                    Act::PushOwned(len) => drop(queue.push_owned(len, || message(len).into())),
                    Act::Reserve(len) => {
                        if queue.reserve(len).is_ok() {
                            reserved.push_back(len);
                        }
                    }
                    Act::Commit => {
                        if let Some(len) = reserved.pop_front() {
                            queue.unreserve(len);
                            prop_assert!(queue.push(&message(len)).is_ok(), "room that was reserved is there");
                        }
                    }
                    Act::DropSlot => {
                        if let Some(len) = reserved.pop_back() {
                            queue.unreserve(len);
                        }
                    }
                    Act::BeginWrite if away.is_none() => away = Some(queue.begin_write()),
                    Act::EndWrite(len) => {
                        if let Some(outbox) = away.take() {
                            let waiting = stream(&outbox);
                            let len = len.min(waiting.len());
                            current.extend_from_slice(&waiting[..len]);
                            queue.end_write(outbox, len);
                        }
                    }
                    Act::Lose(ending) if away.is_none() => {
                        before.push(mem::take(&mut current));
                        queue.rewind(ending);
                    }
                    Act::BeginWrite | Act::Lose(_) => {}
                }
                let (held, metrics) = (queue.held(), queue.counters.metrics());
                let in_slots: usize = reserved.iter().sum();
                prop_assert!(held.messages + widen(reserved.len()) <= messages);
                prop_assert!(held.bytes + widen(in_slots) <= bytes);
                prop_assert_eq!(metrics.queued, held);
                prop_assert_eq!(
                    metrics.accepted,
                    metrics.sent + metrics.dropped.oldest + metrics.failed.total() + metrics.queued
                );
                prop_assert!(queue.fronts().unsettled <= queue.end());
                prop_assert_eq!(queue.fronts().unsettled == queue.end(), held.messages == 0);
            }
            // In the end everything goes out.
            if let Some(outbox) = away.take() {
                queue.end_write(outbox, 0);
            }
            while queue.held().messages > 0 {
                let outbox = queue.begin_write();
                let waiting = stream(&outbox);
                current.extend_from_slice(&waiting);
                queue.end_write(outbox, waiting.len());
            }
            before.push(current);
            let mut received = Vec::new();
            for stream in before {
                let mut rest = &stream[..];
                while let crate::frame::Parsed::Length { payload_len, prefix_len } = crate::frame::parse_prefix(rest) {
                    let end = prefix_len.get() + usize::try_from(payload_len).unwrap();
                    let Some(frame) = rest.get(..end) else { break };
                    received.push(frame[end - 1]);
                    rest = &rest[end..];
                }
            }
            prop_assert_eq!(widen(received.len()), queue.counters.metrics().sent.messages);
            let ascending = received.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) < 128 && pair[0] != pair[1]);
            prop_assert!(ascending, "{received:?}");
        }
    }
}
