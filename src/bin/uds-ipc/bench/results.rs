//! All that a run came to.
//! Values, put together from the rounds; how they are shown is elsewhere.

use std::time::Duration;

use super::cases::{Case, Plan};
use super::machine::Machine;
use super::numbers::{Spread, float_of};
use super::paced::Paced;
use super::throughput::{Measured, Round};

#[derive(Debug)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) plan: Plan,
    /// What was asked for.
    pub(super) time: Duration,
    pub(super) rows: Vec<Row>,
    pub(super) paced: Vec<Paced>,
    /// What the clock adds to each hand-off, in nanoseconds.
    pub(super) timer: u64,
}

/// One case of the throughput. A ratio is made within each round, and then the median of these is
/// taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) case: Case,
    pub(super) ours: Spread,
    pub(super) owned: Spread,
    /// As many frames as the bytes of the raw stream would be.
    pub(super) raw: Spread,
    pub(super) staged: Spread,
    pub(super) handwritten: Spread,
    pub(super) raw_ratio: Spread,
    pub(super) staged_ratio: Spread,
    pub(super) owned_staged_ratio: Spread,
    pub(super) handwritten_ratio: Spread,
    pub(super) cpu_seconds_per_million: Spread,
    pub(super) staged_cpu_seconds_per_million: Spread,
    pub(super) handwritten_cpu_seconds_per_million: Spread,
    pub(super) placement: Placement,
    /// Where other streams are measured beside the Unix socket.
    pub(super) to_unix: Option<ToUnix>,
}

/// How many processors were at work, and how far from each other two were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    /// How many processors were at work, on the average.
    pub(super) processors: Spread,
    pub(super) staged_processors: Spread,
    /// How long a cache line took to another processor and back, in nanoseconds. `None` where that
    /// could not be seen.
    pub(super) cache_line: Option<Spread>,
}

impl Placement {
    fn of(rounds: &[Round]) -> Self {
        let times: Vec<_> = rounds
            .iter()
            .flat_map(|round| round.cache_line)
            .flatten()
            .collect();
        let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        Self {
            processors: of(|round| round.ours.processors()),
            staged_processors: of(|round| round.staged.processors()),
            cache_line: (!times.is_empty()).then(|| Spread::of(times)),
        }
    }
}

/// How many times that of the same over a Unix socket. A ratio of processor time is the better the
/// less it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToUnix {
    pub(super) ours: Spread,
    pub(super) raw: Spread,
    pub(super) cpu: Spread,
    pub(super) raw_cpu: Spread,
}

impl ToUnix {
    fn of(measured: &Measured, unix: &Measured) -> Self {
        let pairs = || measured.rounds.iter().zip(&unix.rounds);
        let of = |figure: fn(&Round) -> f64| {
            Spread::of(pairs().map(|(round, unix)| figure(round) / figure(unix)))
        };
        Self {
            ours: of(|round| round.ours.messages_per_second),
            raw: of(|round| round.raw.messages_per_second),
            cpu: of(|round| round.ours.cpu_seconds_per_million),
            raw_cpu: of(|round| round.raw.cpu_seconds_per_million),
        }
    }
}

impl Row {
    /// One for each case.
    pub(super) fn all(plan: &Plan, measured: &[Measured]) -> Vec<Self> {
        let unix = |row: &Measured| {
            let case = row.case.over_unix();
            let mut all = measured.iter().filter(|_| plan.names_streams());
            all.find(|other| other.case == case)
        };
        let rows = measured.iter().map(|row| Self::of(row, unix(row)));
        rows.collect()
    }

