//! Runs a history on the real writer, and checks after each act what must hold.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::address::Address;
use crate::backoff::Backoff;
use crate::event::{LostCause, WriterEvent};
use crate::metrics::{Tally, WriterMetrics};
use crate::num::to_u64;
use crate::observer::Observer;
use crate::sys::Readiness;
use crate::writer::arena::{self, testing, watch};
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::shared::Shared;
use crate::writer::simulation::history::{Act, Setting};
use crate::writer::simulation::net::deaths::Moment;
use crate::writer::simulation::net::{BatchEnd, Cause, Net, SimulatedKernel, is_used};
use crate::writer::simulation::senders::Senders;
use crate::writer::state::State;
use crate::writer::thread::worker::{Options, Worker};

pub(crate) struct World {
    setting: Setting,
    net: Rc<RefCell<Net>>,
    shared: Arc<Shared>,
    senders: Rc<RefCell<Senders>>,
    worker: Worker<SimulatedKernel>,
    /// Why connections were lost, as the writer told its observer.
    causes: Arc<Mutex<Vec<Cause>>>,
    /// Receipts that the writer did not believe.
    unbelieved: u64,
    /// Messages up to this number are known to have ended well, or to be gone.
    checked_to: usize,
}

impl World {
    pub(crate) fn new(setting: Setting, seed: u64) -> Self {
        // What is left of a history that failed.
        watch::set(None);
        let net = Rc::new(RefCell::new(Net::new(setting)));
        let arena = setting
            .survives
            .then(|| testing::ordinary(arena::layout_for(setting.limits)));
        let shared = Shared::new(
            Address::new("/simulated").unwrap(),
            setting.limits,
            usize::MAX,
            setting.delivery,
            FlushLevel::Written,
            setting.abilities,
            arena.clone(),
        );
        let shared = Arc::new(shared.unwrap());
        let look = arena.map(|arena| {
            net.borrow_mut().arena = Some(arena);
            let net = Rc::clone(&net);
            let look = move || {
                if let Ok(net) = net.try_borrow() {
                    net.check_death(Moment::InCall);
                }
            };
            let look: Rc<dyn Fn()> = Rc::new(look);
            look
        });
        watch::set(look);
        let (shortest, longest) = setting.backoff;
        let backoff = Backoff::new(
            Duration::from_millis(shortest),
            Duration::from_millis(longest),
            seed,
        );
        let now = net.borrow().now;
        let causes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&causes);
        let observer = Observer::new(move |event| {
            if let WriterEvent::Lost { cause, .. } = event {
                told.lock().push(match cause {
                    LostCause::BadReceipt(_) => Cause::BadReceipt,
                    LostCause::WriteTimeout(_) => Cause::WriteTimeout,
                    LostCause::Closed | LostCause::Failed(_) => Cause::Peer,
                });
            }
        });
        let options = Options {
            expect_peer_uid: None,
            is_exact: setting.are_numbers_exact(),
        };
        let mut state = State::new(now, backoff, setting.timing, setting.delivery);
        if setting.is_single {
            state.be_single();
        }
        let kernel = SimulatedKernel(Rc::clone(&net));
        let worker = Worker::new(kernel, Arc::clone(&shared), state, observer, options);
        let senders = Senders::new(setting, Rc::clone(&net), Arc::clone(&shared));
        Self {
            setting,
            net,
            shared,
            senders: Rc::new(RefCell::new(senders)),
            worker,
            causes,
            unbelieved: 0,
            checked_to: 0,
        }
    }

    /// Does that, and checks what must hold after it.
    pub(crate) fn act(&mut self, act: Act) {
        self.do_act(act);
        self.senders.borrow_mut().look();
        self.check();
    }

    fn do_act(&mut self, act: Act) {
        let mut senders = self.senders.borrow_mut();
        match act {
            Act::Send(len) => senders.send(len),
            Act::SendOwned(len) => senders.send_owned(len),
            Act::SendMany(count) => (0..count).for_each(|_| senders.send(4)),
            Act::Flush(level) => senders.flush(level),
            Act::WaitToSend(len) => senders.wait_to_send(len),
            Act::GiveUpWaiting => senders.give_up_waiting(),
            Act::Shutdown(millis) => senders.shut_down(millis),
            in_thread_or_outside => {
                drop(senders);
                self.act_beside(in_thread_or_outside);
            }
        }
    }

    /// What is not the senders'.
    fn act_beside(&mut self, act: Act) {
        match act {
            Act::Thread(most) => self.thread(most, false),
            Act::ThreadToPrefix(most) => {
                self.net.borrow_mut().cuts_behind_prefix = true;
                self.thread(most, false);
            }
            Act::ThreadDuring(most, acts) => {
                let senders = Rc::clone(&self.senders);
                self.net.borrow_mut().meanwhile =
                    Some(Box::new(move || senders.borrow_mut().during_write(acts)));
                self.thread(most, false);
            }
            Act::NoMemory => self.thread(usize::MAX, true),
            Act::FailOnAndOn => self.fail_on_and_on(),
            Act::BeQuiet => self.be_quiet(),
            outside => Self::act_outside(&mut self.net.borrow_mut(), outside),
        }
    }

    /// More connections than it takes to give a message up, each as far as the writer goes.
    fn fail_on_and_on(&mut self) {
        for _ in 0..6 {
            for _ in 0..6 {
                self.act(Act::Thread(usize::MAX));
                self.act(Act::PassSleep);
            }
            self.act(Act::ReadAndFailAt(usize::MAX, 0));
        }
    }

    fn be_quiet(&mut self) {
        for round in 0..8 {
            self.act(Act::Thread(usize::MAX));
            self.act(Act::Read(usize::MAX));
            self.act(Act::PassSleep);
            if round == 3 {
                self.act(Act::CloseIdle);
            }
        }
    }

    /// What the reader does, or time.
    fn act_outside(net: &mut Net, act: Act) {
        match act {
            Act::Read(most) => net.read(most, BatchEnd::Stored),
            Act::ReadButOne => net.read_but_one(),
            Act::ReadAndFail(most) => net.read(most, BatchEnd::NotStored),
            Act::ReadAndFailAt(most, before) => net.read(most, BatchEnd::FailedAt(before)),
            Act::ReadAndDie(most) => {
                net.read(most, BatchEnd::Never);
                net.kill();
            }
            Act::Confirm(which) => net.settle(which, true),
            Act::DropBatch(which) => net.settle(which, false),
            Act::ReadOld => net.read_old(),
            Act::Answer(most) => net.answer(most),
            Act::Lie(lie) => net.lie(lie),
            Act::CloseSending => net.close_sending(),
            Act::ForbidSending => net.forbid_sending(),
            Act::CloseIdle => net.close_idle(),
            Act::HangUp => net.hang_up(),
            Act::Stop => net.stop(),
            Act::Kill => net.kill(),
            Act::Start => {
                net.arrival |= !net.is_reader_up;
                (net.is_reader_up, net.is_backlog_full) = (true, false);
            }
            Act::BacklogFills => net.is_backlog_full = true,
            Act::HeldUp(most) => {
                net.read(most, BatchEnd::Stored);
                net.answer(usize::MAX);
                net.now += net.setting.timing.write_timeout * 2;
            }
            Act::Pass(millis) => net.now += Duration::from_millis(millis),
            Act::PassSleep => {
                let until = net.sleep.and_then(|sleep| sleep.until);
                net.now = until.map_or(net.now, |until| until.max(net.now));
            }
            other => panic!("{other:?} is the writer's"),
        }
    }

    /// Whether the thread sleeps on: nothing of what it waits for has come.
    fn sleeps(&self) -> bool {
        self.net.borrow().sleeps() && !is_used(&self.shared.waker)
    }

    /// The thread takes a step, unless it sleeps, with a kernel that takes at most `most` bytes.
    fn thread(&mut self, most: usize, no_memory: bool) {
        if !self.net.borrow().has_exited && !self.sleeps() {
            self.wake_up();
            {
                let mut net = self.net.borrow_mut();
                (net.most, net.no_memory) = (most, no_memory);
            }
            self.take_step();
        }
        let mut net = self.net.borrow_mut();
        (net.no_memory, net.meanwhile, net.cuts_behind_prefix) = (false, None, false);
    }

    /// The thread's sleep is over, if it slept.
    fn wake_up(&mut self) {
        let Some(ready) = self.net.borrow_mut().wake_up() else {
            return;
        };
        let woken = is_used(&self.shared.waker);
        self.worker.on_ready(Readiness { woken, ..ready });
        self.note_losses();
    }

    fn note_losses(&mut self) {
        for cause in std::mem::take(&mut *self.causes.lock()) {
            self.unbelieved += u64::from(cause == Cause::BadReceipt);
            self.net.borrow_mut().on_lost(cause);
        }
    }

    fn take_step(&mut self) {
        let (now, deadline) = self.net.borrow_mut().begin_step();
        let must_end = deadline.is_some_and(|deadline| now >= deadline);
        let turn = self.worker.take_step();
        assert!(
            !must_end || turn.is_break(),
            "the deadline has come, and the thread does not end"
        );
        if turn.is_break() {
            let is_over = self.net.borrow().is_over();
            assert!(
                deadline.is_some() || is_over,
                "nobody has asked the thread to end"
            );
            let held = self.net.borrow().held();
            assert!(
                must_end || is_over || held == Tally::default(),
                "ends too early, with {held:?}"
            );
            self.worker.finish();
            self.net.borrow_mut().has_exited = true;
        }
        self.note_losses();
    }

    fn metrics(&self) -> WriterMetrics {
        self.shared.counters.metrics()
    }

    /// What must hold after every step.
    fn check(&mut self) {
        if !self.net.borrow().has_exited {
            self.check_fronts();
            self.senders.borrow().check_asleep();
        }
        let (net, metrics) = (self.net.borrow(), self.metrics());
        if !net.has_exited {
            net.check_death(Moment::BetweenCalls);
        }
        let locked = self.shared.lock();
        let held = locked.queue.held();
        assert!(
            !(locked.queue.is_asleep() && locked.queue.is_fresh()),
            "nobody wakes the thread for what waits"
        );
        drop(locked);
        let limits = self.setting.limits;
        assert!(held.messages <= limits.messages, "bound in messages");
        assert!(held.bytes <= limits.bytes, "bound in bytes");
        assert!(self.net.borrow().has_exited || held == net.held(), "held");
        assert_eq!(metrics.queued, held);
        assert_eq!(to_u64(net.fates.len()), metrics.accepted.messages);
        let done = match self.setting.delivery {
            Delivery::AtMostOnce => metrics.sent,
            Delivery::AtLeastOnce => metrics.confirmed,
        };
        let ended = done + metrics.dropped.oldest + metrics.failed.total();
        assert_eq!(metrics.accepted, ended + metrics.queued, "the books");
        assert_eq!(metrics.sent, net.taken, "sent is what the kernel took");
        assert_eq!(
            metrics.resent, net.taken_again,
            "resent is what it took again"
        );
        assert_eq!(
            metrics.failed.given_up, net.given_up,
            "given up after three connections that ended in it"
        );
        let told = metrics.lost_with_unread;
        assert!(
            net.losses <= told && told <= net.resets,
            "connections lost with unread data: {told}"
        );
        assert!(
            self.unbelieved <= net.lies,
            "an honest receipt is not believed"
        );
        if self.setting.delivery == Delivery::AtMostOnce {
            assert_eq!(net.taken_again.messages, 0, "nothing goes out twice");
            assert_eq!(
                metrics.sent.messages,
                net.read + net.lost + net.in_kernel(),
                "what was sent has been read, is still there, or was lost with a reader"
            );
        }
    }

    /// How far the writer thinks that messages have come, and each that it is done with.
    fn check_fronts(&mut self) {
        let net = self.net.borrow();
        let watermarks = self.shared.lock().queue.watermarks();
        let (unsettled, unwritten) = net.watermarks();
        assert_eq!(
            watermarks.unsettled,
            to_u64(unsettled),
            "the oldest that has not ended"
        );
        assert_eq!(
            watermarks.unwritten,
            to_u64(unwritten),
            "the oldest that is not written"
        );
        for number in self.checked_to..unsettled {
            let fate = &net.fates[number];
            assert!(fate.gone || fate.settled, "{number} is lost: {fate:?}");
        }
        self.checked_to = unsettled;
    }

    /// With a reader that reads and answers, everything that can still go out does, and every call
    /// returns, in bounded time.
    pub(crate) fn finish(&mut self) {
        self.net.borrow_mut().reform();
        // A probe takes seconds when others came before it, and a flush to `Read` looks each
        // millisecond meanwhile.
        let steps = self.net.borrow().fates.len() * 200 + 20_000;
        for _ in 0..steps {
            self.act(Act::Thread(usize::MAX));
            self.act(Act::Read(usize::MAX));
            self.net.borrow_mut().settle_all();
            let is_to_end = self.net.borrow().deadline.is_some();
            let is_awaited =
                self.senders.borrow().is_flushing() || self.senders.borrow().is_waiting_to_send();
            let is_done = self.net.borrow().held().messages == 0 && !is_awaited && !is_to_end;
            if is_done || self.net.borrow().has_exited {
                return self.check_end();
            }
            if self.sleeps() {
                let mut net = self.net.borrow_mut();
                let until = net.sleep.and_then(|sleep| sleep.until);
                let rest = until.map_or(Duration::from_millis(20), |until| until - net.now);
                net.now += rest.min(Duration::from_millis(200));
            }
        }
        let left = self.net.borrow().held().messages;
        panic!(
            "{left} messages never go out, or a call of flush or send never returns, or the thread never ends"
        );
    }

    fn check_end(&mut self) {
        self.net.borrow_mut().read_old();
        self.act(Act::Read(usize::MAX));
        self.net.borrow_mut().settle_all();
        assert!(
            !self.senders.borrow().is_flushing(),
            "a call of flush never returns"
        );
        assert!(
            !self.senders.borrow().is_waiting_to_send(),
            "a sender waits for ever"
        );
        let (net, metrics) = (self.net.borrow(), self.metrics());
        let gone = metrics.dropped.oldest.messages + metrics.failed.total().messages;
        let accepted = metrics.accepted.messages;
        match self.setting.delivery {
            Delivery::AtMostOnce => {
                assert_eq!(net.read + gone + net.lost, accepted, "nothing else is lost");
            }
            // What was stored may be given up all the same, when the receipt did not come through.
            Delivery::AtLeastOnce => assert!(net.stored + gone >= accepted, "nothing is lost"),
        }
    }
}
