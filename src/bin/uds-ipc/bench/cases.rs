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

/// How many bytes wait at most to be sent, of throughput: what a processor's cache holds. All
/// contenders with a queue have the same bound.
pub(super) const QUEUE_SIZE: usize = 2 * 1024 * 1024;

/// What the throughput gets of the whole time; the paced messages have the rest.
const THROUGHPUT_SHARE: f64 = 0.75;

/// How many take turns in each case.
const CONTENDERS: usize = 5;

/// A turn below this is noise: first the rounds become fewer, and only then the turns shorter.
const TURN: f64 = 0.06;

const LEAST_ROUNDS: u64 = 7;
const MOST_ROUNDS: u64 = 31;

/// Who carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Contender {
    /// A writer and a reader of this crate, which is given slices.
    Ours,
    /// The same, given a vector for each message.
    Owned,
    /// The bare socket, without frames: the kernel's limit.
    Raw,
    /// The sender frames messages into large pieces and writes them itself.
    Staged,
    /// A channel of vectors and a thread with a buffered writer.
    Handwritten,
    /// A writer and a reader of this crate, whose messages carry the time.
    Stamped,
}

/// What the bytes go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stream {
    /// A Unix socket.
    Unix,
    /// TCP within the machine, over its loopback interface.
    Tcp,
    /// A FIFO in a temporary folder.
    Pipe,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Pipe => "pipe",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// The length of each message, in bytes.
    pub(super) size: usize,
    pub(super) producers: usize,
    pub(super) stream: Stream,
}

impl Case {
    /// The same over a Unix socket.
    pub(super) fn over_unix(self) -> Self {
        Self {
            stream: Stream::Unix,
            ..self
        }
    }

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
    pub(super) streams: Vec<Stream>,
    pub(super) cases: Vec<Case>,
    pub(super) rounds: u64,
    /// How long one contender sends in one round of one case.
    pub(super) turn: Duration,
    /// How long one round sends at one rate.
    pub(super) paced_turn: Duration,
}

impl Plan {
    pub(super) fn new(
        sizes: &[usize],
        producers: &[usize],
        streams: &[Stream],
        time: Duration,
    ) -> Self {
        // The streams change first: those that are compared take their turns one after the other.
        let cases: Vec<_> = sizes
            .iter()
            .flat_map(|&size| {
                producers.iter().flat_map(move |&producers| {
                    streams.iter().map(move |&stream| Case {
                        size,
                        producers,
                        stream,
                    })
                })
            })
            .collect();
        let each = time.as_secs_f64() * THROUGHPUT_SHARE / float_of(cases.len() * CONTENDERS);
        // Odd, so that the median is one of them.
        let rounds = count(each / TURN).clamp(LEAST_ROUNDS, MOST_ROUNDS) | 1;
        let divisor = u32::try_from(rounds).unwrap_or(1);
        // Two of them take turns at each rate of each stream: the crate and the bare channel.
        let paced =
            time.mul_f64((1.0 - THROUGHPUT_SHARE) / float_of(RATES.len() * streams.len() * 2));
        Self {
            streams: streams.to_vec(),
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
        (self.rounds + 1) * cases + self.rounds * widen(RATES.len() * self.streams.len())
    }

    /// Whether the streams are named: the Unix socket alone is what is meant without a word.
    pub(super) fn names_streams(&self) -> bool {
        self.streams.iter().any(|stream| *stream != Stream::Unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_the_time_that_it_has_and_is_never_below_seven_rounds() {
        for (seconds, sizes, streams) in [
            (0.5, &[16, 1000][..], &[Stream::Unix][..]),
            (45.0, &[16, 100, 1024], &[Stream::Unix, Stream::Tcp]),
            (2000.0, &[16], &[Stream::Pipe]),
        ] {
            let time = Duration::from_secs_f64(seconds);
            let plan = Plan::new(sizes, &[1, 4], streams, time);
            assert!(
                (7..=31).contains(&plan.rounds) && plan.rounds % 2 == 1,
                "{plan:?}"
            );
            let rounds = u32::try_from(plan.rounds).unwrap();
            let cases = u32::try_from(plan.cases.len()).unwrap();
            let paced = 6 * u32::try_from(streams.len()).unwrap();
            let planned = plan.turn * rounds * 5 * cases + plan.paced_turn * rounds * paced;
            assert!(
                planned.abs_diff(time) < time / 100,
                "{planned:?} of {time:?}"
            );
        }
    }

    #[test]
    fn cases_that_differ_in_their_stream_only_follow_one_another() {
        let streams = [Stream::Tcp, Stream::Unix];
        let plan = Plan::new(&[16, 100], &[1, 4], &streams, Duration::from_secs(1));
        assert_eq!(plan.cases.len(), 8);
        for pair in plan.cases.chunks(2) {
            assert_eq!((pair[0].stream, pair[1].stream), (streams[0], streams[1]));
            assert_eq!(pair[0].over_unix(), pair[1]);
        }
    }

    #[test]
    fn a_frame_is_the_message_and_its_prefix() {
        let len = |size| {
            let case = Case {
                size,
                producers: 1,
                stream: Stream::Unix,
            };
            case.frame_len()
        };
        assert_eq!(
            (len(1), len(127), len(128), len(102_400)),
            (2, 128, 130, 102_403)
        );
    }
}
