//! Where each producer stands: what is stored, what is on its way, what comes next.
//! Pure: no I/O, no clock.
//!
//! * A producer has one run on its way at a time: messages of which each is stored only behind the
//!   one before it.
//! * The first of a run is stored only where the stream itself said that the producer stands, each
//!   further one only behind the message before it. So whoever sends a message, however late, it is
//!   stored once and in order, or not at all.
//! * After any trouble the rest of the run is forgotten. The stream is asked where the producer
//!   stands, and a new run begins behind that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;
use thiserror::Error;

/// What bounds a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most messages of a producer on their way.
    pub(crate) run_messages: usize,
    /// The most messages that are handed to the sink together.
    pub(crate) piece_messages: usize,
    /// The most bytes of them, unless one message is longer.
    pub(crate) piece_bytes: usize,
    /// Whether a run may grow while it is on its way, as long as nothing else was sent since.
    pub(crate) may_extend: bool,
    /// The most producers that are remembered while they have nothing to send.
    pub(crate) producers: usize,
}

/// Where a producer stands in the stream, out of one answer of the stream's. Nothing stored: zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of its last message.
    pub(crate) number: u64,
    /// The stream's own number for it.
    pub(crate) sequence: u64,
}

/// What must be true in the stream for a piece to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The producer stands here: the stream said so.
    Stored(Position),
    /// The stream's last message is this one of the same run.
    Sent(u64),
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) number: u64,
    pub(crate) body: Bytes,
}

/// A producer, and the life of its run: an answer for an earlier life counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) name: Arc<str>,
    key: usize,
    life: u64,
}

/// A part of a run, to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) producer: Producer,
    pub(crate) behind: Behind,
    /// At least one.
    pub(crate) messages: Vec<Message>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the stream where the producer stands.
    Ask(Producer),
    Send(Piece),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was sent, and the stream has it: said so at once, or when it was asked.
    Acknowledged,
    /// The stream had it before it was sent.
    Repeated,
    /// Too long for the stream.
    LeftOut,
}

/// A message that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// What [`Runs::push`] was given.
    pub(crate) batch: usize,
    pub(crate) fate: Fate,
}

/// A message that begins or ends to wait for its operator: its producer is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// What [`Runs::push`] was given.
    pub(crate) batch: usize,
    pub(crate) begins: bool,
}

/// What the stream's answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Fine,
    /// It stands behind what was acknowledged before: the stream has lost or removed messages.
    WentBack {
        before: Position,
    },
}

/// Why a message is not taken: its number is not above that of its producer's message before on the
/// same connection. Several threads send under one name, or the number began again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("its number is not above the one before on its connection")]
pub(crate) struct OutOfOrder;

#[derive(Debug)]
pub(crate) struct Runs {
    bounds: Bounds,
    known: Slab<Known>,
    by_name: HashMap<Arc<str>, usize>,
    /// Those that may have something to do, in turn.
    turns: VecDeque<usize>,
    /// Whose message was sent last.
    last_sent: Option<usize>,
    lives: u64,
    settled: Vec<Settled>,
    stuck: Vec<Stuck>,
    /// Who sent a message last that the stream had already, and where it stands.
    repeated: Option<(Arc<str>, u64)>,
    missing: Vec<(Arc<str>, usize)>,
}

/// What is known of a producer.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    life: u64,
    state: State,
    stored: Position,
    /// Sent and not acknowledged.
    sent: VecDeque<Item>,
    last_pushed: Pushed,
    waiting: VecDeque<Item>,
    is_blocked: bool,
    /// How long a run may be now: others in the stream break long ones.
    run_messages: usize,
    /// How often in a row there was trouble.
    troubles: u32,
    has_turn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked.
    Unknown,
    Asking,
    /// After trouble, until the caller says that it may be asked.
    Resting,
    Stands,
}

/// The last message of a producer's, and where it came from. Connections count from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Pushed {
    connection: u64,
    number: u64,
}

#[derive(Debug)]
struct Item {
    message: Message,
    batch: usize,
    /// Perhaps in vain. After trouble it counts only where the stream stands at what was sent.
    was_sent: bool,
}

impl Item {
    fn settled(&self, fate: Fate) -> Settled {
        Settled {
            batch: self.batch,
            fate,
        }
    }
}

