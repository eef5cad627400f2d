//! Batches in, runs out; a batch is done when the engine has acknowledged the last of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use slab::Slab;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};
use uds_ipc::{Batch, Batches};

use crate::figures::{self, Figures};
use crate::health::{Health, SELDOM};
use crate::notify::Notify;
use crate::rule::{self, Rule};
use crate::runs::{Bounds, Fate, Message, Position, Producer, Runs, Step, Told};
use crate::sink::{Outcome, Sink, Trouble};

/// How often the relay looks at its clock: for the figures, the watchdog and the log.
const TICK: Duration = Duration::from_millis(250);

/// How often an engine that is silent is asked how it is.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How many producers are asked for at once.
const ASKS: usize = 64;

/// So long after trouble, messages that come again are no wonder.
const CALM: Duration = Duration::from_secs(60);

/// The most bytes of a message that do not go on: a name, a number and two spaces.
const LONGEST_MARK: usize = rule::LONGEST_NAME + 22;

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
    /// All that is not settled.
    messages: usize,
    /// What batches hold that are not done.
    bytes: usize,
    /// What of these counts against the limits.
    room: Weight,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    asks: usize,
    is_probing: bool,
    probed: Instant,
    /// By reason.
    left_out: BTreeMap<&'static str, Seldom>,
    blocked: Seldom,
    repeated: Seldom,
    /// When there was trouble last, or the relay began: what is repeated after it is no wonder.
    troubled: Instant,
}

/// A batch that is not done.
struct Out {
    batch: Batch,
    number: u64,
    left: usize,
    /// Of them, messages of producers that are blocked.
    stuck: usize,
    bytes: usize,
    since: Instant,
}

#[derive(Clone, Copy, Default)]
struct Weight {
    messages: usize,
    bytes: usize,
}

