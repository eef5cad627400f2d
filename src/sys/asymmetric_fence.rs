//! Two memory fences that work together: a light one that costs nothing, for what happens all the
//! time, and a heavy one that pays for both.
//!
//! A thread that stores, passes [`light`] and loads, and another thread that does likewise with
//! [`heavy`], never both miss the other's store.

use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

use crossbeam_utils::CachePadded;

use super::platform::fence as kernel;
use crate::atomics::fence;

/// How the two work together now. In a cache line of its own, since each send reads it.
static STATE: CachePadded<AtomicU8> = CachePadded::new(AtomicU8::new(REAL));

/// Light fences are real ones.
const REAL: u8 = 0;

/// The kernel makes all threads of the process pass a fence on request.
const ON_REQUEST: u8 = 1;

/// The kernel has just begun to refuse that: the last light fences may not have been real ones.
const REFUSED: u8 = 2;

/// The kernel refused long ago, and is not asked again.
const REAL_FOR_GOOD: u8 = 3;

/// Asks the kernel for that service, once for the whole process; takes some milliseconds the first
/// time.
pub(crate) fn prepare() {
    // Each time: it is no work the second time, and what a forked child inherits is not documented.
    if kernel::register() {
        let _ = STATE.compare_exchange(REAL, ON_REQUEST, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// The side that must be fast: only the compiler is kept from changing the order, if the kernel
/// sees to the processor's.
#[inline]
pub(crate) fn light() {
    if STATE.load(Ordering::Acquire) == ON_REQUEST {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The side that can wait, some microseconds.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    fence_all_threads();
    fence(Ordering::SeqCst);
}

fn fence_all_threads() {
    match STATE.load(Ordering::SeqCst) {
        ON_REQUEST if kernel::fence_all_threads() => {}
        // A filter of system calls that came later. A store before a light fence that was none has
        // long been seen after this.
        ON_REQUEST | REFUSED => {
            STATE.store(REFUSED, Ordering::SeqCst);
            wait_for_stores();
            STATE.store(REAL_FOR_GOOD, Ordering::SeqCst);
        }
        _ => {}
    }
}

/// Stores reach the other processors within a microsecond.
#[expect(
    clippy::disallowed_methods,
    reason = "it happens once, and nothing tells when a store is seen"
)]
fn wait_for_stores() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    const ROUNDS: usize = 20_000;

    /// In a cache line of its own.
    #[derive(Default)]
    #[repr(align(128))]
    struct Apart(AtomicUsize);

    /// Waits until both have come this far. It spins, so that both go on at the same moment; and
    /// yields, for machines with one processor.
    fn meet(met: &AtomicUsize, round: usize) {
        met.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while met.load(Ordering::SeqCst) < 2 * round {
            spins += 1;
            if spins % 1000 == 0 {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn of_two_that_store_and_then_look_one_at_least_sees_the_other() {
        prepare();
        let (fast, slow, met, seen) = (
            Apart::default(),
            Apart::default(),
            Apart::default(),
            Apart::default(),
        );
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    meet(&met.0, 2 * round - 1);
                    fast.0.store(round, Ordering::Release);
                    light();
                    seen.0
                        .store(slow.0.load(Ordering::Relaxed), Ordering::Relaxed);
                    meet(&met.0, 2 * round);
                }
            });
            for round in 1..=ROUNDS {
                meet(&met.0, 2 * round - 1);
                slow.0.store(round, Ordering::SeqCst);
                heavy();
                let seen_by_slow = fast.0.load(Ordering::Acquire);
                meet(&met.0, 2 * round);
                assert!(
                    seen_by_slow == round || seen.0.load(Ordering::Relaxed) == round,
                    "both missed round {round}"
                );
            }
        });
    }
}
