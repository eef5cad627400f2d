//! Memory in which frames wait: one place fills it from its start, and ranges of what is filled
//! live on by themselves. So nothing that was framed is ever copied again. Unsafe code: a range is
//! read while what lies behind it is being written.

#![expect(
    unsafe_code,
    reason = "the copy that it saves is a third of what a message costs the writer's thread"
)]

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Where the system gives memory when it is touched, as nearly all do, a new slot costs no
/// more than what is written.
use crate::arena::layout::Extent;
pub(crate) use crate::arena::layout::SLOT_SIZE;
use crate::wire::frame::{MAX_PREFIX_LEN, Prefix, ShortPrefix};
use crate::writer::arena::{self, Arena, ArenaSlot, Record};

/// The longest message that an empty slot has room for.
pub(crate) const LONGEST_MESSAGE: usize = SLOT_SIZE - MAX_PREFIX_LEN;

/// Always of `SLOT_SIZE` bytes.
struct Memory {
    start: NonNull<MaybeUninit<u8>>,
    origin: Origin,
}

enum Origin {
    /// Of this process alone. Nobody reads how far it is published.
    Heap { published: AtomicU64 },
    /// It outlives the process.
    Arena(ArenaSlot),
}

// SAFETY: it owns what it points to. One `Filler` writes behind all that ranges read, and each
// range comes to its thread after what it reads was written.
unsafe impl Send for Memory {}
// SAFETY: likewise.
unsafe impl Sync for Memory {}

impl Memory {
    fn new() -> Self {
        let bytes = Box::<[u8]>::new_uninit_slice(SLOT_SIZE);
        Self {
            // SAFETY: a box leads to something.
            start: unsafe { NonNull::new_unchecked(Box::into_raw(bytes).cast()) },
            origin: Origin::Heap {
                published: AtomicU64::new(0),
            },
        }
    }

    fn in_arena(slot: ArenaSlot) -> Self {
        Self {
            start: slot.start().cast(),
            origin: Origin::Arena(slot),
        }
    }

    fn start(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }

    fn published(&self) -> NonNull<AtomicU64> {
        match &self.origin {
            Origin::Heap { published } => NonNull::from(published),
            Origin::Arena(slot) => slot.published(),
        }
    }

    /// Whether it outlives the process, if that is asked for.
    fn is_in(&self, arena: Option<&Arc<Arena>>) -> bool {
        match (&self.origin, arena) {
            (Origin::Arena(slot), Some(arena)) => slot.is_in(arena),
            (Origin::Heap { .. }, None) => true,
            (Origin::Heap { .. }, Some(_)) | (Origin::Arena(_), None) => false,
        }
    }

    /// Whether it is of an arena that was left for this one.
    fn is_left_for(&self, arena: &Arc<Arena>) -> bool {
        matches!(&self.origin, Origin::Arena(slot) if !slot.is_in(arena))
    }

    fn begin_anew(&self, is_open: bool) {
        if let Origin::Arena(slot) = &self.origin {
            slot.begin_anew(is_open);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Origin::Heap { .. } = self.origin {
            let bytes = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), SLOT_SIZE);
            // SAFETY: it came from such a box, and nobody else knows of it any more.
            drop(unsafe { Box::from_raw(bytes) });
        }
    }
}

/// A slot that nothing stands in.
pub(crate) struct Slot(Arc<Memory>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Memory::new()))
    }

    pub(crate) fn is_in(&self, arena: Option<&Arc<Arena>>) -> bool {
        self.0.is_in(arena)
    }

    /// One of the arena, as long as that has any.
    pub(crate) fn from(arena: Option<&Arc<Arena>>) -> Self {
        match arena.and_then(Arena::take_slot) {
            Some(slot) => Self(Arc::new(Memory::in_arena(slot))),
            None => Self::new(),
        }
    }
}

/// Fills a slot, the only one to do so. It may have none: then there is no room.
pub(crate) struct Filler {
    slot: Option<Arc<Memory>>,
    start: *mut u8,
    /// The slot's word.
    published: Option<NonNull<AtomicU64>>,
    at: usize,
    /// What no record covers in it goes before what lies in the slots of other threads.
    is_open: bool,
}

