//! What the writer's thread does next.
//! Pure: `now` comes in, a step comes out. No I/O, no threads, no clock.
//!
//! | | down, retry due | down, waiting | up, pending | up, unconfirmed | up, nothing |
//! | --- | --- | --- | --- | --- | --- |
//! | running | connect | wait until the retry | write | wait for a message or a receipt | wait for a message |
//! | draining | connect | wait until the retry or the deadline | write | wait for a receipt or the deadline | exit |
//! | draining, past the deadline | exit | exit | exit | exit | exit |
//!
//! Running, it leaves a write to a sender who waits for room, for a while.

use std::time::{Duration, Instant};

use super::deadline::{Deadline, earlier, has_come};
use super::link::{Answer, Flow, Link, Room, Up, Why};
use super::outbox::{Delivery, Portion};
use super::step::{Pending, Step, WaitFor};
use super::timing::{
    FULL_BACKLOG_PACE, FULL_SOCKET_PACE, LENDS_FOR, MOST_DOUBLINGS, NO_MEMORY_PACE, PROVEN_AFTER,
    READ_PACE, SETTLES_FOR, Timing,
};
use crate::backoff::Backoff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { deadline: Deadline },
}

#[derive(Debug)]
pub(super) struct State {
    phase: Phase,
    link: Link,
    backoff: Backoff,
    timing: Timing,
    delivery: Delivery,
    /// How many connections in a row have timed out without a receipt. At least once each makes
    /// the next wait longer: a handler that needs longer for a batch than we wait would get
    /// the same messages again and again, and none would ever be confirmed.
    timeouts: u32,
    /// When the peer last kept us waiting for longer than the write timeout that is set.
    slow_at: Instant,
    /// Somebody waits until the peer has read.
    watches_reads: bool,
    /// Until when the writing is left to senders who wait for room.
    lent_until: Deadline,
}

impl State {
    pub(super) fn new(
        now: Instant,
        mut backoff: Backoff,
        timing: Timing,
        delivery: Delivery,
    ) -> Self {
        let retry_at = now.checked_add(backoff.next_wait());
        Self {
            phase: Phase::Running,
            link: Link::Down {
                retry_at,
                backlog_full_since: None,
                why: Why::NotMade,
            },
            backoff,
            timing,
            delivery,
            timeouts: 0,
            slow_at: now,
            watches_reads: false,
            lent_until: None,
        }
    }

    /// What to do at `now`, with what is `pending`.
    pub(super) fn step(&mut self, now: Instant, pending: Pending) -> Step {
        let deadline = match self.phase {
            Phase::Running => None,
            Phase::Draining { deadline }
                if pending == Pending::Nothing || has_come(deadline, now) =>
            {
                return Step::Exit;
            }
            Phase::Draining { deadline } => deadline,
        };
        match self.link {
            Link::Down { retry_at, .. } if has_come(retry_at, now) => Step::Connect,
            Link::Down { retry_at, .. } => Step::Wait(WaitFor::Time, earlier(retry_at, deadline)),
            Link::Up(mut up) => {
                let step = self.step_up(&mut up, now, pending);
                self.link = Link::Up(up);
                if let (Step::Write(Portion::All), Some(until)) = (step, self.lent_until) {
                    if now < until && self.may_lend() {
                        return Step::Lend(until);
                    }
                }
                let Step::Wait(what, until) = step else {
                    return step;
                };
                let look = if self.looks_at_reads() {
                    now.checked_add(READ_PACE)
                } else {
                    None
                };
                Step::Wait(what, earlier(earlier(until, look), deadline))
            }
        }
    }

    /// Whether a write is next, and nothing besides it: somebody else may do it.
    pub(super) fn may_help(&self, now: Instant, pending: Pending) -> bool {
        let Link::Up(mut up) = self.link else {
            return false;
        };
        self.may_lend() && self.step_up(&mut up, now, pending) == Step::Write(Portion::All)
    }

    fn may_lend(&self) -> bool {
        self.phase == Phase::Running && !self.looks_at_reads()
    }

    /// A sender who waits for room can write, or just has.
    pub(super) fn lend(&mut self, now: Instant) {
        self.lent_until = now.checked_add(LENDS_FOR);
    }

    /// The thread is needed.
    pub(super) fn end_lending(&mut self) {
        self.lent_until = None;
    }

