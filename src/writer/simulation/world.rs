//! The writer in its world: what acts do to it, and what must hold after each.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::super::attention::{Attention, Wake};
use super::super::counters::Counters;
use super::super::flush::{Flush, Level, Verdict};
use super::super::outbox::Delivery;
use super::super::queue::Queue;
use super::super::shared::{Inner, Patience, Shared};
use super::super::state::State;
use super::super::worker::{Options, Outage, Turn, Worker};
use super::history::{Act, Setting};
use super::net::{BatchEnd, Fate, Net, SimulatedKernel, message};
use crate::address::Address;
use crate::backoff::Backoff;
use crate::event::{LostCause, WriterEvent};
use crate::metrics::{WriterMetrics, widen};
use crate::observer::Observer;
use crate::pool::Pool;
use crate::reentry::Scope;
use crate::sys::Waker;

pub(super) struct World {
    setting: Setting,
    net: Rc<RefCell<Net>>,
    shared: Arc<Shared>,
    worker: Worker<SimulatedKernel>,
    has_exited: bool,
    /// The thread rests, and a sender may write.
    is_lent: bool,
    /// Receipts that the writer did not believe.
    unbelieved: Arc<AtomicU64>,
    reserved: Vec<usize>,
    flushes: Vec<(Level, u64, Flush)>,
    /// Messages that some call of flush was told not to be sure of.
    doubtful: Vec<bool>,
}

