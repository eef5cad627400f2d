//! A slot into which one thread frames messages, and out of which the queue takes them, without a
//! lock between the two. Unsafe code: both use the same memory at the same time. What is published
//! never changes, and only the queue and the thread together, under the queue's lock, put another
//! slot in its place.
//!
//! A lane is used under a lease: room for so many bytes and messages, which counts in the queue's
//! bounds from the beginning. The queue may end the lease at any time: it shuts the lane, passes a
//! barrier, and takes what is published then. A thread that publishes something finds out, after a
//! barrier of its own, whether the lane was shut, and settles with the queue what became of it.

#![expect(
    unsafe_code,
    reason = "two locked instructions a message are most of what a send costs, and memory that two threads use needs one of both"
)]

pub(crate) mod local;
#[cfg(all(test, lane_model))]
mod model;
#[cfg(all(test, lane_model))]
mod model_of_deaths;

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

use crate::atomics::{AtomicBool, AtomicU64};
use crate::metrics::{Tally, TallyCounter};
use crate::num::to_u64;
use crate::sys::asymmetric_fence;
use crate::wire::frame::ShortPrefix;
use crate::writer::arena::Arena;
use crate::writer::slot::{Filler, Frames, ReadingSide, SLOT_SIZE, Slot};

/// What both sides share.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Written by the thread alone, all the time.
    thread: CachePadded<Published>,
    /// Written by the queue, seldom.
    is_shut: CachePadded<AtomicBool>,
    /// All that the queue has ever taken. Of the last message the thread may not know yet.
    taken: TallyCounter,
    /// The thread has ended: the queue may give the lane to another one.
    is_free: AtomicBool,
}

#[derive(Debug, Default)]
struct Published {
    /// A [`Mark`] in one word.
    mark: AtomicU64,
    /// All that was ever accepted in this lane, for the figures.
    accepted: TallyCounter,
}

impl Lane {
    /// All that was ever accepted in this lane.
    pub(crate) fn accepted(&self) -> Tally {
        let (counted, taken) = (self.thread.accepted.value(), self.taken.value());
        if taken.messages > counted.messages {
            taken
        } else {
            counted
        }
    }
}

/// How far one is in a lane's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// In bytes of frames.
    pub(crate) len: usize,
    /// In messages.
    pub(crate) tally: Tally,
}

/// Each of the three figures has a third of the word; none exceeds a slot.
const BITS: u32 = 21;
const _: () = assert!(SLOT_SIZE < 1 << BITS, "a mark has no room for it");

impl Mark {
    /// One message in a frame of `len` bytes.
    fn one(len: usize, message_len: usize) -> Self {
        Self {
            len,
            tally: Tally::one(message_len),
        }
    }

    fn pack(self) -> u64 {
        to_u64(self.len) | self.tally.messages << BITS | self.tally.bytes << (2 * BITS)
    }

    fn unpack(word: u64) -> Self {
        let third = |at: u32| word >> (at * BITS) & ((1 << BITS) - 1);
        let len = usize::try_from(third(0)).unwrap_or_default();
        Self {
            len,
            tally: Tally {
                messages: third(1),
                bytes: third(2),
            },
        }
    }
}

/// What became of a message that a thread put into its lane.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Accepted,
    /// The lease does not cover it: nothing has changed.
    NoRoom,
    /// It is in the lane, which was shut: the queue knows whether it took it.
    Unsettled,
}

/// The thread's side. There is one of each lane.
#[derive(Debug)]
pub(crate) struct LaneSender {
    lane: Arc<Lane>,
    filler: Filler,
    /// Where the lease ends: within the filler's slot, or 0.
    end: usize,
    /// How many messages the lease still covers.
    left: u64,
    /// What is published, packed.
    mark: u64,
    accepted: Tally,
    /// The last message: whether it counts is not known.
    unsettled: Option<Mark>,
}

impl LaneSender {
    /// Whether its slot belongs to no other arena.
    pub(crate) fn is_in(&self, arena: Option<&Arc<Arena>>) -> bool {
        self.filler.is_in(arena)
    }

    /// How many bytes more its slot has room for.
    pub(crate) fn room(&self) -> usize {
        self.filler.room()
    }

