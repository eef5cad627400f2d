//! The memory in which a writer's messages outlive its process, and the words that say where they
//! are. Unsafe code: words and slots are parts of one piece of memory, which whoever recovers it
//! reads as such.

#![expect(
    unsafe_code,
    reason = "the memory is given by the system, and is read by another process"
)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::arena::layout::{
    Covered, Extent, HeaderWord, Layout, MOST_RECORDS, MOST_SLOTS, Place, SLOT_SIZE, SlotWord,
};
use crate::num::to_u64;
use crate::writer::settings::Limits;

/// Memory that stays where it is as long as this lives.
///
/// # Safety
///
/// `start` leads to `len` bytes of zeros, at the start of a page, which nobody else in this process
/// uses.
pub(crate) unsafe trait Region: Send + Sync {
    fn start(&self) -> NonNull<u8>;

    fn len(&self) -> usize;

    /// From now on it may hold other memory. Nobody reads what was written.
    fn give_back(&self);

    /// Whether this is a child made by `fork`, which does not have it.
    fn is_absent(&self) -> bool;
}

/// The words are stored one by one, each by the thread that has the lock around the queue, or the
/// slot. No fence is needed between two of them: who reads them does so after the end of all
/// threads, and has what each has stored, in order.
pub(crate) struct Arena {
    region: Box<dyn Region>,
    layout: Layout,
    free: Mutex<Free>,
    /// There was no slot or record left for something that stands in ordinary memory since then.
    was_exhausted: AtomicBool,
}

/// What is not in use. What was used last is used first: it is the likeliest to be in a cache.
#[derive(Debug, Default)]
struct Free {
    records: Vec<u32>,
    slots: Vec<u32>,
    records_used: u32,
    slots_used: u32,
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

/// How large an arena must be for a queue with these limits: what it may hold, twice, since a slot
/// stays until the last of it is done with; and a slot for each thread. What is never used takes no
/// memory.
pub(crate) fn layout_for(limits: Limits) -> Layout {
    const BESIDE: u64 = 128;
    let bytes = limits.bytes.saturating_mul(2);
    let slots = (bytes / to_u64(SLOT_SIZE)).saturating_add(BESIDE);
    // A message that no slot has room for takes one record for each slot that it lies in.
    let records = limits.messages.saturating_mul(2).saturating_add(slots);
    Layout {
        records: u32::try_from(records).map_or(MOST_RECORDS, |count| count.min(MOST_RECORDS)),
        slots: u32::try_from(slots).map_or(MOST_SLOTS, |count| count.min(MOST_SLOTS)),
    }
}

impl Arena {
    /// `None` where the region is too small for that.
    pub(crate) fn new(region: Box<dyn Region>, layout: Layout) -> Option<Arc<Self>> {
        if layout.size()? > region.len() {
            return None;
        }
        let arena = Self {
            region,
            layout,
            free: Mutex::default(),
            was_exhausted: AtomicBool::new(false),
        };
        for (word, value) in layout.first_words() {
            arena.store_header(word, value);
        }
        Some(Arc::new(arena))
    }

    /// Nothing is left that anybody should deliver.
    pub(crate) fn end(&self) {
        self.store_header(HeaderWord::Ended, 1);
    }

    /// Another arena takes its place: nothing in it is read any more. A thread whose lease was
    /// ended may still write into its slot, and is told then.
    pub(crate) fn retire(&self) {
        self.end();
        self.region.give_back();
    }

    /// Whether something stands in ordinary memory, or has no record.
    pub(crate) fn was_exhausted(&self) -> bool {
        self.was_exhausted.load(Ordering::Relaxed)
    }

    /// What stands in it now is for its reader. From now on nothing of it changes any more.
    pub(crate) fn leave(&self) {
        self.region.give_back();
    }

    /// How many bytes of slots have ever been in use.
    pub(crate) fn touched(&self) -> u64 {
        u64::from(self.free.lock().slots_used) * to_u64(SLOT_SIZE)
    }

    /// A connection is made, and nothing was sent on it.
    pub(crate) fn note_connection(&self, number: u64) {
        self.store_header(HeaderWord::Connection, number);
    }

    /// The kernel has taken the first byte of it.
    pub(crate) fn note_live(&self, number: u64) {
        self.store_header(HeaderWord::Live, number);
    }