impl Runs {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            known: Slab::new(),
            by_name: HashMap::new(),
            turns: VecDeque::new(),
            last_sent: None,
            lives: 0,
            settled: Vec::new(),
            stuck: Vec::new(),
            repeated: None,
            missing: Vec::new(),
        }
    }

    /// Takes a message. Those of one producer come in order, but may come again on another
    /// connection, from the oldest that was not settled or an earlier one.
    ///
    /// One whose number does not grow on its connection is not taken: it would count as one that
    /// comes again, and be lost without a word.
    pub(crate) fn push(
        &mut self,
        name: &str,
        message: Message,
        batch: usize,
        connection: u64,
    ) -> Result<(), OutOfOrder> {
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.add(name),
        };
        let Some(known) = self.known.get_mut(key) else {
            return Ok(());
        };
        let (before, last) = (known.last_pushed.connection, known.last_pushed.number);
        if before == connection && message.number <= last {
            return Err(OutOfOrder);
        }
        known.last_pushed = Pushed {
            connection,
            number: message.number,
        };
        known.waiting.push_back(Item {
            message,
            batch,
            was_sent: false,
        });
        if known.is_blocked {
            self.stuck.push(Stuck {
                batch,
                begins: true,
            });
        }
        known.take_turn(key, &mut self.turns);
        Ok(())
    }

    /// What became of messages since the last call.
    pub(crate) fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// Which messages began or ended to be stuck since the last call, in order.
    pub(crate) fn take_stuck(&mut self) -> Vec<Stuck> {
        std::mem::take(&mut self.stuck)
    }

    /// Who sent a message since the last call that the stream had already, and where it stands.
    pub(crate) fn take_repeated(&mut self) -> Option<(Arc<str>, u64)> {
        self.repeated.take()
    }

    /// Of whom messages are missing since the last call, and how many: the stream has stored what
    /// was sent behind them, with less positions between than there were messages.
    pub(crate) fn take_missing(&mut self) -> Vec<(Arc<str>, usize)> {
        std::mem::take(&mut self.missing)
    }

    /// The next thing to do, until there is none. `longest` is the most bytes of a body that the
    /// stream takes.
    pub(crate) fn step(&mut self, longest: usize) -> Option<Step> {
        while let Some(key) = self.turns.pop_front() {
            let Some(known) = self.known.get_mut(key) else {
                continue;
            };
            known.has_turn = false;
            match known.state {
                State::Unknown if !known.waiting.is_empty() => {
                    known.state = State::Asking;
                    return Some(Step::Ask(known.producer(key)));
                }
                State::Stands => {
                    let is_last = self.bounds.may_extend && self.last_sent == Some(key);
                    let already = self.settled.len();
                    let piece = known.piece(key, &self.bounds, is_last, longest, &mut self.settled);
                    let mut new = self.settled.iter().skip(already);
                    if new.any(|settled| settled.fate == Fate::Repeated) {
                        self.repeated = Some((Arc::clone(&known.name), known.stored.number));
                    }
                    if let Some(piece) = piece {
                        self.last_sent = Some(key);
                        known.take_turn(key, &mut self.turns);
                        return Some(Step::Send(piece));
                    }
                }
                State::Unknown | State::Asking | State::Resting => {}
            }
        }
        None
    }

    /// The stream's answer to [`Step::Ask`].
    pub(crate) fn told(&mut self, producer: &Producer, position: Position) -> Told {
        let Some(known) = self.known.get_mut(producer.key) else {
            return Told::Fine;
        };
        if known.life != producer.life || known.state != State::Asking {
            return Told::Fine;
        }
        let passed = known.look_for_sent(position.number);
        let missing = known.missing(position, passed);
        if missing > 0 {
            self.missing.push((Arc::clone(&known.name), missing));
        }
        let before = std::mem::replace(&mut known.stored, position);
        known.state = State::Stands;
        if std::mem::take(&mut known.is_blocked) {
            self.stuck.extend(known.stuck(false));
        }
        known.take_turn(producer.key, &mut self.turns);
        if position.number < before.number {
            Told::WentBack { before }
        } else {
            Told::Fine
        }
    }

    /// What is on its way is stored up to `position`. Answers for pieces of one run may come in any
    /// order: each piece is stored behind those before it only.
    pub(crate) fn acknowledged(&mut self, producer: &Producer, position: Position) {
        let most = self.bounds.run_messages;
        let Some(known) = self.known.get_mut(producer.key) else {
            return;
        };
        if known.life != producer.life || position.number <= known.stored.number {
            return;
        }
        let stored = known
            .sent
            .partition_point(|item| item.message.number <= position.number);
        let missing = known.missing(position, stored);
        if missing > 0 {
            self.missing.push((Arc::clone(&known.name), missing));
        }
        known.stored = position;
        known.troubles = 0;
        let settled = known.sent.drain(..stored);
        self.settled
            .extend(settled.map(|item| item.settled(Fate::Acknowledged)));
        known.run_messages = (known.run_messages + stored).min(most);
        known.take_turn(producer.key, &mut self.turns);
    }

    /// Message `number`, which is on its way, is too long, as the stream says.
    /// [`failed`](Self::failed) follows.
    pub(crate) fn left_out(&mut self, producer: &Producer, number: u64) {
        let Some(known) = self.current(producer) else {
            return;
        };
        let is_it = |item: &Item| item.message.number == number;
        if let Some(index) = known.sent.iter().position(is_it)
            && let Some(item) = known.sent.remove(index)
        {
            self.settled.push(item.settled(Fate::LeftOut));
        }
    }

    /// What is on its way may be stored or not. If the run had been going on until now, this says
    /// how often in a row there had been trouble before, and [`retry`](Self::retry) is called
    /// later. `is_broken`: a message of the run was refused, as the one before it was not the
    /// stream's last.
    pub(crate) fn failed(&mut self, producer: &Producer, is_broken: bool) -> Option<u32> {
        self.lives += 1;
        let life = self.lives;
        let known = self.current(producer)?;
        known.life = life;
        known.state = State::Resting;
        if is_broken {
            known.run_messages = (known.run_messages / 4).max(1);
        }
        while let Some(item) = known.sent.pop_back() {
            known.waiting.push_front(item);
        }
        known.troubles += 1;
        Some(known.troubles - 1)
    }

    /// What the producer has waits for somebody, until the stream tells where it stands.
    /// [`failed`](Self::failed) came before.
    pub(crate) fn block(&mut self, name: &str) {
        if let Some(key) = self.by_name.get(name)
            && let Some(known) = self.known.get_mut(*key)
            && !std::mem::replace(&mut known.is_blocked, true)
        {
            self.stuck.extend(known.stuck(true));
        }
    }

    /// How many producers are blocked.
    pub(crate) fn blocked(&self) -> usize {
        let blocked = self.known.iter().filter(|(_, known)| known.is_blocked);
        blocked.count()
    }

    /// The producer may be asked for again.
    pub(crate) fn retry(&mut self, name: &str) {
        let Some(key) = self.by_name.get(name) else {
            return;
        };
        if let Some(known) = self.known.get_mut(*key) {
            if known.state == State::Resting {
                known.state = State::Unknown;
            }
            known.take_turn(*key, &mut self.turns);
        }
    }

    fn current(&mut self, producer: &Producer) -> Option<&mut Known> {
        let known = self.known.get_mut(producer.key)?;
        Some(known).filter(|known| known.life == producer.life)
    }

    fn add(&mut self, name: &str) -> usize {
        if self.known.len() >= self.bounds.producers {
            let is_idle = |known: &Known| {
                known.sent.is_empty()
                    && known.waiting.is_empty()
                    && matches!(known.state, State::Stands | State::Unknown)
            };
            self.known.retain(|_, known| !is_idle(known));
            let known = &self.known;
            self.by_name.retain(|_, key| known.contains(*key));
            self.turns.retain(|key| known.contains(*key));
            self.last_sent = None;
        }
        let name: Arc<str> = name.into();
        self.lives += 1;
        let key = self.known.insert(Known {
            name: Arc::clone(&name),
            life: self.lives,
            state: State::Unknown,
            stored: Position::default(),
            sent: VecDeque::new(),
            last_pushed: Pushed::default(),
            waiting: VecDeque::new(),
            is_blocked: false,
            run_messages: self.bounds.run_messages,
            troubles: 0,
            has_turn: false,
        });
        self.by_name.insert(name, key);
        key
    }
}