    /// Frames a copy of `message` and publishes it.
    #[inline]
    pub(crate) fn push(&mut self, message: &[u8]) -> Pushed {
        let len = message.len();
        if self.left == 0 {
            return Pushed::NoRoom;
        }
        // SAFETY: the lease ends within the slot.
        let framed = unsafe {
            match ShortPrefix::new(len) {
                Some(prefix) => self.filler.push_short(prefix, message, self.end),
                None => self.filler.push_long(message, self.end),
            }
        };
        let Some(frame_len) = framed else {
            return Pushed::NoRoom;
        };
        self.filler.publish();
        let one = Mark::one(frame_len, len);
        self.left -= 1;
        self.mark += one.pack();
        self.lane.thread.mark.store(self.mark, Ordering::Release);
        asymmetric_fence::light();
        if self.lane.is_shut.load(Ordering::Relaxed) {
            self.unsettled = Some(one);
            return Pushed::Unsettled;
        }
        self.count(one.tally);
        Pushed::Accepted
    }

    /// Likewise, for a thread that may not know yet what became of its last message.
    pub(crate) fn push_if_settled(&mut self, message: &[u8]) -> Pushed {
        if self.unsettled.is_some() {
            Pushed::Unsettled
        } else {
            self.push(message)
        }
    }

    /// Whether the queue is gone.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.lane) == 1
    }

    #[inline]
    fn count(&mut self, one: Tally) {
        self.accepted += one;
        self.lane.thread.accepted.publish(self.accepted);
    }
}

impl Drop for LaneSender {
    fn drop(&mut self) {
        self.lane.is_free.store(true, Ordering::Release);
    }
}

/// The queue's side. There is one of each lane, under the queue's lock.
#[derive(Debug)]
pub(crate) struct LaneReceiver {
    lane: Arc<Lane>,
    /// The slot that the thread fills.
    slot: ReadingSide,
    /// How far the queue has taken what stands in it.
    collected: Mark,
    /// All that it has ever taken.
    taken: Tally,
}

impl LaneReceiver {
    /// A new lane, and its two sides.
    pub(crate) fn new() -> (Self, Arc<Lane>) {
        let lane = Arc::new(Lane {
            is_free: AtomicBool::new(true),
            ..Lane::default()
        });
        (
            Self {
                lane: Arc::clone(&lane),
                slot: ReadingSide::default(),
                collected: Mark::default(),
                taken: Tally::default(),
            },
            lane,
        )
    }

    /// The thread's side, if no thread has it.
    pub(crate) fn give_to_thread(&mut self) -> Option<LaneSender> {
        // A look first: this is asked of all lanes, and a load disturbs no other processor.
        if !self.lane.is_free.load(Ordering::Relaxed)
            || !self.lane.is_free.swap(false, Ordering::Acquire)
        {
            return None;
        }
        let mark = self.lane.thread.mark.load(Ordering::Relaxed);
        // SAFETY: the thread that had the lane before fills nothing any more, and what it published
        // is known with its word that the lane is free.
        let filler = unsafe { self.slot.resume(Mark::unpack(mark).len) };
        Some(LaneSender {
            lane: Arc::clone(&self.lane),
            filler,
            end: 0,
            left: 0,
            mark,
            accepted: self.lane.accepted(),
            unsettled: None,
        })
    }

    /// Whether this is the other side of `producer`.
    pub(crate) fn is_of(&self, producer: &LaneSender) -> bool {
        Arc::ptr_eq(&self.lane, &producer.lane)
    }

    /// Takes what has been published and not been taken: whole frames, and the messages in them.
    pub(crate) fn take(&mut self) -> Option<(Frames, Tally)> {
        let to = self.published();
        let from = mem::replace(&mut self.collected, to);
        if to == from {
            return None;
        }
        // SAFETY: what is published is written, and the thread takes its last message back only
        // where the queue has not taken that.
        let frames = unsafe { self.slot.written(from.len..to.len) };
        let tally = to.tally - from.tally;
        self.taken += tally;
        self.lane.taken.publish(self.taken);
        Some((frames, tally))
    }

