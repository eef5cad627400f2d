//! The machines of both ends in a simulated world: bytes on their way are cut anywhere, connections
//! are lost, answers are late, doubled or invented, and time passes. A seed decides all of it.
//!
//! What must hold, whatever happens:
//!
//! * a call gets one outcome, and an answer is that of its own call;
//! * a call is handled once at most, and never after its caller was told that it was not done;
//! * a peer that keeps to the protocol never loses a connection as a liar;
//! * in the end nothing is open, and nothing is held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::caller::machine::{Answers, Key, Limits, Machine, Outcome};
use super::error::{CallError, Refusal};
use super::message::{CallFrame, Cause, Frames, ReplyFrame, frame};
use super::responder::machine::{self as responder, Verdict};
use crate::clock::now;
use crate::num::to_u64;

const LIMITS: Limits = Limits {
    max_open_calls: 12,
    max_bytes_in_flight: 4_000,
    max_call_len: 300,
    max_reply_len: 300,
};

/// One connection, as both ends see it.
struct Link {
    to_responder: VecDeque<u8>,
    to_caller: VecDeque<u8>,
    calls: Frames<CallFrame>,
    replies: Frames<ReplyFrame>,
    machine: responder::Machine,
    /// What handlers work on: the key there, the id, and the body.
    running: Vec<(u64, u64, Bytes)>,
}

impl Link {
    fn new() -> Self {
        Self {
            to_responder: VecDeque::new(),
            to_caller: VecDeque::new(),
            calls: Frames::new(400),
            replies: Frames::new(400),
            machine: responder::Machine::new(responder::Limits {
                max_open_calls: 8,
                max_bytes_in_flight: 3_000,
            }),
            running: Vec::new(),
        }
    }
}