// SAFETY: the pointers lead into the slot, which it holds.
unsafe impl Send for Filler {}
// SAFETY: nothing is written through a shared reference.
unsafe impl Sync for Filler {}

impl Filler {
    /// Without a slot.
    pub(crate) const NONE: Self = Self {
        slot: None,
        start: ptr::null_mut(),
        published: None,
        at: 0,
        is_open: false,
    };

    /// Fills a thread's slot.
    pub(crate) fn new(slot: Slot) -> Self {
        Self::begin(slot, false)
    }

    /// Fills the slot of the open block.
    pub(crate) fn open(slot: Slot) -> Self {
        Self::begin(slot, true)
    }

    fn begin(Slot(memory): Slot, is_open: bool) -> Self {
        memory.begin_anew(is_open);
        Self {
            start: memory.start(),
            published: Some(memory.published()),
            slot: Some(memory),
            at: 0,
            is_open,
        }
    }

    /// From now on all that was written outlives the process, where the slot does.
    #[inline]
    pub(crate) fn publish(&self) {
        if let Some(word) = self.published {
            // SAFETY: it is the word of the slot that this holds.
            unsafe { arena::publish(word, self.at) };
        }
    }

    /// Where the next frame begins.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> usize {
        if self.slot.is_some() {
            SLOT_SIZE - self.at
        } else {
            0
        }
    }

    /// Frames a copy of `message`, where that ends at `end` at the latest; says how long the frame
    /// is.
    ///
    /// # Safety
    ///
    /// There is a slot, unless `end` is 0, and `end` lies within it.
    #[inline]
    pub(crate) unsafe fn push_short(
        &mut self,
        prefix: ShortPrefix,
        message: &[u8],
        end: usize,
    ) -> Option<usize> {
        let prefix_len = match prefix {
            ShortPrefix::One(_) => 1,
            ShortPrefix::Two(_) => 2,
        };
        let frame_len = prefix_len + message.len();
        let next = self.at + frame_len;
        if next > end {
            return None;
        }
        // SAFETY: it lies within the slot, behind all that was written, so that no range reads it;
        // and the message lies elsewhere, as nobody else has a reference to this part.
        unsafe {
            let place = self.start.add(self.at);
            match prefix {
                ShortPrefix::One(byte) => place.write(byte),
                ShortPrefix::Two(bytes) => place.cast::<[u8; 2]>().write(bytes),
            }
            ptr::copy_nonoverlapping(message.as_ptr(), place.add(prefix_len), message.len());
        }
        self.at = next;
        Some(frame_len)
    }

    /// Frames a copy of `message`, and publishes it. False where there is no room.
    #[inline]
    pub(crate) fn push(&mut self, message: &[u8]) -> bool {
        let end = self.at + self.room();
        let pushed = if let Some(prefix) = ShortPrefix::new(message.len()) {
            // SAFETY: so much room there is.
            unsafe { self.push_short(prefix, message, end) }
        } else {
            // SAFETY: likewise.
            unsafe { self.push_long(message, end) }
        };
        self.publish();
        pushed.is_some()
    }

    /// Writes as much of `bytes` as there is room for, which is not published; returns the rest.
    pub(crate) fn push_part<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (part, rest) = bytes.split_at(bytes.len().min(self.room()));
        if !part.is_empty() {
            // SAFETY: so much room there is; and as above.
            unsafe {
                ptr::copy_nonoverlapping(part.as_ptr(), self.start.add(self.at), part.len());
            }
        }
        self.at += part.len();
        rest
    }

    /// Likewise, for messages of which the prefix is longer.
    ///
    /// # Safety
    ///
    /// As for [`Filler::push_short`].
    #[cold]
    pub(crate) unsafe fn push_long(&mut self, message: &[u8], end: usize) -> Option<usize> {
        let prefix = Prefix::new(message.len());
        let prefix = prefix.as_slice();
        let (body, next) = (
            self.at + prefix.len(),
            self.at + prefix.len() + message.len(),
        );
        if next > end {
            return None;
        }
        // SAFETY: as above.
        unsafe {
            ptr::copy_nonoverlapping(prefix.as_ptr(), self.start.add(self.at), prefix.len());
            ptr::copy_nonoverlapping(message.as_ptr(), self.start.add(body), message.len());
        }
        let frame_len = next - self.at;
        self.at = next;
        Some(frame_len)
    }

    /// Takes back the last `len` bytes.
    ///
    /// # Safety
    ///
    /// So many were written, and no range has a part of them.
    pub(crate) unsafe fn take_back(&mut self, len: usize) {
        self.at -= len;
    }

    /// Whether what it fills outlives the process, if that is asked for; or it fills nothing.
    pub(crate) fn is_in(&self, arena: Option<&Arc<Arena>>) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.is_in(arena))
    }

    /// What was written from `from` on.
    pub(crate) fn written(&self, from: usize) -> Frames {
        debug_assert!(from <= self.at, "that was not written");
        Frames {
            slot: self.slot.clone(),
            range: from.min(self.at)..self.at,
        }
    }

    /// The slot, to be read from elsewhere.
    pub(crate) fn reading_side(&self) -> ReadingSide {
        ReadingSide(self.slot.clone())
    }

    /// Begins anew at the start, if there is no range left of what was written.
    pub(crate) fn restart(&mut self) -> bool {
        let is_alone = self
            .slot
            .as_mut()
            .is_some_and(|slot| Arc::get_mut(slot).is_some());
        if is_alone {
            self.at = 0;
            if let Some(slot) = &self.slot {
                slot.begin_anew(self.is_open);
            }
        }
        is_alone
    }

    /// Gives the slot back, if there is no range left of what was written.
    pub(crate) fn into_slot(self) -> Option<Slot> {
        self.slot.and_then(unshared)
    }
}

