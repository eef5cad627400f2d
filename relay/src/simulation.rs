//! Histories of everything that can go wrong, from a seed: the runs against a model of a JetStream
//! server, with producers that send again what was not confirmed.
//!
//! The model: one stream in order, ids known within a window that also ends at a restart, the last
//! id of all, and connections whose bytes may come late, also those of relays that were killed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use fastrand::Rng;

use crate::runs::{
    Behind, Bounds, Fate, Message, OutOfOrder, Piece, Position, Producer, Runs, Step,
};
use crate::sink::expectation::{self, Expectation, Wrong};

const PRODUCERS: usize = 4;
/// The last number of each.
const LAST: u64 = 120;
/// So long a body is too long.
const LONGEST: usize = 7;
/// More turns than any history needs.
const PATIENCE: usize = 200_000;

fn names() -> Vec<String> {
    (0..PRODUCERS)
        .map(|producer| format!("p{producer}"))
        .collect()
}

/// Numbers may have gaps; some messages are too long.
fn is_sent(producer: usize, number: u64) -> bool {
    !(number + u64::try_from(producer).unwrap()).is_multiple_of(7)
}

fn body(number: u64) -> Bytes {
    Bytes::from(vec![0; if number % 31 == 5 { LONGEST + 1 } else { 1 }])
}

fn expected(producer: usize) -> Vec<u64> {
    let is_good = |number: &u64| is_sent(producer, *number) && body(*number).len() <= LONGEST;
    (1..=LAST).filter(is_good).collect()
}

/// A message on a connection.
#[derive(Clone)]
struct Sent {
    name: String,
    number: u64,
    expectation: Expectation,
    asks_for_ack: bool,
    /// Of its piece, for the answer.
    piece: u64,
    connection: u64,
}

enum Reply {
    Stored { sequence: u64, is_duplicate: bool },
    Refused,
    TooLong,
    NoRoom,
}

/// The model of the server.
#[derive(Default)]
struct Server {
    /// `None` is somebody else's message.
    stream: Vec<Option<(String, u64)>>,
    window: VecDeque<(String, u64)>,
    /// What it remembers of the last id. After a restart perhaps nothing.
    last_id: Option<(String, u64)>,
    is_full: bool,
    /// Whether a message that there is no room for counts as the last one all the same, as in
    /// servers from 2.10.19 to 2.12.3.
    is_lax: bool,
}

impl Server {
    fn last_of(&self, name: &str) -> Position {
        let is_its = |(_, stored): &(usize, &Option<(String, u64)>)| {
            stored.as_ref().is_some_and(|(its, _)| its == name)
        };
        let mut all = self.stream.iter().enumerate();
        all.rfind(is_its)
            .map_or(Position::default(), |(index, stored)| Position {
                number: stored.as_ref().unwrap().1,
                sequence: u64::try_from(index).unwrap() + 1,
            })
    }

    fn last(&self) -> u64 {
        self.stream.len().try_into().unwrap()
    }

    fn store(&mut self, sent: &Sent) -> Reply {
        let id = (sent.name.clone(), sent.number);
        if self.window.contains(&id) {
            let is_it = |stored: &Option<_>| stored.as_ref() == Some(&id);
            let index = self.stream.iter().position(is_it).unwrap();
            return Reply::Stored {
                sequence: u64::try_from(index).unwrap() + 1,
                is_duplicate: true,
            };
        }
        let is_met = match sent.expectation {
            Expectation::Nothing => true,
            Expectation::StreamSequence(sequence) => self.last() == sequence,
            Expectation::Sequence(sequence) => self.last_of(&sent.name).sequence == sequence,
            Expectation::Message(number) => self.last_id == Some((sent.name.clone(), number)),
        };
        if !is_met {
            return Reply::Refused;
        }
        if body(sent.number).len() > LONGEST {
            return Reply::TooLong;
        }
        if self.is_full {
            if self.is_lax {
                self.last_id = Some(id);
            }
            return Reply::NoRoom;
        }
        self.stream.push(Some(id.clone()));
        self.window.push_back(id.clone());
        if self.window.len() > 60 {
            self.window.pop_front();
        }
        self.last_id = Some(id);
        Reply::Stored {
            sequence: self.last(),
            is_duplicate: false,
        }
    }

    fn foreign(&mut self) {
        self.stream.push(None);
        // It has no id.
        self.last_id = None;
    }
}

