//! Decides the next step of the writer's thread: connect, write (again), sleep, time out or exit.
//! Pure: `now` comes in, a step comes out. No I/O, no threads, no clock.
//!
//! | | down, retry due | down, waiting | up, pending | up, unconfirmed | up, nothing |
//! | --- | --- | --- | --- | --- | --- |
//! | running | connect | wait until the retry | write | wait for a message or a receipt | wait for a message |
//! | draining | connect | wait until the retry or the deadline | write | wait for a receipt or the deadline | exit |
//! | draining, past the deadline | exit | exit | exit | exit | exit |

pub(crate) mod link;
pub(crate) mod step;
pub(crate) mod timing;

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::deadline::{Deadline, earlier, has_come};
use crate::writer::settings::{Delivery, Timing};
use crate::writer::state::link::{Answer, Cause, Flow, Link, Retry, Up};
use crate::writer::state::step::{Pending, Step};
use crate::writer::state::timing::{
    AFTER_ARRIVAL, AFTER_LOSS, FULL_BACKLOG_PACE, FULL_SOCKET_PACE, MOST_DOUBLINGS, NO_MEMORY_PACE,
    PROBE_TIME, PROVEN_AFTER, READ_PACE, TRIES_AFTER_ARRIVAL,
};
use crate::writer::wake::WakeOn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { deadline: Deadline },
}

#[derive(Debug)]
pub(crate) struct State {
    phase: Phase,
    link: Link,
    backoff: Backoff,
    timing: Timing,
    delivery: Delivery,
    /// How many times the write timeout was too short, with `AtLeastOnce`. Each doubles the next:
    /// a handler that needs longer for a batch would get the same messages again and again,
    /// and none would ever be confirmed.
    timeouts: u32,
    /// A caller waits until the peer has read.
    watches_reads: bool,
    /// There is but one connection: the writer ends with it.
    is_single: bool,
    /// The connection must not be closed while an answer may come.
    lingers: bool,
}

