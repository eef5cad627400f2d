//! Which process this is: a child made by `fork` is another one than that in which an object was
//! made.
//! Unsafe code: `pthread_atfork(3)` has the C library tell the child. To ask for the process number
//! instead is a system call, which costs more than to send a message.

#![cfg_attr(
    all(unix, not(miri)),
    expect(unsafe_code, reason = "nobody else tells a child that it is one")
)]

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// How many forks lie between the first process and this one. In a cache line of its own, since
/// each send reads it.
static GENERATION: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));

/// The process in which an object was made. A child that was made by `fork` since then has a copy
/// of the object, and of its locks as they were at that moment, but none of its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HomeProcess {
    generation: u64,
    number: u32,
}

impl HomeProcess {
    pub(crate) fn this() -> Self {
        ask_to_be_told();
        Self {
            generation: generation(),
            number: process::id(),
        }
    }

    /// Whether this process is another one, as far as the C library has told: a child that was made
    /// by `fork`. Costs nothing.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        self.generation != generation()
    }

    /// Whether this process is another one, however it was made: it may have been by `_Fork`, or by
    /// `clone`. Costs a system call.
    pub(crate) fn is_elsewhere_for_certain(self) -> bool {
        self.is_elsewhere() || self.number != process::id()
    }
}

/// How many forks lie between the first process and this one.
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has the C library tell of forks: once, for it still knows in a child. Where that fails, for lack
/// of memory, it is tried again for the next object.
fn ask_to_be_told() {
    static IS_ASKED: AtomicBool = AtomicBool::new(false);
    // Two threads may ask at once: then each fork counts twice, which does no harm. A lock could be
    // held by the other one when it forks.
    if !IS_ASKED.load(Ordering::Relaxed) {
        IS_ASKED.store(ask(), Ordering::Relaxed);
    }
}

#[cfg(all(unix, not(miri)))]
fn ask() -> bool {
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function is there as long as the program, and only adds to a number: that may be
    // done in a child of a process with many threads.
    unsafe { nix::libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

/// Nothing forks elsewhere, and Miri knows no fork.
#[cfg(not(all(unix, not(miri))))]
fn ask() -> bool {
    true
}
