//! Memory into which one thread frames messages, and out of which the queue takes them, without a
//! lock between the two. Unsafe code: both use the same memory at the same time. What is published
//! never changes, and only the queue and the thread together, under the queue's lock, put other
//! memory in its place.
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

use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

use crate::atomics::{AtomicBool, AtomicU64};
use crate::metrics::{Tally, TallyCounter};
use crate::num::to_u64;
use crate::sys::asymmetric_fence;
use crate::wire::frame::ShortPrefix;
use crate::writer::settings::BLOCK_SIZE;

/// What both sides share.
#[derive(Default)]
pub(crate) struct Lane {
    /// Written by the thread alone, all the time.
    thread: CachePadded<Published>,
    /// Written by the queue, seldom.
    is_shut: CachePadded<AtomicBool>,
    /// The thread has ended: the queue may give the lane to another one.
    is_free: AtomicBool,
    /// Always of length 0: how much of it is filled stands in the mark.
    memory: UnsafeCell<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Published {
    /// A [`Mark`] in one word.
    mark: AtomicU64,
    /// All that was ever accepted in this lane, for the figures.
    accepted: TallyCounter,
}

// SAFETY: the memory is written by the one `LaneSender` behind what is published, and read by the
// one `LaneReceiver` before it. To put other memory in its place takes both.
unsafe impl Sync for Lane {}

impl Lane {
    /// All that was ever accepted in this lane.
    pub(crate) fn accepted(&self) -> Tally {
        self.thread.accepted.value()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("published", &self.thread)
            .field("is_shut", &self.is_shut)
            .finish_non_exhaustive()
    }
}

/// How far one is in a lane's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// In bytes of frames.
    pub(crate) len: usize,
    /// In messages.
    pub(crate) tally: Tally,
}

/// Each of the three figures has a third of the word; none exceeds a block.
const BITS: u32 = 21;
const _: () = assert!(BLOCK_SIZE < 1 << BITS, "a mark has no room for it");

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
    start: *mut u8,
    /// Where the next frame begins, and the lease ends.
    at: usize,
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
    /// Frames a copy of `message` and publishes it.
    #[inline]
    pub(crate) fn push(&mut self, message: &[u8]) -> Pushed {
        let len = message.len();
        // Longer ones have a rarer prefix, and are no hurry.
        let Some(prefix) = ShortPrefix::new(len) else {
            return Pushed::NoRoom;
        };
        let prefix_len = match prefix {
            ShortPrefix::One(_) => 1,
            ShortPrefix::Two(_) => 2,
        };
        let end = self.at + prefix_len + len;
        if end > self.end || self.left == 0 {
            return Pushed::NoRoom;
        }
        // SAFETY: the lease ends within the memory, nobody reads behind what is published, and the
        // message lies elsewhere: nobody else has a reference to that part of this memory.
        unsafe {
            let place = self.start.add(self.at);
            match prefix {
                ShortPrefix::One(byte) => place.write(byte),
                ShortPrefix::Two(bytes) => place.cast::<[u8; 2]>().write(bytes),
            }
            ptr::copy_nonoverlapping(message.as_ptr(), place.add(prefix_len), len);
        }
        let one = Mark::one(prefix_len + len, len);
        self.at = end;
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
    /// How far the queue has taken the messages of the present lease.
    collected: Mark,
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
                collected: Mark::default(),
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
        Some(LaneSender {
            lane: Arc::clone(&self.lane),
            start: ptr::null_mut(),
            at: 0,
            end: 0,
            left: 0,
            mark: self.lane.thread.mark.load(Ordering::Relaxed),
            accepted: self.lane.accepted(),
            unsettled: None,
        })
    }

    /// Whether this is the other side of `producer`.
    pub(crate) fn is_of(&self, producer: &LaneSender) -> bool {
        Arc::ptr_eq(&self.lane, &producer.lane)
    }

    /// What has been published and not been taken.
    pub(crate) fn fresh(&self) -> Fresh<'_> {
        let Mark { len, tally } = self.published();
        let Mark {
            len: from,
            tally: before,
        } = self.collected;
        // SAFETY: what is published lies within the memory and is written, and stays as it is for
        // as long as this side is borrowed.
        let frames = unsafe {
            let start = (*self.lane.memory.get()).as_ptr();
            slice::from_raw_parts(start.add(from), len - from)
        };
        Fresh {
            frames,
            tally: tally - before,
            end: Mark { len, tally },
        }
    }

    pub(crate) fn published(&self) -> Mark {
        Mark::unpack(self.lane.thread.mark.load(Ordering::Acquire))
    }

    /// How far the queue has taken it.
    pub(crate) fn collected(&self) -> Mark {
        self.collected
    }

    /// The queue has taken what was published when that was at `mark`.
    pub(crate) fn note_collected(&mut self, mark: Mark) {
        self.collected = mark;
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
        producer.at -= last.len;
        producer.mark -= last.pack();
        self.lane
            .thread
            .mark
            .store(producer.mark, Ordering::Relaxed);
        false
    }

    /// Puts `memory` in the place of the lane's own, and begins anew in it. Returns what was there,
    /// filled with all that was published. `None` when this is not the other side of
    /// `producer`.
    pub(crate) fn replace(
        &mut self,
        producer: &mut LaneSender,
        memory: Vec<u8>,
    ) -> Option<Vec<u8>> {
        if !self.is_of(producer) {
            return None;
        }
        let len = self.published().len;
        // SAFETY: both sides are borrowed, so nobody else looks at the memory; its first `len`
        // bytes are written.
        let filled = unsafe {
            let mut filled = mem::replace(&mut *self.lane.memory.get(), memory);
            filled.set_len(len);
            filled
        };
        self.begin_anew(producer);
        Some(filled)
    }

    /// Forgets what was published, which must have been taken. Nothing is leased then.
    pub(crate) fn begin_anew(&mut self, producer: &mut LaneSender) {
        if self.is_of(producer) {
            self.collected = Mark::default();
            (producer.at, producer.end, producer.left, producer.mark) = (0, 0, 0, 0);
            self.lane.thread.mark.store(0, Ordering::Relaxed);
        }
    }

    /// Lets the thread put up to `messages` messages into the first `len` bytes, after it began
    /// anew.
    pub(crate) fn lease(&mut self, producer: &mut LaneSender, len: usize, messages: u64) {
        if !self.is_of(producer) || producer.at > 0 {
            return;
        }
        // SAFETY: both sides are borrowed.
        let memory = unsafe { &mut *self.lane.memory.get() };
        (producer.start, producer.end, producer.left) =
            (memory.as_mut_ptr(), len.min(memory.capacity()), messages);
        self.lane.is_shut.store(false, Ordering::Relaxed);
    }

    /// How much the lane's memory holds.
    pub(crate) fn capacity(&self) -> usize {
        // SAFETY: only this side and the thread's together put other memory there.
        unsafe { (*self.lane.memory.get()).capacity() }
    }
}

/// What a thread has published and the queue has not taken.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    /// Whole frames.
    pub(crate) frames: &'a [u8],
    /// The messages in them.
    pub(crate) tally: Tally,
    /// Where they end.
    pub(crate) end: Mark,
}

#[cfg(test)]
impl LaneSender {
    /// What the queue does when it ends the lease, seen from the thread.
    pub(crate) fn shut(&self) {
        self.lane.is_shut.store(true, Ordering::SeqCst);
    }
}
