//! Which lane is the current thread's, of each writer that it uses.
//! Only remembers: what a lane is for stands elsewhere. Unsafe code: the lane that was used last is
//! reached by a pointer, since whatever is dropped with its thread has to be asked for its state at
//! each use, which costs as much as the rest of a send.

#![expect(
    unsafe_code,
    reason = "a third of what a short message costs its sender"
)]

use std::cell::{Cell, RefCell};
use std::ptr;

use super::lane::{Producer, Pushed};
use crate::reentry::Scope;

thread_local! {
    /// The lane that was used last: it stands in `LANES`, where nobody holds it meanwhile.
    static LAST: Cell<Last> = const { Cell::new(Last::NONE) };

    static LANES: RefCell<Lanes> = const { RefCell::new(Lanes(Vec::new())) };
}

#[derive(Clone, Copy)]
struct Last {
    writer: Option<Scope>,
    producer: *mut Producer,
}

impl Last {
    const NONE: Self = Self {
        writer: None,
        producer: ptr::null_mut(),
    };
}

/// Boxed, so that they stay where they are.
#[expect(clippy::vec_box, reason = "there are pointers to them")]
struct Lanes(Vec<Box<Local>>);

struct Local {
    writer: Scope,
    producer: Option<Producer>,
}

impl Drop for Lanes {
    fn drop(&mut self) {
        LAST.set(Last::NONE);
    }
}

/// Puts `message` into the current thread's lane of a writer. False when it must be sent another
/// way.
#[inline]
pub(super) fn push(writer: Scope, message: &[u8]) -> bool {
    let last = LAST.get();
    if last.writer != Some(writer) {
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
pub(super) fn with<R>(writer: Scope, act: impl FnOnce(&mut Option<Producer>) -> R) -> Option<R> {
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
                    writer: Some(writer),
                    producer,
                });
            }
            Some(result)
        })
        .ok()
        .flatten()
}