struct World {
    random: fastrand::Rng,
    now: Instant,
    /// The responder answers as it should.
    is_honest: bool,
    caller: Machine,
    link: Option<Link>,
    /// Each call's body, which no other has, and how many answers it wants.
    made: BTreeMap<Key, (Bytes, Answers)>,
    outcomes: BTreeMap<Key, Result<(), CallError>>,
    answered: BTreeMap<Key, usize>,
    handled: BTreeSet<Bytes>,
    lies: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            is_honest: random.u8(..4) > 0,
            random,
            now: now(),
            caller: Machine::new(LIMITS),
            link: None,
            made: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            answered: BTreeMap::new(),
            handled: BTreeSet::new(),
            lies: 0,
        }
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0..=4 => self.make_a_call(),
            5..=7 => self.write(),
            8..=10 => self.responder_reads(),
            11..=13 => self.handler_acts(),
            14..=16 => self.caller_reads(),
            17 => self.now += Duration::from_millis(self.random.u64(..40)),
            18 => {
                let mut over = Vec::new();
                self.caller.expire(self.now, None, &mut over);
            }
            _ => match self.random.u8(..6) {
                0 => self.lose(),
                1 => self.forget(),
                _ if !self.is_honest => self.lie(),
                _ => {}
            },
        }
        // Not each at once.
        if self.random.u8(..4) > 0 {
            self.take();
        }
    }

    fn make_a_call(&mut self) {
        let number = self.made.len();
        let mut body = number.to_le_bytes().to_vec();
        body.resize(8 + self.random.usize(..250), 7);
        let answers = match self.random.u8(..4) {
            0 => Answers::None,
            1 => Answers::Many,
            _ => Answers::One,
        };
        let timeout = match self.random.u8(..4) {
            0 => Duration::MAX,
            _ => Duration::from_millis(self.random.u64(..200)),
        };
        match self
            .caller
            .open("method", &body, answers, timeout, self.now)
        {
            Ok(key) => {
                self.made.insert(key, (body.into(), answers));
            }
            Err(error) => assert!(!error.may_have_been_done(), "{error:?}"),
        }
    }

    fn write(&mut self) {
        let link = self.link.get_or_insert_with(Link::new);
        let pieces = self.caller.begin_write(1 + self.random.usize(..4));
        let all = pieces.concat();
        let len = self.random.usize(..=all.len());
        link.to_responder.extend(all.iter().take(len));
        // The connection may go while the write is under way.
        if self.random.u8(..40) == 0 {
            self.lose();
            return;
        }
        let mut over = Vec::new();
        self.caller.wrote(len, &mut over);
    }

    fn responder_reads(&mut self) {
        let Some(link) = &mut self.link else { return };
        let all = link.to_responder.len();
        let len = if self.random.bool() {
            all
        } else {
            self.random.usize(..=all)
        };
        let bytes: Vec<_> = link.to_responder.drain(..len).collect();
        let mut calls = Vec::new();
        link.calls
            .feed(&bytes, &mut calls)
            .expect("a caller frames as it should");
        for call in calls {
            let refusal = (self.random.u8(..20) == 0).then_some(Refusal::NotAllowed);
            let verdict = link.machine.received(&call, refusal, self.now);
            match verdict.expect("a caller does not lie") {
                Verdict::Run { key, .. } => link.running.push((key, call.id, call.body)),
                Verdict::Refuse(answer) => {
                    link.to_caller.extend(answer.iter().flat_map(frame_bytes));
                }
                Verdict::Nothing => {}
            }
        }
    }

    /// One of the handlers that wait is called, and answers in some way.
    fn handler_acts(&mut self) {
        let Some(link) = &mut self.link else { return };
        if link.running.is_empty() {
            return;
        }
        let at = self.random.usize(..link.running.len());
        let (key, id, body) = link.running.swap_remove(at);
        if !link.machine.is_current(key, self.now) {
            link.machine.close(key);
            return;
        }
        assert!(
            self.handled.insert(body.clone()),
            "a call was handled twice"
        );
        let told = self
            .outcomes
            .iter()
            .find(|(key, _)| self.made[key].0 == body);
        if let Some((_, Err(error))) = told {
            assert!(error.may_have_been_done(), "handled after {error:?}");
        }
        let answer = |more| ReplyFrame {
            id,
            body: body.clone(),
            more,
            ..ReplyFrame::default()
        };
        let parts = self.random.usize(..3);
        for more in (0..parts).map(|_| true).chain([false]) {
            if !link.machine.is_wanted(key, self.now) {
                break;
            }
            let is_failure = !more && self.random.u8(..8) == 0;
            let reply = if is_failure {
                ReplyFrame::failure(id, Cause::Unanswered, "")
            } else {
                answer(more)
            };
            link.to_caller.extend(frame_bytes(&reply));
        }
        link.machine.close(key);
        assert!(
            !link.machine.is_wanted(key, self.now),
            "it could be answered again"
        );
    }

    /// A peer that lies answers anything: what is open once more, what is over, what never was.
    fn lie(&mut self) {
        let Some(link) = &mut self.link else { return };
        let id = match self.random.u8(..8) {
            0 => 0,
            1 => self.random.u64(..),
            _ => self.random.u64(..=to_u64(self.made.len())),
        };
        let lie = ReplyFrame {
            id,
            body: self
                .made
                .get(&id)
                .map_or(Bytes::new(), |made| made.0.clone()),
            more: self.random.bool(),
            ..ReplyFrame::default()
        };
        self.lies += 1;
        link.to_caller.extend(frame_bytes(&lie));
        if self.random.u8(..3) == 0 {
            link.to_caller.extend(frame_bytes(&lie));
        }
    }

    fn caller_reads(&mut self) {
        let Some(link) = &mut self.link else { return };
        let len = self.random.usize(..=link.to_caller.len());
        let bytes: Vec<_> = link.to_caller.drain(..len).collect();
        let mut replies = Vec::new();
        link.replies
            .feed(&bytes, &mut replies)
            .expect("even a liar frames as it should");
        for reply in replies {
            if let Err(malformed) = self.caller.received(reply) {
                assert!(self.lies > 0, "{malformed}");
                self.lose();
                return;
            }
        }
    }

    fn lose(&mut self) {
        // What has come to the other end may still be done there.
        for _ in 0..self.random.usize(..6) {
            self.responder_reads();
            self.handler_acts();
        }
        if let Some(mut link) = self.link.take() {
            link.machine.end();
            let mut over = Vec::new();
            self.caller.lost(None, &mut over);
        }
    }

    fn forget(&mut self) {
        let open: Vec<_> = self
            .made
            .keys()
            .filter(|key| !self.outcomes.contains_key(key))
            .collect();
        if let Some(key) = self.random.choice(open).copied() {
            self.caller.forget(key);
            // As the future that is dropped: nobody is told.
            self.outcomes
                .insert(key, Err(CallError::Timeout { sent: true }));
        }
    }

    /// Whoever waits takes what there is.
    fn take(&mut self) {
        let open: Vec<_> = self
            .made
            .keys()
            .copied()
            .filter(|key| !self.outcomes.contains_key(key))
            .collect();
        for key in open {
            loop {
                match self.caller.take(key) {
                    Outcome::Pending => break,
                    Outcome::Answer {
                        body: answer,
                        is_last,
                    } => {
                        let (body, answers) = &self.made[&key];
                        assert_eq!(answer, body, "an answer for another call");
                        let count = self.answered.entry(key).or_default();
                        *count += 1;
                        assert!(*count == 1 || *answers == Answers::Many, "two answers");
                        if self.is_honest {
                            assert!(self.handled.contains(body), "an answer that nobody gave");
                        }
                        if is_last {
                            assert!(self.outcomes.insert(key, Ok(())).is_none(), "two outcomes");
                            break;
                        }
                    }
                    Outcome::End(end) => {
                        let body = &self.made[&key].0;
                        if let Err(error) = &end {
                            let was_done = self.handled.contains(body);
                            assert!(!was_done || error.may_have_been_done(), "{error:?}");
                        }
                        assert!(self.outcomes.insert(key, end).is_none(), "two outcomes");
                        break;
                    }
                }
            }
        }
    }

    /// All is let to end: then nothing is left.
    fn end(&mut self) {
        self.lose();
        self.now += Duration::from_secs(1);
        let mut over = Vec::new();
        self.caller.expire(self.now, None, &mut over);
        self.take();
        for key in self.made.keys().copied().collect::<Vec<_>>() {
            if !self.outcomes.contains_key(&key) {
                // It waits for ever, and was never sent.
                self.caller.forget(key);
            }
        }
        assert_eq!(self.caller.open_calls(), 0);
        assert!(
            !self.caller.has_to_write(),
            "something is left to be written"
        );
        assert_eq!(self.caller.next_deadline(), None);
        assert_eq!(self.caller.held(), (0, 0));
        if self.is_honest {
            assert_eq!(self.lies, 0);
        }
    }
}