    /// It is lost, and nobody has the messages from the number `first` on.
    pub(crate) fn note_lost(&self, number: u64, first: u64) {
        self.store_header(HeaderWord::First, first);
        self.store_header(HeaderWord::Lost, number);
    }

    fn store_header(&self, word: HeaderWord, value: u64) {
        store(self.word(word.offset()), value);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(
            offset + 8 <= self.region.len() && offset % 8 == 0,
            "no word"
        );
        // SAFETY: offsets come from the layout, whose size the region has, and are multiples of
        // eight behind the start of a page. Nothing but atomics is made of the words.
        unsafe { self.region.start().add(offset).cast::<AtomicU64>().as_ref() }
    }

    fn slot_word(&self, slot: u32, word: SlotWord) -> &AtomicU64 {
        self.word(self.layout.slot_words_offset(slot) + word.offset())
    }

    /// A slot that nobody uses.
    pub(crate) fn take_slot(self: &Arc<Self>) -> Option<ArenaSlot> {
        let mut free = self.free.lock();
        let index = match free.slots.pop() {
            Some(index) => index,
            None if free.slots_used == self.layout.slots => {
                self.was_exhausted.store(true, Ordering::Relaxed);
                return None;
            }
            None => {
                let index = free.slots_used;
                free.slots_used += 1;
                self.store_header(HeaderWord::SlotsUsed, free.slots_used.into());
                index
            }
        };
        drop(free);
        Some(ArenaSlot {
            arena: Arc::clone(self),
            index,
        })
    }

    /// A record of a message, or of many, that lie in these extents. From now on it counts. `None`
    /// where there are too many.
    fn add_record(self: &Arc<Self>, place: Place, extents: &[Extent]) -> Option<Record> {
        let (first, more) = extents.split_first()?;
        let mut record = Record {
            arena: Arc::clone(self),
            index: self.take_record()?,
            place: Place::Free,
            extent: *first,
            pieces: Vec::new(),
        };
        for (extent, nth) in more.iter().zip(1..) {
            let (of, piece) = (record.index, self.take_record()?);
            record.pieces.push(piece);
            self.store_record(piece, 1, extent.pack());
            self.store_record(piece, 0, Place::Piece { of, nth }.pack());
        }
        record.set_extent(*first);
        record.set_place(place);
        Some(record)
    }

    fn take_record(&self) -> Option<u32> {
        let mut free = self.free.lock();
        if let Some(index) = free.records.pop() {
            return Some(index);
        }
        if free.records_used == self.layout.records {
            self.was_exhausted.store(true, Ordering::Relaxed);
            return None;
        }
        let index = free.records_used;
        free.records_used += 1;
        self.store_header(HeaderWord::RecordsUsed, free.records_used.into());
        Some(index)
    }

    fn store_record(&self, index: u32, word: usize, value: u64) {
        store(self.word(Layout::record_offset(index) + 8 * word), value);
    }
}

#[inline]
fn store(word: &AtomicU64, value: u64) {
    #[cfg(test)]
    watch::moment();
    word.store(value, Ordering::Release);
    #[cfg(test)]
    watch::stored();
}

/// A slot of an arena that is in use.
pub(crate) struct ArenaSlot {
    arena: Arc<Arena>,
    index: u32,
}

impl ArenaSlot {
    /// Where its bytes begin: `SLOT_SIZE` of them.
    pub(crate) fn start(&self) -> NonNull<u8> {
        let offset = self.arena.layout.slot_offset(self.index);
        // SAFETY: the region is as large as the layout.
        unsafe { self.arena.region.start().add(offset) }
    }

    /// The word that says how far it is published.
    pub(crate) fn published(&self) -> NonNull<AtomicU64> {
        NonNull::from(self.arena.slot_word(self.index, SlotWord::Published))
    }

    /// It is used anew from its start; records covered all that was in it.
    pub(crate) fn begin_anew(&self, is_open: bool) {
        let word = |word| self.arena.slot_word(self.index, word);
        store(word(SlotWord::Published), 0);
        store(word(SlotWord::Covered), Covered { to: 0, is_open }.pack());
    }

    /// Records cover it up to there.
    pub(crate) fn cover(&self, to: usize) {
        let word = self.arena.slot_word(self.index, SlotWord::Covered);
        let before = Covered::unpack(word.load(Ordering::Relaxed));
        let to = to_u64(to);
        store(word, Covered { to, ..before }.pack());
    }

