//! Where the words and the slots of an arena lie, and what the words mean.
//! Values.

use crate::num::to_u64;

/// How much a slot holds.
pub(crate) const SLOT_SIZE: usize = 128 * 1024;

/// The header has a page of its own, so that what is read of it is one.
const HEADER_SIZE: usize = 4096;

/// A record is two words: its [`Place`], and its [`Extent`].
const RECORD_SIZE: usize = 16;

/// The words of a slot have cache lines of their own: a thread stores one of them for each message.
const SLOT_WORDS_SIZE: usize = 128;

/// Slots begin at pages, so that memory which was never used takes none.
const PAGE: usize = 4096;

/// What an arena begins with: its name, and the version of all this.
const MAGIC: u64 = u64::from_le_bytes(*b"uds-ipc\x01");

/// The most records and slots that there may be: more than any queue needs, and few enough to be
/// read by a reader that trusts nobody.
pub(crate) const MOST_RECORDS: u32 = 1 << 20;
pub(crate) const MOST_SLOTS: u32 = 1 << 17;

/// How many records and slots an arena has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) records: u32,
    pub(crate) slots: u32,
}

/// The header's words, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderWord {
    Magic,
    /// The number of records, and 32 bits higher that of slots.
    Counts,
    /// 1 once nothing is left that anybody should deliver.
    Ended,
    /// The number of the connection that was made last, before its first byte.
    Connection,
    /// Likewise, once the kernel has taken its first byte.
    Live,
    /// All records and slots in use have lower indices.
    RecordsUsed,
    SlotsUsed,
    /// The number of the first message that nobody has, when a connection was lost last.
    First,
    /// The number of that connection, once that is said.
    Lost,
}

/// How many header words there are.
pub(crate) const HEADER_WORDS: usize = 9;

impl HeaderWord {
    /// Where it lies.
    pub(crate) fn offset(self) -> usize {
        let index = match self {
            Self::Magic => 0,
            Self::Counts => 1,
            Self::Ended => 2,
            Self::Connection => 3,
            Self::Live => 4,
            Self::RecordsUsed => 5,
            Self::SlotsUsed => 6,
            Self::First => 7,
            Self::Lost => 8,
        };
        index * size_of::<u64>()
    }
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    pub(crate) has_ended: bool,
    pub(crate) connection: u64,
    pub(crate) live: u64,
    pub(crate) records_used: u32,
    pub(crate) slots_used: u32,
    pub(crate) first: u64,
    pub(crate) lost: u64,
}

impl Header {
    /// `None` if these are not the words of an arena of `len` bytes.
    pub(crate) fn parse(words: &[u64; HEADER_WORDS], len: u64) -> Option<Self> {
        let [
            magic,
            counts,
            ended,
            connection,
            live,
            records_used,
            slots_used,
            first,
            lost,
        ] = *words;
        let layout = Layout::of_word(counts).filter(|_| magic == MAGIC)?;
        (to_u64(layout.size()?) == len).then(|| Self {
            layout,
            has_ended: ended != 0,
            connection,
            live,
            records_used: clamp(records_used, layout.records),
            slots_used: clamp(slots_used, layout.slots),
            first,
            lost,
        })
    }

    /// A reader may have yet to read the last connection, and get the memory with it: the writer
    /// had sent on it, and had not seen its end.
    pub(crate) fn may_be_read(&self) -> bool {
        !self.has_ended && self.live > 0 && self.live == self.connection && self.lost != self.live
    }

    /// The number of the first message that is to be sent by who knows of no reader: nothing that
    /// has a number, where some of it may have come and none may come twice.
    pub(crate) fn first_to_send(&self, may_repeat: bool) -> u64 {
        let is_known = self.lost == self.connection;
        if is_known || may_repeat {
            self.first
        } else {
            u64::MAX
        }
    }
}

fn clamp(count: u64, most: u32) -> u32 {
    u32::try_from(count).map_or(most, |count| count.min(most))
}

impl Layout {
    /// The first words of an arena.
    pub(crate) fn first_words(self) -> [(HeaderWord, u64); 2] {
        let counts = u64::from(self.records) | u64::from(self.slots) << 32;
        [(HeaderWord::Counts, counts), (HeaderWord::Magic, MAGIC)]
    }

    fn of_word(counts: u64) -> Option<Self> {
        let half = |shift: u32| u32::try_from(counts >> shift & u64::from(u32::MAX)).ok();
        let layout = Self {
            records: half(0)?,
            slots: half(32)?,
        };
        (layout.records <= MOST_RECORDS && layout.slots <= MOST_SLOTS).then_some(layout)
    }

    pub(crate) fn record_offset(index: u32) -> usize {
        HEADER_SIZE + RECORD_SIZE * to_usize(index)
    }

    pub(crate) fn slot_words_offset(self, index: u32) -> usize {
        let records = Self::record_offset(self.records);
        records.next_multiple_of(PAGE) + SLOT_WORDS_SIZE * to_usize(index)
    }

    pub(crate) fn slot_offset(self, index: u32) -> usize {
        let words = self.slot_words_offset(self.slots);
        words.next_multiple_of(PAGE) + SLOT_SIZE * to_usize(index)
    }

    /// How many bytes it takes. `None` where there are not so many addresses.
    pub(crate) fn size(self) -> Option<usize> {
        let slots = SLOT_SIZE.checked_mul(to_usize(self.slots))?;
        self.slot_offset(0).checked_add(slots)
    }
}

fn to_usize(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The first word of a record: whether it counts, and where its messages stand among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// The peer has nothing of it. What waits comes behind all that is numbered, in this order.
    Waiting(u64),
    /// The number of its first message.
    Numbered(u64),
    /// The message of the record with the index `of` goes on here, for the `nth` time.
    Piece {
        of: u32,
        nth: u32,
    },
}

