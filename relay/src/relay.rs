//! Batches in, runs out; a batch is done when the engine has acknowledged the last of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use slab::Slab;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, warn};
use uds_ipc::{Batch, Batches};

use crate::figures::{self, Figures};
use crate::health::Health;
use crate::notify::Notify;
use crate::rule::Rule;
use crate::runs::{Bounds, Fate, Message, Position, Producer, Runs, Step, Told};
use crate::sink::{Outcome, Sink, Trouble};

/// How often the relay looks at its clock: for the figures, the watchdog and the log.
const TICK: Duration = Duration::from_millis(250);

/// How often an engine that is silent is asked how it is.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How many producers are asked for at once.
const ASKS: usize = 64;

/// How often the log tells of what happens often.
const SELDOM: Duration = Duration::from_secs(10);

/// What bounds the relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) in_flight_messages: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) message_bytes: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) runs: Bounds,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Messages that the time was not enough for. Their writers keep them.
    pub(crate) left: usize,
}

pub(crate) struct Relay<S> {
    sink: Arc<S>,
    rule: Rule,
    limits: Limits,
    runs: Runs,
    figures: Figures,
    health: Arc<Health>,
    notify: Notify,
    batches: Slab<Out>,
    /// The batches' keys and numbers, in the order in which they came.
    arrivals: VecDeque<(usize, u64)>,
    arrived: u64,
    messages: usize,
    bytes: usize,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    asks: usize,
    is_probing: bool,
    probed: Instant,
    left_out: Seldom,
    blocked: Seldom,
}

/// A batch that is not done.
struct Out {
    batch: Batch,
    number: u64,
    left: usize,
    since: Instant,
}

/// What came of something that was begun.
enum Event {
    Told(Producer, Result<Position, Trouble>),
    Answered(Producer, Outcome),
    Rested(Arc<str>),
    Probed(Result<(), Trouble>),
}

/// What the log tells seldom, however often it happens.
#[derive(Default)]
struct Seldom {
    /// Since it was told.
    times: usize,
    last: String,
    told: Option<Instant>,
}

impl<S: Sink> Relay<S> {
    pub(crate) fn new(
        sink: S,
        rule: Rule,
        mut limits: Limits,
        health: Arc<Health>,
        notify: Notify,
    ) -> Self {
        limits.runs.may_extend = S::MAY_EXTEND;
        let now = crate::now();
        Self {
            sink: Arc::new(sink),
            rule,
            limits,
            runs: Runs::new(limits.runs),
            figures: Figures::new(),
            health,
            notify,
            batches: Slab::new(),
            arrivals: VecDeque::new(),
            arrived: 0,
            messages: 0,
            bytes: 0,
            events: FuturesUnordered::new(),
            asks: 0,
            is_probing: false,
            probed: now.checked_sub(PROBE_INTERVAL).unwrap_or(now),
            left_out: Seldom::default(),
            blocked: Seldom::default(),
        }
    }

    /// Runs until the batches end and all of them are done, or until the time is over that `stop`
    /// says.
    pub(crate) async fn run(
        mut self,
        mut batches: Batches,
        mut stop: watch::Receiver<Option<Instant>>,
    ) -> Report {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_ended = false;
        while !(has_ended && self.batches.is_empty()) {
            self.advance().await;
            let has_room = self.messages < self.limits.in_flight_messages
                && self.bytes < self.limits.in_flight_bytes;
            let deadline = *stop.borrow_and_update();
            tokio::select! {
                Some(event) = self.events.next() => self.happened(event),
                batch = batches.next(), if has_room && !has_ended => match batch {
                    Some(batch) => self.accept(batch),
                    None => has_ended = true,
                },
                _ = ticks.tick() => self.tick(),
                Ok(()) = stop.changed() => {}
                () = until(deadline) => break,
            }
        }
        self.show();
        Report {
            left: self.messages,
        }
    }

