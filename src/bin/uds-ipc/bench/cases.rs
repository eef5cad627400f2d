//! What is measured, how often, and for how long.
//! Values: nothing runs here.

use std::time::Duration;

use clap::ValueEnum;
use integer_encoding::VarInt;

use super::numbers::{count, float_of, widen};

/// Only a failure waits this long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The rates of the paced messages, a second.
pub(super) const RATES: [u32; 3] = [1_000, 10_000, 200_000];

/// The length of a paced message, in bytes: a metric or a short log line.
pub(super) const PACED_SIZE: usize = 100;

/// From this length on the crate's writer is given owned messages.
pub(super) const OWNED_SIZE: usize = 10 * 1024;

/// How many bytes wait at most to be sent, of throughput: what a processor's cache holds. All
/// contenders with a queue have the same bound.
pub(super) const QUEUE_SIZE: usize = 2 * 1024 * 1024;

/// What the throughput gets of the whole time; the paced messages have the rest.
const THROUGHPUT_SHARE: f64 = 0.75;

/// A turn below this is noise: first the rounds become fewer, and only then the turns shorter.
const TURN: f64 = 0.06;

const LEAST_ROUNDS: u64 = 7;
const MOST_ROUNDS: u64 = 31;

/// Who carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Contender {
    /// A writer and a reader of this crate.
    Ours,
    /// The bare socket, without frames: the kernel's limit.
    Raw,
    /// A channel of vectors and a thread with a buffered writer.
    Handwritten,
    /// A writer and a reader of this crate, whose messages carry the time.
    Stamped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// The length of each message, in bytes.
    pub(super) size: usize,
    pub(super) producers: usize,
}

impl Case {
    /// The bound of the queue in bytes: some messages must have room whatever their length.
    pub(super) fn max_queued_bytes(self) -> usize {
        QUEUE_SIZE.max(self.size.saturating_mul(8))
    }

    /// The length of a frame: the message with its prefix.
    pub(super) fn frame_len(self) -> usize {
        self.size.required_space() + self.size
    }
}

/// How a run's time is divided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) cases: Vec<Case>,
    pub(super) rounds: u64,
    /// How long one contender sends in one round of one case.
    pub(super) turn: Duration,
    /// How long one round sends at one rate.
    pub(super) paced_turn: Duration,
}

impl Plan {
    pub(super) fn new(sizes: &[usize], producers: &[usize], time: Duration) -> Self {
        let cases: Vec<_> = sizes
            .iter()
            .flat_map(|&size| {
                producers
                    .iter()
                    .map(move |&producers| Case { size, producers })
            })
            .collect();
        // Three contenders take turns in each case.
        let each = time.as_secs_f64() * THROUGHPUT_SHARE / float_of(cases.len() * 3);
        // Odd, so that the median is one of them.
        let rounds = count(each / TURN).clamp(LEAST_ROUNDS, MOST_ROUNDS) | 1;
        let divisor = u32::try_from(rounds).unwrap_or(1);
        // Two of them take turns at each rate: the crate and the bare channel.
        let paced = time.mul_f64((1.0 - THROUGHPUT_SHARE) / float_of(RATES.len() * 2));
        Self {
            cases,
            rounds,
            turn: Duration::from_secs_f64(each) / divisor,
            paced_turn: paced / divisor,
        }
    }

    /// How many turns there are, each of a case or a rate: what the progress counts.
    pub(super) fn steps(&self) -> u64 {
        let cases = widen(self.cases.len());
        // The first is that of the calibration.
        (self.rounds + 1) * cases + self.rounds * widen(RATES.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_the_time_that_it_has_and_is_never_below_seven_rounds() {
        for (seconds, sizes) in [
            (0.5, &[16, 1000][..]),
            (45.0, &[16, 100, 1024]),
            (2000.0, &[16]),
        ] {
            let time = Duration::from_secs_f64(seconds);
            let plan = Plan::new(sizes, &[1, 4], time);
            assert!(
                (7..=31).contains(&plan.rounds) && plan.rounds % 2 == 1,
                "{plan:?}"
            );
            let rounds = u32::try_from(plan.rounds).unwrap();
            let cases = u32::try_from(plan.cases.len()).unwrap();
            let planned = plan.turn * rounds * 3 * cases + plan.paced_turn * rounds * 6;
            assert!(
                planned.abs_diff(time) < time / 100,
                "{planned:?} of {time:?}"
            );
        }
    }

    #[test]
    fn a_frame_is_the_message_and_its_prefix() {
        let len = |size| Case { size, producers: 1 }.frame_len();
        assert_eq!(
            (len(1), len(127), len(128), len(102_400)),
            (2, 128, 130, 102_403)
        );
    }
}
