//! The queue: messages that were accepted and are not settled, in the open block, in sealed blocks
//! behind a bounded channel, and in the outbox. Pure but for the memory barrier that ends the
//! lanes' leases: no I/O, no clock. The caller holds one lock around it; the lanes are outside.

pub(crate) mod block;
mod budget;
mod deferred_drop;
mod lane_record;
mod lanes;
mod open_block;
pub(crate) mod outbox;
mod spare;
mod watermarks;
pub(crate) mod whole;
mod writing;

use std::mem;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::wire::frame::MAX_PREFIX_LEN;
use crate::writer::arena::Arena;
use crate::writer::counters::Counters;
use crate::writer::queue::block::Block;
use crate::writer::queue::outbox::Outbox;
use crate::writer::settings::BLOCK_SIZE;
use crate::writer::settings::{Delivery, Limits, Overflow};
use crate::writer::slot::LONGEST_MESSAGE;
use crate::writer::wake::WakeOn;
pub(crate) use budget::Refusal;
use budget::{Budget, places};
pub(crate) use deferred_drop::{Payloads, Unused};
use lane_record::LaneRecord;
pub(crate) use lanes::Lane;
use open_block::OpenBlock;
use spare::Spare;
pub(crate) use watermarks::Watermarks;
use watermarks::Writing;
pub(crate) use whole::Whole;

/// Blocks this full are worth a write of their own.
const FULL: usize = 1024;

/// What a block is measured by: less than it may hold, or the thread would be woken late.
pub(crate) const FULL_SIZE: usize = 32 * 1024;

/// Whether lanes take messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leases {
    Given,
    Forbidden,
}

#[derive(Debug)]
pub(crate) struct Queue {
    overflow: Overflow,
    delivery: Delivery,
    block_messages: u64,
    block_size: usize,
    open: OpenBlock,
    sealed: (Sender<Box<Block>>, Receiver<Box<Block>>),
    /// How full the sealed blocks are together, in parts of [`FULL`]. It falls only when the last
    /// is moved.
    sealed_fill: usize,
    outbox: Outbox,
    /// Payloads of which the queue has no more need.
    payloads: Payloads,
    spare: Spare,
    /// The number of the next message to be accepted: how many were, so far.
    next: u64,
    /// The number of the first message in the sealed blocks or the open one; `next` when there is
    /// none.
    waiting_from: u64,
    /// The memory that outlives the process.
    arena: Option<Arc<Arena>>,
    /// The outbox is away: the thread is writing from it.
    writing: Option<Writing>,
    /// A receipt is to be requested for all messages below this number.
    ack_request: Option<u64>,
    accepted: Tally,
    budget: Budget,
    lanes: Vec<LaneRecord>,
    /// Something has become free, and the waiting threads have not been notified.
    freed: bool,
    /// How much, by what was written.
    freed_by_writes: Tally,
    /// A message found no room, and none has come since, but for what was evicted.
    is_tight: bool,
    leases: Leases,
    wake_on: WakeOn,
    closed: bool,
    counters: Arc<Counters>,
}

impl Queue {
    pub(crate) fn new(
        limits: Limits,
        delivery: Delivery,
        counters: Arc<Counters>,
        arena: Option<Arc<Arena>>,
    ) -> Self {
        Self {
            overflow: limits.overflow,
            delivery,
            // A lingering thread is woken by a sealed block; that must happen well before the queue
            // is full.
            block_messages: (limits.messages / 4).max(1),
            block_size: usize::try_from(limits.bytes / 4)
                .map_or(BLOCK_SIZE, |quarter| quarter.min(BLOCK_SIZE)),
            open: OpenBlock::new(),
            sealed: bounded(places(limits)),
            sealed_fill: 0,
            outbox: Outbox::new(delivery),
            payloads: Payloads::default(),
            spare: Spare::new(arena.clone()),
            next: 0,
            waiting_from: 0,
            arena,
            writing: None,
            ack_request: None,
            accepted: Tally::default(),
            budget: Budget::new(limits),
            lanes: Vec::new(),
            freed: false,
            freed_by_writes: Tally::default(),
            is_tight: false,
            leases: Leases::Given,
            wake_on: WakeOn::Nothing,
            closed: false,
            counters,
        }
    }

    /// Accepts a copy of `message`.
    #[inline]
    pub(crate) fn push(&mut self, message: &[u8]) -> Result<(), Refusal> {
        self.make_room(message.len())?;
        self.add(message);
        Ok(())
    }

