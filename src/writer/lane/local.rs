//! The current thread's lane of each writer that it uses: a thread-local list.
//! Unsafe code: the lane that was used last is
//! reached by a pointer, since whatever is dropped with its thread has to be asked for its state at
//! each use, which costs as much as the rest of a send.

#![expect(
    unsafe_code,
    reason = "a third of what a short message costs its sender"
)]

use std::cell::{Cell, RefCell};
use std::ptr;

use crate::reentry::Scope;
use crate::sys::fork;
use crate::writer::lane::{LaneSender, Pushed};

thread_local! {
    /// The lane that was used last: it stands in `LANES`, where nothing else holds it meanwhile.
    static LAST: Cell<Last> = const { Cell::new(Last::NONE) };

    static LANES: RefCell<Lanes> = const { RefCell::new(Lanes(Vec::new())) };
}

#[derive(Clone, Copy)]
struct Last {
    /// Of the writer, as `key` makes it; 0 for none.
    key: u64,
    producer: *mut LaneSender,
}

/// The writer's number, together with this process's: in a child made by `fork` the lane that was
/// used last in the parent is nobody's.
#[inline]
fn key(writer: Scope) -> u64 {
    writer.number() | fork::generation() << 40
}

impl Last {
    const NONE: Self = Self {
        key: 0,
        producer: ptr::null_mut(),
    };
}

/// Boxed, so that they stay where they are.
#[expect(clippy::vec_box, reason = "there are pointers to them")]
struct Lanes(Vec<Box<Local>>);

struct Local {
    writer: Scope,
    producer: Option<LaneSender>,
}

impl Drop for Lanes {
    fn drop(&mut self) {
        LAST.set(Last::NONE);
    }
}

/// Puts `message` into the current thread's lane of a writer. False when it must be sent another
/// way.
#[inline]
pub(crate) fn push(writer: Scope, message: &[u8]) -> bool {
    let last = LAST.get();
    if last.key != key(writer) {
        return false;
    }
    // SAFETY: it lies in a box in this thread's `LANES`, from where it is not taken without `LAST`
    // having been cleared before; and nothing but this function uses it until then, which calls
    // nobody that could call it.
    let producer = unsafe { &mut *last.producer };
    producer.push(message) == Pushed::Accepted
}

/// Runs `act` with the thread's lane of a writer, which `act` may take or give. `None` when the
/// thread has no lanes any more, since it is about to end.
#[cold]
pub(crate) fn with<R>(writer: Scope, act: impl FnOnce(&mut Option<LaneSender>) -> R) -> Option<R> {
    LANES
        .try_with(|lanes| {
            let Lanes(lanes) = &mut *lanes.try_borrow_mut().ok()?;
            LAST.set(Last::NONE);
            let index = lanes
                .iter()
                .position(|local| local.writer == writer)
                .unwrap_or_else(|| {
                    // Here, where it is seldom: the writers that are gone have no use for their
                    // lanes.
                    lanes.retain(|local| {
                        local
                            .producer
                            .as_ref()
                            .is_some_and(|producer| !producer.is_alone())
                    });
                    lanes.push(Box::new(Local {
                        writer,
                        producer: None,
                    }));
                    lanes.len() - 1
                });
            let local = lanes.get_mut(index)?;
            let result = act(&mut local.producer);
            if let Some(producer) = &mut local.producer {
                LAST.set(Last {
                    key: key(writer),
                    producer,
                });
            }
            Some(result)
        })
        .ok()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::lane::LaneReceiver;
    use crate::writer::slot::Slot;

    fn taken(lane: &mut LaneReceiver) -> Vec<u8> {
        lane.take()
            .map_or_else(Vec::new, |(frames, _)| frames.to_vec())
    }

    /// Gives the thread a lane of `writer` with room for two short messages.
    fn open(writer: Scope) -> LaneReceiver {
        let (mut collector, _) = LaneReceiver::new();
        with(writer, |producer| {
            let mut given = collector.give_to_thread().unwrap();
            let _ = collector.replace(&mut given, Slot::new());
            collector.lease(&mut given, 64, 2);
            *producer = Some(given);
        })
        .unwrap();
        collector
    }

    /// The memory that the pointer leads to moves, goes, and ends with its thread: for Miri.
    #[test]
    fn a_thread_has_a_lane_of_each_writer_while_others_come_and_go() {
        std::thread::spawn(|| {
            let writers = [Scope::new(), Scope::new()];
            assert!(!push(writers[0], b"before there is a lane"));
            let mut lanes = writers.map(open);
            // Each is the last in its turn, as after a send by the long way.
            for message in ["a", "b"] {
                for writer in writers {
                    assert_eq!(with(writer, |producer| producer.is_some()), Some(true));
                    assert!(push(writer, message.as_bytes()));
                }
            }
            assert!(!push(writers[1], b"no lease is left"));
            assert!(!push(writers[0], b"another one was the last"));
            for lane in &mut lanes {
                assert_eq!(taken(lane), b"\x01a\x01b");
            }
            // Of a writer that is gone the lane goes when the next one comes, also when that has
            // none yet.
            let [first, second] = lanes;
            assert_eq!(with(writers[0], |producer| producer.is_some()), Some(true));
            drop(first);
            let third = Scope::new();
            assert_eq!(with(third, |producer| producer.is_some()), Some(false));
            assert!(!push(writers[0], b"gone"));
            let mut lane = open(third);
            assert!(push(third, b"c"));
            assert_eq!(taken(&mut lane), b"\x01c");
            assert!(!push(third, &[0; 62]), "it does not fit");
            assert_eq!(second.fresh().len, 0);
        })
        .join()
        .unwrap();
    }

    /// What a thread leaves behind is dropped in an order that nobody promises.
    #[test]
    fn what_is_dropped_after_the_lanes_of_its_thread_finds_none() {
        struct Sends(Cell<Option<Scope>>);
        impl Drop for Sends {
            fn drop(&mut self) {
                if let Some(writer) = self.0.get() {
                    let is_pushed = push(writer, b"a");
                    let has_lanes = with(writer, |_| ()).is_some();
                    assert_eq!(is_pushed, has_lanes);
                }
            }
        }
        thread_local! {
            static EARLIER: Sends = const { Sends(Cell::new(None)) };
            static LATER: Sends = const { Sends(Cell::new(None)) };
        }
        std::thread::spawn(|| {
            let writer = Scope::new();
            EARLIER.with(|sends| sends.0.set(Some(writer)));
            let lane = open(writer);
            LATER.with(|sends| sends.0.set(Some(writer)));
            drop(lane);
        })
        .join()
        .unwrap();
    }
}