impl Known {
    fn producer(&self, key: usize) -> Producer {
        Producer {
            name: Arc::clone(&self.name),
            key,
            life: self.life,
        }
    }

    fn take_turn(&mut self, key: usize, turns: &mut VecDeque<usize>) {
        if !self.has_turn {
            self.has_turn = true;
            turns.push_back(key);
        }
    }

    /// Where the stream stands at a message that was sent, those before it were stored before it:
    /// returns how many. Where it stands elsewhere, somebody else has sent the last one, and
    /// nothing is known of those up to there.
    fn look_for_sent(&mut self, number: u64) -> usize {
        let until = |item: &&mut Item| item.message.number <= number;
        let sent = self.waiting.iter().filter(|item| item.was_sent);
        let sent = sent.filter(|item| item.message.number <= number);
        let (passed, last) = sent.fold((0, 0), |(passed, last), item| {
            (passed + 1, last.max(item.message.number))
        });
        if last == number {
            return passed;
        }
        for item in self.waiting.iter_mut().filter(until) {
            item.was_sent = false;
        }
        0
    }

    /// How many of the messages that were sent since the last position are not there, if the stream
    /// stands at `position` and `passed` of them have been sent up to there. Each has a sequence of
    /// its own; others may come between runs. A stream that was made anew tells nothing.
    fn missing(&self, position: Position, passed: usize) -> usize {
        let most = position.sequence.checked_sub(self.stored.sequence);
        let most = most.and_then(|most| usize::try_from(most).ok());
        passed.saturating_sub(most.unwrap_or(usize::MAX))
    }