    /// How much has been published and not been taken.
    pub(crate) fn fresh(&self) -> Mark {
        let (to, from) = (self.published(), self.collected);
        Mark {
            len: to.len - from.len,
            tally: to.tally - from.tally,
        }
    }

    pub(crate) fn published(&self) -> Mark {
        Mark::unpack(self.lane.thread.mark.load(Ordering::Acquire))
    }

    /// How far the queue has taken it.
    pub(crate) fn collected(&self) -> Mark {
        self.collected
    }

    /// Ends the lease. What was published before the barrier that follows can be taken; what comes
    /// later the thread will know of.
    pub(crate) fn shut(&self) {
        self.lane.is_shut.store(true, Ordering::SeqCst);
    }

    /// Finds out whether the thread's last message was taken after all. If not, it is not in the
    /// lane any more. False when that is no question.
    pub(crate) fn resolve(&mut self, producer: &mut LaneSender) -> bool {
        let Some(last) = producer.unsettled.filter(|_| self.is_of(producer)) else {
            return false;
        };
        producer.unsettled = None;
        if self.collected.tally.messages >= Mark::unpack(producer.mark).tally.messages {
            producer.count(last.tally);
            return true;
        }
        // SAFETY: the queue has not taken it.
        unsafe { producer.filler.take_back(last.len) };
        producer.filler.publish();
        producer.mark -= last.pack();
        self.lane
            .thread
            .mark
            .store(producer.mark, Ordering::Relaxed);
        false
    }

    /// Lets the thread begin anew at the start of its slot, if the queue has taken all that was
    /// published and is done with it. Nothing is leased then.
    pub(crate) fn restart(&mut self, producer: &mut LaneSender) -> bool {
        if !self.is_of(producer) || self.fresh().len > 0 {
            return false;
        }
        self.slot = ReadingSide::default();
        let restarts = producer.filler.restart();
        if restarts {
            self.begin_anew(producer);
        } else {
            self.slot = producer.filler.reading_side();
        }
        restarts
    }

    /// Gives the thread another slot, after all that was published has been taken; nothing is
    /// leased then. Returns the one that it had, if nothing is left of it.
    pub(crate) fn replace(&mut self, producer: &mut LaneSender, slot: Slot) -> Option<Slot> {
        if !self.is_of(producer) || self.fresh().len > 0 {
            return Some(slot);
        }
        self.slot = ReadingSide::default();
        let before = mem::replace(&mut producer.filler, Filler::new(slot));
        self.begin_anew(producer);
        before.into_slot()
    }

    /// Ends the lease with the thread's knowledge.
    pub(crate) fn end_lease(&self, producer: &mut LaneSender) {
        if self.is_of(producer) {
            (producer.end, producer.left) = (0, 0);
        }
    }

    fn begin_anew(&mut self, producer: &mut LaneSender) {
        self.slot = producer.filler.reading_side();
        self.collected = Mark::default();
        self.end_lease(producer);
        producer.mark = 0;
        self.lane.thread.mark.store(0, Ordering::Relaxed);
    }

    /// Lets the thread put up to `messages` messages into the next `len` bytes.
    pub(crate) fn lease(&mut self, producer: &mut LaneSender, len: usize, messages: u64) {
        if !self.is_of(producer) {
            return;
        }
        let filler = &producer.filler;
        (producer.end, producer.left) = (filler.at() + len.min(filler.room()), messages);
        self.lane.is_shut.store(false, Ordering::Relaxed);
    }

    /// The slot of a thread that has ended, if the queue is done with all that stands in it.
    pub(crate) fn take_unused_slot(&mut self) -> Option<Slot> {
        if !self.slot.has_slot() {
            return None;
        }
        let mut producer = self.give_to_thread()?;
        if !self.restart(&mut producer) {
            return None;
        }
        self.slot = ReadingSide::default();
        mem::replace(&mut producer.filler, Filler::NONE).into_slot()
    }
}

#[cfg(test)]
impl LaneSender {
    /// What the queue does when it ends the lease, seen from the thread.
    pub(crate) fn shut(&self) {
        self.lane.is_shut.store(true, Ordering::SeqCst);
    }
}