    fn of(measured: &Measured, unix: Option<&Measured>) -> Self {
        let of = |figure: fn(&Round) -> f64| Spread::of(measured.rounds.iter().map(figure));
        Self {
            case: measured.case,
            ours: of(|round| round.ours.messages_per_second),
            owned: of(|round| round.owned.messages_per_second),
            raw: of(|round| round.raw.messages_per_second),
            staged: of(|round| round.staged.messages_per_second),
            handwritten: of(|round| round.handwritten.messages_per_second),
            raw_ratio: of(|round| round.ours.messages_per_second / round.raw.messages_per_second),
            staged_ratio: of(|round| {
                round.ours.messages_per_second / round.staged.messages_per_second
            }),
            owned_staged_ratio: of(|round| {
                round.owned.messages_per_second / round.staged.messages_per_second
            }),
            handwritten_ratio: of(|round| {
                round.ours.messages_per_second / round.handwritten.messages_per_second
            }),
            cpu_seconds_per_million: of(|round| round.ours.cpu_seconds_per_million),
            staged_cpu_seconds_per_million: of(|round| round.staged.cpu_seconds_per_million),
            placement: Placement::of(&measured.rounds),
            handwritten_cpu_seconds_per_million: of(|round| {
                round.handwritten.cpu_seconds_per_million
            }),
            to_unix: unix.map(|unix| ToUnix::of(measured, unix)),
        }
    }

    /// A speed in messages as one in their bytes, without the prefixes.
    pub(super) fn bytes(&self, messages: Spread) -> Spread {
        messages.times(float_of(self.case.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::Stream;
    use crate::bench::throughput::Speed;

    #[test]
    fn ratios_are_made_within_a_round() {
        let speed = |messages_per_second| Speed {
            messages_per_second,
            cpu_seconds_per_million: 1.0,
        };
        // In the second round the machine was busy, for all of them.
        let round = |ours, raw, handwritten| Round {
            ours: speed(ours),
            owned: speed(ours / 2.0),
            raw: speed(raw),
            staged: speed(raw * 0.8),
            handwritten: speed(handwritten),
            cache_line: [Some(raw), None],
        };
        let rounds = vec![
            round(50.0, 100.0, 10.0),
            round(5.0, 10.0, 1.0),
            round(60.0, 100.0, 10.0),
        ];
        let measured = |stream, rounds| Measured {
            case: Case {
                size: 16,
                producers: 1,
                stream,
            },
            rounds,
        };
        let tcp = vec![
            round(25.0, 100.0, 10.0),
            round(3.0, 10.0, 1.0),
            round(24.0, 100.0, 10.0),
        ];
        let measured = [measured(Stream::Tcp, tcp), measured(Stream::Unix, rounds)];
        let plan = |streams: &[Stream]| Plan::new(&[16], &[1], streams, Duration::from_secs(1));
        let rows = Row::all(&plan(&[Stream::Tcp, Stream::Unix]), &measured);
        assert_eq!(
            rows[0].to_unix.unwrap().ours,
            Spread {
                median: 0.5,
                lowest: 0.4,
                highest: 0.6
            }
        );
        assert_eq!(rows[1].to_unix.unwrap().ours, Spread::of([1.0]));
        let row = Row::all(&plan(&[Stream::Unix]), &measured[1..])[0];
        assert!(row.to_unix.is_none());
        assert_eq!(
            row.raw_ratio,
            Spread {
                median: 0.5,
                lowest: 0.5,
                highest: 0.6
            }
        );
        let of_staged = |ours: [f64; 3]| {
            Spread::of(
                ours.into_iter()
                    .zip([100.0, 10.0, 100.0])
                    .map(|(one, raw)| one / (raw * 0.8)),
            )
        };
        assert_eq!(row.staged_ratio, of_staged([50.0, 5.0, 60.0]));
        assert_eq!(row.owned_staged_ratio, of_staged([25.0, 2.5, 30.0]));
        assert_eq!(
            row.placement.cache_line,
            Some(Spread::of([100.0, 10.0, 100.0]))
        );
        assert_eq!(
            row.handwritten_ratio,
            Spread {
                median: 5.0,
                lowest: 5.0,
                highest: 6.0
            }
        );
        assert_eq!(
            row.bytes(row.ours),
            Spread {
                median: 800.0,
                lowest: 80.0,
                highest: 960.0
            }
        );
    }
}