    pub(crate) fn is_in(&self, arena: &Arc<Arena>) -> bool {
        Arc::ptr_eq(&self.arena, arena)
    }

    /// A part of it.
    pub(crate) fn extent(&self, from: usize, to: usize) -> Extent {
        let part = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Extent {
            slot: self.index,
            from: part(from),
            to: part(to),
        }
    }

    /// A record of what lies in these extents of its arena.
    pub(crate) fn add_record(&self, order: u64, extents: &[Extent]) -> Option<Record> {
        self.arena.add_record(Place::Waiting(order), extents)
    }
}

impl Drop for ArenaSlot {
    fn drop(&mut self) {
        // In a child made by `fork` another thread may have had the lock, and hold it for ever.
        if !self.arena.region.is_absent() {
            self.arena.free.lock().slots.push(self.index);
        }
    }
}

/// Stores how far a slot is published.
///
/// # Safety
///
/// The slot is in use.
#[inline]
pub(crate) unsafe fn publish(word: NonNull<AtomicU64>, len: usize) {
    // SAFETY: it lies in a region that its slot keeps.
    store(unsafe { word.as_ref() }, to_u64(len));
}

/// A record that counts until it is dropped.
pub(crate) struct Record {
    arena: Arc<Arena>,
    index: u32,
    place: Place,
    extent: Extent,
    /// The records of the further pieces.
    pieces: Vec<u32>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("place", &self.place)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

impl Record {
    pub(crate) fn is_numbered(&self) -> bool {
        matches!(self.place, Place::Numbered(_))
    }

    /// Its first message has this number, and is about to go out.
    pub(crate) fn number(&mut self, number: u64) {
        self.set_place(Place::Numbered(number));
    }

    /// It has no number any more: the peer has nothing of it.
    pub(crate) fn unnumber(&mut self, order: u64) {
        self.set_place(Place::Waiting(order));
    }

    /// Where it ends in its slot.
    pub(crate) fn ends_at(&self) -> u32 {
        self.extent.to
    }

    /// What stands before `from` is dropped. It must have no number.
    pub(crate) fn begin_at(&mut self, from: u32) {
        debug_assert!(!self.is_numbered(), "its number would be that of another");
        let extent = Extent {
            from,
            ..self.extent
        };
        self.set_extent(extent);
    }

    /// It ends there.
    pub(crate) fn end_at(&mut self, to: u32) {
        let extent = Extent { to, ..self.extent };
        self.set_extent(extent);
    }

    /// Another record of what is in this one from `from` on, which waits. The caller ends or
    /// shortens this one.
    pub(crate) fn rest(&self, from: u32, order: u64) -> Option<Self> {
        self.rest_at(from, Place::Waiting(order))
    }

    /// Likewise, of messages from this number on.
    pub(crate) fn rest_numbered(&self, from: u32, number: u64) -> Option<Self> {
        self.rest_at(from, Place::Numbered(number))
    }

    fn rest_at(&self, from: u32, place: Place) -> Option<Self> {
        let extent = Extent {
            from,
            ..self.extent
        };
        self.arena.add_record(place, &[extent])
    }

    fn set_place(&mut self, place: Place) {
        self.place = place;
        self.arena.store_record(self.index, 0, place.pack());
    }

    fn set_extent(&mut self, extent: Extent) {
        self.extent = extent;
        self.arena.store_record(self.index, 1, extent.pack());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let free = Place::Free.pack();
        self.arena.store_record(self.index, 0, free);
        for piece in &self.pieces {
            self.arena.store_record(*piece, 0, free);
        }
        let mut lists = self.arena.free.lock();
        lists.records.append(&mut self.pieces);
        lists.records.push(self.index);
    }
}

/// Lets a test look at what there is after each store, or end there.
#[cfg(test)]
pub(crate) mod watch {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicU64, Ordering};

    type Look = Rc<dyn Fn()>;

    thread_local! {
        static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
    }

    /// From now on each store of this thread is followed by a look.
    pub(crate) fn set(look: Option<Look>) {
        LOOK.with(|place| *place.borrow_mut() = look);
    }

    /// How many moments the process has left to live; 0 where it lives on.
    static LEFT: AtomicU64 = AtomicU64::new(0);

    /// With so many moments from now the process kills itself. Before each store there is one, and
    /// one behind it, whatever thread it is: what lies between two stores lies between two moments.
    pub(crate) fn die_after(moments: u64) {
        LEFT.store(moments, Ordering::Relaxed);
    }