    /// The peer has taken bytes or given a receipt: how long that took counts.
    fn note_progress(&mut self, now: Instant) {
        if let Link::Up(Up {
            flow: Flow::Blocked { since, .. } | Flow::Refused { since },
            ..
        }) = self.link
        {
            if now.saturating_duration_since(since) > self.timing.write_timeout {
                self.slow_at = now;
            }
        }
    }

    fn write_timeout(&self) -> Duration {
        self.timing
            .write_timeout
            .saturating_mul(1 << self.timeouts.min(MOST_DOUBLINGS))
    }

    fn step_up(&self, up: &mut Up, now: Instant, pending: Pending) -> Step {
        let is_silent_at = match up.answer {
            Answer::DueSince(asked) => asked.checked_add(self.timing.write_timeout),
            Answer::NotDue | Answer::Missed => None,
        };
        if has_come(is_silent_at, now) {
            up.answer = Answer::Missed;
            return Step::TellSilence;
        }
        let wait = |what, until| Step::Wait(what, earlier(until, is_silent_at));
        let write = if up.announcement_due {
            Step::Announce
        } else {
            Step::Write(if up.taste_due {
                Portion::Taste
            } else {
                Portion::All
            })
        };
        match up.flow {
            Flow::Refused { since } => {
                let after = self.write_timeout();
                let end = since.checked_add(after);
                return if has_come(end, now) {
                    Step::TimeOut { after }
                } else {
                    wait(WaitFor::Time, end)
                };
            }
            Flow::Settling { until } | Flow::Tasting { until } if !has_come(until, now) => {
                return wait(WaitFor::Time, until);
            }
            Flow::Blocked {
                since,
                look_at,
                room,
            } if pending.is_unwritten() => {
                let after = self.write_timeout();
                let end = since.checked_add(after);
                let what = match room {
                    Room::IsTold => WaitFor::Room,
                    Room::IsNotTold => WaitFor::Time,
                };
                // A last look comes before the end.
                return if has_come(look_at, now) {
                    write
                } else if has_come(end, now) {
                    Step::TimeOut { after }
                } else {
                    wait(what, earlier(look_at, end))
                };
            }
            Flow::Lingering { until } if !has_come(until, now) => {
                let is_worth_it = match self.phase {
                    Phase::Running => pending == Pending::Due,
                    Phase::Draining { .. } => pending.is_unwritten(),
                };
                return if is_worth_it {
                    write
                } else {
                    wait(WaitFor::Block, until)
                };
            }
            // What it was blocked for was dropped to make room.
            Flow::Blocked { .. }
            | Flow::Settling { .. }
            | Flow::Tasting { .. }
            | Flow::Lingering { .. }
            | Flow::Idle => {}
        }
        if pending.is_unwritten() {
            return write;
        }
        up.flow = Flow::Idle;
        let next = self
            .timing
            .keepalive
            .and_then(|interval| up.last_write.checked_add(interval));
        if has_come(next, now) {
            Step::KeepAlive
        } else {
            wait(WaitFor::Message, next)
        }
    }

    /// There is a connection. Where one `doubts` whether the reader will have the first message, it
    /// gets a taste of it.
    pub(super) fn on_connected(&mut self, now: Instant, doubts: bool) {
        let flow = match self.link {
            Link::Down { why: Why::Lost, .. } => Flow::Settling {
                until: now.checked_add(SETTLES_FOR),
            },
            Link::Down {
                why: Why::NotMade, ..
            }
            | Link::Up(_) => Flow::Idle,
        };
        self.link = Link::Up(Up {
            since: now,
            last_write: now,
            answer: Answer::NotDue,
            announcement_due: self.delivery == Delivery::AtLeastOnce,
            taste_due: doubts,
            flow,
        });
    }

    /// The connect failed; says how long until the next.
    pub(super) fn on_connect_failed(&mut self, now: Instant) -> Duration {
        self.down(now, Why::NotMade)
    }

    fn down(&mut self, now: Instant, why: Why) -> Duration {
        let wait = self.backoff.next_wait();
        self.link = Link::Down {
            retry_at: now.checked_add(wait),
            backlog_full_since: None,
            why,
        };
        wait
    }

