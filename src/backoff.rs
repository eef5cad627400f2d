//! How long to wait before the next connection.
//! Pure: no clock; the jitter comes from a seed.

use std::time::Duration;

/// Exponential backoff: nothing at first, then from `min` doubling to `max`, each but the first
/// wait shortened by up to a quarter so that many writers do not return in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    tries: u32,
    jitter: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max,
            tries: 0,
            jitter: fastrand::Rng::with_seed(seed),
        }
    }

    /// The wait before the next try. Each call makes the one after it longer.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let tries = self.tries;
        self.tries = tries.saturating_add(1);
        let Some(doublings) = tries.checked_sub(1) else {
            return Duration::ZERO;
        };
        let full = self
            .min
            .saturating_mul(2u32.saturating_pow(doublings))
            .min(self.max);
        // In whole steps of a 1,024th: floating point would overflow on the longest durations.
        let jitter = full / (4 * 1024) * self.jitter.u32(0..=1024);
        full.saturating_sub(jitter).max(self.min)
    }

    /// The connection has proved good: begin again without a wait.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_try_is_at_once_and_the_second_after_the_minimum() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 7);
        assert_eq!(backoff.next_wait(), Duration::ZERO);
        assert_eq!(backoff.next_wait(), Duration::from_millis(10));
        backoff.reset();
        assert_eq!(backoff.next_wait(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_wait_doubles_up_to_a_quarter_of_jitter(
            min in 1u64..1000, factor in 1u64..1000, seed in any::<u64>(), tries in 2u32..200,
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min * factor));
            let mut backoff = Backoff::new(min, max, seed);
            prop_assert_eq!(backoff.next_wait(), Duration::ZERO);
            let mut full = min;
            for _ in 0..tries {
                let wait = backoff.next_wait();
                prop_assert!(wait >= min && wait <= full && wait >= full.mul_f64(0.75), "{wait:?} of {full:?}");
                full = (full * 2).min(max);
            }
        }

        #[test]
        fn no_setting_overflows(min in any::<u32>(), tries in 0u32..300) {
            let mut backoff = Backoff::new(Duration::from_secs(min.into()), Duration::MAX, 1);
            backoff.tries = tries;
            backoff.next_wait();
            backoff.tries = u32::MAX;
            backoff.next_wait();
        }
    }
}