    #[inline]
    fn add(&mut self, message: &[u8]) {
        let len = message.len();
        if len > LONGEST_MESSAGE {
            return self.add_whole(Whole::copy(message, self.arena.as_ref()));
        }
        if self.is_open_full(len) {
            self.seal();
            self.sealed_fill = self.sealed_fill.max(FULL);
        }
        if self.open.is_empty() && !self.open.restart() && !self.open.has_room(len) {
            let left = self.open.replace(self.spare.slot());
            self.spare.keep_slot(left);
        }
        self.open.push(message);
        self.note_accepted(len);
    }

    /// Whether there is room for a message of `len` bytes as it is.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.budget.fits(len)
    }

    /// Accepts a message of the writer's own, also after the end of all others. Makes no room.
    pub(crate) fn push_own(&mut self, message: &[u8]) -> bool {
        let fits = self.budget.fits(message.len());
        if fits {
            self.add(message);
        }
        fits
    }

    /// Accepts `message`, of `len` bytes, as a block of its own. It is taken only once there is
    /// room for it.
    pub(crate) fn push_whole(
        &mut self,
        len: usize,
        message: &mut Option<Whole>,
    ) -> Result<(), Refusal> {
        self.make_room(len)?;
        if let Some(message) = message.take() {
            debug_assert!(!message.is_left_for(self.arena.as_ref()), "it is lost");
            self.add_whole(message);
        }
        Ok(())
    }

    fn add_whole(&mut self, message: Whole) {
        let len = message.len();
        self.seal();
        self.seal_block(message.into_block(self.next), FULL);
        self.note_accepted(len);
    }

    /// Whether the threads that wait are to be notified. Asking is notifying.
    pub(crate) fn take_freed(&mut self) -> bool {
        self.freed_by_writes = Tally::default();
        mem::take(&mut self.freed)
    }

    /// Whether they are to be told while there is more to write. To wake a thread for each write
    /// would cost more than the write.
    pub(crate) fn has_freed_much(&self) -> bool {
        self.budget.is_much(self.freed_by_writes) || self.budget.is_half_free()
    }

    /// Whether messages are taken at all.
    pub(crate) fn check_open(&self) -> Result<(), Refusal> {
        if self.closed {
            Err(Refusal::Closed)
        } else {
            Ok(())
        }
    }

    /// Makes room for a message of `len` bytes, where that can be had.
    pub(crate) fn make_room(&mut self, len: usize) -> Result<(), Refusal> {
        self.check_open()?;
        if self.budget.fits(len) {
            return Ok(());
        }
        // No leases for a while: they would have to be ended for the next message.
        self.is_tight = true;
        self.recall();
        if self.budget.fits(len) {
            return Ok(());
        }
        // Nothing is dropped for a message that would not fit all the same.
        if self.overflow == Overflow::Refuse || !self.budget.fits_beside(self.pinned(), len) {
            return Err(Refusal::Full);
        }
        while !self.budget.fits(len) {
            if !self.evict() {
                return Err(Refusal::Full);
            }
        }
        Ok(())
    }

    /// What cannot make room: it is being written, or the peer has at least a part of it.
    fn pinned(&self) -> Tally {
        self.writing
            .map_or_else(|| self.outbox.begun(), |writing| writing.tally)
    }

    #[inline]
    fn note_accepted(&mut self, len: usize) {
        self.next += 1;
        self.accepted += Tally::one(len);
        self.budget.held += Tally::one(len);
        self.counters.accepted.publish(self.accepted);
    }

    fn note_ended(&mut self, ended: Tally) {
        self.budget.held -= ended;
        self.freed = true;
    }

    /// Whether the caller must wake the thread, for a message that was accepted. Only the first
    /// caller must.
    pub(crate) fn must_wake_for_message(&mut self) -> bool {
        match self.wake_on {
            WakeOn::Nothing | WakeOn::Writable => false,
            WakeOn::FullBlock => self.has_block() && self.must_wake(),
            WakeOn::Message => self.is_unwritten() && self.must_wake(),
        }
    }

    /// Likewise, for a message that was refused for lack of room: no more can gather.
    pub(crate) fn must_wake_for_room(&mut self) -> bool {
        self.wake_on == WakeOn::FullBlock && self.is_unwritten() && self.must_wake()
    }

    /// Likewise, for a caller that waits.
    pub(crate) fn must_wake(&mut self) -> bool {
        let sleeps = matches!(self.wake_on, WakeOn::FullBlock | WakeOn::Message);
        if sleeps {
            self.wake_on = WakeOn::Nothing;
        }
        sleeps
    }

    /// Whether the open block is to be sealed before `len` bytes more.
    fn is_open_full(&self, len: usize) -> bool {
        let grown = self.open.frames_len() + MAX_PREFIX_LEN + len;
        !self.open.is_empty()
            && (grown > self.block_size
                || self.open.tally().messages >= self.block_messages
                || !self.open.has_room(len))
    }

    /// Makes the open block a sealed one, unless it is empty.
    fn seal(&mut self) {
        if let Some(block) = self.take_open() {
            let fill = self.fill(block.frames_len(), block.tally().messages);
            self.seal_block(block, fill);
        }
    }

    /// Takes what is in the open block.
    fn take_open(&mut self) -> Option<Block> {
        let first = self.next - self.open.tally().messages;
        let (frames, tally) = self.open.take();
        (tally.messages > 0).then(|| Block::of(frames, first, tally))
    }

    /// Puts a block behind all others, that is so full.
    fn seal_block(&mut self, block: Block, fill: usize) {
        let block = self.spare.boxed(block);
        if let Err(refused) = self.sealed.0.try_send(block) {
            // The outbox has room for any number.
            self.move_block();
            let sealed = self.sealed.0.try_send(refused.into_inner());
            debug_assert!(
                sealed.is_ok(),
                "only the holder of the lock fills the channel"
            );
        }
        self.sealed_fill = self.sealed_fill.saturating_add(fill);
    }

    /// How full that is.
    fn fill(&self, frames_len: usize, messages: u64) -> usize {
        let part = |of: u64, whole: u64| of.saturating_mul(to_u64(FULL)) / whole.max(1);
        let by_len = part(to_u64(frames_len), to_u64(self.block_size.min(FULL_SIZE)));
        let by_messages = part(messages, self.block_messages);
        // However little: many make a full one.
        usize::try_from(by_len.max(by_messages).max(1)).unwrap_or(FULL)
    }

    /// Whether as much is sealed as a full block has.
    fn is_sealed_full(&self) -> bool {
        self.sealed_fill >= FULL
    }

    /// Keeps a used block for the next one.
    fn recycle(&mut self, block: Box<Block>) {
        self.spare.keep(block, &mut self.payloads);
    }

    fn recycle_done(&mut self) {
        while let Some(block) = self.outbox.take_done() {
            self.recycle(block);
        }
    }

    /// Takes the payloads of which the queue has no more need. To be dropped without the lock.
    pub(crate) fn take_payloads(&mut self) -> Payloads {
        mem::take(&mut self.payloads)
    }

    /// Moves memory to `unused` that is not worth keeping while the thread does nothing: little by
    /// little where it only lingers, since what comes next may need it. To be dropped without the
    /// lock.
    pub(crate) fn take_unused(&mut self, unused: &mut Unused) {
        let most = match self.wake_on {
            WakeOn::Nothing | WakeOn::Writable => 0,
            WakeOn::FullBlock => 1,
            WakeOn::Message => usize::MAX,
        };
        if self.wake_on == WakeOn::Message {
            unused.slots = self.take_unused_lanes();
        }
        self.spare.take_surplus(most, unused);
        mem::swap(&mut unused.payloads, &mut self.payloads);
    }

    /// Drops the oldest message that is not being written. False when there is none.
    fn evict(&mut self) -> bool {
        loop {
            if let Some(evicted) = self.outbox.evict() {
                self.recycle_done();
                self.note_ended(evicted);
                self.counters.add_oldest(evicted);
                return true;
            }
            if !self.move_block() {
                return false;
            }
        }
    }

    /// The number of the next message to be accepted.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// Whether anything waits to be written.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.has_block() || self.waiting_from < self.next || self.is_fresh()
    }

    /// Whether more than the open block waits to be written.
    pub(crate) fn has_block(&self) -> bool {
        self.outbox.remaining_len() > 0 || self.is_sealed_full() || self.ack_request.is_some()
    }

    /// Whether a message found no room.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// From now on all messages come by the queue, or not any more.
    pub(crate) fn forbid_leases(&mut self, forbids: bool) {
        self.leases = if forbids {
            self.recall();
            Leases::Forbidden
        } else {
            Leases::Given
        };
    }

    /// The memory that outlives the process, if there is any.
    pub(crate) fn arena(&self) -> Option<&Arc<Arena>> {
        self.arena.as_ref()
    }

    /// Whether it holds nothing, and more of that memory was once in use than is worth keeping.
    pub(crate) fn has_needless_memory(&self) -> bool {
        // Less in tests: the simulation is to come to that.
        const WORTH_KEEPING: u64 = if cfg!(test) { 0 } else { 4 * 1024 * 1024 };
        let touched = self.arena.as_ref().map_or(0, |arena| arena.touched());
        touched > WORTH_KEEPING && self.held().messages == 0
    }

    /// From now on messages stand in this arena. None must be left in the one before, which is
    /// returned; and no lane may take any.
    pub(crate) fn renew_arena(&mut self, arena: Arc<Arena>) -> Option<Arc<Arena>> {
        debug_assert!(self.held().messages == 0, "they would be lost");
        debug_assert!(self.leases == Leases::Forbidden, "one would be lost");
        self.open.leave();
        self.spare.renew(Arc::clone(&arena));
        self.arena.replace(arena)
    }

    /// Accepted and not ended.
    pub(crate) fn held(&self) -> Tally {
        self.budget.held + self.in_lanes()
    }

    pub(crate) fn set_wake_on(&mut self, wake_on: WakeOn) {
        self.wake_on = wake_on;
    }

    /// Refuses every message from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.recall();
    }

    /// Gives up everything that is left. To its reader, if it `leaves` that: once the process has
    /// ended.
    pub(crate) fn discard(&mut self, leaves: bool) -> Tally {
        let left = self.budget.held;
        if let Some(arena) = &self.arena {
            if leaves && left.messages > 0 {
                arena.leave();
            } else {
                arena.end();
            }
        }
        while self.move_block() {}
        for block in mem::replace(&mut self.outbox, Outbox::new(self.delivery)).into_blocks() {
            self.recycle(block);
        }
        self.counters.left.add(left);
        self.note_ended(left);
        left
    }
}