/// A piece that is on its way, as the relay sees it.
struct OnTheWay {
    piece: Piece,
    /// The last of it that asks for an acknowledgement.
    last_asked: u64,
    /// Whether all of it was handed over.
    is_whole: bool,
    stored: Option<Position>,
    /// Which message was refused first.
    refused: Option<(u64, Reply)>,
}

/// The relay: the runs, and what it has to do with.
struct Relay {
    runs: Runs,
    wrong: Option<Wrong>,
    pieces: BTreeMap<u64, OnTheWay>,
    asks: Vec<Producer>,
    resting: Vec<Producer>,
    connection: u64,
}

impl Relay {
    fn new(rng: &mut Rng, wrong: Option<Wrong>, connection: u64) -> Self {
        let runs = Runs::new(Bounds {
            run_messages: rng.usize(1..40),
            piece_messages: rng.usize(1..20),
            piece_bytes: 100,
            may_extend: rng.bool(),
            producers: rng.usize(1..6),
        });
        Self {
            runs,
            wrong,
            pieces: BTreeMap::new(),
            asks: Vec::new(),
            resting: Vec::new(),
            connection,
        }
    }

    fn fail(&mut self, producer: &Producer, is_broken: bool) {
        if self.runs.failed(producer, is_broken).is_some() {
            self.resting.push(producer.clone());
        }
    }

    /// All that is on its way is unknown.
    fn fail_all(&mut self) {
        for (_, on_the_way) in std::mem::take(&mut self.pieces) {
            self.fail(&on_the_way.piece.producer, false);
        }
        for producer in std::mem::take(&mut self.asks) {
            self.fail(&producer, false);
        }
    }
}

struct World {
    rng: Rng,
    way: fn() -> Option<Wrong>,
    server: Server,
    relay: Relay,
    /// In order within a connection; those of ended ones may still come.
    wire: Vec<VecDeque<Sent>>,
    pieces: u64,
    /// What each producer has had confirmed up to, and has sent up to.
    confirmed: Vec<u64>,
    pushed: Vec<u64>,
    connections: Vec<u64>,
    /// What is not settled, by the batch's number.
    batches: HashMap<usize, (usize, u64)>,
    settled: HashMap<(usize, u64), Fate>,
    /// How many messages the relays have found to be missing.
    missing: usize,
    /// Messages that count as acknowledged, of those that are not too long.
    acknowledged: usize,
    /// Whether no relay was killed: then these are all.
    is_first_relay: bool,
    /// Of these, at most: what one run sends may be left out of an earlier one, of which the bytes
    /// come late.
    too_long: usize,
    /// How many are to come: behind the last one nothing may hang.
    faults: u32,
}

impl World {
    fn new(seed: u64, way: fn() -> Option<Wrong>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let relay = Relay::new(&mut rng, way(), 0);
        let faults = rng.u32(..10);
        Self {
            rng,
            way,
            server: Server::default(),
            relay,
            wire: vec![VecDeque::new()],
            pieces: 0,
            confirmed: vec![0; PRODUCERS],
            pushed: vec![0; PRODUCERS],
            connections: vec![1; PRODUCERS],
            batches: HashMap::new(),
            settled: HashMap::new(),
            missing: 0,
            acknowledged: 0,
            is_first_relay: true,
            too_long: 0,
            faults,
        }
    }

    /// A producer sends some more; or, after a write timeout, all again that is not confirmed.
    fn produce(&mut self) {
        let producer = self.rng.usize(..PRODUCERS);
        if self.rng.u8(..20) == 0 && self.faults > 0 {
            self.pushed[producer] = self.confirmed[producer];
            self.connections[producer] += 1;
        }
        for _ in 0..self.rng.usize(1..12) {
            let number = self.pushed[producer] + 1;
            if number > LAST {
                return;
            }
            self.pushed[producer] = number;
            if !is_sent(producer, number) {
                continue;
            }
            let batch = self.batches.len();
            self.batches.insert(batch, (producer, number));
            let message = Message {
                number,
                body: body(number),
            };
            let connection = self.connections[producer];
            let pushed = self
                .relay
                .runs
                .push(&names()[producer], message, batch, connection);
            pushed.unwrap();
            self.settle();
        }
    }