impl Out {
    /// What counts against the limits. What waits for an operator must not hold up others for ever:
    /// the reader's own bound of a connection is enough for it.
    fn weight(&self) -> Weight {
        if self.stuck > 0 {
            Weight::default()
        } else {
            Weight {
                messages: self.left,
                bytes: self.bytes,
            }
        }
    }
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
    /// Why it was so the last time.
    why: String,
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
            room: Weight::default(),
            events: FuturesUnordered::new(),
            asks: 0,
            is_probing: false,
            probed: now.checked_sub(PROBE_INTERVAL).unwrap_or(now),
            left_out: BTreeMap::new(),
            blocked: Seldom::default(),
            repeated: Seldom::default(),
            troubled: now,
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
            let has_room = self.room.messages < self.limits.in_flight_messages
                && self.room.bytes < self.limits.in_flight_bytes;
            let deadline = *stop.borrow_and_update();
            if deadline.is_some_and(|deadline| crate::now() >= deadline) {
                break;
            }
            tokio::select! {
                Some(event) = self.events.next() => self.happened(event),
                batch = batches.next(), if has_room && !has_ended => match batch {
                    Some(batch) => {
                        self.accept(batch);
                        // What is left out never waits for the engine: without this, a flood of it
                        // would hold up the clock, a stop, and all that the thread has to do.
                        tokio::task::yield_now().await;
                    }
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

    /// Takes the messages of a batch over. Its bytes are in memory until the last is settled.
    fn accept(&mut self, batch: Batch) {
        let now = crate::now();
        let most = batch.messages().map(<[u8]>::len).sum();
        let (mut text, mut marked) = (Vec::with_capacity(most), Vec::new());
        let mut bytes = 0;
        for message in batch.messages() {
            bytes += message.len();
            // Before it is parsed.
            if message.len() > self.limits.message_bytes.saturating_add(LONGEST_MARK) {
                let len = message.len();
                self.leave_out("too_long", format!("{len} bytes"));
                continue;
            }
            match self.rule.mark(message) {
                Ok(found) if found.body.len() > self.limits.message_bytes => {
                    let why = format!("{} bytes, of {}", found.body.len(), found.name);
                    self.leave_out("too_long", why);
                }
                Ok(found) => {
                    text.extend_from_slice(found.body);
                    marked.push((found.name, found.number, found.body.len()));
                }
                Err(why) => self.leave_out("unmarked", why.to_string()),
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
                Ok(()) => left += 1,
                Err(why) => {
                    self.leave_out("out_of_order", format!("number {number} of {name}: {why}"));
                }
            }
        }
        self.messages += left;
        if left == 0 {
            batch.done();
            return;
        }
        self.bytes += bytes;
        self.room.messages += left;
        self.room.bytes += bytes;
        self.arrived += 1;
        self.arrivals.push_back((key, self.arrived));
        self.batches.insert(Out {
            batch,
            number: self.arrived,
            left,
            stuck: 0,
            bytes,
            since: now,
        });
    }

    /// Counts a message that does not go on.
    fn leave_out(&mut self, reason: &'static str, why: String) {
        figures::left_out(reason).increment(1);
        self.left_out.entry(reason).or_default().note(1, why);
    }

    /// Does what is to be done now.
    async fn advance(&mut self) {
        let begin = crate::now();
        // To hand over may take its time: the clock, and a stop, do not wait for all producers.
        while self.asks < ASKS
            && crate::now().duration_since(begin) < TICK
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
                    // With nothing on its way, no acknowledgement will tell.
                    Ok(()) if self.room.messages == 0 => self.health.stored(self.probed),
                    Ok(()) => self.health.reached(self.probed),
                    Err(trouble) => self.health.failed(&trouble.to_string(), self.probed),
                }
            }
        }
        self.settle();
    }

    fn told(&mut self, producer: &Producer, position: Position) {
        self.health.reached(crate::now());
        let (name, number, sequence) = (&producer.name, position.number, position.sequence);
        debug!(%name, number, sequence, "the stream told where the producer stands");
        match self.runs.told(producer, position) {
            Told::WentBack { before } if before.sequence < self.sink.first() => {
                debug!(%name, "the stream's limits have removed the producer's last message");
            }
            Told::WentBack { .. } => {
                self.figures.went_back.increment(1);
                error!(%name, number, "the stream has lost messages that it had acknowledged");
            }
            Told::Fine => {}
        }
    }

    fn answered(&mut self, producer: &Producer, outcome: Outcome) {
        for position in outcome.stored {
            self.runs.acknowledged(producer, position);
        }
        match outcome.trouble {
            None => self.health.stored(crate::now()),
            Some(trouble) => {
                if matches!(trouble, Trouble::Refused(_)) {
                    self.health.refused(&trouble.to_string(), crate::now());
                }
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
        if matches!(trouble, Trouble::Unreachable(_) | Trouble::Refused(_)) {
            self.troubled = crate::now();
        }
        debug!(name = %producer.name, %trouble, "a run has ended");
        match trouble {
            Trouble::Unreachable(_) | Trouble::Refused(_) => {
                self.health.failed(&trouble.to_string(), crate::now());
            }
            Trouble::Blocked(why) => {
                self.runs.block(&producer.name);
                self.blocked.note(1, why.clone());
            }
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
        for stuck in self.runs.take_stuck() {
            self.change(stuck.batch, |out| {
                out.stuck = if stuck.begins {
                    out.stuck + 1
                } else {
                    out.stuck.saturating_sub(1)
                };
            });
        }
        for (name, missing) in self.runs.take_missing() {
            self.figures.missing.increment(count(missing));
            error!(%name, missing, "the stream has stored messages without those before them");
        }
        let mut repeated = 0;
        for settled in self.runs.take_settled() {
            match settled.fate {
                Fate::Acknowledged => self.figures.acknowledged.increment(1),
                Fate::Repeated => repeated += 1,
                Fate::LeftOut => {
                    self.leave_out("too_long", "longer than the engine takes".to_owned());
                }
            }
            self.messages -= 1;
            self.change(settled.batch, |out| out.left -= 1);
            let is_over = |out: &Out| out.left == 0;
            if self.batches.get(settled.batch).is_some_and(is_over) {
                let out = self.batches.remove(settled.batch);
                self.bytes -= out.bytes;
                self.room.bytes -= out.weight().bytes;
                out.batch.done();
            }
        }
        self.figures.repeated.increment(count(repeated));
        if let Some((name, number)) = self.runs.take_repeated() {
            let why = format!("the last of them of {name}, which stands at {number}");
            self.repeated.note(repeated, why);
        }
    }

    /// Changes a batch, and with it what counts against the limits.
    fn change(&mut self, key: usize, change: impl FnOnce(&mut Out)) {
        if let Some(out) = self.batches.get_mut(key) {
            let before = out.weight();
            change(out);
            let after = out.weight();
            self.room.messages = self.room.messages + after.messages - before.messages;
            self.room.bytes = self.room.bytes + after.bytes - before.bytes;
        }
    }

    fn tick(&mut self) {
        let now = crate::now();
        self.show();
        for (reason, left_out) in &mut self.left_out {
            if let Some((times, why)) = left_out.take(now) {
                warn!(reason, times, why, "messages were left out");
            }
        }
        if let Some((times, why)) = self.blocked.take(now) {
            warn!(times, why, "a producer is blocked");
        }
        if let Some((times, why)) = self.repeated.take(now) {
            let what = "numbers were not above the last, so their messages were not stored";
            if now.duration_since(self.troubled) > CALM {
                warn!(times, why, "{what}: do two writers share a name?");
            } else {
                info!(times, why, "{what}, as is natural after a start or trouble");
            }
        }
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
        let blocked = self.runs.blocked();
        self.health.blocked(blocked);
        self.figures.blocked.set(float(blocked));
        self.figures.in_flight_messages.set(float(self.messages));
        self.figures.in_flight_bytes.set(float(self.bytes));
        self.figures
            .reachable
            .set(float(self.health.is_reachable().into()));
    }
}

impl Seldom {
    fn note(&mut self, times: usize, why: String) {
        self.times += times;
        self.why = why;
    }

    /// What is to be told: at once for the first, then now and then.
    fn take(&mut self, now: Instant) -> Option<(usize, String)> {
        let is_due = |told| now.duration_since(told) >= SELDOM;
        if self.times == 0 || !self.told.is_none_or(is_due) {
            return None;
        }
        self.told = Some(now);
        let why = std::mem::take(&mut self.why);
        Some((std::mem::take(&mut self.times), why))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::task::JoinHandle;
    use uds_ipc::{Delivery, Reader, Writer};

    use super::*;
    use crate::runs::Piece;
    use crate::sink::Answer;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// An engine in memory, which blocks producers, or has no room, when it is told to.
    #[derive(Default)]
    struct Fake {
        positions: Mutex<HashMap<Arc<str>, Position>>,
        blocks_bad_ones: AtomicBool,
        is_full: AtomicBool,
        takes_its_time: AtomicBool,
        refusals: AtomicUsize,
        /// Said to be well while it refused.
        flaps: AtomicUsize,
        health: Option<Arc<Health>>,
    }

    impl Sink for Arc<Fake> {
        const MAY_EXTEND: bool = false;

        async fn probe(&self) -> Result<(), Trouble> {
            Ok(())
        }

        async fn ask(&self, name: &str) -> Result<Position, Trouble> {
            if name.starts_with("bad") && self.blocks_bad_ones.load(Ordering::SeqCst) {
                return Err(Trouble::Blocked("somebody else's".to_owned()));
            }
            let positions = self.positions.lock().unwrap();
            Ok(positions.get(name).copied().unwrap_or_default())
        }

        async fn send(&self, piece: Piece) -> Result<Answer, Trouble> {
            if self.takes_its_time.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let unknown = Outcome::unknown(Trouble::Unreachable("no answer".to_owned()));
                return Ok(std::future::ready(unknown).boxed());
            }
            if self.is_full.load(Ordering::SeqCst) {
                let health = self.health.as_ref().unwrap();
                if self.refusals.fetch_add(1, Ordering::SeqCst) > 0 && health.is_reachable() {
                    self.flaps.fetch_add(1, Ordering::SeqCst);
                }
                let refused = Outcome::unknown(Trouble::Refused("no room".to_owned()));
                return Ok(std::future::ready(refused).boxed());
            }
            let number = piece.messages.last().unwrap().number;
            let position = Position {
                number,
                sequence: number,
            };
            let mut positions = self.positions.lock().unwrap();
            positions.insert(piece.producer.name, position);
            let stored = Outcome {
                stored: vec![position],
                trouble: None,
            };
            Ok(std::future::ready(stored).boxed())
        }

        fn longest(&self) -> usize {
            usize::MAX
        }
    }

    struct Running {
        folder: tempfile::TempDir,
        reader: Reader,
        relay: JoinHandle<Report>,
        stop: watch::Sender<Option<Instant>>,
    }

    fn start(sink: &Arc<Fake>, health: &Arc<Health>) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let bound = Reader::builder(folder.path().join("s")).bind().unwrap();
        let (reader, batches) = bound.start_batches().unwrap();
        let limits = Limits {
            in_flight_messages: 50,
            in_flight_bytes: 1 << 20,
            message_bytes: 1 << 20,
            retry_min: Duration::from_millis(1),
            retry_max: Duration::from_millis(5),
            runs: Bounds {
                run_messages: 100,
                piece_messages: 50,
                piece_bytes: 1 << 20,
                may_extend: false,
                producers: 100,
            },
        };
        let (sink, health) = (Arc::clone(sink), Arc::clone(health));
        let relay = Relay::new(sink, Rule::Prefix, limits, health, Notify::new());
        let (stop, stopped) = watch::channel(None);
        Running {
            folder,
            reader,
            relay: tokio::spawn(relay.run(batches, stopped)),
            stop,
        }
    }

    impl Running {
        fn send(&self, names: &[&str], last: u64) -> Writer {
            let builder = Writer::builder(self.folder.path().join("s"));
            let builder = builder
                .delivery(Delivery::AtLeastOnce)
                .write_timeout(PATIENCE);
            let writer = builder.max_queued_messages(100_000).start().unwrap();
            for number in 1..=last {
                for name in names {
                    writer.try_send(format!("{name} {number} text")).unwrap();
                }
            }
            writer
        }

        /// What a planned stop leaves.
        async fn stop(self) -> Report {
            let reader = self.reader;
            let down = tokio::task::spawn_blocking(move || reader.shutdown(PATIENCE));
            let report = self.relay.await.unwrap();
            let _ = down.await.unwrap().unwrap();
            report
        }
    }

    async fn confirmed(writer: Writer) {
        let down = tokio::task::spawn_blocking(move || writer.shutdown(PATIENCE));
        assert_eq!(down.await.unwrap().unwrap().left.messages, 0);
    }

    async fn wait_for(mut condition: impl FnMut() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn blocked_producers_hold_up_no_other_connection() {
        let sink = Arc::new(Fake::default());
        sink.blocks_bad_ones.store(true, Ordering::SeqCst);
        let health = Arc::new(Health::new(crate::now()));
        let running = start(&sink, &health);
        // A backlog beyond the limit, on several connections, one of which is shared.
        let shared = running.send(&["bad.0", "well"], 500);
        let bad: Vec<_> = ["bad.1", "bad.2", "bad.3"]
            .iter()
            .map(|name| running.send(&[name], 500))
            .collect();
        confirmed(running.send(&["good"], 2_000)).await;
        sink.blocks_bad_ones.store(false, Ordering::SeqCst);
        confirmed(shared).await;
        for writer in bad {
            confirmed(writer).await;
        }
        assert_eq!(running.stop().await, Report { left: 0 });
    }

    /// However many producers have something to hand over.
    #[tokio::test]
    async fn handing_over_does_not_hold_up_a_stop() {
        let sink = Arc::new(Fake::default());
        let health = Arc::new(Health::new(crate::now()));
        let running = start(&sink, &health);
        let names: Vec<_> = (0..40).map(|name| format!("p{name}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        confirmed(running.send(&names, 1)).await;
        sink.takes_its_time.store(true, Ordering::SeqCst);
        let writer = running.send(&names, 2);
        tokio::time::sleep(Duration::from_millis(500)).await;
        running.stop.send_replace(Some(crate::now()));
        // Far from the 40 s that all would take.
        let ended = tokio::time::timeout(Duration::from_secs(15), running.relay).await;
        assert!(ended.unwrap().unwrap().left > 0);
        drop(running.reader);
        let _ = writer.shutdown(Duration::ZERO);
    }

    #[test]
    fn a_flood_of_what_is_left_out_holds_up_no_stop() {
        let (tell, told) = std::sync::mpsc::channel();
        let flood = |socket: std::path::PathBuf| {
            let mut stream = UnixStream::connect(socket).unwrap();
            let frames = b"\x09unmarked!".repeat(10_000);
            std::thread::spawn(move || while stream.write_all(&frames).is_ok() {})
        };
        // A thread that can be left alone: it may never end.
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let report = runtime.enable_all().build().unwrap().block_on(async {
                let sink = Arc::new(Fake::default());
                let health = Arc::new(Health::new(crate::now()));
                let running = start(&sink, &health);
                let socket = running.folder.path().join("s");
                let floods = [0; 4].map(|_| flood(socket.clone()));
                wait_for(|| running.reader.metrics().received.messages > 1_000_000).await;
                running.stop.send_replace(Some(crate::now()));
                let report = running.relay.await.unwrap();
                drop(running.reader);
                let _ = floods.map(|flood| flood.join().unwrap());
                report
            });
            tell.send(report).unwrap();
        });
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Report { left: 0 });
    }

    #[tokio::test]
    async fn an_engine_that_stores_nothing_is_not_well() {
        let health = Arc::new(Health::new(crate::now()));
        let sink = Arc::new(Fake {
            health: Some(Arc::clone(&health)),
            ..Fake::default()
        });
        let running = start(&sink, &health);
        wait_for(|| health.is_reachable()).await;
        sink.is_full.store(true, Ordering::SeqCst);
        let writer = running.send(&["web"], 10);
        wait_for(|| sink.refusals.load(Ordering::SeqCst) > 50).await;
        assert_eq!(sink.flaps.load(Ordering::SeqCst), 0);
        assert!(!health.is_reachable());
        sink.is_full.store(false, Ordering::SeqCst);
        confirmed(writer).await;
        assert!(health.is_reachable());
        assert_eq!(running.stop().await, Report { left: 0 });
    }
}