    pub(super) fn moment() {
        if LEFT.load(Ordering::Relaxed) > 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
            #[cfg(unix)]
            nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        }
    }

    pub(super) fn stored() {
        moment();
        if std::thread::panicking() {
            return;
        }
        // While one looks, a model may let another thread go on.
        let look = LOOK.try_with(|look| look.borrow().clone());
        if let Ok(Some(look)) = look {
            look();
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::alloc::{Layout as Allocation, alloc_zeroed, dealloc};
    use std::ptr::NonNull;
    use std::sync::Arc;

    use super::{Arena, Region};
    use crate::arena::layout::{HEADER_WORDS, Header, Layout, SlotWord};
    use crate::arena::recovery::Remains;

    /// Ordinary memory.
    struct Ordinary {
        start: NonNull<u8>,
        allocation: Allocation,
    }

    // SAFETY: it owns what it points to, and reads and writes nothing itself.
    unsafe impl Send for Ordinary {}
    // SAFETY: likewise.
    unsafe impl Sync for Ordinary {}

    // SAFETY: nobody else knows of it.
    unsafe impl Region for Ordinary {
        fn start(&self) -> NonNull<u8> {
            self.start
        }

        fn len(&self) -> usize {
            self.allocation.size()
        }

        fn give_back(&self) {}

        fn is_absent(&self) -> bool {
            false
        }
    }

    impl Drop for Ordinary {
        fn drop(&mut self) {
            // SAFETY: it was allocated so.
            unsafe { dealloc(self.start.as_ptr(), self.allocation) };
        }
    }

    pub(crate) fn ordinary(layout: Layout) -> Arc<Arena> {
        let size = layout.size().unwrap();
        let allocation = Allocation::from_size_align(size, 4096).unwrap();
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(allocation) }).unwrap();
        Arena::new(Box::new(Ordinary { start, allocation }), layout).unwrap()
    }

    impl Arena {
        pub(crate) fn header(&self) -> Header {
            let words: [u64; HEADER_WORDS] = std::array::from_fn(|at| self.read(8 * at));
            Header::parse(&words, self.layout.size().unwrap().try_into().unwrap()).unwrap()
        }

        fn read(&self, offset: usize) -> u64 {
            self.word(offset).load(std::sync::atomic::Ordering::Acquire)
        }

        /// The frames that a reader would deliver that has all messages with lower numbers, piece
        /// by piece, and how many messages at the beginning of each it would skip.
        pub(crate) fn recover(&self, received: u64) -> Vec<(Vec<u8>, u64)> {
            let (header, layout) = (self.header(), self.layout);
            if header.has_ended {
                return Vec::new();
            }
            let mut remains = Remains::new(layout, received);
            for index in 0..header.records_used {
                let at = Layout::record_offset(index);
                remains.add_record(index, self.read(at), self.read(at + 8));
            }
            for index in 0..header.slots_used {
                let word =
                    |word: SlotWord| self.read(layout.slot_words_offset(index) + word.offset());
                remains.add_slot(index, word(SlotWord::Published), word(SlotWord::Covered));
            }
            let runs = remains.into_runs();
            let mut left = 0;
            let mut found: Vec<(Vec<u8>, u64)> = Vec::new();
            for run in runs {
                let from =
                    layout.slot_offset(run.extent.slot) + usize::try_from(run.extent.from).unwrap();
                let len = usize::try_from(run.extent.to - run.extent.from).unwrap();
                // SAFETY: it lies within the region, and is written: this is the thread that does.
                let bytes = unsafe {
                    std::slice::from_raw_parts(self.region.start().as_ptr().add(from), len)
                };
                if left > 0 {
                    left -= 1;
                    found.last_mut().unwrap().0.extend_from_slice(bytes);
                } else {
                    left = run.pieces;
                    found.push((bytes.to_vec(), run.skip));
                }
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn slots_that_threads_give_back_at_once_are_all_there_again() {
        let layout = Layout {
            records: 1,
            slots: 2,
        };
        let arena = testing::ordinary(layout);
        let times = if cfg!(miri) { 100 } else { 200_000 };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..times).all(|_| arena.take_slot().is_some()));
            }
        });
        let (one, other) = (arena.take_slot(), arena.take_slot());
        assert!(one.is_some() && other.is_some());
    }
}