    /// What is settled is confirmed, as far as there is no gap.
    fn settle(&mut self) {
        for (_, missing) in self.relay.runs.take_missing() {
            self.missing += missing;
        }
        for settled in self.relay.runs.take_settled() {
            let (producer, number) = self.batches[&settled.batch];
            let is_acknowledged = settled.fate == Fate::Acknowledged;
            let is_too_long = body(number).len() > LONGEST;
            self.too_long += usize::from(is_acknowledged && is_too_long);
            self.acknowledged += usize::from(is_acknowledged && !is_too_long);
            self.settled.insert((producer, number), settled.fate);
            loop {
                let next = self.confirmed[producer] + 1;
                if next > LAST
                    || is_sent(producer, next) && !self.settled.contains_key(&(producer, next))
                {
                    break;
                }
                self.confirmed[producer] = next;
            }
        }
    }

    fn step(&mut self) {
        // What the relay knows of the stream's limit may be old.
        let longest = if self.rng.u8(..4) == 0 {
            usize::MAX
        } else {
            LONGEST
        };
        let step = self.relay.runs.step(longest);
        self.settle();
        match step {
            Some(Step::Ask(producer)) => self.relay.asks.push(producer),
            Some(Step::Send(piece)) => {
                self.pieces += 1;
                // To hand over may fail in the midst of it.
                let mut end = piece.messages.len();
                if self.faults > 0 && self.rng.u8(..10) == 0 {
                    end = self.rng.usize(1..=end);
                }
                let is_whole = end == piece.messages.len();
                let mut last_asked = 0;
                for (index, message) in piece.messages.iter().enumerate().take(end) {
                    let expectation = match &mut self.relay.wrong {
                        Some(wrong) => wrong.expectation(),
                        None => expectation::of(&piece, index),
                    };
                    // In a wrong way nothing follows from the last one's.
                    let asks_for_ack =
                        self.relay.wrong.is_some() || expectation::asks_for_ack(&piece, index);
                    if asks_for_ack {
                        last_asked = message.number;
                    }
                    let sent = Sent {
                        name: piece.producer.name.to_string(),
                        number: message.number,
                        expectation,
                        asks_for_ack,
                        piece: self.pieces,
                        connection: self.relay.connection,
                    };
                    self.wire.last_mut().unwrap().push_back(sent);
                }
                let on_the_way = OnTheWay {
                    last_asked,
                    is_whole,
                    piece,
                    stored: None,
                    refused: None,
                };
                self.relay.pieces.insert(self.pieces, on_the_way);
            }
            None => {}
        }
    }

    /// The server takes a message of some connection.
    fn arrive(&mut self) {
        let connection = self.rng.usize(..self.wire.len());
        let Some(sent) = self.wire[connection].pop_front() else {
            return;
        };
        let reply = self.server.store(&sent);
        if sent.connection != self.relay.connection || !sent.asks_for_ack {
            return;
        }
        let Some(on_the_way) = self.relay.pieces.get_mut(&sent.piece) else {
            return;
        };
        let trusts = self
            .relay
            .wrong
            .as_ref()
            .is_some_and(Wrong::trusts_the_window);
        match reply {
            Reply::Stored {
                sequence,
                is_duplicate,
            } if (!is_duplicate || trusts) && on_the_way.refused.is_none() => {
                let position = Position {
                    number: sent.number,
                    sequence,
                };
                on_the_way.stored = Some(position);
                if let Some(wrong) = &mut self.relay.wrong {
                    wrong.acknowledged(&sent.name, position);
                }
            }
            refused @ (Reply::Stored { .. } | Reply::Refused | Reply::TooLong | Reply::NoRoom) => {
                on_the_way.refused.get_or_insert((sent.number, refused));
            }
        }
    }

