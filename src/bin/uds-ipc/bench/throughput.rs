//! Messages a second of all contenders, in turns: one after the other in each round, so that what
//! disturbs the machine disturbs all of them.
//! The figures are put together elsewhere.

use std::time::Duration;

use super::cases::{Case, Contender, Plan};
use super::clock;
use super::failure::Failure;
use super::handwritten::Handwritten;
use super::numbers::{count, float, per_second, widen};
use super::ours::Ours;
use super::placement;
use super::processes::{Present, Reader, Stage};
use super::raw::Raw;
use super::sending::Sender;
use super::staged::Staged;

/// A turn that took at least this long tells how many messages a longer one needs.
const TELLING: Duration = Duration::from_millis(20);

/// How many bytes the first try of a calibration has, and how many messages at least.
const FIRST_TRY_SIZE: u64 = 1024 * 1024;
const FIRST_TRY: u64 = 10;

/// What one turn came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    pub(super) messages_per_second: f64,
    /// Of both processes, user and system.
    pub(super) cpu_seconds_per_million: f64,
}

impl Speed {
    /// How many processors were at work, on the average: one where all threads shared it.
    pub(super) fn processors(self) -> f64 {
        self.cpu_seconds_per_million * self.messages_per_second / 1e6
    }
}

/// The contenders of one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) ours: Speed,
    pub(super) owned: Speed,
    pub(super) raw: Speed,
    pub(super) staged: Speed,
    pub(super) handwritten: Speed,
    /// How long a cache line took to another processor and back, in nanoseconds, before the round
    /// and after it.
    pub(super) cache_line: [Option<f64>; 2],
}

/// All rounds of one case.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) rounds: Vec<Round>,
}

/// How many messages a contender sends in a turn of a case, so that all take about as long.
#[derive(Debug)]
struct Turns<'a> {
    stage: &'a Stage,
    contender: Contender,
    case: Case,
    count: u64,
    time: Duration,
}

/// Measures all cases. `step` is called after each turn of a case.
pub(super) fn measure(
    stage: &Stage,
    plan: &Plan,
    step: impl Fn(),
) -> Result<Vec<Measured>, Failure> {
    let mut all = Vec::new();
    for &case in &plan.cases {
        let calibrated = |contender| Turns::calibrated(stage, contender, case, plan.turn);
        let contenders = Contenders {
            ours: calibrated(Contender::Ours)?,
            owned: calibrated(Contender::Owned)?,
            raw: calibrated(Contender::Raw)?,
            staged: calibrated(Contender::Staged)?,
            handwritten: calibrated(Contender::Handwritten)?,
        };
        let rounds = Vec::new();
        all.push((contenders, Measured { case, rounds }));
        step();
    }
    for _ in 0..plan.rounds {
        for (contenders, measured) in &mut all {
            measured.rounds.push(contenders.round()?);
            step();
        }
    }
    Ok(all.into_iter().map(|(_, measured)| measured).collect())
}

/// All who take turns in a case.
struct Contenders<'a> {
    ours: Turns<'a>,
    owned: Turns<'a>,
    raw: Turns<'a>,
    staged: Turns<'a>,
    handwritten: Turns<'a>,
}

impl Contenders<'_> {
    fn round(&mut self) -> Result<Round, Failure> {
        let before = placement::cache_line();
        Ok(Round {
            ours: self.ours.next()?,
            raw: self.raw.next()?,
            owned: self.owned.next()?,
            staged: self.staged.next()?,
            handwritten: self.handwritten.next()?,
            cache_line: [before, placement::cache_line()],
        })
    }
}

impl<'a> Turns<'a> {
    /// Finds out how many messages take about `time`.
    fn calibrated(
        stage: &'a Stage,
        contender: Contender,
        case: Case,
        time: Duration,
    ) -> Result<Self, Failure> {
        let mut tried = (FIRST_TRY_SIZE / widen(case.frame_len())).max(FIRST_TRY);
        let mut telling = Vec::new();
        // Two, because the first may have stood still for reasons of the machine's.
        while telling.len() < 2 {
            let (speed, took) = turn(stage, contender, case, tried)?;
            if took < TELLING.min(time / 2) {
                let expected = count(speed.messages_per_second * TELLING.as_secs_f64() * 1.5);
                tried = expected.clamp(tried * 2, tried * 10);
                telling.clear();
            } else {
                telling.push(speed.messages_per_second);
            }
        }
        let best = telling.into_iter().fold(0.0, f64::max);
        Ok(Self {
            stage,
            contender,
            case,
            count: count(best * time.as_secs_f64()),
            time,
        })
    }

    fn next(&mut self) -> Result<Speed, Failure> {
        let (speed, took) = turn(self.stage, self.contender, self.case, self.count)?;
        if took < self.time / 2 || took > self.time * 2 {
            // The machine was busier then than now, or the other way round. In steps: it may only
            // have stood still.
            let expected = count(speed.messages_per_second * self.time.as_secs_f64());
            self.count = expected.clamp(self.count.div_ceil(2), self.count * 4);
        }
        Ok(speed)
    }
}

/// One contender in one round: sends until the other process has received and touched everything.
fn turn(
    stage: &Stage,
    contender: Contender,
    case: Case,
    count: u64,
) -> Result<(Speed, Duration), Failure> {
    let warm_up = count / 10 + 1;
    let unit = if contender == Contender::Raw {
        widen(case.frame_len())
    } else {
        1
    };
    let mut reader = stage.reader(
        contender,
        case.size,
        case.stream,
        &[warm_up * unit, count * unit],
    )?;
    let mut sender = sender(contender, &reader, case, stage.present().clone())?;
    sender.send(warm_up)?;
    let used_before = processor_time(&mut reader)?;

    let start = clock::now();
    sender.send(count)?;
    let used = processor_time(&mut reader)?.saturating_sub(used_before);
    let took = clock::since(start);
    sender.finish()?;
    let speed = Speed {
        messages_per_second: per_second(count, took),
        cpu_seconds_per_million: used.as_secs_f64() / float(count) * 1e6,
    };
    Ok((speed, took))
}

/// Waits until the reader has received what it was to, and gives what both processes have used so
/// far.
fn processor_time(reader: &mut Reader) -> Result<Duration, Failure> {
    Ok(reader.received()?.processor_time + clock::processor_time())
}

fn sender(
    contender: Contender,
    reader: &Reader,
    case: Case,
    present: Present,
) -> Result<Box<dyn Sender>, Failure> {
    Ok(match contender {
        Contender::Raw => Box::new(Raw::new(reader, case, present)?),
        Contender::Staged => Box::new(Staged::new(reader, case, present)?),
        Contender::Handwritten => Box::new(Handwritten::new(reader, case, present)?),
        Contender::Ours | Contender::Stamped => Box::new(Ours::new(reader, case, false, present)?),
        Contender::Owned => Box::new(Ours::new(reader, case, true, present)?),
    })
}