    /// Takes the messages of a batch over.
    fn accept(&mut self, batch: Batch) {
        let now = crate::now();
        let (mut text, mut marked) = (Vec::new(), Vec::new());
        for message in batch.messages() {
            match self.rule.mark(message) {
                Ok(found) if found.body.len() > self.limits.message_bytes => {
                    figures::left_out("too_long").increment(1);
                    self.left_out.note(&"too long");
                }
                Ok(found) => {
                    text.extend_from_slice(found.body);
                    marked.push((found.name, found.number, found.body.len()));
                }
                Err(why) => {
                    figures::left_out("unmarked").increment(1);
                    self.left_out.note(&why);
                }
            }
        }
        self.figures
            .accepted
            .increment(count(batch.messages().len()));
        let key = self.batches.vacant_key();
        let mut text = Bytes::from(text);
        let mut left = 0;
        for (name, number, len) in marked {
            let message = Message {
                number,
                body: text.split_to(len),
            };
            let pushed = self.runs.push(&name, message, key, batch.peer().connection);
            match pushed {
                Ok(()) => {
                    left += 1;
                    self.bytes += len;
                }
                Err(why) => {
                    figures::left_out("out_of_order").increment(1);
                    self.left_out.note(&why);
                }
            }
        }
        self.messages += left;
        if left == 0 {
            batch.done();
            return;
        }
        self.arrived += 1;
        self.arrivals.push_back((key, self.arrived));
        self.batches.insert(Out {
            batch,
            number: self.arrived,
            left,
            since: now,
        });
    }