#[cfg(test)]
impl Queue {
    /// Whether the thread was to be woken for any message, and has not been.
    pub(crate) fn is_asleep(&self) -> bool {
        self.wake_on == WakeOn::Message
    }

    /// Whether the thread will look at the queue without being woken.
    pub(crate) fn is_aware(&self) -> bool {
        matches!(self.wake_on, WakeOn::Nothing | WakeOn::Writable)
    }

    /// The number of the first message behind the outbox.
    pub(crate) fn waiting_from(&self) -> u64 {
        self.waiting_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::lane::{LaneSender, Pushed};
    use crate::writer::queue::outbox::Ending;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::io::IoSlice;

    fn queue(messages: u64, bytes: u64, overflow: Overflow) -> Queue {
        let limits = Limits {
            messages,
            bytes,
            overflow,
        };
        let counters = Counters::new(Delivery::AtMostOnce, limits, Default::default);
        Queue::new(limits, Delivery::AtMostOnce, Arc::new(counters), None)
    }

    fn stream(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.fill(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    /// Sends, and says whether that must wake the thread.
    fn wakes(queue: &mut Queue, message: &[u8]) -> bool {
        queue.push(message).unwrap();
        queue.must_wake_for_message()
    }

    #[test]
    fn a_sleeping_thread_is_woken_once_and_a_lingering_one_only_for_a_full_block() {
        let mut queue = queue(8, 1 << 20, Overflow::Refuse);
        assert!(!wakes(&mut queue, b"a"), "it is awake");
        queue.set_wake_on(WakeOn::Message);
        assert!(wakes(&mut queue, b"b"));
        queue.set_wake_on(WakeOn::FullBlock);
        let outbox = queue.begin_write();
        queue.end_write(outbox, 4);
        assert!(!wakes(&mut queue, b"c"));
        assert!(!wakes(&mut queue, b"d"));
        assert!(
            wakes(&mut queue, b"e"),
            "a quarter of the capacity is a full block"
        );
        assert!(!wakes(&mut queue, b"f"), "it has been woken");
    }

    #[test]
    fn a_lingering_thread_is_woken_for_a_message_that_finds_no_room() {
        let mut queue = queue(2, 1 << 20, Overflow::Refuse);
        queue.set_wake_on(WakeOn::FullBlock);
        assert!(
            !queue.must_wake_for_room(),
            "nothing is there to be written"
        );
        assert!(queue.push(b"a").is_ok());
        assert!(queue.must_wake_for_room());
        assert!(!queue.must_wake_for_room(), "it has been woken");
        queue.set_wake_on(WakeOn::Writable);
        assert!(
            !queue.must_wake_for_room() && !queue.must_wake(),
            "it waits for the kernel"
        );
    }

    #[test]
    fn a_quarter_of_the_messages_does_not_use_the_places_up() {
        let mut queue = queue(3, 1 << 30, Overflow::Refuse);
        for _ in 0..3 {
            assert!(
                queue
                    .push_whole(40_000, &mut Some(Whole::of(Bytes::from(vec![0; 40_000]))))
                    .is_ok()
            );
        }
        assert_eq!(queue.push(b"x"), Err(Refusal::Full));
    }

    #[test]
    fn nothing_is_dropped_for_a_message_that_would_not_fit_all_the_same() {
        let mut queue = queue(100, 1000, Overflow::DropOldest);
        for _ in 0..50 {
            assert!(queue.push(&[1; 10]).is_ok());
        }
        assert_eq!(queue.push(&[2; 1001]), Err(Refusal::Full));
        assert_eq!(queue.held().messages, 50);
        let outbox = queue.begin_write();
        assert_eq!(
            queue.push(&[2; 600]),
            Err(Refusal::Full),
            "they are being written"
        );
        queue.end_write(outbox, 0);
        assert!(queue.push(&[2; 600]).is_ok());
        assert_eq!(queue.held().messages, 41);
    }

    /// Sends as a thread with a lane does. Says whether the lane took it by itself.
    fn send(
        queue: &mut Queue,
        producer: &mut Option<LaneSender>,
        message: &[u8],
    ) -> (bool, Result<(), Refusal>) {
        match producer.as_mut().map(|producer| producer.push(message)) {
            Some(Pushed::Accepted) => (true, Ok(())),
            _ => (false, queue.push_from(producer, message)),
        }
    }

    fn written(queue: &mut Queue) -> Vec<u8> {
        let mut written = Vec::new();
        while queue.is_unwritten() {
            let outbox = queue.begin_write();
            let bytes = stream(&outbox);
            queue.end_write(outbox, bytes.len());
            written.extend(bytes);
        }
        written
    }

    #[test]
    fn a_thread_has_the_queue_to_its_last_message() {
        let mut queue = queue(1000, 1 << 20, Overflow::Refuse);
        let mut producer = None;
        let accepted = (0..2000)
            .filter(|_| send(&mut queue, &mut producer, b"m").1.is_ok())
            .count();
        assert_eq!(accepted, 1000);
        assert_eq!(
            queue.held(),
            Tally {
                messages: 1000,
                bytes: 1000
            }
        );
        assert_eq!(written(&mut queue).len(), 2000);
        assert_eq!(queue.held(), Tally::default());
    }

    #[test]
    fn what_is_promised_to_one_thread_is_there_for_another_in_need() {
        let mut queue = queue(1000, 1 << 20, Overflow::Refuse);
        let (mut one, mut other) = (None, None);
        assert!(send(&mut queue, &mut one, b"1").1.is_ok());
        assert!(queue.budget.leased.messages > 100);
        let accepted = (0..2000)
            .filter(|_| send(&mut queue, &mut other, b"2").1.is_ok())
            .count();
        assert_eq!(accepted, 999);
        let (by_lane, refused) = send(&mut queue, &mut one, b"1");
        assert_eq!((by_lane, refused), (false, Err(Refusal::Full)));
        assert_eq!(
            written(&mut queue)
                .chunks(2)
                .filter(|frame| *frame == b"\x011")
                .count(),
            1
        );
    }

    #[test]
    fn a_message_that_comes_after_the_last_look_is_refused_as_closed_and_not_sent() {
        let mut queue = queue(1000, 1 << 20, Overflow::Refuse);
        let mut producer = None;
        assert!(send(&mut queue, &mut producer, b"a").1.is_ok());
        assert_eq!(send(&mut queue, &mut producer, b"b"), (true, Ok(())));
        queue.close();
        assert_eq!(queue.held().messages, 2);
        // It is in the lane, but does not count.
        assert_eq!(producer.as_mut().unwrap().push(b"c"), Pushed::Unsettled);
        queue.collect_all();
        assert_eq!((queue.held().messages, queue.is_fresh()), (2, false));
        assert_eq!(queue.push_from(&mut producer, b"c"), Err(Refusal::Closed));
        assert_eq!(written(&mut queue), [1, b'a', 1, b'b']);
        assert_eq!(queue.counters.metrics().accepted.messages, 2);
    }

    #[test]
    fn a_message_that_was_just_taken_counts_once() {
        let mut queue = queue(1000, 1 << 20, Overflow::Refuse);
        let mut producer = None;
        assert!(send(&mut queue, &mut producer, b"a").1.is_ok());
        let lane = producer.as_mut().unwrap();
        lane.shut();
        assert_eq!(
            lane.push(b"b"),
            Pushed::Unsettled,
            "it was shut before, and not taken from"
        );
        assert!(queue.recall());
        assert_eq!(queue.push_from(&mut producer, b"b"), Ok(()));
        assert_eq!(
            (
                queue.held().messages,
                queue.counters.metrics().accepted.messages
            ),
            (2, 2)
        );
        assert_eq!(written(&mut queue), [1, b'a', 1, b'b']);
    }

    #[test]
    fn a_lane_is_used_again_by_another_thread() {
        let mut queue = queue(1000, 1 << 20, Overflow::Refuse);
        for _ in 0..200 {
            let mut producer = None;
            assert!(send(&mut queue, &mut producer, b"a").1.is_ok());
            assert!(send(&mut queue, &mut producer, b"b").0);
        }
        assert_eq!((queue.lanes.len(), queue.held().messages), (1, 400));
        let mut producers: Vec<_> = (0..100).map(|_| None).collect();
        for producer in &mut producers {
            assert!(
                send(&mut queue, producer, b"c").1.is_ok(),
                "there are enough lanes, and other ways"
            );
        }
        assert!(queue.lanes.len() < 100);
        assert_eq!(written(&mut queue).len(), 1000);
        assert_eq!(queue.counters.metrics().sent.messages, 500);
        assert!(queue.spare.slots() < 8, "the lanes have the others");
    }

    #[test]
    fn a_full_lane_becomes_one_block_where_it_stands() {
        let mut queue = queue(1_000_000, 1 << 30, Overflow::Refuse);
        let mut producer = None;
        // A thread that uses its leases has larger ones each time, and after a while slots of its
        // own.
        while queue.sealed.1.len() < 5 {
            assert!(send(&mut queue, &mut producer, &[7; 99]).1.is_ok());
        }
        let full = queue.sealed.1.try_iter().last().unwrap();
        let len = full.remaining_len();
        assert!(len > 100 * 1024, "{len}");
        assert_eq!(to_u64(len), full.tally().messages * 100);
    }

    #[test]
    fn what_a_thread_sends_goes_out_from_where_it_put_it() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let mut producer = None;
        let mut at = Vec::new();
        for _ in 0..3 {
            assert!(send(&mut queue, &mut producer, &[7; 99]).1.is_ok());
            let outbox = queue.begin_write();
            let mut slices = [IoSlice::new(&[])];
            assert_eq!(outbox.fill(&mut slices), 1);
            at.push(slices[0].as_ptr().addr());
            queue.end_write(outbox, 0);
        }
        assert_eq!(at, [at[0]; 3], "nothing was taken, and nothing was moved");
        let outbox = queue.begin_write();
        let mut slices = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(outbox.fill(&mut slices), 2, "the last has not waited yet");
        let starts = slices.map(|slice| slice.as_ptr().addr());
        assert_eq!(starts, [at[0], at[0] + 100], "in one slot");
    }

    /// A block that grew on would go out late, in large pieces that leave the sender no room.
    #[test]
    fn short_messages_make_blocks_of_less_than_half_of_the_queue() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let mut producer = None;
        while send(&mut queue, &mut producer, &[7; 16]).1.is_ok() {}
        let blocks: Vec<_> = queue.sealed.1.try_iter().collect();
        assert!(blocks.len() >= 3, "{} blocks", blocks.len());
        for block in blocks {
            let messages = block.tally().messages;
            assert!(messages < 5_000, "{messages} messages in one block");
        }
    }

    #[test]
    fn many_threads_that_send_a_little_leave_room_for_others() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let mut producers: Vec<_> = (0..64).map(|_| None).collect();
        for producer in &mut producers {
            assert!(send(&mut queue, producer, &[7; 100]).1.is_ok());
        }
        assert!(queue.budget.leased.messages > 64, "they have leases");
        assert!(queue.budget.free().messages > 2_500, "{:?}", queue.budget);
    }