impl World {
    pub(super) fn new(setting: Setting, seed: u64) -> Self {
        let net = Rc::new(RefCell::new(Net::new(setting)));
        let counters = Arc::new(Counters::new(setting.delivery));
        let queue = Queue::new(setting.limits, setting.delivery, Arc::clone(&counters));
        let returned = queue.returns.receiver();
        let shared = Arc::new(Shared {
            address: Address::new("/simulated").unwrap(),
            max_message_len: usize::MAX,
            delivery: setting.delivery,
            shutdown_level: Level::Written,
            inner: Mutex::new(Inner::new(queue)),
            counters,
            buffers: Pool::new(2, 4096),
            scope: Scope::new(),
            process: std::process::id(),
            progress: Condvar::new(),
            room: Condvar::new(),
            waker: Waker::new().unwrap(),
            returned,
        });
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
        let now = net.borrow().now;
        let unbelieved = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&unbelieved);
        let worker = Worker {
            kernel: SimulatedKernel(Rc::clone(&net)),
            shared: Arc::clone(&shared),
            state: State::new(now, backoff, setting.timing, setting.delivery),
            observer: Observer::new(move |event| {
                if let WriterEvent::Lost { cause: LostCause::BadReceipt(_), .. } = event {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }),
            options: Options {
                send_buffer_size: None,
                expect_peer_uid: None,
                write_timeout: setting.timing.write_timeout,
            },
            stream: None,
            reader: None,
            was_reset: false,
            refused: None,
            bad_receipt: None,
            outage: Outage::Untold,
        };
        let (reserved, flushes, doubtful) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            setting,
            net,
            shared,
            worker,
            has_exited: false,
            is_lent: false,
            unbelieved,
            reserved,
            flushes,
            doubtful,
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Send(len) => send(&self.shared, &self.net, len),
            Act::SendOwned(len) => send_owned(&self.shared, &self.net, len),
            Act::SendMany(count) => (0..count).for_each(|_| send(&self.shared, &self.net, 4)),
            Act::Reserve(len) => {
                if self.shared.push(Patience::None, |queue| queue.reserve(len.max(4))).is_ok() {
                    self.reserved.push(len.max(4));
                }
            }
            Act::Commit => {
                if let Some(len) = self.reserved.pop() {
                    self.shared.release(len);
                    let before = self.net.borrow().fates.len();
                    send(&self.shared, &self.net, len);
                    let is_open = self.shared.inner.lock().queue.check_open().is_ok();
                    let is_accepted = self.net.borrow().fates.len() > before;
                    assert_eq!(is_accepted, is_open, "room that was reserved is there");
                }
            }
            Act::DropSlot => {
                if let Some(len) = self.reserved.pop() {
                    self.shared.release(len);
                }
            }
            Act::Flush(level) => {
                let mut inner = self.shared.inner.lock();
                let flush = inner.begin_flush(level, self.setting.delivery);
                let target = widen(self.net.borrow().fates.len());
                self.flushes.push((level, target, flush));
            }
            Act::Thread(most) => self.thread(most, 0, false),
            Act::ThreadAndSends(most, sends) => self.thread(most, sends, false),
            Act::NoMemory => self.thread(usize::MAX, 0, true),
            Act::WaitForRoom(is_waiting) => {
                let mut inner = self.shared.inner.lock();
                (inner.waiting, inner.waiting_for_room) = (is_waiting.into(), is_waiting.into());
            }
            Act::Help(most) => self.help(most),
            Act::Shutdown(millis) => {
                let now = self.net.borrow().now;
                self.shared.drain(now.checked_add(Duration::from_millis(millis)));
            }
            outside => Self::act_outside(&mut self.net.borrow_mut(), outside),
        }
        self.look_at_flushes();
    }

    /// What the reader does, or time.
    fn act_outside(net: &mut Net, act: Act) {
        match act {
            Act::Read(most) => net.read(most, BatchEnd::Stored),
            Act::ReadAndFail(most) => net.read(most, BatchEnd::NotStored),
            Act::ReadAndDie(most) => {
                net.read(most, BatchEnd::Never);
                net.kill();
            }
            Act::ReadOld => net.read_old(),
            Act::Answer(most) => net.answer(most),
            Act::Lie(lie) => net.lie(lie),
            Act::CloseSending => net.close_sending(),
            Act::ForbidSending => net.forbid_sending(),
            Act::CloseIdle => net.close_idle(),
            Act::HangUp => net.hang_up(),
            Act::Stop => net.stop(),
            Act::Kill => net.kill(),
            Act::Start => (net.is_reader_up, net.is_backlog_full) = (true, false),
            Act::BacklogFills => net.is_backlog_full = true,
            Act::Pass(millis) => net.now += Duration::from_millis(millis),
            other => panic!("{other:?} is the writer's"),
        }
    }

    /// The thread takes a step, with a kernel that takes at most `most` bytes.
    fn thread(&mut self, most: usize, sends: usize, no_memory: bool) {
        if self.has_exited {
            return;
        }
        {
            let mut net = self.net.borrow_mut();
            (net.most, net.no_memory) = (most, no_memory);
            if sends > 0 {
                let (shared, others) = (Arc::clone(&self.shared), Rc::clone(&self.net));
                net.meanwhile = Some(Box::new(move || (0..sends).for_each(|_| send(&shared, &others, 8))));
            }
        }
        self.is_lent = false;
        match self.worker.take_step() {
            Turn::Next => {}
            Turn::Lend(until) => self.lend(until),
            Turn::End => {
                self.worker.finish();
                self.has_exited = true;
            }
        }
        let mut net = self.net.borrow_mut();
        (net.no_memory, net.meanwhile) = (false, None);
    }

    /// What [`lend`](super::super::thread::lend) does.
    fn lend(&mut self, until: Instant) {
        let mut inner = self.shared.inner.lock();
        if inner.may_lend() {
            inner.queue.set_attention(Attention::Lent { has_refused: false });
            self.is_lent = true;
            let mut net = self.net.borrow_mut();
            let rest = until.saturating_duration_since(net.now);
            net.wait(rest);
        } else {
            self.worker.state.end_lending();
        }
    }

    /// A sender who waits for room writes, if the thread lets it.
    fn help(&mut self, most: usize) {
        if !self.is_lent {
            return;
        }
        self.net.borrow_mut().most = most;
        // It does not wait meanwhile.
        let waits = {
            let mut inner = self.shared.inner.lock();
            std::mem::take(&mut inner.waiting_for_room);
            std::mem::take(&mut inner.waiting)
        };
        if self.worker.help(None).is_none() {
            self.is_lent = false;
            self.worker.state.end_lending();
        }
        let mut inner = self.shared.inner.lock();
        (inner.waiting, inner.waiting_for_room) = (waits, waits);
    }

    /// Asks each call of flush whether it may return, and checks what it says.
    fn look_at_flushes(&mut self) {
        let mut inner = self.shared.inner.lock();
        let has_ended = inner.end().is_some();
        let net = self.net.borrow();
        self.doubtful.resize(net.fates.len(), false);
        let metrics = self.shared.counters.metrics();
        let gone = metrics.dropped.oldest.messages + metrics.failed.total().messages;
        let (mut kept, mut told) = (Vec::new(), false);
        for (level, target, mut flush) in std::mem::take(&mut self.flushes) {
            let verdict = inner.look(&mut flush);
            match verdict {
                Verdict::Left(_) if has_ended => {}
                Verdict::Left(_) => {
                    kept.push((level, target, flush));
                    continue;
                }
                Verdict::Lost => {
                    assert_eq!(self.setting.delivery, Delivery::AtMostOnce, "it goes out again");
                    assert_ne!(level, Level::Written, "what was written was");
                    told = true;
                }
                Verdict::Reached => {
                    let meant = net.fates.iter().zip(&self.doubtful).take(usize::try_from(target).unwrap());
                    let missing =
                        meant.filter(|(fate, doubtful)| !(has_come(fate, level) || **doubtful)).count();
                    assert!(
                        widen(missing) <= gone,
                        "{level:?} is said to be reached, and {missing} are missing"
                    );
                }
            }
            inner.end_flush(level);
        }
        self.flushes = kept;
        if told {
            self.doubtful.fill(true);
        }
    }

    fn metrics(&self) -> WriterMetrics {
        self.shared.counters.metrics()
    }

    /// What must hold after every step.
    pub(super) fn check(&self) {
        let (net, metrics) = (self.net.borrow(), self.metrics());
        let inner = self.shared.inner.lock();
        let held = inner.queue.held();
        assert!(
            !(inner.queue.is_asleep() && inner.queue.is_fresh()),
            "nobody wakes the thread for what waits"
        );
        drop(inner);
        let reserved: usize = self.reserved.iter().sum();
        let limits = self.setting.limits;
        assert!(held.messages + widen(self.reserved.len()) <= limits.messages, "bound in messages");
        assert!(held.bytes + widen(reserved) <= limits.bytes, "bound in bytes");
        assert_eq!(metrics.queued, held);
        assert_eq!(widen(net.fates.len()), metrics.accepted.messages);
        let done = match self.setting.delivery {
            Delivery::AtMostOnce => metrics.sent,
            Delivery::AtLeastOnce => metrics.confirmed,
        };
        let ended = done + metrics.dropped.oldest + metrics.failed.total();
        assert_eq!(metrics.accepted, ended + metrics.queued, "the books");
        assert_eq!(metrics.sent, net.taken, "sent is what the kernel took");
        assert_eq!(metrics.resent, net.taken_again, "resent is what it took again");
        assert!(metrics.failed.given_up.messages * 3 <= net.cuts, "given up too early");
        assert!(metrics.confirmed.messages <= net.stored, "confirmed and not stored");
        let told = metrics.lost_with_unread;
        assert!(net.losses <= told && told <= net.resets, "connections lost with unread data: {told}");
        assert!(self.unbelieved.load(Ordering::Relaxed) <= net.lies, "an honest receipt is not believed");
        if self.setting.delivery == Delivery::AtMostOnce {
            assert_eq!(net.taken_again.messages, 0, "nothing goes out twice");
            assert_eq!(
                metrics.sent.messages,
                net.read + net.lost + net.in_kernel(),
                "what was sent has been read, is still there, or was lost with a reader"
            );
        }
    }

    /// With a reader that reads and answers, everything that can still go out does, and every call returns, in bounded time.
    pub(super) fn finish(&mut self) {
        self.net.borrow_mut().reform();
        self.act(Act::WaitForRoom(false));
        let steps = self.net.borrow().fates.len() * 200 + 3_000;
        for _ in 0..steps {
            self.thread(usize::MAX, 0, false);
            let has_waited = self.net.borrow_mut().take_waited();
            self.net.borrow_mut().read(usize::MAX, BatchEnd::Stored);
            self.look_at_flushes();
            self.check();
            let is_done = self.shared.inner.lock().queue.held().messages == 0 && self.flushes.is_empty();
            if is_done || self.has_exited {
                return self.check_end();
            }
            if has_waited {
                let mut net = self.net.borrow_mut();
                let wait = net.last_wait.unwrap_or(Duration::from_millis(20));
                net.now += wait.min(Duration::from_millis(200));
            }
        }
        let left = self.shared.inner.lock().queue.held().messages;
        panic!("{left} messages never go out, {} calls of flush never return", self.flushes.len());
    }

    fn check_end(&mut self) {
        self.net.borrow_mut().read_old();
        self.net.borrow_mut().read(usize::MAX, BatchEnd::Stored);
        self.look_at_flushes();
        assert!(self.flushes.is_empty(), "a call of flush never returns");
        self.check();
        let (net, metrics) = (self.net.borrow(), self.metrics());
        let gone = metrics.dropped.oldest.messages + metrics.failed.total().messages;
        let accepted = metrics.accepted.messages;
        match self.setting.delivery {
            Delivery::AtMostOnce => assert_eq!(net.read + gone + net.lost, accepted, "nothing else is lost"),
            // What was stored may be given up all the same, when the receipt did not come through.
            Delivery::AtLeastOnce => assert!(net.stored + gone >= accepted, "nothing is lost"),
        }
    }
}

fn has_come(fate: &Fate, level: Level) -> bool {
    match level {
        Level::Written => fate.taken,
        Level::Read => fate.drained,
        Level::Handled => fate.stored,
    }
}

fn send(shared: &Shared, net: &RefCell<Net>, len: usize) {
    let number = net.borrow().fates.len();
    let message = message(number, len);
    if shared.send(Patience::None, &message).is_ok() {
        accepted(net, message.len());
    }
}

fn send_owned(shared: &Shared, net: &RefCell<Net>, len: usize) {
    let number = net.borrow().fates.len();
    let message = message(number, len);
    let own = || Bytes::from(message.clone());
    let pushed = shared.push_in_order(Patience::None, |queue| queue.push_owned(len, own).map(|_| Wake::No));
    if pushed.is_ok() {
        accepted(net, message.len());
    }
}

fn accepted(net: &RefCell<Net>, len: usize) {
    net.borrow_mut().fates.push(Fate { len, taken: false, drained: false, read: false, stored: false });
}
