//! The clock and the processor time of this process.
//! And waiting for the next moment of a steady pace.

use std::hint;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// From this rate on the wait for the next message spins: a sleep is too coarse.
const SPIN_RATE: u32 = 100_000;

/// The monotonic clock in nanoseconds: all processes of a machine read the same, unlike an
/// `Instant`.
pub(super) fn now() -> u64 {
    // The clock is always there: a failure would be a fault of the call.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| Duration::from(time).as_nanos())
        .try_into()
        .unwrap_or(0)
}

/// The time since `then`.
pub(super) fn since(then: u64) -> Duration {
    Duration::from_nanos(now().saturating_sub(then))
}

/// The processor time of this process so far: user and system, all threads.
pub(super) fn processor_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
        Duration::from_micros(microseconds.try_into().unwrap_or(0))
    })
}

/// What it costs to read the clock twice, as each hand-off does: the median of many, in
/// nanoseconds.
pub(super) fn overhead() -> u64 {
    let mut times: Vec<_> = (0..10_001)
        .map(|_| {
            let before = now();
            now().saturating_sub(before)
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}

/// When each message of a rate is due: a schedule, so that one that is late does not delay all
/// after it.
#[derive(Debug)]
pub(super) struct Pace {
    start: u64,
    rate: u32,
}

impl Pace {
    pub(super) fn new(rate: u32) -> Self {
        Self { start: now(), rate }
    }

    /// Waits until the message with this index is due.
    pub(super) fn wait_for(&self, index: u64) {
        let due = self.start + index * 1_000_000_000 / u64::from(self.rate);
        loop {
            let now = now();
            if now >= due {
                return;
            }
            if self.rate >= SPIN_RATE {
                hint::spin_loop();
            } else {
                thread::park_timeout(Duration::from_nanos(due - now));
            }
        }
    }
}