impl fmt::Debug for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filler")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// Where another thread fills a slot: the side that makes ranges of what it has published.
#[derive(Default)]
pub(crate) struct ReadingSide(Option<Arc<Memory>>);

impl ReadingSide {
    pub(crate) fn has_slot(&self) -> bool {
        self.0.is_some()
    }

    /// Goes on filling the slot behind the first `at` bytes.
    ///
    /// # Safety
    ///
    /// Nobody else fills it any more, and so much was written before, as this thread knows.
    pub(crate) unsafe fn resume(&self, at: usize) -> Filler {
        let Some(slot) = &self.0 else {
            return Filler::NONE;
        };
        Filler {
            slot: Some(Arc::clone(slot)),
            start: slot.start(),
            published: Some(slot.published()),
            at,
            is_open: false,
        }
    }

    /// A range of what was written.
    ///
    /// # Safety
    ///
    /// So much was written before, as this thread knows, and will not be taken back.
    pub(crate) unsafe fn written(&self, range: Range<usize>) -> Frames {
        Frames {
            slot: self.0.clone(),
            range,
        }
    }
}

impl fmt::Debug for ReadingSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadingSide")
            .field(&self.0.is_some())
            .finish()
    }
}

/// Whole frames: a range of a slot. It never changes.
#[derive(Clone, Default)]
pub(crate) struct Frames {
    slot: Option<Arc<Memory>>,
    range: Range<usize>,
}

impl Frames {
    /// The part of it from `from` to `to`.
    pub(crate) fn part(&self, from: usize, to: usize) -> Self {
        let Range { start, end } = self.range;
        let to = (start + to).min(end);
        Self {
            slot: self.slot.clone(),
            range: (start + from).min(to)..to,
        }
    }

    /// Where it begins in its slot.
    pub(crate) fn start(&self) -> usize {
        self.range.start
    }

    /// Goes on over `next`, where that stands right behind it.
    pub(crate) fn extend_over(&mut self, next: &Self) -> bool {
        let is_behind = match (&self.slot, &next.slot) {
            (Some(slot), Some(other)) => {
                Arc::ptr_eq(slot, other) && self.range.end == next.range.start
            }
            _ => false,
        };
        if is_behind {
            self.range.end = next.range.end;
        }
        is_behind
    }

