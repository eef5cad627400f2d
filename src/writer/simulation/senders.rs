//! What the writer's users do: they send, flush and shut down. What each call says is
//! checked against the world.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::writer::queue::Refusal;
use crate::writer::send::Patience;
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::settings::MOST_COPIED;
use crate::writer::settings::Overflow;
use crate::writer::shared::Shared;
use crate::writer::shared::flush::{Flush, Verdict};
use crate::writer::shared::locked::Locked;
use crate::writer::simulation::history::{During, Setting};
use crate::writer::simulation::net::{Fate, Net, is_used, message};

pub(crate) struct Senders {
    setting: Setting,
    net: Rc<RefCell<Net>>,
    shared: Arc<Shared>,
    /// Calls of flush that have not returned.
    calls: Vec<Call>,
    /// Senders who wait until there is room.
    waiters: Vec<Waiter>,
    is_shut_down: bool,
    /// What was dropped to make room, as far as it is known to the world.
    evicted: Tally,
}

/// A call of flush.
struct Call {
    level: FlushLevel,
    /// The messages below that number are meant.
    target: usize,
    flush: Flush,
    /// How many connections had ended when it began, in all and too early for its level.
    ends: u64,
    losses: u64,
    /// How often something had been told when it looked last.
    heard: Option<u64>,
}

struct Waiter {
    /// Of its message.
    len: usize,
    /// How often all had been told of room when it looked last.
    heard: Option<u64>,
}

impl Senders {
    pub(crate) fn new(setting: Setting, net: Rc<RefCell<Net>>, shared: Arc<Shared>) -> Self {
        Self {
            setting,
            net,
            shared,
            calls: Vec::new(),
            waiters: Vec::new(),
            is_shut_down: false,
            evicted: Tally::default(),
        }
    }

    pub(crate) fn during_write(&mut self, acts: [During; 2]) {
        {
            let locked = self.shared.lock();
            let end = usize::try_from(locked.queue.waiting_from()).unwrap();
            self.net.borrow_mut().writing_to = locked.queue.is_writing().then_some(end);
        }
        for act in acts {
            match act {
                During::Sends(count) => (0..count).for_each(|_| self.send(8)),
                During::SendOwned(len) => self.send_owned(len),
                During::Flush(level) => self.flush(level),
                During::Shutdown(millis) => self.shut_down(millis),
            }
            self.look();
        }
        self.net.borrow_mut().writing_to = None;
    }

    pub(crate) fn send(&mut self, len: usize) {
        let message = self.next_message(len);
        let sent = if message.len() > MOST_COPIED {
            self.shared.push_long_copy(&mut Patience::None, &message)
        } else {
            self.shared.push_copy(Patience::None, &message)
        };
        self.judge_send(sent, message.len());
    }

    pub(crate) fn send_owned(&mut self, len: usize) {
        let message = self.next_message(len);
        let len = message.len();
        let pushed = if len % 2 == 0 {
            let mut message = Some(Bytes::from(message));
            self.shared.push_long(&mut Patience::None, &mut message)
        } else {
            self.shared
                .push_long(&mut Patience::None, &mut Some(message))
        };
        self.judge_send(pushed, len);
    }

    fn next_message(&self, len: usize) -> Vec<u8> {
        message(self.net.borrow().fates.len(), len)
    }

    fn judge_send(&mut self, sent: Result<(), Refusal>, len: usize) {
        self.judge(sent, len);
        if sent.is_ok() {
            self.net.borrow_mut().accept(len);
        }
    }

    /// Checks what a sender is told who wanted room for `len` bytes.
    fn judge(&mut self, outcome: Result<(), Refusal>, len: usize) {
        let mut net = self.net.borrow_mut();
        let evicted = self.shared.counters.metrics().dropped.oldest;
        net.evict(evicted - self.evicted);
        assert!(
            outcome.is_ok() || evicted == self.evicted,
            "dropped for a message that does not fit all the same"
        );
        self.evicted = evicted;
        assert_eq!(
            outcome == Err(Refusal::Closed),
            self.is_shut_down || net.has_exited,
            "closed by a shutdown or the end of the one stream, and only then"
        );
        assert!(
            outcome != Err(Refusal::Full) || !self.has_room(&net, len),
            "refused for want of room, and there is some"
        );
    }

    fn has_room(&self, net: &Net, len: usize) -> bool {
        let kept = match self.setting.limits.overflow {
            Overflow::Refuse => net.held(),
            Overflow::DropOldest => net.pinned(),
        };
        let limits = self.setting.limits;
        kept.messages < limits.messages && kept.bytes + to_u64(len) <= limits.bytes
    }

    pub(crate) fn shut_down(&mut self, millis: u64) {
        let deadline = self
            .net
            .borrow()
            .now
            .checked_add(Duration::from_millis(millis));
        self.shared.drain(deadline);
        let mut net = self.net.borrow_mut();
        net.deadline = net.deadline.into_iter().chain(deadline).min();
        self.is_shut_down = true;
    }

    pub(crate) fn flush(&mut self, level: FlushLevel) {
        let level = match level {
            FlushLevel::Read if !self.setting.abilities.tells_unread => FlushLevel::Written,
            FlushLevel::Handled if !self.setting.abilities.answers => FlushLevel::Written,
            level => level,
        };
        let (target, ends) = {
            let net = self.net.borrow();
            (net.fates.len(), net.ends)
        };
        let losses = self.losses(level);
        let delivery = self.setting.delivery;
        let mut locked = self.shared.lock();
        let told = locked.losses(level, delivery);
        assert!(told <= losses, "{told} of {losses} losses at {level:?}");
        let flush = locked.begin_flush(level, delivery, told);
        drop(locked);
        self.calls.push(Call {
            level,
            target,
            flush,
            ends,
            losses,
            heard: None,
        });
    }