    fn stuck(&self, begins: bool) -> impl Iterator<Item = Stuck> {
        let all = self.sent.iter().chain(&self.waiting);
        all.map(move |item| Stuck {
            batch: item.batch,
            begins,
        })
    }

    /// The next part of the run, if there is one that may go.
    fn piece(
        &mut self,
        key: usize,
        bounds: &Bounds,
        is_last: bool,
        longest: usize,
        settled: &mut Vec<Settled>,
    ) -> Option<Piece> {
        let (behind, mut before) = match self.sent.back() {
            None => (Behind::Stored(self.stored), self.stored.number),
            Some(item) if is_last => (Behind::Sent(item.message.number), item.message.number),
            Some(_) => return None,
        };
        let is_run = !self.sent.is_empty();
        let room = self
            .run_messages
            .saturating_sub(self.sent.len())
            .min(bounds.piece_messages);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < room && bytes < bounds.piece_bytes {
            let Some(item) = self.waiting.front() else {
                break;
            };
            let is_repeated = item.message.number <= before;
            if is_repeated && (is_run || !messages.is_empty()) {
                // It is known to be stored once the one before it is.
                break;
            }
            let Some(mut item) = self.waiting.pop_front() else {
                break;
            };
            if is_repeated && item.was_sent {
                settled.push(item.settled(Fate::Acknowledged));
            } else if is_repeated {
                settled.push(item.settled(Fate::Repeated));
            } else if item.message.body.len() > longest {
                settled.push(item.settled(Fate::LeftOut));
            } else {
                before = item.message.number;
                bytes += item.message.body.len();
                messages.push(item.message.clone());
                item.was_sent = true;
                self.sent.push_back(item);
            }
        }
        let producer = self.producer(key);
        (!messages.is_empty()).then_some(Piece {
            producer,
            behind,
            messages,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        run_messages: 4,
        piece_messages: 2,
        piece_bytes: 100,
        may_extend: true,
        producers: 10,
    };

    #[test]
    fn silent_producers_beyond_the_bound_are_forgotten() {
        let mut runs = Runs::new(BOUNDS);
        for name in 0..1_000 {
            let message = Message {
                number: 1,
                body: Bytes::new(),
            };
            runs.push(&format!("p{name}"), message, 0, 1).unwrap();
            let Some(Step::Ask(producer)) = runs.step(100) else {
                panic!("it does not ask");
            };
            runs.told(&producer, Position::default());
            let Some(Step::Send(piece)) = runs.step(100) else {
                panic!("it does not send");
            };
            let position = Position {
                number: 1,
                sequence: 1,
            };
            runs.acknowledged(&piece.producer, position);
            assert!(runs.known.len() <= 10 && runs.by_name.len() <= 10);
        }
    }

    /// What became of the messages 1 and 2, which were sent, when the stream stands at `number`.
    fn fates_at(number: u64) -> Vec<Fate> {
        let mut runs = Runs::new(BOUNDS);
        for number in 1..=2 {
            let message = Message {
                number,
                body: Bytes::new(),
            };
            runs.push("web", message, 0, 1).unwrap();
        }
        let Some(Step::Ask(producer)) = runs.step(100) else {
            panic!("it does not ask");
        };
        runs.told(&producer, Position::default());
        assert!(matches!(runs.step(100), Some(Step::Send(_))));
        assert_eq!(runs.failed(&producer, true), Some(0));
        runs.retry("web");
        let Some(Step::Ask(producer)) = runs.step(100) else {
            panic!("it does not ask again");
        };
        let position = Position {
            number,
            sequence: 2,
        };
        runs.told(&producer, position);
        runs.step(100);
        let settled = runs.take_settled();
        settled.into_iter().map(|settled| settled.fate).collect()
    }

    /// Their acknowledgements were lost, or nobody asked for them.
    #[test]
    fn what_was_sent_and_is_there_counts_as_acknowledged() {
        assert_eq!(fates_at(0), []);
        assert_eq!(fates_at(1), [Fate::Acknowledged]);
        assert_eq!(fates_at(2), [Fate::Acknowledged, Fate::Acknowledged]);
        // Somebody else has sent that one.
        assert_eq!(fates_at(3), [Fate::Repeated, Fate::Repeated]);
    }

    #[test]
    fn who_repeats_is_told() {
        let mut runs = Runs::new(BOUNDS);
        let message = Message {
            number: 3,
            body: Bytes::new(),
        };
        runs.push("web", message, 0, 1).unwrap();
        let Some(Step::Ask(producer)) = runs.step(100) else {
            panic!("it does not ask");
        };
        let position = Position {
            number: 5,
            sequence: 1,
        };
        runs.told(&producer, position);
        assert_eq!(runs.step(100), None);
        assert_eq!(runs.take_repeated(), Some(("web".into(), 5)));
        assert_eq!(runs.take_repeated(), None);
    }
}
