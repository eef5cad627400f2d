//! How far the processors are from each other while it is measured: how long a cache line takes
//! from one to another and back. A machine may put its two processors here or there, and that
//! changes speeds by two.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::clock;
use super::numbers::float;

/// How long it is tried.
const TIME: Duration = Duration::from_millis(2);

/// There and back so often is one try. The best one counts: in the others something came between.
const EACH: u64 = 50;

/// How often is looked for an answer before the clock is: to read it takes as long as the answer.
const LOOKS: u32 = 1_000;

/// In nanoseconds. `None` where the two never ran at once.
pub(super) fn cache_line() -> Option<f64> {
    let (there, back) = (
        CachePadded::new(AtomicU64::new(0)),
        CachePadded::new(AtomicU64::new(0)),
    );
    let begun = clock::now();
    let is_over = || clock::since(begun) > TIME;
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || {
            let mut seen = 0;
            while seen != u64::MAX {
                let next = there.load(Ordering::Acquire);
                if next == seen {
                    hint::spin_loop();
                } else {
                    seen = next;
                    back.store(next, Ordering::Release);
                }
            }
        });
        if other.is_err() {
            return None;
        }
        let (mut best, mut sent) = (None, 0);
        while !is_over() {
            let start = clock::now();
            for _ in 0..EACH {
                sent += 1;
                there.store(sent, Ordering::Release);
                let mut looks = 0;
                while back.load(Ordering::Acquire) != sent {
                    looks += 1;
                    if looks % LOOKS == 0 && is_over() {
                        break;
                    }
                    hint::spin_loop();
                }
            }
            if !is_over() {
                let took = float(nanoseconds(clock::since(start))) / float(EACH);
                best = Some(best.map_or(took, |best: f64| best.min(took)));
            }
        }
        there.store(u64::MAX, Ordering::Release);
        best
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