    /// The reader is there, and its backlog is full. It is tried again soon, until the connect
    /// timeout has passed: then this counts as a failed connect, and the wait until the next is
    /// returned.
    pub(super) fn on_backlog_full(&mut self, now: Instant) -> Option<Duration> {
        let (since, why) = match self.link {
            Link::Down {
                backlog_full_since,
                why,
                ..
            } => (backlog_full_since.unwrap_or(now), why),
            Link::Up(_) => (now, Why::NotMade),
        };
        if has_come(since.checked_add(self.timing.connect_timeout), now) {
            return Some(self.on_connect_failed(now));
        }
        let retry_at = now.checked_add(FULL_BACKLOG_PACE);
        self.link = Link::Down {
            retry_at,
            backlog_full_since: Some(since),
            why,
        };
        None
    }

    /// The kernel took something.
    pub(super) fn on_written(&mut self, now: Instant) {
        self.note_progress(now);
        if let Link::Up(up) = &mut self.link {
            up.flow = if up.taste_due {
                Flow::Tasting {
                    until: now.checked_add(self.timing.write_timeout),
                }
            } else if self.timing.linger.is_zero() {
                Flow::Idle
            } else {
                Flow::Lingering {
                    until: now.checked_add(self.timing.linger),
                }
            };
            up.taste_due = false;
            up.last_write = now;
        }
    }

