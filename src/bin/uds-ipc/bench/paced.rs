//! Messages at a steady pace: what handing one over costs its sender, and how long it is on its
//! way. One producer; both figures come from the same messages.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::answers::histogram;
use super::cases::{Contender, PACED_SIZE, Plan, RATES, Stream};
use super::clock::{self, Pace};
use super::failure::Failure;
use super::numbers::{count, per_second};
use super::processes::Stage;
use super::stamped::Stamped;
use super::target::Target;
use super::waking::Waking;

/// A turn has at least this many messages, however short it is.
const LEAST: u64 = 20;

/// How many messages are sent before it counts: the connection is made, memory has been touched.
const WARM_UP: u64 = 20;

/// Times in nanoseconds, of all rounds, at one rate over one stream.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) stream: Stream,
    /// Messages a second, as asked for.
    pub(super) rate: u32,
    /// Messages a second, as it came to: each round's.
    pub(super) reached: Vec<f64>,
    /// Of each `try_send`.
    pub(super) handoff: Histogram<u64>,
    /// Of each `try_send` to the bare channel.
    pub(super) waking: Histogram<u64>,
    /// From before `try_send` until the handler.
    pub(super) latency: Histogram<u64>,
}

/// Measures all rates over all streams, in turns. `step` is called after each.
pub(super) fn measure(stage: &Stage, plan: &Plan, step: impl Fn()) -> Result<Vec<Paced>, Failure> {
    let streams = || plan.streams.iter();
    let mut all: Vec<_> = RATES
        .into_iter()
        .flat_map(|rate| streams().map(move |&stream| Paced::new(stream, rate)))
        .collect();
    for _ in 0..plan.rounds {
        for paced in &mut all {
            paced.turn(stage, plan.paced_turn)?;
            step();
        }
    }
    Ok(all)
}

impl Paced {
    fn new(stream: Stream, rate: u32) -> Self {
        let (handoff, waking, latency) = (histogram(), histogram(), histogram());
        Self {
            stream,
            rate,
            reached: Vec::new(),
            handoff,
            waking,
            latency,
        }
    }

    fn turn(&mut self, stage: &Stage, time: Duration) -> Result<(), Failure> {
        let count = count(time.as_secs_f64() * f64::from(self.rate)).max(LEAST);
        let phases = [WARM_UP, count];
        let mut reader = stage.reader(Contender::Stamped, PACED_SIZE, self.stream, &phases)?;
        let mut target = Stamped::new(&reader, stage.present().clone())?;
        send(stage, &mut target, self.rate, WARM_UP, &mut histogram())?;
        reader.received()?;
        let reached = send(stage, &mut target, self.rate, count, &mut self.handoff)?;
        self.reached.push(reached);
        for bucket in reader.received()?.latency.iter_recorded() {
            self.latency
                .saturating_record_n(bucket.value_iterated_to(), bucket.count_at_value());
        }
        target.finish()?;
        // Ends them, so that the channel has the machine for itself.
        drop((target, reader));

        let mut target = Waking::new()?;
        send(stage, &mut target, self.rate, WARM_UP, &mut histogram())?;
        send(stage, &mut target, self.rate, count, &mut self.waking).map(|_| ())
    }
}

/// Sends at a rate, and records what each hand-over took. Gives the rate that it came to.
fn send(
    stage: &Stage,
    target: &mut impl Target,
    rate: u32,
    count: u64,
    times: &mut Histogram<u64>,
) -> Result<f64, Failure> {
    let start = clock::now();
    let pace = Pace::new(rate);
    for index in 0..count {
        if index % u64::from(rate / 10) == 0 {
            stage.present().check()?;
        }
        target.prepare();
        pace.wait_for(index);
        let before = clock::now();
        let had_room = target.try_send(before);
        times.saturating_record(clock::now().saturating_sub(before));
        if !had_room {
            target.send_late()?;
        }
    }
    Ok(per_second(count, clock::since(start)))
}
