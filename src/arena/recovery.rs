//! What of an arena is still to be delivered once its writer is dead, and in which order.
//! Pure: no I/O, no clock. The words may say anything: whoever made them is not trusted.

use std::collections::HashMap;

use crate::arena::layout::{Covered, Extent, Layout, Place};

/// A part of a slot to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) extent: Extent,
    /// How many messages at its beginning the reader has already.
    pub(crate) skip: u64,
    /// The message that it begins with goes on in so many of the runs that follow.
    pub(crate) pieces: usize,
}

/// What is found, before it is put in order.
#[derive(Debug)]
pub(crate) struct Remains {
    layout: Layout,
    /// The reader has all messages with lower numbers.
    received: u64,
    numbered: Vec<(u64, Extent, u32)>,
    waiting: Vec<(u64, Extent, u32)>,
    /// The further extents of messages: the index of a message's record, the piece's number.
    pieces: Vec<(u32, u32, Extent)>,
    slots: Vec<(u32, u64, Covered)>,
}

impl Remains {
    pub(crate) fn new(layout: Layout, received: u64) -> Self {
        Self {
            layout,
            received,
            numbered: Vec::new(),
            waiting: Vec::new(),
            pieces: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Takes the two words of a record.
    pub(crate) fn add_record(&mut self, index: u32, place: u64, extent: u64) {
        let (place, extent) = (Place::unpack(place), Extent::unpack(extent));
        if !extent.is_within(self.layout.slots) {
            return;
        }
        match place {
            Place::Free => {}
            Place::Waiting(order) => self.waiting.push((order, extent, index)),
            Place::Numbered(number) => self.numbered.push((number, extent, index)),
            Place::Piece { of, nth } => self.pieces.push((of, nth, extent)),
        }
    }

    /// Takes the two words of a slot.
    pub(crate) fn add_slot(&mut self, index: u32, published: u64, covered: u64) {
        let covered = Covered::unpack(covered);
        if index < self.layout.slots && published > 0 {
            self.slots.push((index, published, covered));
        }
    }

    /// What is to be delivered, one after the other.
    pub(crate) fn into_runs(mut self) -> Vec<Run> {
        self.numbered.sort_unstable_by_key(key);
        self.waiting.sort_unstable_by_key(key);
        self.pieces
            .sort_unstable_by_key(|(of, nth, extent)| (*of, *nth, extent.slot));
        let mut runs = Vec::new();
        // Up to where each slot has been delivered. Where two records cover the same bytes, the
        // first brings all of them.
        let mut ends: HashMap<u32, u32> = HashMap::new();
        let numbered = self.numbered.iter().map(|(number, extent, index)| {
            let skip = self.received.saturating_sub(*number);
            (*extent, *index, skip)
        });
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|(_, extent, index)| (*extent, *index, 0));
        for (mut extent, index, skip) in numbered.chain(waiting) {
            let end = ends.entry(extent.slot).or_default();
            extent.from = extent.from.max(*end);
            if extent.from >= extent.to {
                continue;
            }
            *end = extent.to;
            let head = runs.len();
            runs.push(Run {
                extent,
                skip,
                pieces: 0,
            });
            let first = self.pieces.partition_point(|(of, ..)| *of < index);
            let pieces = self.pieces.get(first..).unwrap_or_default();
            let pieces = pieces.iter().take_while(|(of, ..)| *of == index);
            runs.extend(pieces.map(|(_, _, extent)| Run {
                extent: *extent,
                skip: 0,
                pieces: 0,
            }));
            let pieces = runs.len() - head - 1;
            if let Some(head) = runs.get_mut(head) {
                head.pieces = pieces;
            }
        }
        // A thread's messages that no record covers come behind its others. What went into the open
        // block comes before what its thread put into its lane since then.
        self.slots
            .sort_unstable_by_key(|(index, _, covered)| (!covered.is_open, *index));
        for (slot, published, covered) in self.slots {
            let end = u64::from(ends.get(&slot).copied().unwrap_or_default());
            let (Ok(from), Ok(to)) = (u32::try_from(covered.to.max(end)), u32::try_from(published))
            else {
                continue;
            };
            let extent = Extent { slot, from, to };
            if from < to && extent.is_within(self.layout.slots) {
                runs.push(Run {
                    extent,
                    skip: 0,
                    pieces: 0,
                });
            }
        }
        runs
    }
}

fn key((at, extent, index): &(u64, Extent, u32)) -> (u64, u32, u32) {
    (*at, extent.from, *index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAYOUT: Layout = Layout {
        records: 100,
        slots: 4,
    };

    fn extent(slot: u32, from: u32, to: u32) -> Extent {
        Extent { slot, from, to }
    }

    fn run(slot: u32, from: u32, to: u32, skip: u64) -> Run {
        Run {
            extent: extent(slot, from, to),
            skip,
            pieces: 0,
        }
    }

    fn runs(records: &[(Place, Extent)], slots: &[(u64, Covered)], received: u64) -> Vec<Run> {
        let mut remains = Remains::new(LAYOUT, received);
        for (index, (place, extent)) in (0..).zip(records) {
            remains.add_record(index, place.pack(), extent.pack());
        }
        for (index, (published, covered)) in (0..).zip(slots) {
            remains.add_slot(index, *published, covered.pack());
        }
        remains.into_runs()
    }

    #[test]
    fn what_is_numbered_comes_first_and_what_no_record_covers_last() {
        let slots = [
            (
                90,
                Covered {
                    to: 60,
                    is_open: false,
                },
            ),
            (
                70,
                Covered {
                    to: 50,
                    is_open: true,
                },
            ),
            (
                40,
                Covered {
                    to: 40,
                    is_open: false,
                },
            ),
        ];
        let records = [
            (Place::Waiting(8), extent(1, 0, 50)),
            (Place::Numbered(5), extent(0, 30, 60)),
            (Place::Free, extent(2, 0, 40)),
            (Place::Waiting(2), extent(3, 7, 9)),
            (Place::Numbered(3), extent(0, 0, 30)),
        ];
        assert_eq!(
            runs(&records, &slots, 4),
            [
                run(0, 0, 30, 1),
                run(0, 30, 60, 0),
                run(3, 7, 9, 0),
                run(1, 0, 50, 0),
                run(1, 50, 70, 0),
                run(0, 60, 90, 0),
            ]
        );
    }

    #[test]
    fn what_two_records_cover_comes_once() {
        // A part was split off; a lane was just taken; a slot has just begun anew.
        let slots = [
            (
                50,
                Covered {
                    to: 20,
                    is_open: false,
                },
            ),
            (
                0,
                Covered {
                    to: 80,
                    is_open: false,
                },
            ),
        ];
        let records = [
            (Place::Waiting(9), extent(0, 10, 40)),
            (Place::Numbered(7), extent(0, 0, 40)),
        ];
        assert_eq!(
            runs(&records, &slots, 0),
            [run(0, 0, 40, 0), run(0, 40, 50, 0)]
        );
    }

    #[test]
    fn a_long_message_comes_in_its_pieces_or_not_at_all() {
        let records = [
            (Place::Piece { of: 2, nth: 2 }, extent(3, 0, 5)),
            (Place::Piece { of: 2, nth: 1 }, extent(1, 0, 9)),
            (Place::Waiting(0), extent(2, 0, 9)),
            (Place::Piece { of: 9, nth: 1 }, extent(0, 0, 9)),
        ];
        let head = Run {
            pieces: 2,
            ..run(2, 0, 9, 0)
        };
        assert_eq!(
            runs(&records, &[], 0),
            [head, run(1, 0, 9, 0), run(3, 0, 5, 0)]
        );
    }

    proptest! {
        /// Whatever the words say, nothing lies outside of the slots, and none comes twice.
        #[test]
        fn nonsense_brings_no_more_than_the_slots_hold(
            records in prop::collection::vec(
                (any::<u64>(), 0u32..6, 0u32..140_000, 0u32..140_000),
                0..60,
            ),
            slots in prop::collection::vec((0u64..200_000, any::<u64>()), 0..6),
            received: u64,
        ) {
            let mut remains = Remains::new(LAYOUT, received);
            for (index, (place, slot, from, to)) in (0..).zip(&records) {
                remains.add_record(index, *place, extent(*slot, *from, *to).pack());
            }
            for (index, (published, covered)) in (0..).zip(&slots) {
                remains.add_slot(index, *published, *covered);
            }
            let runs = remains.into_runs();
            prop_assert!(runs.iter().all(|run| run.extent.is_within(LAYOUT.slots)));
            prop_assert!(runs.len() <= records.len() + slots.len());
        }
    }
}