    /// Gives the slot back, if nobody else has a part of it.
    pub(crate) fn into_slot(self) -> Option<Slot> {
        self.slot.and_then(unshared)
    }

    /// Whether they stand in an arena that was left for this one.
    pub(crate) fn are_left_for(&self, arena: &Arc<Arena>) -> bool {
        let slot = self.slot.as_ref();
        slot.is_some_and(|slot| slot.is_left_for(arena))
    }

    /// A record of them, where they outlive the process: the next that no record covers.
    pub(crate) fn record(&self, order: u64) -> Option<Record> {
        let (slot, extent) = self.place()?;
        let record = slot.add_record(order, &[extent]);
        slot.cover(self.range.end);
        record
    }

    /// A record of a message that lies in these pieces, where it outlives the process.
    pub(crate) fn record_pieces(pieces: &[Self], order: u64) -> Option<Record> {
        let places = pieces.iter().map(Self::place).collect::<Option<Vec<_>>>()?;
        let (slot, _) = places.first()?;
        let extents: Vec<_> = places.iter().map(|(_, extent)| *extent).collect();
        slot.add_record(order, &extents)
    }

    fn place(&self) -> Option<(&ArenaSlot, Extent)> {
        let Origin::Arena(slot) = &self.slot.as_ref()?.origin else {
            return None;
        };
        Some((slot, slot.extent(self.range.start, self.range.end)))
    }
}

impl Deref for Frames {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let Some(slot) = &self.slot else {
            return &[];
        };
        // SAFETY: it lies within the slot, and is written. Until the last range has gone, nobody
        // writes before what was written.
        unsafe { slice::from_raw_parts(slot.start().add(self.range.start), self.range.len()) }
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frames").field(&self.range).finish()
    }
}

fn unshared(mut slot: Arc<Memory>) -> Option<Slot> {
    Arc::get_mut(&mut slot)?;
    Some(Slot(slot))
}

#[cfg(test)]
impl Frames {
    /// A slot that holds just these.
    pub(crate) fn of(messages: &[impl AsRef<[u8]>]) -> Self {
        let mut filler = Filler::new(Slot::new());
        for message in messages {
            assert!(filler.push(message.as_ref()), "a slot has no room for it");
        }
        filler.written(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_while_what_lies_behind_it_is_written() {
        let mut filler = Filler::new(Slot::new());
        assert!(filler.push(b"one"));
        let one = filler.written(0);
        let reader = std::thread::spawn(move || (one.to_vec(), one));
        assert!(filler.push(&[7; 300]));
        let (read, mut one) = reader.join().unwrap();
        assert_eq!(read, b"\x03one");
        let two = filler.written(4);
        assert_eq!((two.len(), &two[..2]), (302, &[0xac, 2][..]));
        assert!(!two.clone().extend_over(&one), "it stands before it");
        assert!(one.extend_over(&two));
        assert_eq!(one.len(), 306);
        assert_eq!(&*one.part(0, 4), b"\x03one");
        assert_eq!(one.part(4, 306).as_ref(), two.as_ref());
    }

    #[test]
    fn nothing_begins_anew_while_a_range_is_left() {
        let mut filler = Filler::new(Slot::new());
        assert!(filler.push(b"a"));
        let range = filler.written(0);
        assert!(!filler.restart());
        assert!(range.into_slot().is_none());
        assert!(filler.restart() && filler.push(b"b"));
        let range = filler.written(0);
        assert!(filler.into_slot().is_none());
        assert_eq!(&*range, b"\x01b");
        assert!(range.into_slot().is_some());
    }

    #[test]
    fn a_slot_takes_what_it_has_room_for() {
        let mut none = Filler::NONE;
        assert!(!none.push(b"a") && !none.restart() && none.written(0).is_empty());
        let mut filler = Filler::new(Slot::new());
        assert!(!filler.push(&vec![0; SLOT_SIZE]));
        assert!(filler.push(&vec![1; LONGEST_MESSAGE]));
        assert_eq!(filler.room(), MAX_PREFIX_LEN - 3);
        assert!(!filler.push(&[2; 7]) && filler.push(&[3; 6]));
        assert_eq!(filler.room(), 0);
    }
}