impl State {
    pub(crate) fn new(
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
                cause: Cause::Lost,
            },
            backoff,
            timing,
            delivery,
            timeouts: 0,
            watches_reads: false,
            is_single: false,
            lingers: false,
        }
    }

    /// Whether the connection must not be closed yet, though all is done.
    pub(crate) fn linger(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    /// The connection that comes is the only one.
    pub(crate) fn be_single(&mut self) {
        self.is_single = true;
    }

    /// What to do at `now`, with what is `pending`.
    pub(crate) fn step(&mut self, now: Instant, pending: Pending) -> Step {
        let deadline = match self.phase {
            Phase::Running => None,
            Phase::Draining { deadline } if has_come(deadline, now) => return Step::Exit,
            Phase::Draining { deadline } if pending == Pending::Nothing => {
                return if self.lingers {
                    Step::Linger(deadline)
                } else {
                    Step::Exit
                };
            }
            Phase::Draining { deadline } => deadline,
        };
        match self.link {
            Link::Over => Step::Exit,
            Link::Down { retry_at, .. } if has_come(retry_at, now) => Step::Connect,
            Link::Down { retry_at, .. } => Step::Wait(WakeOn::Nothing, earlier(retry_at, deadline)),
            Link::Connecting { until } if has_come(until, now) => Step::GiveUpConnect,
            Link::Connecting { until } => Step::Wait(WakeOn::Nothing, earlier(until, deadline)),
            Link::Up(mut up) => {
                let step = self.step_up(&mut up, now, pending);
                self.link = Link::Up(up);
                let Step::Wait(what, until) = step else {
                    return step;
                };
                let look = if self.watches_reads {
                    now.checked_add(READ_PACE)
                } else {
                    None
                };
                Step::Wait(what, earlier(earlier(until, look), deadline))
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
            Answer::Impossible(_) => Some(now),
            Answer::NotDue | Answer::Missed => None,
        };
        if let (true, Answer::DueSince(asked) | Answer::Impossible(asked)) =
            (has_come(is_silent_at, now), up.answer)
        {
            up.answer = Answer::Missed;
            return Step::ReportSilence {
                waited: now.saturating_duration_since(asked),
            };
        }
        let wait = |what, until| Step::Wait(what, earlier(until, is_silent_at));
        match up.flow {
            Flow::PeerStops { .. } if !pending.is_unwritten() => {
                // It may take its time, as long as that holds nothing up.
                up.flow = Flow::PeerStops { since: now };
                return wait(WakeOn::Message, None);
            }
            Flow::LastReceipts { since } | Flow::PeerStops { since } => {
                let after = self.write_timeout();
                let end = since.checked_add(after);
                return if has_come(end, now) {
                    Step::TimeOut { after }
                } else {
                    wait(WakeOn::Nothing, end)
                };
            }
            Flow::Probing { until } if !has_come(until, now) => {
                return wait(WakeOn::Nothing, until);
            }
            Flow::Blocked {
                since,
                look_at,
                retry,
            } if pending.is_unwritten() => {
                let after = self.write_timeout();
                let end = since.checked_add(after);
                let what = match retry {
                    Retry::OnWritable => WakeOn::Writable,
                    Retry::AfterPause => WakeOn::Nothing,
                };
                // A last look comes before the end.
                return if has_come(look_at, now) {
                    Step::Write
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
                    Step::Write
                } else {
                    wait(WakeOn::FullBlock, until)
                };
            }
            // What it was blocked for was dropped to make room.
            Flow::Blocked { .. } | Flow::Probing { .. } | Flow::Lingering { .. } | Flow::Idle => {}
        }
        if pending.is_unwritten() {
            return Step::Write;
        }
        up.flow = Flow::Idle;
        let next = self
            .timing
            .keepalive
            .and_then(|interval| up.last_write.checked_add(interval));
        if has_come(next, now) {
            Step::KeepAlive
        } else {
            wait(WakeOn::Message, next)
        }
    }

    /// A try to connect takes its time. It has the connect timeout from its beginning on.
    pub(crate) fn on_connecting(&mut self, now: Instant) {
        if !matches!(self.link, Link::Connecting { .. }) {
            let until = now.checked_add(self.timing.connect_timeout);
            self.link = Link::Connecting { until };
        }
    }

    /// There is a connection.
    pub(crate) fn on_connected(&mut self, now: Instant) {
        self.link = Link::Up(Up {
            since: now,
            last_write: now,
            answer: Answer::NotDue,
            flow: Flow::Idle,
        });
    }

    /// The connect failed; says how long until the next, if there is one.
    pub(crate) fn on_connect_failed(&mut self, now: Instant) -> Option<Duration> {
        if self.is_single {
            self.link = Link::Over;
            return None;
        }
        // One that has been bound listens soon, but not at once.
        if let Link::Down {
            cause: Cause::Absent { soon: left @ 1.. },
            ..
        } = self.link
        {
            let wait = AFTER_ARRIVAL * 4u32.pow(TRIES_AFTER_ARRIVAL + 1 - left);
            return Some(self.down(now, wait, Cause::Absent { soon: left - 1 }));
        }
        let wait = self.backoff.next_wait();
        Some(self.down(now, wait, Cause::Absent { soon: 0 }))
    }

    fn down(&mut self, now: Instant, wait: Duration, cause: Cause) -> Duration {
        self.link = Link::Down {
            retry_at: now.checked_add(wait),
            cause,
        };
        wait
    }

    /// A socket has come to the address. Where nobody listened before, somebody soon will. After a
    /// loss the wait stays as long as it is: a reader that starts and dies again and again would
    /// take messages along each time.
    pub(crate) fn on_arrival(&mut self, now: Instant) {
        if let Link::Down {
            retry_at,
            cause: Cause::Absent { soon },
        } = &mut self.link
        {
            *soon = TRIES_AFTER_ARRIVAL;
            *retry_at = earlier(*retry_at, now.checked_add(AFTER_ARRIVAL));
        }
    }

    /// The reader is there, and its backlog is full. It is tried again soon, until the connect
    /// timeout has passed: then this counts as a failed connect, and the wait until the next is
    /// returned.
    pub(crate) fn on_backlog_full(&mut self, now: Instant) -> Option<Duration> {
        let since = match self.link {
            Link::Down {
                cause: Cause::BacklogFull(since),
                ..
            } => since,
            Link::Down { .. } | Link::Connecting { .. } | Link::Up(_) | Link::Over => now,
        };
        if has_come(since.checked_add(self.timing.connect_timeout), now) {
            return self.on_connect_failed(now);
        }
        let retry_at = now.checked_add(FULL_BACKLOG_PACE);
        self.link = Link::Down {
            retry_at,
            cause: Cause::BacklogFull(since),
        };
        None
    }

    /// The kernel took something. If the last of it is a `probe`, that says how many came before.
    pub(crate) fn on_written(&mut self, now: Instant, probe: Option<u32>) {
        if let Link::Up(up) = &mut self.link {
            up.flow = if let Some(earlier) = probe {
                // A reader that was too busy for the last probe has longer for this one.
                let time = PROBE_TIME * (1 << earlier.min(MOST_DOUBLINGS));
                Flow::Probing {
                    until: now.checked_add(time),
                }
            } else if self.timing.linger.is_zero() {
                Flow::Idle
            } else {
                Flow::Lingering {
                    until: now.checked_add(self.timing.linger),
                }
            };
            up.last_write = now;
        }
    }

    /// A request for a receipt went out.
    pub(crate) fn on_ack_requested(&mut self, now: Instant) {
        if let (Link::Up(up), Delivery::AtLeastOnce) = (&mut self.link, self.delivery) {
            if up.answer == Answer::NotDue {
                up.answer = Answer::DueSince(now);
            }
        }
    }

    /// The peer has closed its sending side: no receipt will come.
    pub(crate) fn on_deaf(&mut self) {
        if let Link::Up(up) = &mut self.link {
            if let Answer::DueSince(asked) = up.answer {
                up.answer = Answer::Impossible(asked);
            }
        }
    }

    /// A receipt came. `covers` something new or not, and another answer `is_due` or not.
    pub(crate) fn on_receipt(&mut self, now: Instant, covers: bool, is_due: bool) {
        if let Link::Up(up) = &mut self.link {
            if up.answer != Answer::NotDue {
                up.answer = if is_due {
                    Answer::DueSince(now)
                } else {
                    Answer::NotDue
                };
            }
            if !covers {
                return;
            }
            self.backoff.reset();
            let mut waited = Duration::ZERO;
            if let Flow::Blocked { since, .. }
            | Flow::LastReceipts { since }
            | Flow::PeerStops { since } = &mut up.flow
            {
                waited = now.saturating_duration_since(*since);
                // A peer that gives receipts is alive.
                *since = now;
            }
            if waited <= self.timing.write_timeout {
                self.timeouts = 0;
            }
        }
    }

    /// The kernel took nothing: the socket is full.
    pub(crate) fn on_blocked(&mut self, now: Instant) {
        let pace = FULL_SOCKET_PACE.min(self.timing.write_timeout / 8);
        self.block(now, now.checked_add(pace), Retry::OnWritable);
    }

    /// The kernel took nothing: it is short of memory.
    pub(crate) fn on_no_memory(&mut self, now: Instant) {
        self.block(now, now.checked_add(NO_MEMORY_PACE), Retry::AfterPause);
    }

    fn block(&mut self, now: Instant, look_at: Deadline, retry: Retry) {
        if let Link::Up(up) = &mut self.link {
            let since = match up.flow {
                Flow::Blocked { since, .. } => since,
                Flow::Probing { .. }
                | Flow::Lingering { .. }
                | Flow::Idle
                | Flow::LastReceipts { .. }
                | Flow::PeerStops { .. } => now,
            };
            up.flow = Flow::Blocked {
                since,
                look_at,
                retry,
            };
        }
    }

    /// The socket says that there is room again. The write timeout runs on until a byte is taken.
    pub(crate) fn on_room(&mut self, now: Instant) {
        if let Link::Up(Up {
            flow: Flow::Blocked { look_at, .. },
            ..
        }) = &mut self.link
        {
            *look_at = Some(now);
        }
    }

    /// The peer is to close the connection: nothing more is written on it.
    pub(crate) fn on_peer_stops(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.flow = Flow::PeerStops { since: now };
        }
    }

    /// The peer takes nothing more on this connection, and owes a receipt.
    pub(crate) fn on_write_error(&mut self, now: Instant) {
        if let Link::Up(up) = &mut self.link {
            up.flow = Flow::LastReceipts { since: now };
        }
    }

    /// The last receipts are waited for, and one has come since the last look: the peer has its
    /// time from then on.
    pub(crate) fn is_patient(&self, now: Instant) -> bool {
        let Link::Up(Up {
            flow: Flow::LastReceipts { since } | Flow::PeerStops { since },
            ..
        }) = self.link
        else {
            return false;
        };
        !has_come(since.checked_add(self.write_timeout()), now)
    }

    /// The connection is given up, for its peer's slowness.
    pub(crate) fn on_timed_out(&mut self) {
        if self.delivery == Delivery::AtLeastOnce {
            self.timeouts += 1;
        }
    }

    /// The connection is gone; says how long until the next try.
    pub(crate) fn on_lost(&mut self, now: Instant) -> Option<Duration> {
        if self.is_single {
            self.link = Link::Over;
            return None;
        }
        if let Link::Up(up) = self.link {
            if now.saturating_duration_since(up.since) >= PROVEN_AFTER {
                self.backoff.reset();
            }
        }
        let wait = self.backoff.next_wait().max(AFTER_LOSS);
        Some(self.down(now, wait, Cause::Lost))
    }

    /// Whether a call waits until the peer has read.
    pub(crate) fn watch_reads(&mut self, watches: bool) {
        self.watches_reads = watches;
    }

    pub(crate) fn watches_reads(&self) -> bool {
        self.watches_reads
    }

    /// Ends once nothing is pending, at the latest at `deadline`. A second call can only bring the
    /// end nearer.
    pub(crate) fn drain(&mut self, deadline: Deadline) {
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
        state.on_connected(start);
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
                Step::Write => "write",
                Step::Wait(WakeOn::Nothing, Some(_)) => "wait until retry",
                Step::Wait(WakeOn::Message, None) => "wait for a message",
                Step::Wait(WakeOn::Message, Some(at)) if at == drained => "wait until the deadline",
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
            Step::Wait(WakeOn::Nothing, Some(start + Duration::from_millis(3)))
        );
        state.drain(Some(start + SECOND));
        assert_eq!(
            state.step(start + Duration::from_millis(3), Pending::Due),
            Step::Exit,
            "it cannot be put off"
        );
    }

    #[test]
    fn backoff_grows_on_every_loss_but_of_a_connection_that_lived_for_a_second() {
        let start = Instant::now();
        let mut state = up(start);
        let mut lose = |lived| {
            state.on_connected(start);
            state.on_lost(start + lived).unwrap()
        };
        let waits = [(); 4].map(|()| lose(SECOND / 2));
        assert_eq!(waits[0], AFTER_LOSS);
        assert!(waits[3] > 2 * AFTER_LOSS, "{waits:?}");
        assert_eq!(lose(SECOND), AFTER_LOSS);
        assert_eq!(
            state.on_connect_failed(start),
            Some(Duration::from_millis(10))
        );
    }

    #[test]
    fn after_a_loss_a_dying_process_has_a_moment_to_close_its_listening_socket() {
        let start = Instant::now();
        let mut state = up(start);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Write,
            "at the start none"
        );
        let lost = start + SECOND;
        assert_eq!(state.on_lost(lost), Some(AFTER_LOSS));
        assert_eq!(
            state.step(lost, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(lost + AFTER_LOSS))
        );
        assert_eq!(state.step(lost + AFTER_LOSS, Pending::Due), Step::Connect);
        state.on_connected(lost + AFTER_LOSS);
        assert_eq!(state.step(lost + AFTER_LOSS, Pending::Due), Step::Write);
    }

    #[test]
    fn every_byte_restarts_the_write_timeout() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_blocked(start);
        let room = |at| Step::Wait(WakeOn::Writable, Some(at));
        assert_eq!(
            state.step(start, Pending::Due),
            room(start + FULL_SOCKET_PACE)
        );
        state.on_room(start + SECOND / 2);
        assert_eq!(state.step(start + SECOND / 2, Pending::Due), Step::Write);
        // The socket said there was room, and then took nothing: no reason to wait longer.
        let late = start + SECOND * 99 / 100;
        state.on_blocked(late);
        assert_eq!(state.step(late, Pending::Due), room(start + SECOND));
        state.on_written(late, None);
        state.on_blocked(late);
        let end = late + SECOND;
        assert_eq!(state.step(end, Pending::Due), Step::Write, "a last look");
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
        assert_eq!(
            state.step(start + FULL_SOCKET_PACE, Pending::Due),
            Step::Write
        );
        state.on_written(start + FULL_SOCKET_PACE, None);
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
            Step::Wait(WakeOn::Message, None)
        );
    }

    #[test]
    fn want_of_memory_is_tried_again_soon_but_not_for_ever() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_no_memory(start);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(start + NO_MEMORY_PACE))
        );
        assert_eq!(
            state.step(start + NO_MEMORY_PACE, Pending::Due),
            Step::Write
        );
        state.on_no_memory(start + SECOND);
        assert_eq!(
            state.step(start + SECOND, Pending::Due),
            Step::TimeOut { after: SECOND },
            "not for ever"
        );
    }

    #[test]
    fn where_nobody_listened_an_arrival_ends_the_wait_soon_and_after_a_loss_it_does_not() {
        const HOUR: Duration = Duration::from_secs(3600);
        let start = Instant::now();
        let backoff = Backoff::new(HOUR, HOUR, 1);
        let mut state = State::new(start, backoff, TIMING, Delivery::AtMostOnce);
        state.on_arrival(start);
        assert_eq!(state.step(start, Pending::Due), Step::Connect);
        state.on_connect_failed(start);
        let wait = Step::Wait(WakeOn::Nothing, Some(start + HOUR));
        assert_eq!(state.step(start, Pending::Due), wait);
        state.on_arrival(start);
        let soon = Step::Wait(WakeOn::Nothing, Some(start + AFTER_ARRIVAL));
        assert_eq!(state.step(start, Pending::Due), soon);
        // Another one does not put it off.
        state.on_arrival(start + AFTER_ARRIVAL / 2);
        assert_eq!(state.step(start, Pending::Due), soon);
        // Between its bind and its listen a reader refuses.
        let waits: Vec<_> = (0..=TRIES_AFTER_ARRIVAL)
            .map(|_| state.on_connect_failed(start).unwrap())
            .collect();
        assert_eq!(waits[..2], [4 * AFTER_ARRIVAL, 16 * AFTER_ARRIVAL]);
        assert_eq!(waits.last(), Some(&HOUR));
        let connected = start + AFTER_ARRIVAL;
        state.on_connected(connected);
        state.on_lost(connected);
        let wait = state.step(connected, Pending::Due);
        state.on_arrival(connected);
        assert_eq!(state.step(connected, Pending::Due), wait);
        assert_ne!(
            wait,
            Step::Wait(WakeOn::Nothing, Some(connected + AFTER_ARRIVAL))
        );
    }

    #[test]
    fn a_full_backlog_counts_as_a_failure_only_after_the_connect_timeout() {
        let start = Instant::now();
        let mut state = state(start);
        assert_eq!(state.on_backlog_full(start), None);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(start + FULL_BACKLOG_PACE))
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
        state.on_written(start, None);
        let end = start + TIMING.linger;
        assert_eq!(
            state.step(start, Pending::Nothing),
            Step::Wait(WakeOn::FullBlock, Some(end))
        );
        assert_eq!(
            state.step(start, Pending::Few),
            Step::Wait(WakeOn::FullBlock, Some(end)),
            "let them gather"
        );
        assert_eq!(state.step(start, Pending::Due), Step::Write);
        assert_eq!(state.step(end, Pending::Few), Step::Write);
        state.on_written(end, None);
        assert_eq!(
            state.step(end, Pending::Nothing),
            Step::Wait(WakeOn::FullBlock, Some(end + TIMING.linger))
        );
        assert_eq!(
            state.step(end + TIMING.linger, Pending::Nothing),
            Step::Wait(WakeOn::Message, None)
        );
        let mut eager = state_with(
            start,
            Timing {
                linger: Duration::ZERO,
                ..TIMING
            },
            Delivery::AtMostOnce,
        );
        eager.on_connected(start);
        eager.on_written(start, None);
        assert_eq!(
            eager.step(start, Pending::Nothing),
            Step::Wait(WakeOn::Message, None)
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
        state.on_connected(start);
        assert_eq!(
            state.step(start, Pending::Nothing),
            Step::Wait(WakeOn::Message, Some(start + 3 * SECOND))
        );
        assert_eq!(
            state.step(start + 3 * SECOND, Pending::Nothing),
            Step::KeepAlive
        );
        state.on_written(start + 3 * SECOND, None);
        assert_eq!(
            state.step(start + 4 * SECOND, Pending::Nothing),
            Step::Wait(WakeOn::Message, Some(start + 6 * SECOND))
        );
    }

    #[test]
    fn a_receipt_that_covers_something_makes_the_next_try_an_early_one() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        let mut wait_after = |covers| {
            state.on_connected(start);
            state.on_written(start, None);
            state.on_receipt(start, covers, false);
            state.on_lost(start).unwrap()
        };
        let waits = [(); 4].map(|()| wait_after(false));
        assert!(
            waits[3] > 2 * AFTER_LOSS,
            "an answer that covers nothing proves nothing"
        );
        assert_eq!(wait_after(true), AFTER_LOSS);
    }

    #[test]
    fn silence_is_told_once_and_again_after_an_answer() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start);
        state.on_ack_requested(start);
        state.on_ack_requested(start + SECOND / 2);
        let wait = |until| Step::Wait(WakeOn::Message, until);
        assert_eq!(
            state.step(start, Pending::Unconfirmed),
            wait(Some(start + SECOND))
        );
        assert_eq!(
            state.step(start + SECOND, Pending::Unconfirmed),
            Step::ReportSilence { waited: SECOND }
        );
        assert_eq!(state.step(start + SECOND, Pending::Unconfirmed), wait(None));
        state.on_receipt(start + SECOND, true, true);
        assert_eq!(
            state.step(start + SECOND, Pending::Unconfirmed),
            wait(Some(start + 2 * SECOND))
        );
        assert_eq!(
            state.step(start + 2 * SECOND, Pending::Unconfirmed),
            Step::ReportSilence { waited: SECOND }
        );
        state.on_receipt(start + 2 * SECOND, true, false);
        assert_eq!(
            state.step(start + 9 * SECOND, Pending::Nothing),
            wait(None),
            "nothing is owed"
        );
    }

    #[test]
    fn a_receipt_that_will_never_come_is_reported_at_once() {
        let start = Instant::now();
        let timing = Timing {
            write_timeout: Duration::MAX,
            ..TIMING
        };
        let mut state = state_with(start, timing, Delivery::AtLeastOnce);
        state.on_connected(start);
        state.on_ack_requested(start);
        state.on_deaf();
        let waited = SECOND;
        let step = state.step(start + SECOND, Pending::Unconfirmed);
        assert_eq!(step, Step::ReportSilence { waited });
        let step = state.step(start + SECOND, Pending::Unconfirmed);
        assert_eq!(step, Step::Wait(WakeOn::Message, None), "once");
    }

    #[test]
    fn at_most_once_nobody_cares_for_silence() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_ack_requested(start);
        assert_eq!(
            state.step(start + 9 * SECOND, Pending::Nothing),
            Step::Wait(WakeOn::Message, None)
        );
    }

    #[test]
    fn a_reader_has_time_to_hang_up_on_a_probe() {
        let start = Instant::now();
        let mut state = up(start);
        state.on_written(start, Some(0));
        let until = start + PROBE_TIME;
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(until))
        );
        assert_eq!(state.step(until, Pending::Due), Step::Write);
        state.on_written(start, Some(3));
        let until = start + 8 * PROBE_TIME;
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(until))
        );
    }

    #[test]
    fn a_connection_that_takes_no_more_is_kept_for_its_last_receipts_but_not_for_ever() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start);
        state.on_write_error(start);
        assert_eq!(
            state.step(start, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(start + SECOND))
        );
        assert_eq!(
            state.step(start + SECOND, Pending::Due),
            Step::TimeOut { after: SECOND }
        );
    }

    #[test]
    fn a_peer_that_stops_may_take_its_time_until_it_holds_something_up() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start);
        state.on_peer_stops(start);
        let later = start + 10 * SECOND;
        assert_eq!(
            state.step(later, Pending::Unconfirmed),
            Step::Wait(WakeOn::Message, None)
        );
        assert_eq!(
            state.step(later, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(later + SECOND))
        );
        state.on_receipt(later + SECOND / 2, true, true);
        assert!(state.is_patient(later + SECOND));
        let end = later + SECOND / 2 + SECOND;
        assert_eq!(
            state.step(end, Pending::Due),
            Step::TimeOut { after: SECOND }
        );
    }

    #[test]
    fn at_least_once_each_timeout_without_a_receipt_doubles_the_next() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        let mut time_out = |confirmed: bool| {
            state.on_connected(start);
            state.on_receipt(start, confirmed, !confirmed);
            state.on_blocked(start);
            state.on_room(start + 100 * SECOND);
            let mut until = start;
            loop {
                match state.step(until, Pending::Due) {
                    Step::Wait(_, Some(at)) => until = at,
                    Step::TimeOut { after } => {
                        state.on_timed_out();
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
            state.on_connected(start);
            state.on_blocked(start);
            state.on_room(start + 100 * SECOND);
            while !matches!(
                state.step(start + 50 * SECOND, Pending::Due),
                Step::TimeOut { .. }
            ) {
                state.on_blocked(start + 50 * SECOND);
            }
            state.on_timed_out();
            state.on_lost(start + 50 * SECOND);
        }
        let mut now = start + 60 * SECOND;
        state.on_connected(now);
        // As long as a receipt takes three seconds, none of them gives hope.
        for _ in 0..10 {
            state.on_blocked(now);
            now += 3 * SECOND;
            state.on_receipt(now, true, true);
            assert_eq!(state.write_timeout(), 4 * SECOND);
        }
        state.on_written(now, None);
        state.on_blocked(now);
        state.on_receipt(now + SECOND, true, true);
        assert_eq!(state.write_timeout(), SECOND);
    }

    #[test]
    fn the_last_receipts_are_waited_for_as_long_as_they_come() {
        let start = Instant::now();
        let mut state = state_with(start, TIMING, Delivery::AtLeastOnce);
        state.on_connected(start);
        state.on_ack_requested(start);
        state.on_write_error(start);
        let last = (1..=10).fold(start, |before, _| {
            let now = before + SECOND * 9 / 10;
            assert!(matches!(
                state.step(now, Pending::Due),
                Step::Wait(WakeOn::Nothing, _)
            ));
            state.on_receipt(now, true, true);
            now
        });
        // One that covers nothing is no sign of life.
        state.on_receipt(last + SECOND / 2, false, true);
        let end = last + SECOND;
        assert_eq!(
            state.step(last + SECOND * 99 / 100, Pending::Due),
            Step::Wait(WakeOn::Nothing, Some(end))
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
            Step::Wait(WakeOn::Message, Some(start + READ_PACE))
        );
    }

    proptest! {
        /// Whatever happens, a wait has an end that has not come, draining ends, and nothing
        /// overflows.
        #[test]
        fn no_history_leads_to_a_wait_without_sense(
            events in prop::collection::vec((0u8..14, 0u64..3_000, 0u8..4), 1..80),
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
                    0 => state.on_connected(now),
                    1 => drop(state.on_connect_failed(now)),
                    2 => drop(state.on_backlog_full(now)),
                    3 => state.on_written(now, (millis % 5 == 0).then_some(u32::from(pending))),
                    4 => state.on_blocked(now),
                    5 => state.on_no_memory(now),
                    6 => state.on_room(now),
                    7 => drop(state.on_lost(now)),
                    12 => state.on_connecting(now),
                    8 => state.on_ack_requested(now),
                    9 => state.on_receipt(now, millis % 2 == 0, millis % 3 == 0),
                    10 if millis % 2 == 0 => state.on_write_error(now),
                    10 => state.on_peer_stops(now),
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
                    Step::Write => prop_assert!(pending.is_unwritten()),
                    Step::Exit => prop_assert!(draining_until.is_some()),
                    _ => prop_assert!(!has_come(draining_until, now)),
                }
            }
        }
    }
}