    /// An empty frame went out, to keep the connection alive.
    pub(super) fn on_kept_alive(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.last_write = now;
        }
    }

    /// A question for a receipt went out.
    pub(super) fn on_asked(&mut self, now: Instant) {
        if let (Link::Up(up), Delivery::AtLeastOnce) = (&mut self.link, self.delivery) {
            up.announcement_due = false;
            if matches!(up.flow, Flow::Blocked { .. }) {
                // The kernel takes bytes again.
                up.flow = Flow::Idle;
            }
            if up.answer == Answer::NotDue {
                up.answer = Answer::DueSince(now);
            }
        }
    }

    /// A receipt came. `covers` something new or not, and another answer `is_due` or not.
    pub(super) fn on_receipt(&mut self, now: Instant, covers: bool, is_due: bool) {
        if covers {
            self.note_progress(now);
        }
        if let Link::Up(up) = &mut self.link {
            if up.answer != Answer::NotDue {
                up.answer = if is_due {
                    Answer::DueSince(now)
                } else {
                    Answer::NotDue
                };
            }
            if let (Flow::Blocked { since, .. } | Flow::Refused { since }, true) =
                (&mut up.flow, covers)
            {
                // Whoever gives receipts is alive.
                *since = now;
            }
        }
        if covers {
            self.backoff.reset();
        }
        // It has caught up; or, where it is always asked for more, has not been slow for as long as
        // it would be waited for.
        let is_calm = || now.saturating_duration_since(self.slow_at) >= self.write_timeout();
        if covers && (!is_due || is_calm()) {
            self.timeouts = 0;
        }
    }

    /// The kernel took nothing: the socket is full.
    pub(super) fn on_blocked(&mut self, now: Instant) {
        let pace = FULL_SOCKET_PACE.min(self.timing.write_timeout / 8);
        self.block(now, now.checked_add(pace), Room::IsTold);
    }

    /// The kernel took nothing for want of memory.
    pub(super) fn on_no_memory(&mut self, now: Instant) {
        self.block(now, now.checked_add(NO_MEMORY_PACE), Room::IsNotTold);
    }

    fn block(&mut self, now: Instant, look_at: Deadline, room: Room) {
        if let Link::Up(up) = &mut self.link {
            let since = match up.flow {
                Flow::Blocked { since, .. } => since,
                Flow::Settling { .. }
                | Flow::Tasting { .. }
                | Flow::Lingering { .. }
                | Flow::Idle
                | Flow::Refused { .. } => now,
            };
            up.flow = Flow::Blocked {
                since,
                look_at,
                room,
            };
        }
    }

    /// The socket says that there is room again. The write timeout runs on until a byte is taken.
    pub(super) fn on_room(&mut self, now: Instant) {
        if let Link::Up(Up {
            flow: Flow::Blocked { look_at, .. },
            ..
        }) = &mut self.link
        {
            *look_at = Some(now);
        }
    }

    /// The peer takes nothing more on this connection, and owes a receipt.
    pub(super) fn on_refused(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.flow = Flow::Refused { since: now };
        }
    }

    /// The peer refuses bytes, and a receipt has come since the last look: it has its time from
    /// then on.
    pub(super) fn is_patient(&self, now: Instant) -> bool {
        let Link::Up(Up {
            flow: Flow::Refused { since },
            ..
        }) = self.link
        else {
            return false;
        };
        !has_come(since.checked_add(self.write_timeout()), now)
    }

    /// The connection is given up, for its peer's slowness.
    pub(super) fn on_timed_out(&mut self, now: Instant) {
        if self.delivery == Delivery::AtLeastOnce {
            self.timeouts += 1;
            self.slow_at = now;
        }
    }

    /// The connection is gone; says how long until the next try.
    pub(super) fn on_lost(&mut self, now: Instant) -> Duration {
        if let Link::Up(up) = self.link {
            if now.saturating_duration_since(up.since) >= PROVEN_AFTER {
                self.backoff.reset();
            }
        }
        self.down(now, Why::Lost)
    }

    /// Whether somebody waits until the peer has read.
    pub(super) fn watch_reads(&mut self, watches: bool) {
        self.watches_reads = watches;
    }

    /// Whether it matters how much the peer has read.
    pub(super) fn looks_at_reads(&self) -> bool {
        self.watches_reads
            || matches!(
                self.link,
                Link::Up(Up {
                    flow: Flow::Tasting { .. },
                    ..
                })
            )
    }

    /// The reader has read its taste, or nobody can tell. If it does not want the message it hangs
    /// up now.
    pub(super) fn on_taste_read(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            if matches!(up.flow, Flow::Tasting { .. }) {
                up.flow = Flow::Settling {
                    until: now.checked_add(SETTLES_FOR),
                };
            }
        }
    }

    /// Ends once nothing is pending, at the latest at `deadline`. A second call can only bring the
    /// end nearer.
    pub(super) fn drain(&mut self, deadline: Deadline) {
        let deadline = match self.phase {
            Phase::Running => deadline,
            Phase::Draining {
                deadline: earlier_call,
            } => earlier(earlier_call, deadline),
        };
        self.phase = Phase::Draining { deadline };
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to count from"
)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named is what a test fails for"
)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    const TIMING: Timing = Timing {
        write_timeout: SECOND,
        connect_timeout: SECOND,
        linger: Duration::from_micros(200),
        keepalive: None,
    };

    const WRITE: Step = Step::Write(Portion::All);

    fn state(start: Instant) -> State {
        state_with(start, TIMING, Delivery::AtMostOnce)
    }

    fn state_with(start: Instant, timing: Timing, delivery: Delivery) -> State {
        State::new(
            start,
            Backoff::new(Duration::from_millis(10), SECOND, 1),
            timing,
            delivery,
        )
    }

    fn up(start: Instant) -> State {
        let mut state = state(start);
        state.on_connected(start, false);
        state
    }

    fn waiting(start: Instant) -> State {
        let mut state = state(start);
        state.on_connect_failed(start);
        state
    }

    /// The table at the top of this file, as text.
    #[test]
    fn the_table_of_steps_is_the_one_in_the_docs() {
        let start = Instant::now();
        let drained = start + 5 * SECOND;
        let draining = |mut state: State| {
            state.drain(Some(drained));
            state
        };
        let past = |step: fn(Instant) -> State| draining(step(start)).step(drained, Pending::Due);
        let mut table = String::new();
        for (row, steps) in [
            (
                "running",
                [
                    state(start).step(start, Pending::Due),
                    waiting(start).step(start, Pending::Due),
                    up(start).step(start, Pending::Due),
                    up(start).step(start, Pending::Unconfirmed),
                    up(start).step(start, Pending::Nothing),
                ],
            ),
            (
                "draining",
                [
                    draining(state(start)).step(start, Pending::Due),
                    draining(waiting(start)).step(start, Pending::Due),
                    draining(up(start)).step(start, Pending::Due),
                    draining(up(start)).step(start, Pending::Unconfirmed),
                    draining(up(start)).step(start, Pending::Nothing),
                ],
            ),
            (
                "past the deadline",
                [past(state), past(waiting), past(up), past(up), past(up)],
            ),
        ] {
            let words = steps.map(|step| match step {
                Step::Connect => "connect",
                Step::Write(_) => "write",
                Step::Wait(WaitFor::Time, Some(_)) => "wait until retry",
                Step::Wait(WaitFor::Message, None) => "wait for a message",
                Step::Wait(WaitFor::Message, Some(at)) if at == drained => {
                    "wait until the deadline"
                }
                Step::Exit => "exit",
                other => panic!("{other:?} is not in the table"),
            });
            writeln!(table, "{row}: {}", words.join(", ")).unwrap();
        }
        assert_eq!(
            table,
            "running: connect, wait until retry, write, wait for a message, wait for a message\n\
             draining: connect, wait until retry, write, wait until the deadline, exit\n\
             past the deadline: exit, exit, exit, exit, exit\n"
        );
    }

    #[test]
    fn a_wait_while_draining_ends_at_the_deadline() {
        let start = Instant::now();
        let mut state = waiting(start);
        state.drain(Some(start + Duration::from_millis(3)));
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WaitFor::Time, Some(start + Duration::from_millis(3)))
        );
        state.drain(Some(start + SECOND));
        assert_eq!(
            state.step(start + Duration::from_millis(3), Pending::Due),
            Step::Exit,
            "it cannot be put off"
        );
    }

    #[test]
    fn only_a_connection_that_lived_for_a_second_makes_the_next_try_an_early_one() {
        let start = Instant::now();
        let mut state = up(start);
        assert_eq!(state.on_lost(start + SECOND / 2), Duration::from_millis(10));
        state.on_connected(start, false);
        assert!(
            state.on_lost(start + SECOND / 2) > Duration::from_millis(10),
            "backoff grows on every loss"
        );
        state.on_connected(start, false);
        assert_eq!(state.on_lost(start + SECOND), Duration::ZERO);
        assert_eq!(
            state.on_connect_failed(start + SECOND),
            Duration::from_millis(10)
        );
    }

    #[test]
    fn a_connection_made_at_once_after_a_loss_is_only_watched_for_a_moment() {
        let start = Instant::now();
        let mut state = up(start);
        assert_eq!(
            state.step(start, Pending::Due),
            WRITE,
            "the first one is trusted"
        );
        assert_eq!(state.on_lost(start + SECOND), Duration::ZERO);
        state.on_connected(start + SECOND, false);
        let settled = start + SECOND + SETTLES_FOR;
        assert_eq!(
            state.step(start + SECOND, Pending::Due),
            Step::Wait(WaitFor::Time, Some(settled))
        );
        assert_eq!(state.step(settled, Pending::Due), WRITE);
        // Where a try has failed in between, the dying one is gone.
        state.on_lost(settled);
        state.on_connect_failed(settled);
        state.on_connected(settled, false);
        assert_eq!(state.step(settled, Pending::Due), WRITE);
    }

    #[test]
    fn every_byte_restarts_the_write_timeout() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_blocked(start);
        let room = |at| Step::Wait(WaitFor::Room, Some(at));
        assert_eq!(
            state.step(start, Pending::Due),
            room(start + FULL_SOCKET_PACE)
        );
        state.on_room(start + SECOND / 2);
        assert_eq!(state.step(start + SECOND / 2, Pending::Due), WRITE);
        // The socket said there was room, and then took nothing: no reason to wait longer.
        let late = start + SECOND * 99 / 100;
        state.on_blocked(late);
        assert_eq!(state.step(late, Pending::Due), room(start + SECOND));
        state.on_written(late);
        state.on_blocked(late);
        let end = late + SECOND;
        assert_eq!(state.step(end, Pending::Due), WRITE, "a last look");
        state.on_blocked(end);
        assert_eq!(
            state.step(end, Pending::Due),
            Step::TimeOut { after: SECOND }
        );
    }

    #[test]
    fn a_full_socket_is_tried_again_even_when_it_does_not_say_that_it_has_room() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_blocked(start);
        assert_eq!(state.step(start + FULL_SOCKET_PACE, Pending::Due), WRITE);
        state.on_written(start + FULL_SOCKET_PACE);
        state.on_blocked(start + FULL_SOCKET_PACE);
        assert_ne!(
            state.step(start + SECOND, Pending::Due),
            Step::TimeOut { after: SECOND },
            "a byte was taken in between"
        );
    }

    #[test]
    fn nothing_blocks_when_nothing_is_left_to_write() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_blocked(start);
        assert_eq!(
            state.step(start + 2 * SECOND, Pending::Nothing),
            Step::Wait(WaitFor::Message, None)
        );
    }

    #[test]
    fn want_of_memory_is_tried_again_soon_but_not_for_ever() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_no_memory(start);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WaitFor::Time, Some(start + NO_MEMORY_PACE))
        );
        assert_eq!(state.step(start + NO_MEMORY_PACE, Pending::Due), WRITE);
        state.on_no_memory(start + SECOND);
        assert_eq!(
            state.step(start + SECOND, Pending::Due),
            Step::TimeOut { after: SECOND },
            "not for ever"
        );
    }

    #[test]
    fn a_full_backlog_counts_as_a_failure_only_after_the_connect_timeout() {
        let start = Instant::now();
        let mut state = state(start);
        assert_eq!(state.on_backlog_full(start), None);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WaitFor::Time, Some(start + FULL_BACKLOG_PACE))
        );
        assert_eq!(
            state.step(start + FULL_BACKLOG_PACE, Pending::Due),
            Step::Connect
        );
        assert_eq!(state.on_backlog_full(start + SECOND / 2), None);
        assert_eq!(
            state.on_backlog_full(start + SECOND),
            Some(Duration::from_millis(10))
        );
        assert_eq!(
            state.on_backlog_full(start + SECOND),
            None,
            "the next try has its own time"
        );
    }

    #[test]
    fn it_lingers_after_a_batch_and_sleeps_only_when_that_brought_nothing() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_written(start);
        let end = start + TIMING.linger;
        assert_eq!(
            state.step(start, Pending::Nothing),
            Step::Wait(WaitFor::Block, Some(end))
        );
        assert_eq!(
            state.step(start, Pending::Few),
            Step::Wait(WaitFor::Block, Some(end)),
            "let them gather"
        );
        assert_eq!(state.step(start, Pending::Due), WRITE);
        assert_eq!(state.step(end, Pending::Few), WRITE);
        state.on_written(end);
        assert_eq!(
            state.step(end, Pending::Nothing),
            Step::Wait(WaitFor::Block, Some(end + TIMING.linger))
        );
        assert_eq!(
            state.step(end + TIMING.linger, Pending::Nothing),
            Step::Wait(WaitFor::Message, None)
        );
        let mut eager = state_with(
            start,
            Timing {
                linger: Duration::ZERO,
                ..TIMING
            },
            Delivery::AtMostOnce,
        );
        eager.on_connected(start, false);
        eager.on_written(start);
        assert_eq!(
            eager.step(start, Pending::Nothing),
            Step::Wait(WaitFor::Message, None)
        );
    }

    #[test]
    fn an_idle_connection_is_kept_alive_at_its_interval() {
        let start = Instant::now();
        let timing = Timing {
            keepalive: Some(3 * SECOND),
            linger: Duration::ZERO,
            ..TIMING
        };
        let mut state = state_with(start, timing, Delivery::AtMostOnce);
        state.on_connected(start, false);
        assert_eq!(
            state.step(start, Pending::Nothing),
            Step::Wait(WaitFor::Message, Some(start + 3 * SECOND))
        );
        assert_eq!(
            state.step(start + 3 * SECOND, Pending::Nothing),
            Step::KeepAlive
        );
        state.on_kept_alive(start + 3 * SECOND);
        assert_eq!(
            state.step(start + 4 * SECOND, Pending::Nothing),
            Step::Wait(WaitFor::Message, Some(start + 6 * SECOND))
        );
    }

    #[test]
    fn a_receipt_that_covers_something_makes_the_next_try_an_early_one() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        let mut wait_after = |covers| {
            state.on_connected(start, false);
            state.on_written(start);
            state.on_receipt(start, covers, false);
            state.on_lost(start)
        };
        assert_eq!(wait_after(false), Duration::from_millis(10));
        assert!(
            wait_after(false) > Duration::from_millis(10),
            "an answer that covers nothing proves nothing"
        );
        assert_eq!(wait_after(true), Duration::ZERO);
    }

    #[test]
    fn silence_is_told_once_and_again_after_an_answer() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start, false);
        state.on_asked(start);
        state.on_asked(start + SECOND / 2);
        let wait = |until| Step::Wait(WaitFor::Message, until);
        assert_eq!(
            state.step(start, Pending::Unconfirmed),
            wait(Some(start + SECOND))
        );
        assert_eq!(
            state.step(start + SECOND, Pending::Unconfirmed),
            Step::TellSilence
        );
        assert_eq!(state.step(start + SECOND, Pending::Unconfirmed), wait(None));
        state.on_receipt(start + SECOND, true, true);
        assert_eq!(
            state.step(start + SECOND, Pending::Unconfirmed),
            wait(Some(start + 2 * SECOND))
        );
        assert_eq!(
            state.step(start + 2 * SECOND, Pending::Unconfirmed),
            Step::TellSilence
        );
        state.on_receipt(start + 2 * SECOND, true, false);
        assert_eq!(
            state.step(start + 9 * SECOND, Pending::Nothing),
            wait(None),
            "nothing is owed"
        );
    }

    #[test]
    fn at_most_once_nobody_cares_for_silence() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_asked(start);
        assert_eq!(
            state.step(start + 9 * SECOND, Pending::Nothing),
            Step::Wait(WaitFor::Message, None)
        );
    }

    #[test]
    fn a_doubtful_reader_gets_a_taste_and_time_to_hang_up_on_it() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start, true);
        state.on_asked(start);
        assert_eq!(state.step(start, Pending::Due), Step::Write(Portion::Taste));
        state.on_written(start);
        assert!(state.looks_at_reads());
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WaitFor::Time, Some(start + READ_PACE))
        );
        state.on_taste_read(start + SECOND / 2);
        let settled = start + SECOND / 2 + SETTLES_FOR;
        assert_eq!(
            state.step(start + SECOND / 2, Pending::Due),
            Step::Wait(WaitFor::Time, Some(settled))
        );
        assert_eq!(state.step(settled, Pending::Due), WRITE);
    }

    #[test]
    fn a_taste_that_is_never_read_is_not_waited_for_longer_than_the_write_timeout() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start, true);
        state.on_asked(start);
        state.on_receipt(start, false, false);
        state.on_written(start);
        assert_eq!(state.step(start + SECOND, Pending::Due), WRITE);
    }

    #[test]
    fn at_least_once_the_reader_is_told_before_the_first_message_of_each_connection() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        for _ in 0..2 {
            state.on_connected(start, false);
            assert!(matches!(
                state.step(start, Pending::Nothing),
                Step::Wait(WaitFor::Message, _)
            ));
            assert_eq!(state.step(start, Pending::Due), Step::Announce);
            state.on_no_memory(start);
            let later = start + NO_MEMORY_PACE;
            assert_eq!(
                state.step(later, Pending::Due),
                Step::Announce,
                "it was not taken"
            );
            state.on_asked(later);
            assert_eq!(state.step(later, Pending::Due), WRITE);
            state.on_blocked(start + SECOND);
            assert!(
                matches!(state.step(start + SECOND, Pending::Due), Step::Wait(..)),
                "a byte was taken"
            );
        }
        let mut state = up(start);
        assert_eq!(
            state.step(start, Pending::Due),
            WRITE,
            "at most once nobody is asked"
        );
    }

    #[test]
    fn a_connection_that_takes_no_more_is_kept_for_its_last_receipts_but_not_for_ever() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start, false);
        state.on_refused(start);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WaitFor::Time, Some(start + SECOND))
        );
        assert_eq!(
            state.step(start + SECOND, Pending::Due),
            Step::TimeOut { after: SECOND }
        );
    }

    #[test]
    fn at_least_once_each_timeout_without_a_receipt_doubles_the_next() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        let mut time_out = |confirmed: bool| {
            state.on_connected(start, false);
            state.on_receipt(start, confirmed, !confirmed);
            state.on_blocked(start);
            state.on_room(start + 100 * SECOND);
            let mut until = start;
            loop {
                match state.step(until, Pending::Due) {
                    Step::Wait(_, Some(at)) => until = at,
                    Step::TimeOut { after } => {
                        state.on_timed_out(until);
                        return after;
                    }
                    _ => state.on_blocked(until),
                }
            }
        };
        let timeouts = [(); 8].map(|()| time_out(false));
        assert_eq!(
            timeouts,
            [1, 2, 4, 8, 16, 32, 64, 64].map(Duration::from_secs)
        );
        assert_eq!([time_out(true), time_out(false)], [SECOND, 2 * SECOND]);
    }

    #[test]
    fn who_is_always_asked_for_more_is_waited_for_as_at_first_once_it_is_quick() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        for _ in 0..2 {
            state.on_connected(start, false);
            state.on_blocked(start);
            state.on_room(start + 100 * SECOND);
            while !matches!(
                state.step(start + 50 * SECOND, Pending::Due),
                Step::TimeOut { .. }
            ) {
                state.on_blocked(start + 50 * SECOND);
            }
            state.on_timed_out(start + 50 * SECOND);
            state.on_lost(start + 50 * SECOND);
        }
        let mut now = start + 60 * SECOND;
        state.on_connected(now, false);
        // As long as a receipt takes three seconds, none of them gives hope.
        for _ in 0..10 {
            state.on_blocked(now);
            now += 3 * SECOND;
            state.on_receipt(now, true, true);
            assert_eq!(state.write_timeout(), 4 * SECOND);
        }
        for _ in 0..4 {
            assert_eq!(state.write_timeout(), 4 * SECOND);
            state.on_written(now);
            state.on_blocked(now);
            now += SECOND;
            state.on_receipt(now, true, true);
        }
        assert_eq!(state.write_timeout(), SECOND);
    }

    #[test]
    fn the_last_receipts_are_waited_for_as_long_as_they_come() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start, false);
        state.on_asked(start);
        state.on_refused(start);
        let last = (1..=10).fold(start, |before, _| {
            let now = before + SECOND * 9 / 10;
            assert!(matches!(
                state.step(now, Pending::Due),
                Step::Wait(WaitFor::Time, _)
            ));
            state.on_receipt(now, true, true);
            now
        });
        // One that covers nothing is no sign of life.
        state.on_receipt(last + SECOND / 2, false, true);
        let end = last + SECOND;
        assert_eq!(
            state.step(last + SECOND * 99 / 100, Pending::Due),
            Step::Wait(WaitFor::Time, Some(end))
        );
        assert_eq!(
            state.step(end, Pending::Due),
            Step::TimeOut { after: SECOND }
        );
    }

    #[test]
    fn while_somebody_waits_for_the_peer_to_read_it_is_looked_at_again_and_again() {
        let start = Instant::now();
        let mut state = up(start);
        state.watch_reads(true);
        assert_eq!(
            state.step(start, Pending::Nothing),
            Step::Wait(WaitFor::Message, Some(start + READ_PACE))
        );
    }

    proptest! {
        /// Whatever happens, a wait has an end that has not come, draining ends, and nothing
        /// overflows.
        #[test]
        fn no_history_leads_to_a_wait_without_sense(
            events in prop::collection::vec((0u8..13, 0u64..3_000, 0u8..4), 1..80),
            keeps in any::<bool>(),
            write_timeout in prop_oneof![Just(Duration::MAX), Just(SECOND)],
        ) {
            let mut now = Instant::now();
            let timing = Timing { write_timeout, ..TIMING };
            let delivery = if keeps { Delivery::AtLeastOnce } else { Delivery::AtMostOnce };
            let mut state = state_with(now, timing, delivery);
            let mut draining_until = None;
            for (event, millis, pending) in events {
                now += Duration::from_millis(millis);
                match event {
                    0 => state.on_connected(now, millis % 5 == 0),
                    1 => drop(state.on_connect_failed(now)),
                    2 => drop(state.on_backlog_full(now)),
                    3 => state.on_written(now),
                    4 => state.on_blocked(now),
                    5 => state.on_no_memory(now),
                    6 => state.on_room(now),
                    7 => drop(state.on_lost(now)),
                    8 => state.on_asked(now),
                    9 => state.on_receipt(now, millis % 2 == 0, millis % 3 == 0),
                    10 => state.on_refused(now),
                    11 => state.watch_reads(millis % 2 == 0),
                    _ => {
                        let deadline = now + Duration::from_millis(millis);
                        state.drain(Some(deadline));
                        draining_until = earlier(draining_until, Some(deadline));
                    }
                }
                let pending = [Pending::Nothing, Pending::Unconfirmed, Pending::Few, Pending::Due][usize::from(pending)];
                match state.step(now, pending) {
                    Step::Wait(_, Some(until)) => {
                        prop_assert!(until > now);
                        prop_assert!(draining_until.is_none_or(|deadline| until <= deadline));
                    }
                    Step::Wait(_, None) => prop_assert!(draining_until.is_none()),
                    Step::Write(_) => prop_assert!(pending.is_unwritten()),
                    Step::Exit => prop_assert!(draining_until.is_some()),
                    _ => prop_assert!(!has_come(draining_until, now)),
                }
            }
        }
    }
}