fn frame_bytes(reply: &ReplyFrame) -> Vec<u8> {
    frame(reply).to_vec()
}

#[test]
fn whatever_happens_a_call_has_one_outcome_and_it_is_true() {
    let histories = std::env::var("UDS_IPC_HISTORIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let histories: u64 = histories.unwrap_or(300);
    let first = fastrand::u64(..u64::MAX / 2);
    for seed in first..first + histories {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..400 {
                world.step();
            }
            world.end();
        });
        assert!(run.is_ok(), "the history with seed {seed}");
    }
}

#[test]
fn an_id_that_is_used_twice_is_a_lie() {
    let mut machine = responder::Machine::new(responder::Limits {
        max_open_calls: 8,
        max_bytes_in_flight: 1_000,
    });
    let call = |id| CallFrame {
        id,
        ..CallFrame::default()
    };
    let at = now();
    assert!(matches!(
        machine.received(&call(5), None, at),
        Ok(Verdict::Run { key: 5, .. })
    ));
    machine.close(5);
    for id in [5, 4, 1, 1 << 63, u64::MAX] {
        assert!(machine.received(&call(id), None, at).is_err(), "{id}");
    }
    assert!(matches!(
        machine.received(&call(0), None, at),
        Ok(Verdict::Run { .. })
    ));
    assert!(matches!(
        machine.received(&call(0), None, at),
        Ok(Verdict::Run { .. })
    ));
}

#[test]
fn a_notification_ends_once_whoever_ends_it_and_an_answer_to_it_is_a_lie() {
    let mut machine = Machine::new(LIMITS);
    let at = now();
    let second = Duration::from_secs(1);
    let key = machine
        .open("note", b"body", Answers::None, second, at)
        .unwrap();
    let len = machine.begin_write(1).first().unwrap().len();
    let (mut over, answer) = (
        Vec::new(),
        ReplyFrame {
            id: key,
            ..ReplyFrame::default()
        },
    );
    assert!(machine.received(answer).is_err());
    // Half of it is written when its time is over; nobody has looked when the rest is.
    machine.wrote(1, &mut over);
    machine.expire(at + second, None, &mut over);
    let _ = machine.begin_write(1);
    machine.wrote(len - 1, &mut over);
    assert_eq!((over, machine.held()), (vec![key], (0, 0)));
    assert_eq!(
        machine.take(key),
        Outcome::End(Err(CallError::Timeout { sent: true }))
    );
}