    #[test]
    fn who_finds_the_thread_asleep_gets_no_lease() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let mut producer = None;
        queue.set_wake_on(WakeOn::Message);
        assert_eq!(send(&mut queue, &mut producer, b"a"), (false, Ok(())));
        assert!(queue.must_wake_for_message());
        assert_eq!(queue.budget.leased, Tally::default());
        queue.set_wake_on(WakeOn::FullBlock);
        assert_eq!(send(&mut queue, &mut producer, b"b"), (false, Ok(())));
        assert_eq!(send(&mut queue, &mut producer, b"c"), (true, Ok(())));
    }

    #[test]
    fn a_little_from_many_threads_is_no_full_block() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        queue.set_wake_on(WakeOn::FullBlock);
        for _ in 0..50 {
            let mut producer = None;
            assert!(send(&mut queue, &mut producer, &[7; 100]).1.is_ok());
            assert!(!queue.must_wake_for_message());
        }
        let (mut busy, mut sent) = (None, 0);
        while !queue.must_wake_for_message() {
            assert!(send(&mut queue, &mut busy, &[7; 100]).1.is_ok());
            sent += 101;
        }
        assert!((20_000..150_000).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_lack_of_room_there_are_no_leases_until_something_has_ended() {
        let mut queue = queue(200, 1 << 20, Overflow::DropOldest);
        let mut producer = None;
        for _ in 0..300 {
            assert!(send(&mut queue, &mut producer, b"m").1.is_ok());
        }
        assert!(!send(&mut queue, &mut producer, b"m").0);
        assert_eq!(
            (queue.budget.leased, queue.is_tight()),
            (Tally::default(), true)
        );
        assert_eq!(written(&mut queue).len(), 400);
        assert!(
            !send(&mut queue, &mut producer, b"m").0 && send(&mut queue, &mut producer, b"m").0
        );
    }

    #[test]
    fn the_memory_of_threads_that_have_ended_goes_back() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let (mut ended, mut alive) = (None, None);
        for producer in [&mut ended, &mut alive] {
            assert!((0..100).all(|_| send(&mut queue, producer, &[7; 100]).1.is_ok()));
        }
        ended = None;
        assert!(queue.recall() && ended.is_none());
        assert_eq!(written(&mut queue).len(), 200 * 101);
        assert_eq!(queue.take_unused_lanes().len(), 1);
        assert!(queue.take_unused_lanes().is_empty(), "the other is in use");
    }

    #[test]
    fn there_may_be_more_blocks_than_the_channel_has_room_for() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let room = queue.sealed.0.capacity().unwrap();
        assert!(room < 10_000, "{room}");
        for number in 0..10_000u32 {
            let message = Bytes::copy_from_slice(&number.to_be_bytes());
            assert!(queue.push_whole(4, &mut Some(Whole::of(message))).is_ok());
        }
        assert_eq!(queue.sealed.0.len(), room);
        let written = written(&mut queue);
        let numbers = written.chunks(5).map(|frame| frame[1..].to_vec());
        assert!(numbers.eq((0..10_000u32).map(|number| number.to_be_bytes().to_vec())));
    }

    #[test]
    fn a_quiet_queue_uses_the_same_memory_again_and_again() {
        let mut queue = queue(10_000, 64 << 20, Overflow::Refuse);
        let mut at = Vec::new();
        for _ in 0..3 {
            assert!(queue.push(&[7; 100]).is_ok());
            let outbox = queue.begin_write();
            let mut slices = [IoSlice::new(&[])];
            assert_eq!(outbox.fill(&mut slices), 1);
            at.push(slices[0].as_ptr());
            queue.end_write(outbox, 101);
        }
        assert_eq!(at, [at[0]; 3]);
    }

    #[test]
    fn what_has_waited_for_one_write_goes_with_the_next() {
        let mut queue = queue(100_000, 1 << 30, Overflow::Refuse);
        let (mut quiet, mut busy) = (None, None);
        assert!(send(&mut queue, &mut quiet, b"q").1.is_ok());
        for _ in 0..2 {
            let full = queue.sealed.1.len() + 3;
            while queue.sealed.1.len() < full {
                assert!(send(&mut queue, &mut busy, &[7; 999]).1.is_ok());
            }
            let outbox = queue.begin_write();
            queue.end_write(outbox, 0);
        }
        assert!(
            !queue.lanes.first().unwrap().is_fresh(),
            "it has its place behind what was ready before"
        );
    }

    #[test]
    fn what_is_evicted_while_nothing_is_being_written_has_ended() {
        let mut queue = queue(1, 100, Overflow::DropOldest);
        let nothing = queue.begin_write();
        assert!(queue.push(b"a").is_ok() && queue.push(b"b").is_ok());
        assert_eq!((queue.watermarks().unsettled, queue.end()), (1, 2));
        queue.end_write(nothing, 0);
        assert_eq!(queue.watermarks().unsettled, 1);
    }

    /// What a producer, the thread or a connection may do.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Push(usize),
        /// From one of two threads with lanes, as they would: into the lane if it takes it.
        Send(usize, usize),
        CollectAll,
        Recall,
        PushOwned(usize),
        BeginWrite,
        EndWrite(usize),
        Lose(Ending),
    }

    fn any_act() -> impl Strategy<Value = Act> {
        let len = || prop_oneof![3 => 3usize..10, 2 => 100usize..200, 1 => 20_000usize..60_000];
        prop_oneof![
            4 => len().prop_map(Act::Push),
            12 => (0usize..2, prop_oneof![4 => 3usize..10, 2 => 100usize..200, 1 => 5_000usize..9_000]).prop_map(|(thread, len)| Act::Send(thread, len)),
            1 => Just(Act::CollectAll),
            1 => Just(Act::Recall),
            2 => len().prop_map(Act::PushOwned),
            4 => Just(Act::BeginWrite),
            4 => prop_oneof![0usize..20, 0usize..300_000].prop_map(Act::EndWrite),
            1 => prop_oneof![Just(Act::Lose(Ending::Peer)), Just(Act::Lose(Ending::Ours))],
        ]
    }

    proptest! {
        /// The bounds hold, the books balance, and what the kernel took is a run of whole messages
        /// in order, whatever comes.
        #[test]
        fn no_history_breaks_bounds_books_or_order(
            acts in prop::collection::vec(any_act(), 1..200),
            messages in prop_oneof![1u64..30, 100u64..300], bytes in 60_000u64..200_000, drops_oldest in any::<bool>(),
        ) {
            let overflow = if drops_oldest { Overflow::DropOldest } else { Overflow::Refuse };
            let mut queue = queue(messages, bytes, overflow);
            let mut away: Option<Outbox> = None;
            // What the reader got on the connections that ended, and on this one.
            let (mut before, mut current) = (Vec::new(), Vec::new());
            // A message ends with its sender and its number among those of that sender.
            let mut numbers = [0u16; 3];
            let mut message = |sender: u8, len: usize| {
                let number = &mut numbers[usize::from(sender)];
                *number += 1;
                let [high, low] = number.to_be_bytes();
                let mut message = vec![0; len];
                message[len - 3..].copy_from_slice(&[sender, high, low]);
                message
            };
            let mut producers: [Option<LaneSender>; 2] = [None, None];
            for act in acts {
                match act {
                    Act::Push(len) => drop(queue.push(&message(2, len))),
                    Act::Send(thread, len) => {
                        let (sender, message) = (&mut producers[thread], message(u8::try_from(thread).unwrap(), len));
                        let by_lane = sender.as_mut().is_some_and(|lane| lane.push(&message) == Pushed::Accepted);
                        if !by_lane {
                            let _ = queue.push_from(sender, &message);
                        }
                    }
                    Act::CollectAll => queue.collect_all(),
                    Act::Recall => {
                        queue.recall();
                        prop_assert_eq!(queue.budget.leased, Tally::default());
                    }
                    Act::PushOwned(len) => {
                        let whole = Whole::of(message(2, len).into());
                        let _ = queue.push_whole(len, &mut Some(whole));
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
                prop_assert!(held.messages <= messages);
                prop_assert!(held.bytes <= bytes);
                prop_assert_eq!(metrics.queued, held);
                prop_assert_eq!(
                    metrics.accepted,
                    metrics.sent + metrics.dropped.oldest + metrics.failed.total() + metrics.queued
                );
                prop_assert!(queue.watermarks().unsettled <= queue.end());
                prop_assert_eq!(queue.watermarks().unsettled == queue.end(), queue.budget.held.messages == 0);
                let promised = queue.budget.held + queue.budget.leased;
                prop_assert!(promised.messages <= messages && promised.bytes <= bytes);
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
                while let crate::wire::frame::Parsed::Length { payload_len, prefix_len } = crate::wire::frame::parse_prefix(rest) {
                    let end = prefix_len.get() + usize::try_from(payload_len).unwrap();
                    let Some(frame) = rest.get(..end) else { break };
                    received.push((frame[end - 3], u16::from_be_bytes([frame[end - 2], frame[end - 1]])));
                    rest = &rest[end..];
                }
            }
            prop_assert_eq!(to_u64(received.len()), queue.counters.metrics().sent.messages);
            for sender in 0..3 {
                let of: Vec<_> = received.iter().filter(|(of, _)| *of == sender).collect();
                let ascending = of.windows(2).all(|pair| pair[0] < pair[1]);
                prop_assert!(ascending, "{of:?}");
            }
        }
    }
}
