//! Two memory barriers that work together: one that costs nothing, for what happens all the time, and one that pays for both.
//! A thread that stores, passes `light` and loads, and another that does likewise with `heavy`, never both miss the other's store.

use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

/// Whether the kernel makes all threads of the process pass a barrier on request.
static ON_REQUEST: AtomicBool = AtomicBool::new(false);

/// Asks the kernel for that service, once for the whole process; takes some milliseconds the first time. See membarrier(2). Without it, light
/// barriers are real ones.
#[cfg(target_os = "linux")]
pub(crate) fn prepare() {
    use rustix::thread::{MembarrierCommand, membarrier};

    if !ON_REQUEST.load(Ordering::Relaxed) && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    {
        ON_REQUEST.store(true, Ordering::SeqCst);
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare() {}

/// The side that must be fast: only the compiler is kept from changing the order, if the kernel sees to the processor's.
#[inline]
pub(crate) fn light() {
    if ON_REQUEST.load(Ordering::Acquire) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The side that can wait, some microseconds.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    interrupt_all();
    fence(Ordering::SeqCst);
}

#[cfg(target_os = "linux")]
fn interrupt_all() {
    use rustix::thread::{MembarrierCommand, membarrier};

    if !ON_REQUEST.load(Ordering::SeqCst) {
        return;
    }
    if membarrier(MembarrierCommand::PrivateExpedited).is_err() {
        // A filter of system calls that came later. Whoever is between its store and its load now is through before this thread runs again.
        ON_REQUEST.store(false, Ordering::SeqCst);
        std::thread::yield_now();
    }
}

#[cfg(not(target_os = "linux"))]
fn interrupt_all() {}

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

    /// Waits until both have come this far. It spins, so that both go on at the same moment; and yields, for machines with one processor.
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
        let (fast, slow, met, seen) =
            (Apart::default(), Apart::default(), Apart::default(), Apart::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    meet(&met.0, 2 * round - 1);
                    fast.0.store(round, Ordering::Release);
                    light();
                    seen.0.store(slow.0.load(Ordering::Relaxed), Ordering::Relaxed);
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