    /// Does what is to be done now.
    async fn advance(&mut self) {
        while self.asks < ASKS
            && let Some(step) = self.runs.step(self.sink.longest())
        {
            let sink = Arc::clone(&self.sink);
            match step {
                Step::Ask(producer) => {
                    self.asks += 1;
                    let ask = async move {
                        let told = sink.ask(&producer.name).await;
                        Event::Told(producer, told)
                    };
                    self.events.push(ask.boxed());
                }
                Step::Send(piece) => {
                    let producer = piece.producer.clone();
                    self.figures
                        .published
                        .increment(count(piece.messages.len()));
                    match sink.send(piece).await {
                        Ok(answer) => {
                            let answer = answer.map(|outcome| Event::Answered(producer, outcome));
                            self.events.push(answer.boxed());
                        }
                        Err(trouble) => {
                            self.failed(&producer, &trouble);
                            // It may have taken its time: the clock must not wait for all others.
                            break;
                        }
                    }
                    while let Some(Some(event)) = self.events.next().now_or_never() {
                        self.happened(event);
                    }
                }
            }
        }
        self.settle();
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Told(producer, told) => {
                self.asks -= 1;
                match told {
                    Ok(position) => self.told(&producer, position),
                    Err(trouble) => self.failed(&producer, &trouble),
                }
            }
            Event::Answered(producer, outcome) => self.answered(&producer, outcome),
            Event::Rested(name) => self.runs.retry(&name),
            Event::Probed(probed) => {
                self.is_probing = false;
                self.probed = crate::now();
                match probed {
                    Ok(()) => self.health.reached(self.probed),
                    Err(trouble) => self.health.failed(&trouble.to_string()),
                }
            }
        }
        self.settle();
    }

    fn told(&mut self, producer: &Producer, position: Position) {
        self.health.reached(crate::now());
        let (name, number, sequence) = (&producer.name, position.number, position.sequence);
        debug!(%name, number, sequence, "the stream told where the producer stands");
        if self.runs.told(producer, position) == Told::WentBack {
            self.figures.went_back.increment(1);
            error!(%name, number, "the stream has lost messages that it had acknowledged");
        }
    }

    fn answered(&mut self, producer: &Producer, outcome: Outcome) {
        if outcome.stored > 0 {
            self.runs.acknowledged(producer, outcome.position);
        }
        match outcome.trouble {
            None => self.health.reached(crate::now()),
            Some(trouble) => {
                if let Trouble::TooLong { number, .. } = trouble {
                    self.runs.left_out(producer, number);
                }
                self.failed(producer, &trouble);
            }
        }
    }

    /// A run has ended with trouble: after a while the stream is asked where it stands.
    fn failed(&mut self, producer: &Producer, trouble: &Trouble) {
        let is_broken = matches!(trouble, Trouble::Moved(_));
        let Some(before) = self.runs.failed(producer, is_broken) else {
            return;
        };
        figures::refused(trouble.reason()).increment(1);
        debug!(name = %producer.name, %trouble, "a run has ended");
        match trouble {
            Trouble::Unreachable(_) | Trouble::Refused(_) => {
                self.health.failed(&trouble.to_string());
            }
            Trouble::Blocked(why) => self.blocked.note(why),
            Trouble::Moved(_) | Trouble::TooLong { .. } => {}
        }
        let name = Arc::clone(&producer.name);
        let wait = self
            .limits
            .retry_min
            .saturating_mul(2_u32.saturating_pow(before));
        let rest = tokio::time::sleep(wait.min(self.limits.retry_max));
        self.events.push(rest.map(|()| Event::Rested(name)).boxed());
    }

    /// Confirms the batches of which all messages are settled.
    fn settle(&mut self) {
        for settled in self.runs.take_settled() {
            match settled.fate {
                Fate::Acknowledged => self.figures.acknowledged.increment(1),
                Fate::Repeated => self.figures.repeated.increment(1),
                Fate::LeftOut => {
                    figures::left_out("too_long").increment(1);
                    self.left_out.note(&"too long");
                }
            }
            self.messages -= 1;
            self.bytes -= settled.bytes;
            let Some(out) = self.batches.get_mut(settled.batch) else {
                continue;
            };
            out.left -= 1;
            if out.left == 0 {
                self.batches.remove(settled.batch).batch.done();
            }
        }
    }

    fn tick(&mut self) {
        let now = crate::now();
        self.show();
        self.left_out.tell(now, "messages were left out");
        self.blocked.tell(now, "a producer is blocked");
        let health = &self.health;
        self.notify.alive(now, || health.text(now));
        if !self.is_probing && now.duration_since(self.probed) >= PROBE_INTERVAL {
            self.is_probing = true;
            let sink = Arc::clone(&self.sink);
            let probe = async move { Event::Probed(sink.probe().await) };
            self.events.push(probe.boxed());
        }
    }

    /// Sets the figures that go up and down.
    fn show(&mut self) {
        let is_over = |batches: &Slab<Out>, (key, number)| {
            batches
                .get(key)
                .is_none_or(|out: &Out| out.number != number)
        };
        while let Some(first) = self.arrivals.front()
            && is_over(&self.batches, *first)
        {
            self.arrivals.pop_front();
        }
        // Behind one that waits for long, those that are over add up.
        if self.arrivals.len() > 2 * self.batches.len() + 1024 {
            self.arrivals
                .retain(|arrival| !is_over(&self.batches, *arrival));
        }
        let oldest = self
            .arrivals
            .front()
            .and_then(|(key, _)| self.batches.get(*key));
        let age = oldest.map_or(Duration::ZERO, |out| out.since.elapsed());
        self.figures.oldest_seconds.set(age);
        self.figures.in_flight_messages.set(float(self.messages));
        self.figures.in_flight_bytes.set(float(self.bytes));
        self.figures
            .reachable
            .set(float(self.health.is_reachable().into()));
    }
}

impl Seldom {
    fn note(&mut self, why: &impl ToString) {
        self.times += 1;
        if self.times == 1 {
            self.last = why.to_string();
        }
    }

    /// At once for the first, then now and then.
    fn tell(&mut self, now: Instant, what: &str) {
        let is_due = |told| now.duration_since(told) >= SELDOM;
        if self.times > 0 && self.told.is_none_or(is_due) {
            warn!(times = self.times, why = self.last, "{what}");
            self.times = 0;
            self.told = Some(now);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn count(messages: usize) -> u64 {
    u64::try_from(messages).unwrap_or(u64::MAX)
}

/// For a gauge: what is below 2^32 is exact.
fn float(value: usize) -> f64 {
    u32::try_from(value).map_or(f64::INFINITY, f64::from)
}