    /// The relay learns what became of a piece: of any that is over.
    fn learn(&mut self) {
        let is_over = |on_the_way: &OnTheWay| {
            let is_last = |position: Position| position.number == on_the_way.last_asked;
            on_the_way.refused.is_some() || on_the_way.stored.is_some_and(is_last)
        };
        let pieces = self
            .relay
            .pieces
            .iter()
            .filter(|(_, on_the_way)| is_over(on_the_way));
        let keys: Vec<_> = pieces.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.rng.usize(..keys.len())];
        let on_the_way = self.relay.pieces.remove(&key).unwrap();
        let producer = &on_the_way.piece.producer;
        if let Some(position) = on_the_way.stored {
            self.relay.runs.acknowledged(producer, position);
        }
        match on_the_way.refused {
            Some((number, Reply::TooLong)) => {
                self.relay.runs.left_out(producer, number);
                self.relay.fail(producer, false);
            }
            Some((_, Reply::NoRoom)) => self.relay.fail(producer, false),
            Some(_) => self.relay.fail(producer, true),
            None if !on_the_way.is_whole => self.relay.fail(producer, false),
            None => {}
        }
        self.settle();
    }

    /// The server answers where a producer stands; it may still have bytes before it.
    fn answer(&mut self) {
        if self.relay.asks.is_empty() {
            return;
        }
        let producer = self.relay.asks.remove(0);
        let mut position = self.server.last_of(&producer.name);
        if let Some(wrong) = &mut self.relay.wrong {
            position = wrong.told(&producer.name, position, self.server.last());
        }
        self.relay.runs.told(&producer, position);
        self.settle();
    }

    fn cut(&mut self) {
        // What the kernel has may come late, or not at all.
        let last = self.wire.last_mut().unwrap();
        let kept = self.rng.usize(..=last.len());
        last.truncate(kept);
        self.wire.push(VecDeque::new());
        if self.wire.len() > 4 {
            self.wire.remove(0);
        }
    }

    fn fault(&mut self) {
        self.faults -= 1;
        match self.rng.u8(..6) {
            0 => {
                self.cut();
                self.relay.connection += 1;
                self.relay.fail_all();
            }
            1 => {
                // The server is killed: what is on the wire is gone.
                self.wire = vec![VecDeque::new()];
                self.relay.connection += 1;
                self.relay.fail_all();
                if self.rng.bool() {
                    self.server.window.clear();
                    self.server.last_id = None;
                }
            }
            2 | 3 => {
                // The relay is killed, or killed while the server stands still.
                self.cut();
                let connection = self.relay.connection + 1;
                self.relay = Relay::new(&mut self.rng, (self.way)(), connection);
                self.is_first_relay = false;
                for producer in 0..PRODUCERS {
                    // Receipts get lost: it sends again what was confirmed too.
                    let again = self.confirmed[producer].saturating_sub(self.rng.u64(..30));
                    self.confirmed[producer] = again;
                    self.pushed[producer] = again;
                    self.connections[producer] += 1;
                    self.settled
                        .retain(|(its, number), _| *its != producer || *number <= again);
                }
            }
            // Until some other time.
            4 => self.server.is_full = true,
            // The window has passed.
            _ => self.server.window.clear(),
        }
    }

    fn is_done(&self) -> bool {
        self.confirmed.iter().all(|confirmed| *confirmed == LAST)
            && self.wire.iter().all(VecDeque::is_empty)
    }

    /// Runs a history; the error says what is wrong in the stream.
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE {
            if self.is_done() {
                return self.check();
            }
            match self.rng.u8(..100) {
                0..15 => self.produce(),
                15..50 => self.step(),
                50..80 => self.arrive(),
                80..87 => self.learn(),
                87..93 => self.answer(),
                93..97 => {
                    for producer in std::mem::take(&mut self.relay.resting) {
                        self.relay.runs.retry(&producer.name);
                    }
                }
                97 if self.rng.u8(..3) == 0 => self.server.foreign(),
                99 if self.rng.u8(..4) == 0 => self.server.is_full = false,
                98 if self.rng.u8(..4) == 0 && self.faults > 0 => self.fault(),
                _ => {}
            }
        }
        self.check()?;
        Err("it is not done".to_owned())
    }

    fn check(&self) -> Result<(), String> {
        for (producer, name) in names().iter().enumerate() {
            let its = self
                .server
                .stream
                .iter()
                .flatten()
                .filter(|(its, _)| its == name);
            let its: Vec<u64> = its.map(|(_, number)| *number).collect();
            let expected: Vec<u64> = expected(producer)
                .into_iter()
                .filter(|number| *number <= self.confirmed[producer])
                .collect();
            let whole = its.get(..expected.len());
            if whole != Some(&expected) || !its.is_sorted_by(|a, b| a < b) {
                return Err(format!("{name}: {its:?}, confirmed {expected:?}"));
            }
        }
        let stored = self.server.stream.iter().flatten().count();
        if self.is_first_relay && self.is_done() && self.relay.wrong.is_none() {
            let missing = self.missing.saturating_sub(self.too_long);
            let counted = self.acknowledged;
            if counted - missing != stored {
                return Err(format!("{counted} seem to be acknowledged, of {stored}"));
            }
        }
        if self.missing > self.too_long && self.relay.wrong.is_none() {
            return Err(format!("{} seem to be missing", self.missing));
        }
        Ok(())
    }
}

