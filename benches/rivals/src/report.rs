//! What came out, as text and for programs.

use std::fmt;
use std::thread;

use serde::Serialize;

use crate::LENS;
use crate::measure::Growth;
use crate::ways::Way;
use crate::work::Work;

/// One way in one round.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) way: Way,
    pub(crate) work: Work,
    pub(crate) len: usize,
    /// In microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) per_second: f64,
    /// Processor time of both ends for a call, in microseconds.
    pub(crate) processor: f64,
}

/// What an idle caller holds, of many.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) way: Way,
    pub(crate) callers: usize,
    pub(crate) answering: Growth,
    pub(crate) calling: Growth,
    /// Of calls one at a time beside them, in microseconds.
    pub(crate) p50_beside: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    processors: usize,
    rounds: usize,
    medians: Vec<Row>,
    idle: Vec<Idle>,
    samples: Vec<Sample>,
}

/// One way over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    way: Way,
    work: Work,
    len: usize,
    /// In microseconds.
    p50: Spread,
    p99: Spread,
    per_second: Spread,
    /// Of both ends for a call, in microseconds.
    processor: Spread,
    /// The p50, of the raw socket's one at a time in the same round.
    of_raw: Spread,
    /// The calls a second, of those that the same way makes one at a time in the same round.
    of_one: Spread,
}

/// Over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |at: usize| figures.get(at).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(figures.len() / 2),
            most: at(figures.len().saturating_sub(1)),
        }
    }
}

impl Report {
    pub(crate) fn new(rounds: usize, samples: Vec<Sample>, idle: Vec<Idle>) -> Self {
        let medians = samples.iter().filter(|sample| sample.round == 0);
        let mut medians: Vec<_> = medians.map(|first| row(&samples, first)).collect();
        let place = |row: &Row| {
            let way = Way::ALL.iter().position(|way| *way == row.way);
            (row.work != Work::One, row.len, way)
        };
        medians.sort_by_key(place);
        Self {
            processors: thread::available_parallelism().map_or(0, usize::from),
            rounds,
            medians,
            idle,
            samples,
        }
    }
}

/// Over all rounds, what `first` is of one.
fn row(samples: &[Sample], first: &Sample) -> Row {
    let all = || {
        samples.iter().filter(|sample| {
            (sample.way, sample.work, sample.len) == (first.way, first.work, first.len)
        })
    };
    // One at a time, in the same round.
    let one = |of: &Sample, way: Way| {
        let is_it = |sample: &&Sample| {
            (sample.round, sample.way, sample.work, sample.len)
                == (of.round, way, Work::One, of.len)
        };
        samples.iter().find(is_it)
    };
    let of_raw =
        |sample: &Sample| one(sample, Way::Raw).map_or(f64::NAN, |raw| sample.p50 / raw.p50);
    let of_one = |sample: &Sample| {
        one(sample, sample.way).map_or(f64::NAN, |one| sample.per_second / one.per_second)
    };
    Row {
        way: first.way,
        work: first.work,
        len: first.len,
        p50: Spread::of(all().map(|sample| sample.p50)),
        p99: Spread::of(all().map(|sample| sample.p99)),
        per_second: Spread::of(all().map(|sample| sample.per_second)),
        processor: Spread::of(all().map(|sample| sample.processor)),
        of_raw: Spread::of(all().map(of_raw)),
        of_one: Spread::of(all().map(of_one)),
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} ({:.2} to {:.2})",
            self.median, self.least, self.most
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} processors, medians of {} rounds, in brackets the least and the most. Times in \
             microseconds; processor time is that of both ends.",
            self.processors, self.rounds
        )?;
        for len in LENS {
            writeln!(f, "\nOne at a time, {len} bytes each way")?;
            writeln!(
                f,
                "{:<26} {:>8} {:>8} {:>15}   p50, of the raw socket's",
                "", "p50", "p99", "processor/call"
            )?;
            for row in self.rows(len, true) {
                writeln!(
                    f,
                    "{:<26} {:>8.1} {:>8.1} {:>15.1}   {}",
                    row.way.name(),
                    row.p50.median,
                    row.p99.median,
                    row.processor.median,
                    row.of_raw
                )?;
            }
        }
        for len in LENS {
            writeln!(f, "\n64 open at once, {len} bytes each way")?;
            writeln!(
                f,
                "{:<26} {:<8} {:>9} {:>15}   calls/s, of one at a time",
                "", "", "calls/s", "processor/call"
            )?;
            for row in self.rows(len, false) {
                let work = match row.work {
                    Work::One => "",
                    Work::Batch => "a batch",
                    Work::Threads => "threads",
                    Work::Tasks => "tasks",
                };
                writeln!(
                    f,
                    "{:<26} {work:<8} {:>9.0} {:>15.1}   {}",
                    row.way.name(),
                    row.per_second.median,
                    row.processor.median,
                    row.of_one
                )?;
            }
        }
        writeln!(
            f,
            "\nIdle callers, each after one call: what one of them holds"
        )?;
        writeln!(
            f,
            "{:<26} {:>8} | answering: {:>8} {:>11} {:>7} | calling: {:>8} {:>11} {:>7} | p50 beside",
            "", "callers", "bytes", "descriptors", "threads", "bytes", "descriptors", "threads"
        )?;
        for idle in &self.idle {
            writeln!(
                f,
                "{:<26} {:>8} |            {:>8.0} {:>11.1} {:>7.1} |          {:>8.0} {:>11.1} {:>7.1} | {:>10.1}",
                idle.way.name(),
                idle.callers,
                idle.answering.resident,
                idle.answering.descriptors,
                idle.answering.threads,
                idle.calling.resident,
                idle.calling.descriptors,
                idle.calling.threads,
                idle.p50_beside
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn rows(&self, len: usize, one: bool) -> impl Iterator<Item = &Row> {
        let is_it = move |row: &&Row| row.len == len && (row.work == Work::One) == one;
        self.medians.iter().filter(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Sample, Spread};
    use crate::ways::Way;
    use crate::work::Work;

    fn sample(round: usize, way: Way, work: Work, p50: f64) -> Sample {
        Sample {
            round,
            way,
            work,
            len: 32,
            p50,
            p99: p50,
            per_second: 1.0 / p50,
            processor: 1.0,
        }
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        // The second round takes twice as long, for all: that is no difference between them.
        let samples = vec![
            sample(0, Way::Raw, Work::One, 8.0),
            sample(0, Way::Calls, Work::One, 16.0),
            sample(0, Way::Calls, Work::Batch, 2.0),
            sample(1, Way::Calls, Work::Batch, 4.0),
            sample(1, Way::Calls, Work::One, 32.0),
            sample(1, Way::Raw, Work::One, 16.0),
        ];
        let report = Report::new(2, samples, Vec::new());
        let ratio = |work| {
            let row = report.medians.iter();
            let mut row = row.filter(|row| row.way == Way::Calls && row.work == work);
            row.next().map(|row| (row.of_raw, row.of_one))
        };
        let always = |ratio: f64| Spread::of([ratio].into_iter());
        assert_eq!(ratio(Work::One), Some((always(2.0), always(1.0))));
        assert_eq!(ratio(Work::Batch), Some((always(0.25), always(8.0))));
    }

    #[test]
    fn a_spread_has_its_middle_and_its_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(spread.to_string(), "2.00 (1.00 to 3.00)");
    }
}
