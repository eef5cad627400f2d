//! Which process this is: a child made by `fork` is another one than that in which an object was
//! made.
//! Unsafe code: `pthread_atfork(3)` has the C library tell the child. To ask for the process number
//! instead is a system call, which costs more than to send a message.

#![expect(unsafe_code, reason = "nobody else tells a child that it is one")]

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// How many forks lie between the first process and this one. In a cache line of its own, since
/// each send reads it.
static GENERATION: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));

/// The process in which an object was made. A child that was made by `fork` since then has a copy
/// of the object, and of its locks as they were at that moment, but none of its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HomeProcess {
    /// How many forks lie between the first process and that one.
    Generation(u64),
    /// Where the C library does not tell of forks: the process number.
    Number(u32),
}

impl HomeProcess {
    pub(crate) fn this() -> Self {
        if is_told() {
            Self::Generation(generation())
        } else {
            Self::Number(process::id())
        }
    }

    /// Whether this process is another one: a child, or a child of one.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        match self {
            Self::Generation(then) => then != generation(),
            Self::Number(number) => number != process::id(),
        }
    }
}

/// How many forks lie between the first process and this one.
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether the C library tells of forks. It is asked to once: what it knows, it still knows in a
/// child.
fn is_told() -> bool {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    // Two threads may ask at once: then each fork counts twice, which does no harm. A lock could be
    // held by the other one when it forks.
    if !IS_TOLD.load(Ordering::Relaxed) {
        IS_TOLD.store(ask_to_be_told(), Ordering::Relaxed);
    }
    IS_TOLD.load(Ordering::Relaxed)
}

#[cfg(not(miri))]
fn ask_to_be_told() -> bool {
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function is there as long as the program, and only adds to a number: that may be
    // done in a child of a process with many threads.
    unsafe { nix::libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

#[cfg(miri)]
fn ask_to_be_told() -> bool {
    false
}