fn histories() -> u64 {
    let histories = std::env::var("UDS_IPC_RELAY_HISTORIES");
    histories.map_or(300, |histories| histories.parse().unwrap())
}

#[test]
fn every_history_ends_with_each_message_once_and_in_order() {
    for seed in 0..histories() {
        if let Err(wrong) = World::new(seed, || None).run() {
            panic!("seed {seed}: {wrong}");
        }
    }
}

#[test]
fn naive_repetition_is_caught() {
    let way = || Some(Wrong::Naive(HashMap::new()));
    let is_wrong = |seed| {
        World::new(seed, way)
            .run()
            .is_err_and(|wrong| wrong != "it is not done")
    };
    assert!((0..300).any(is_wrong));
}

#[test]
fn foretold_sequences_are_caught() {
    let way = || Some(Wrong::Foretold(0));
    let is_wrong = |seed| {
        World::new(seed, way)
            .run()
            .is_err_and(|wrong| wrong != "it is not done")
    };
    assert!((0..300).any(is_wrong));
}

#[test]
fn a_server_that_stores_what_follows_a_refused_message_is_found_out() {
    let (mut found, mut holes) = (0, 0);
    for seed in 0..histories() {
        let mut world = World::new(seed, || None);
        world.server.is_lax = true;
        if let Err(wrong) = world.run()
            && wrong != "it is not done"
        {
            holes += 1;
            found += u32::from(world.missing > 0);
            assert!(!wrong.contains("seem"), "seed {seed}: {wrong}");
        }
    }
    // Not in each: somebody else's messages have sequences too.
    assert!(found > 0, "{holes} histories with holes");
}

fn push(runs: &mut Runs, name: &str, number: u64) {
    let body = body(1);
    runs.push(name, Message { number, body }, 0, 1).unwrap();
}

#[test]
fn a_number_that_does_not_grow_on_its_connection_is_told() {
    let bounds = Bounds {
        run_messages: 4,
        piece_messages: 2,
        piece_bytes: 100,
        may_extend: true,
        producers: 9,
    };
    let mut runs = Runs::new(bounds);
    let mut push = |number, connection| {
        let body = body(1);
        runs.push("p", Message { number, body }, 0, connection)
    };
    assert_eq!(push(5, 1), Ok(()));
    assert_eq!(push(5, 1), Err(OutOfOrder));
    assert_eq!(push(4, 1), Err(OutOfOrder));
    // What comes again comes on another one.
    assert_eq!(push(4, 2), Ok(()));
    assert_eq!(push(6, 2), Ok(()));
}

/// A message of which the stream forgot the last id is stored by the sequence.
#[test]
fn the_first_of_a_run_names_no_message() {
    let bounds = Bounds {
        run_messages: 4,
        piece_messages: 2,
        piece_bytes: 100,
        may_extend: true,
        producers: 9,
    };
    let mut runs = Runs::new(bounds);
    for number in 1..=3 {
        push(&mut runs, "p", number);
    }
    let Some(Step::Ask(producer)) = runs.step(LONGEST) else {
        panic!("it does not ask");
    };
    let position = Position {
        number: 1,
        sequence: 9,
    };
    runs.told(&producer, position);
    let Some(Step::Send(piece)) = runs.step(LONGEST) else {
        panic!("it does not send");
    };
    assert_eq!(piece.behind, Behind::Stored(position));
    assert_eq!(expectation::of(&piece, 0), Expectation::Sequence(9));
    assert_eq!(expectation::of(&piece, 1), Expectation::Message(2));
    assert_eq!(runs.take_settled()[0].fate, Fate::Repeated);
    // More of the same run while it is on its way.
    push(&mut runs, "p", 4);
    let Some(Step::Send(piece)) = runs.step(LONGEST) else {
        panic!("it does not go on");
    };
    assert_eq!(piece.behind, Behind::Sent(3));
    // Not once another one was sent.
    push(&mut runs, "q", 1);
    let Some(Step::Ask(other)) = runs.step(LONGEST) else {
        panic!("it does not ask");
    };
    runs.told(&other, Position::default());
    assert!(matches!(runs.step(LONGEST), Some(Step::Send(_))));
    push(&mut runs, "p", 5);
    assert_eq!(runs.step(LONGEST), None);
}