const KIND_SHIFT: u32 = 62;
const VALUE_MASK: u64 = (1 << KIND_SHIFT) - 1;
const NTH_BITS: u32 = 24;

impl Place {
    pub(crate) fn pack(self) -> u64 {
        let (kind, value) = match self {
            Self::Free => (0, 0),
            Self::Waiting(order) => (1, order),
            Self::Numbered(number) => (2, number),
            Self::Piece { of, nth } => (3, u64::from(of) << NTH_BITS | u64::from(nth)),
        };
        kind << KIND_SHIFT | value & VALUE_MASK
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let value = word & VALUE_MASK;
        match word >> KIND_SHIFT {
            1 => Self::Waiting(value),
            2 => Self::Numbered(value),
            3 => Self::Piece {
                of: u32::try_from(value >> NTH_BITS).unwrap_or(u32::MAX),
                nth: u32::try_from(value & ((1 << NTH_BITS) - 1)).unwrap_or(u32::MAX),
            },
            _ => Self::Free,
        }
    }
}

/// The second word of a record: a part of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) slot: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

const OFFSET_BITS: u32 = 20;

impl Extent {
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.slot) << (2 * OFFSET_BITS)
            | u64::from(self.from) << OFFSET_BITS
            | u64::from(self.to)
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let part = |shift: u32, bits: u32| {
            u32::try_from(word >> shift & ((1 << bits) - 1)).unwrap_or(u32::MAX)
        };
        Self {
            slot: part(2 * OFFSET_BITS, 24),
            from: part(OFFSET_BITS, OFFSET_BITS),
            to: part(0, OFFSET_BITS),
        }
    }

    /// Whether it lies in a slot of the first `slots`.
    pub(crate) fn is_within(self, slots: u32) -> bool {
        self.slot < slots && self.from <= self.to && to_usize(self.to) <= SLOT_SIZE
    }
}

/// The words of a slot, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotWord {
    /// How many bytes of frames are whole.
    Published,
    /// Up to where records have covered them; and whether what comes behind that goes before what
    /// lies in the slots of other threads.
    Covered,
}

impl SlotWord {
    /// Where it lies among the words of its slot.
    pub(crate) fn offset(self) -> usize {
        match self {
            Self::Published => 0,
            Self::Covered => size_of::<u64>(),
        }
    }
}

/// The second word of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) to: u64,
    /// The slot is that of the open block.
    pub(crate) is_open: bool,
}

impl Covered {
    pub(crate) fn pack(self) -> u64 {
        self.to | u64::from(self.is_open) << 63
    }

    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            to: word & (u64::MAX >> 1),
            is_open: word >> 63 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_lies_in_the_way_of_anything_else() {
        let layout = Layout {
            records: 1_000,
            slots: 33,
        };
        let header = HEADER_WORDS * size_of::<u64>();
        assert!(Layout::record_offset(0) >= header);
        assert!(layout.slot_words_offset(0) >= Layout::record_offset(layout.records));
        assert!(layout.slot_offset(0) >= layout.slot_words_offset(layout.slots));
        assert_eq!(layout.slot_offset(33), layout.size().unwrap());
        let offsets = [
            HeaderWord::Magic,
            HeaderWord::Counts,
            HeaderWord::Ended,
            HeaderWord::Connection,
            HeaderWord::Live,
            HeaderWord::RecordsUsed,
            HeaderWord::SlotsUsed,
            HeaderWord::First,
            HeaderWord::Lost,
        ]
        .map(|word| word.offset() / 8);
        assert_eq!(offsets.to_vec(), (0..HEADER_WORDS).collect::<Vec<_>>());
    }

    #[test]
    fn a_header_is_taken_for_what_it_says() {
        let layout = Layout {
            records: 7,
            slots: 3,
        };
        let mut words = [0; HEADER_WORDS];
        for (word, value) in layout.first_words() {
            words[word.offset() / 8] = value;
        }
        words[HeaderWord::RecordsUsed.offset() / 8] = u64::MAX;
        words[HeaderWord::SlotsUsed.offset() / 8] = 2;
        let len = to_u64(layout.size().unwrap());
        let header = Header::parse(&words, len).unwrap();
        assert_eq!((header.layout, header.has_ended), (layout, false));
        assert_eq!((header.records_used, header.slots_used), (7, 2));
        assert_eq!(Header::parse(&words, len + 1), None);
        words[0] += 1;
        assert_eq!(Header::parse(&words, len), None, "another version");
    }

    proptest! {
        #[test]
        fn words_say_what_was_put_into_them(
            number in 0..VALUE_MASK,
            of in 0..MOST_RECORDS,
            nth in 0u32..1 << NTH_BITS,
            slot in 0..MOST_SLOTS,
            from in 0u32..=131_072,
            to in 0u32..=131_072,
            is_open: bool,
            word: u64,
        ) {
            for place in [
                Place::Free,
                Place::Waiting(number),
                Place::Numbered(number),
                Place::Piece { of, nth },
            ] {
                prop_assert_eq!(Place::unpack(place.pack()), place);
            }
            let extent = Extent { slot, from, to };
            prop_assert_eq!(Extent::unpack(extent.pack()), extent);
            let covered = Covered { to: u64::from(to), is_open };
            prop_assert_eq!(Covered::unpack(covered.pack()), covered);
            // Whatever is there is taken for something.
            let _ = (Place::unpack(word), Covered::unpack(word));
            let _ = Extent::unpack(word).is_within(MOST_SLOTS);
        }
    }
}