    fn count_waiting(&self, locked: &mut Locked) {
        locked.waiting_for_room = self.waiters.len();
        locked.waiting = self.calls.len() + locked.waiting_for_room;
    }

    /// Sends a message, and waits for room if there is none.
    pub(crate) fn wait_to_send(&mut self, len: usize) {
        self.waiters.push(Waiter { len, heard: None });
    }

    /// The sender who has waited longest gives up, also if it was told of room just now.
    pub(crate) fn give_up_waiting(&mut self) {
        if !self.waiters.is_empty() {
            self.waiters.remove(0);
        }
        self.count_waiting(&mut self.shared.lock());
    }

    /// Those who wait and were told of something look whether that was it.
    pub(crate) fn look(&mut self) {
        self.look_for_room();
        self.look_at_flushes();
    }

    /// As after a wait in [`Shared::push`](crate::writer::shared::Shared::push).
    fn look_for_room(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut kept = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            let mut locked = shared.lock();
            if waiter.heard == Some(locked.room_notices) {
                kept.push(waiter);
                continue;
            }
            let message = self.next_message(waiter.len);
            locked.queue.collect_all();
            let pushed = locked.queue.push(&message);
            if locked.queue.take_freed() {
                shared.notify_all(&mut locked);
            }
            match pushed {
                Ok(()) if locked.queue.must_wake_for_message() => shared.waker.wake(),
                Ok(()) | Err(Refusal::Closed) => {}
                Err(Refusal::Full) => {
                    shared.wake_for_caller(&mut locked);
                    waiter.heard = Some(locked.room_notices);
                    kept.push(waiter);
                }
            }
            drop(locked);
            self.judge_send(pushed, message.len());
        }
        self.waiters = kept;
        self.count_waiting(&mut shared.lock());
    }

    /// Those calls of flush that were told of something look whether they may return. What they say
    /// is checked.
    fn look_at_flushes(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut locked = shared.lock();
        let has_ended = locked.end().is_some();
        let heard = Some(locked.progress_notices);
        let mut kept = Vec::new();
        for mut call in std::mem::take(&mut self.calls) {
            if call.heard == heard {
                kept.push(call);
                continue;
            }
            match locked.look(&mut call.flush) {
                Verdict::Left(_) if has_ended => {}
                Verdict::Left(_) => {
                    shared.wake_for_caller(&mut locked);
                    call.heard = heard;
                    kept.push(call);
                    continue;
                }
                Verdict::Lost => {
                    assert_eq!(
                        self.setting.delivery,
                        Delivery::AtMostOnce,
                        "it goes out again"
                    );
                    assert_ne!(call.level, FlushLevel::Written, "what was written was");
                    assert!(
                        self.losses(call.level) > call.losses,
                        "nothing was lost during the call"
                    );
                }
                Verdict::Reached => self.check_reached(&call),
            }
            locked.end_flush(call.level);
        }
        self.calls = kept;
        self.count_waiting(&mut locked);
    }

    /// How many connections ended too early for that.
    fn losses(&self, level: FlushLevel) -> u64 {
        let net = self.net.borrow();
        match level {
            FlushLevel::Written => 0,
            FlushLevel::Read => net.unread_ends,
            FlushLevel::Handled => net.uncovered_ends,
        }
    }

    fn check_reached(&self, call: &Call) {
        let net = self.net.borrow();
        // What went down before the call is not waited for.
        let is_past = |fate: &Fate| (1..=call.ends).contains(&fate.ended_with);
        let missing = net
            .fates
            .iter()
            .take(call.target)
            .position(|fate| !(has_come(fate, call.level) || fate.gone || is_past(fate)));
        assert_eq!(
            missing, None,
            "{:?} is said to be reached, and one is missing",
            call.level
        );
    }

    pub(crate) fn is_flushing(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(crate) fn is_waiting_to_send(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Nobody who waits counts on a thread that sleeps.
    pub(crate) fn check_asleep(&self) {
        if is_used(&self.shared.waker) {
            return;
        }
        let net = self.net.borrow();
        let Some(sleep) = net.sleep else { return };
        assert!(
            net.deadline
                .is_none_or(|deadline| sleep.until.is_some_and(|until| until <= deadline)),
            "the thread sleeps beyond the deadline"
        );
        let locked = self.shared.lock();
        for waiter in &self.waiters {
            assert!(
                !self.has_room(&net, waiter.len),
                "a sender is not told of room"
            );
            let is_unwritten = locked.queue.watermarks().unwritten < to_u64(net.fates.len());
            // One that lingers goes on by itself.
            assert!(
                !is_unwritten || locked.queue.is_aware() || sleep.until.is_some(),
                "a sender waits for a thread that sleeps"
            );
        }
        for call in &self.calls {
            let verdict = locked.peek(&call.flush);
            assert!(
                matches!(verdict, Verdict::Left(_)),
                "a call of flush is not told: {verdict:?}"
            );
            let is_unwritten = locked.queue.watermarks().unwritten < to_u64(call.target);
            assert!(
                !is_unwritten || locked.queue.is_aware(),
                "a call of flush waits for a thread that sleeps"
            );
        }
    }
}

fn has_come(fate: &Fate, level: FlushLevel) -> bool {
    match level {
        FlushLevel::Written => fate.taken,
        FlushLevel::Read => fate.drained,
        FlushLevel::Handled => fate.stored,
    }
}
