//! Takes the steps that `State` decides: connects, writes, sleeps, closes, and finds out why a
//! connection was lost, and whether its peer died with data unread. The thread blocks only here.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::ControlFlow;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::arena::ticket::Ticket;
use crate::deadline::{Deadline, earlier};
use crate::descriptor_store::StoreError;
use crate::event::{BadReceipt, ConnectError, CrashProofError, LostCause, WriterEvent};
use crate::metrics::Tally;
use crate::observer::Observer;
use crate::peer::Identity;
use crate::sys::{Abilities, PeerEnd, Readiness, Sent, Wanted};
use crate::system_error::SystemError;
use crate::writer::arena::Arena;
use crate::writer::queue::Unused;
use crate::writer::queue::outbox::{Ending, Outbox};
use crate::writer::settings::{Delivery, Overflow};
use crate::writer::shared::Shared;
use crate::writer::shared::locked::{Life, Locked, Passage};
use crate::writer::state::State;
use crate::writer::state::step::Step;
use crate::writer::thread::attempt::{Attempt, Refusal};
use crate::writer::thread::drop_notice::DropNotices;
use crate::writer::thread::inherit::Inherited;
use crate::writer::thread::kernel::{Kernel, Socket};
use crate::writer::wake::WakeOn;

/// The pieces of one write. Where many threads send a little, each has some. The kernel takes
/// 1,024.
const MOST_SLICES: usize = 256;

pub(crate) struct Worker<K: Kernel> {
    pub(crate) kernel: K,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) observer: Observer<WriterEvent>,
    pub(crate) drop_notices: Option<DropNotices>,
    pub(crate) options: Options,
    pub(crate) stream: Option<K::Socket>,
    /// Who listened at the last connect; kept beyond the end of the connection.
    reader: Option<Identity>,
    /// The kernel has said, while something else was asked of it, that the peer left bytes unread.
    pub(crate) was_reset: bool,
    /// The way back has ended.
    pub(crate) has_peer_ended: bool,
    way_there: WayThere,
    /// The peer takes nothing more, and owes a receipt: why the connection is lost once that has
    /// come.
    pub(crate) write_error: Option<SystemError>,
    pub(crate) outage: Outage,
    /// What is dropped after each look at the queue.
    pub(crate) unused: Unused,
    pub(crate) passing: Passing,
}

/// How the arena is passed.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    arena: Option<Arc<Arena>>,
    /// The number of the last connection.
    connection: u64,
    handover: Handover,
    /// Why there is no arena, though there was to be one.
    pub(crate) refused: Option<CrashProofError>,
    /// What the process before this one had left.
    pub(crate) inherited: Inherited,
    /// Why it is not stored, though it was to be.
    pub(crate) not_stored: Option<StoreError>,
    /// What was told last of why it is not passed.
    told: Option<CrashProofError>,
}

/// How it stands with the arena and the last connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Handover {
    /// It does not go on this one.
    #[default]
    Never,
    /// It is to go with the first byte.
    Due,
    Done,
}

/// Whether more is to be written on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayThere {
    Open,
    /// The peer stops.
    Stopped,
    /// Nothing is left to be sent, on this connection or another.
    Finished,
}

/// What ends a connection.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The peer takes nothing more.
    Write(io::Error),
    BadReceipt(BadReceipt),
    /// The peer has ended the connection.
    Ended,
    /// It is to.
    Stops,
}

/// What a peer has left of a connection.
struct Leftover {
    /// It closed before it had read all that was sent.
    was_reset: bool,
    /// And there were messages in that, as far as is known.
    unread: bool,
    /// It had read all for certain.
    has_read: bool,
}

/// Which connections are taken, and what is told of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) expect_peer_uid: Option<u32>,
    /// See [`Options::are_numbers_exact`].
    pub(crate) is_exact: bool,
}

impl Options {
    /// Whether a number that a peer has a message by is never given to another one. Where messages
    /// are dropped to make room, those behind them get lower numbers than they had; with
    /// `AtMostOnce` no peer has had these.
    pub(crate) fn are_numbers_exact(delivery: Delivery, overflow: Overflow) -> bool {
        delivery == Delivery::AtMostOnce || overflow == Overflow::Refuse
    }
}

/// What was told about the time without a connection.
#[derive(Debug)]
pub(crate) enum Outage {
    /// Nothing yet.
    Unreported,
    /// That it is being tried.
    Connecting,
    /// That it failed, and why.
    Failing(ConnectError),
}

impl<K: Kernel> Worker<K> {
    pub(crate) fn new(
        kernel: K,
        shared: Arc<Shared>,
        state: State,
        observer: Observer<WriterEvent>,
        options: Options,
    ) -> Self {
        let passing = Passing {
            arena: shared.lock().queue.arena().cloned(),
            ..Passing::default()
        };
        Self {
            kernel,
            shared,
            state,
            observer,
            drop_notices: None,
            options,
            stream: None,
            reader: None,
            was_reset: false,
            has_peer_ended: false,
            way_there: WayThere::Open,
            write_error: None,
            outage: Outage::Unreported,
            unused: Unused::default(),
            passing,
        }
    }

    /// Does what is next.
    pub(crate) fn take_step(&mut self) -> ControlFlow<()> {
        if let Some(cause) = self.passing.refused.take() {
            self.not_crash_proof(cause);
        }
        self.tell_of_store();
        if self
            .passing
            .arena
            .as_ref()
            .is_some_and(|arena| arena.was_exhausted())
        {
            self.not_crash_proof(CrashProofError::Exhausted);
        }
        self.send_drop_notice();
        match self.next_step() {
            Some((Step::Connect, _)) => self.connect_and_tell(),
            Some((Step::GiveUpConnect, _)) => {
                self.kernel.give_up();
                self.connect_failed(ConnectError::TimedOut);
            }
            Some((Step::Write, outbox)) => match self.write(outbox) {
                Ok(()) => self.look_what_was_read(),
                Err(Trouble::Write(error)) => self.on_write_error(error),
                Err(Trouble::BadReceipt(bad)) => self.lost(LostCause::BadReceipt(bad)),
                Err(Trouble::Ended) => self.on_peer_end(),
                Err(Trouble::Stops) => self.on_peer_stops(),
            },
            Some((Step::KeepAlive, _)) => self.shared.lock().queue.request_ack(),
            Some((Step::Wait(wake_on, until), _)) => {
                if wake_on == WakeOn::Message {
                    self.renew_arena();
                }
                // Not if the look at what is left has made room for a notice, or more was dropped.
                if let Some(notice_at) = self.await_drop() {
                    self.wait(wake_on, earlier(until, notice_at));
                }
            }
            Some((Step::TimeOut { after }, _)) => self.time_out(after),
            Some((Step::ReportSilence { waited }, _)) => {
                self.tell(|address| WriterEvent::NoReceipt { address, waited });
            }
            Some((Step::Linger(until), _)) => self.linger(until),
            Some((Step::Exit, _)) | None => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Asks the state under the lock, so that no message and no call slips in between the look and
    /// the sleep. With `Step::Write` comes what to write; `None` when a shutdown has ended
    /// the queue.
    fn next_step(&mut self) -> Option<(Step, Outbox)> {
        let now = self.kernel.now();
        let mut locked = self.shared.lock();
        match locked.life {
            Life::Running => {}
            Life::Draining(deadline) => self.state.drain(deadline),
            Life::Ended(_) | Life::Gone(_) => return None,
        }
        self.state.watch_reads(locked.watches_reads());
        let may_be_answered = locked.acks.is_owed() || self.way_there == WayThere::Finished;
        self.state
            .linger(may_be_answered && self.ends_with_way_back());
        let mut step = self.state.step(now, locked.pending());
        // Senders must wake the thread from now on; those that have sent just now did not.
        let is_to_sleep = matches!(step, Step::Wait(WakeOn::Message, _));
        if is_to_sleep && locked.queue.recall() {
            step = self.state.step(now, locked.pending());
        }
        let is_write = step == Step::Write;
        if !is_write {
            self.shared.notify_of_freed(&mut locked);
        }
        let outbox = if is_write {
            locked.queue.begin_write()
        } else {
            Outbox::default()
        };
        if matches!(step, Step::Connect | Step::Wait(WakeOn::Nothing, _)) {
            // What is sent while nothing can be written has its place among what others send then.
            locked.queue.collect_all();
        }
        locked.queue.set_wake_on(match step {
            Step::Wait(wake_on, _) => wake_on,
            Step::Connect
            | Step::GiveUpConnect
            | Step::Write
            | Step::KeepAlive
            | Step::ReportSilence { .. }
            | Step::TimeOut { .. }
            | Step::Linger(_)
            | Step::Exit => WakeOn::Nothing,
        });
        locked.queue.take_unused(&mut self.unused);
        drop(locked);
        self.unused.drop_all();
        Some((step, outbox))
    }

    fn connect(&mut self) {
        if matches!(self.outage, Outage::Unreported) {
            self.outage = Outage::Connecting;
            self.tell(|address| WriterEvent::Connecting { address });
        }
        let stream = match self.kernel.connect(&self.shared.address) {
            Ok(Attempt::Connected(stream)) => stream,
            Ok(Attempt::UnderWay) => return self.state.on_connecting(self.kernel.now()),
            Err(Refusal::BacklogFull) => {
                if let Some(retry_in) = self.state.on_backlog_full(self.kernel.now()) {
                    self.tell_failure(ConnectError::BacklogFull, Some(retry_in));
                }
                return;
            }
            Err(Refusal::Cause(cause)) => {
                // A reader that refuses a message is still there.
                self.shared.lock().queue.forget_suspect();
                return self.connect_failed(cause);
            }
        };
        match self.check(&stream) {
            Ok(reader) => self.use_stream(stream, reader),
            Err(cause) => self.connect_failed(cause),
        }
    }

    /// Connects, and tells who waits for that or for what is passed.
    fn connect_and_tell(&mut self) {
        self.connect();
        if self.passing.arena.is_some() {
            let passage = if self.stream.is_some() && self.passing.handover == Handover::Due {
                Passage::Due
            } else {
                Passage::Settled
            };
            self.settle_passage(passage);
        }
    }

    /// Gives memory back that a quiet writer does not need: before a sleep, with a connection on
    /// which nothing was sent, so that other memory can be passed on it. A reader closes a quiet
    /// one, and so it comes to that.
    fn renew_arena(&mut self) {
        let is_done = self.passing.handover == Handover::Done;
        if is_done || !self.shared.lock().queue.has_needless_memory() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut locked = shared.lock();
        let passage = locked.passage;
        // It takes what is in the lanes, and while it holds nothing can come there.
        locked.queue.forbid_leases(true);
        let before = self.renew_in(&mut locked);
        locked.set_passage(passage);
        drop(locked);
        if let Some(before) = before {
            before.retire();
            // Without the lock: the manager may be busy.
            if let Err(error) = self.kernel.keep_memory() {
                self.tell_not_stored(error);
            }
        }
    }

    /// Returns the arena that was left, if it was.
    fn renew_in(&mut self, locked: &mut Locked) -> Option<Arc<Arena>> {
        let is_running = matches!(locked.life, Life::Running);
        if !is_running || !locked.queue.has_needless_memory() {
            return None;
        }
        let arena = self.kernel.renew_memory()?;
        arena.note_connection(self.passing.connection);
        self.passing.arena = Some(Arc::clone(&arena));
        locked.queue.renew_arena(arena)
    }

    fn settle_passage(&self, passage: Passage) {
        let mut locked = self.shared.lock();
        locked.set_passage(passage);
        self.shared.notify_all(&mut locked);
    }

    /// Who is at the other end of a new connection, if it can be used.
    fn check(&self, stream: &K::Socket) -> Result<Identity, ConnectError> {
        let reader = stream
            .peer()
            .map_err(|error| ConnectError::Io(error.into()))?;
        let expected = self.options.expect_peer_uid;
        if let Some(expected) = expected.filter(|expected| reader.uid() != Some(*expected)) {
            let found = reader;
            return Err(ConnectError::WrongPeer { expected, found });
        }
        if self.shared.delivery == Delivery::AtLeastOnce && !stream.abilities().answers {
            return Err(ConnectError::OneWay);
        }
        Ok(reader)
    }

    /// With the first byte of this connection its reader gets what the queue stands in, if it can.
    fn begin_passing(&mut self, abilities: Abilities, reader: Identity) {
        let Some(arena) = &self.passing.arena else {
            return;
        };
        self.passing.connection += 1;
        arena.note_connection(self.passing.connection);
        self.kernel.hold();
        let pid = reader.credentials().and_then(|of_reader| of_reader.pid);
        self.passing.handover = Handover::Never;
        if !abilities.passes_memory {
            self.not_crash_proof(CrashProofError::OtherStream);
        } else if pid == Some(process::id()) {
            // It ends with this process, and until then its closing the memory would end the lock.
            self.not_crash_proof(CrashProofError::OwnProcess);
        } else {
            self.passing.handover = Handover::Due;
        }
    }

    /// What the service manager had kept, and why it keeps nothing: once.
    fn tell_of_store(&mut self) {
        let inherited = mem::take(&mut self.passing.inherited);
        if inherited != Inherited::default() {
            let Inherited {
                messages,
                skipped,
                is_cut,
            } = inherited;
            self.tell(|address| WriterEvent::Inherited {
                address,
                messages,
                skipped,
                is_whole: !is_cut,
            });
        }
        if let Some(error) = self.passing.not_stored.take() {
            self.tell_not_stored(error);
        }
    }

    #[cfg(all(unix, feature = "systemd"))]
    fn tell_not_stored(&self, error: StoreError) {
        self.tell(|address| WriterEvent::NotifyFailed { address, error });
    }

    #[cfg(not(all(unix, feature = "systemd")))]
    fn tell_not_stored(&self, error: StoreError) {
        match error {}
    }

    /// What is queued is lost if this process dies: told once, and again when the cause changes.
    pub(crate) fn not_crash_proof(&mut self, cause: CrashProofError) {
        if self.passing.told.as_ref() != Some(&cause) {
            self.passing.told = Some(cause.clone());
            self.tell(|address| WriterEvent::NotCrashProof { address, cause });
        }
    }

    fn use_stream(&mut self, stream: K::Socket, reader: Identity) {
        self.shared.can.note(stream.abilities());
        self.begin_passing(stream.abilities(), reader);
        self.stream = Some(stream);
        self.was_reset = false;
        self.has_peer_ended = false;
        self.way_there = WayThere::Open;
        let mut locked = self.shared.lock();
        if self.reader.replace(reader) != Some(reader) {
            locked.queue.forget_suspect();
        }
        locked.acks.on_connected();
        drop(locked);
        self.state.on_connected(self.kernel.now());
        self.outage = Outage::Unreported;
        self.shared.counters.connects.add(1);
        self.shared.counters.set_connected(true);
        self.tell(|address| WriterEvent::Connected { address, reader });
    }

    fn connect_failed(&mut self, cause: ConnectError) {
        let retry_in = self.state.on_connect_failed(self.kernel.now());
        self.tell_failure(cause, retry_in);
    }

    /// Whether the end of the way back is the end of the connection.
    pub(crate) fn ends_with_way_back(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.abilities().peer_end == PeerEnd::EndsSending)
    }

    fn tell_failure(&mut self, cause: ConnectError, retry_in: Option<Duration>) {
        if matches!(&self.outage, Outage::Failing(told) if *told == cause) {
            return;
        }
        self.outage = Outage::Failing(cause.clone());
        self.tell(|address| WriterEvent::ConnectFailed {
            address,
            cause,
            retry_in,
        });
    }

    /// Writes once.
    fn write(&mut self, outbox: Outbox) -> Result<(), Trouble> {
        let mut was_passed = true;
        let is_due = self.passing.handover == Handover::Due;
        let ticket = is_due.then(|| Ticket {
            connection: self.passing.connection,
            first: outbox.next_number(),
            is_exact: self.options.is_exact,
        });
        let sent = self.stream.as_ref().map_or(Ok(Sent::Blocked), |stream| {
            let mut slices = [IoSlice::new(&[]); MOST_SLICES];
            let filled = outbox.fill(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            match ticket {
                Some(ticket) => {
                    let (sent, went) = self.kernel.send_first(stream, slices, ticket)?;
                    was_passed = went;
                    Ok(sent)
                }
                None => stream.send(slices),
            }
        });
        let now = self.kernel.now();
        let len = match sent {
            Ok(Sent::Some(len)) => len,
            _ => 0,
        };
        if let (1.., true, Some(arena)) = (len, is_due, &self.passing.arena) {
            arena.note_live(self.passing.connection);
            self.passing.handover = Handover::Done;
            self.settle_passage(Passage::Settled);
            if !was_passed {
                self.not_crash_proof(CrashProofError::NotPassed);
            }
        }
        let mut locked = self.shared.lock();
        let taken = locked.queue.end_write(outbox, len);
        locked.acks.on_written(len, &taken);
        let is_owed = locked.acks.is_owed();
        let probe = locked.queue.probe();
        if locked.queue.has_freed_much() {
            self.shared.notify_of_freed(&mut locked);
        }
        drop(locked);
        match sent {
            Ok(Sent::Some(_)) => {
                self.shared.counters.writes.add(1);
                self.state.on_written(now, probe);
                if taken.requested_after.is_some() {
                    self.state.on_ack_requested(now);
                }
            }
            Ok(Sent::Blocked) => self.state.on_blocked(now),
            Ok(Sent::NoMemory) => self.state.on_no_memory(now),
            Err(error) => return Err(Trouble::Write(error)),
        }
        let ends_with_way_back = self.ends_with_way_back();
        if is_owed || ends_with_way_back {
            self.take_receipts().map_err(Trouble::BadReceipt)?;
            if self.shared.lock().acks.is_stopping() && !self.has_peer_ended {
                return Err(Trouble::Stops);
            }
        }
        if ends_with_way_back && self.has_peer_ended {
            return Err(Trouble::Ended);
        }
        Ok(())
    }

    /// Whether our side has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.way_there != WayThere::Open
    }

    /// Ends the sending side, and waits for the peer's end.
    fn linger(&mut self, until: Deadline) {
        self.end_sending(WayThere::Finished);
        self.wait(WakeOn::Nothing, until);
    }

    fn end_sending(&mut self, why: WayThere) {
        let before = mem::replace(&mut self.way_there, why);
        if let (Some(stream), WayThere::Open) = (&self.stream, before) {
            stream.end_sending();
        }
    }

    /// The peer has ended the connection. Where it could only end its own side, it reads what was
    /// written until we end ours.
    pub(crate) fn on_peer_end(&mut self) {
        if self.way_there == WayThere::Finished {
            // As it was to.
            self.close();
            let _ = self.state.on_lost(self.kernel.now());
            return;
        }
        let cause = self.write_error.take();
        self.lost(cause.map_or(LostCause::Closed, LostCause::Failed));
    }

    /// The peer is to close the connection: nothing more is written, and it says how far it got.
    pub(crate) fn on_peer_stops(&mut self) {
        if self.way_there == WayThere::Open {
            self.end_sending(WayThere::Stopped);
            self.state.on_peer_stops(self.kernel.now());
        }
    }

    /// The peer takes nothing more. One that stops as planned still says how far it got.
    pub(crate) fn on_write_error(&mut self, error: io::Error) {
        self.was_reset |= is_reset(&error);
        // An answer to the opening alone would tell nothing.
        let may_tell = {
            let acks = &self.shared.lock().acks;
            acks.is_owed() && acks.has_unacked()
        };
        if may_tell {
            self.state.on_write_error(self.kernel.now());
            self.write_error = Some(error.into());
            self.receive();
        } else {
            self.lost(LostCause::Failed(error.into()));
        }
    }

    /// From now on the next drop wakes the thread, unless a notice is pending already. Returns when
    /// to look at that; `None` if the thread must not sleep.
    fn await_drop(&mut self) -> Option<Deadline> {
        if self.drop_notices.is_none() {
            return Some(None);
        }
        self.shared.awaits_drop.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.send_drop_notice() {
            return None;
        }
        let dropped = self.shared.counters.dropped_for_room();
        let Some(notices) = self
            .drop_notices
            .as_ref()
            .filter(|notices| notices.is_pending(dropped))
        else {
            return Some(None);
        };
        self.shared.awaits_drop.store(false, Ordering::Relaxed);
        let now = self.kernel.now();
        let locked = self.shared.lock();
        let is_end = locked.is_draining().unwrap_or(false);
        match notices.due(dropped, now, is_end) {
            // It was dropped after the look.
            Some(len) if locked.queue.has_room(len) => None,
            // Room comes with a step of this thread.
            Some(_) => Some(None),
            None => Some(notices.next()),
        }
    }

    /// Tells of what was dropped, as soon as there is room for that. True if it did.
    fn send_drop_notice(&mut self) -> bool {
        let Some(notices) = &mut self.drop_notices else {
            return false;
        };
        let Shared { counters, .. } = &*self.shared;
        let (dropped, now) = (counters.dropped_for_room(), self.kernel.now());
        let locked = self.shared.lock();
        let Some(is_end) = locked.is_draining() else {
            return false;
        };
        let len = notices.due(dropped, now, is_end);
        if !len.is_some_and(|len| locked.queue.has_room(len)) {
            return false;
        }
        drop(locked);
        let message = if let Some(waiting) = notices.take_waiting() {
            waiting
        } else {
            // What is dropped from now on is for the next one.
            let since = counters.take_first_drop();
            let Some(made) = notices.make(dropped, since, now) else {
                counters.observer_panics.add(1);
                return true;
            };
            made
        };
        let len = message.len();
        if len > self.shared.max_message_len {
            counters.dropped_too_large.add(Tally::one(len));
            return true;
        }
        let mut locked = self.shared.lock();
        // A shutdown may have ended the queue meanwhile.
        if len > 0 && locked.is_draining().is_some() && !locked.queue.push_own(&message) {
            notices.wait(message);
            return false;
        }
        true
    }

    fn wait(&mut self, wake_on: WakeOn, until: Deadline) {
        let timeout = until.map(|until| until.saturating_duration_since(self.kernel.now()));
        let Shared { waker, address, .. } = &*self.shared;
        let ready = if let Some(stream) = &self.stream {
            let for_receipt = self.shared.lock().acks.is_owed();
            let wanted = Wanted {
                room: wake_on == WakeOn::Writable,
                bytes: for_receipt || self.ends_with_way_back(),
            };
            self.kernel.wait(waker, stream, wanted, timeout)
        } else {
            self.kernel.wait_for_connection(waker, address, timeout)
        };
        self.on_ready(ready);
    }

    /// A wait is over.
    pub(crate) fn on_ready(&mut self, ready: Readiness) {
        if ready.woken {
            self.shared.waker.reset();
        }
        if self.stream.is_none() {
            if ready.room {
                self.connect_and_tell();
            }
            if ready.arrival {
                self.state.on_arrival(self.kernel.now());
            }
            return;
        }
        if ready.hangup {
            if self.ends_with_way_back() {
                // That tells why.
                let _ = self.take_receipts();
            }
            return self.on_peer_end();
        }
        if ready.room {
            self.state.on_room(self.kernel.now());
        }
        if ready.bytes {
            self.receive();
        }
        self.look_what_was_read();
    }

    fn time_out(&mut self, after: Duration) {
        if self.write_error.is_some() || self.way_there == WayThere::Stopped {
            // Held up itself, the thread may have missed what the peer has said since then.
            self.receive();
            if self.stream.is_none() || self.state.is_patient(self.kernel.now()) {
                return;
            }
        }
        self.state.on_timed_out();
        // A peer that took nothing more has had its time to say how far it got.
        let cause = match self.write_error.take() {
            Some(error) => LostCause::Failed(error),
            None if self.way_there == WayThere::Stopped => LostCause::Closed,
            None => LostCause::WriteTimeout(after),
        };
        self.lost(cause);
    }

    /// The connection is gone: whatever is not settled goes out on the next.
    pub(crate) fn lost(&mut self, cause: LostCause) {
        if !matches!(cause, LostCause::BadReceipt(_)) {
            // What a dying peer said last still counts. What it got wrong does not matter any more.
            let _ = self.take_receipts();
        }
        let Some(Leftover {
            was_reset,
            unread,
            has_read,
        }) = self.close()
        else {
            return;
        };
        let mut locked = self.shared.lock();
        // With `AtMostOnce` a message that the kernel has taken whole has ended already.
        let is_kept = self.shared.delivery == Delivery::AtLeastOnce || !locked.acks.has_unacked();
        let ending = match cause {
            _ if locked.acks.is_next_refused() && is_kept => Ending::Refused,
            LostCause::WriteTimeout(_) | LostCause::BadReceipt(_) => Ending::Ours,
            LostCause::Closed | LostCause::Failed(_) if was_reset => Ending::Died,
            LostCause::Closed | LostCause::Failed(_) => Ending::Peer,
        };
        locked.acks.on_lost(has_read);
        let given_up = locked.queue.rewind(ending);
        self.shared.notify_all(&mut locked);
        if let Some(arena) = &self.passing.arena {
            // Where numbers may change, none says anything.
            let first = locked.queue.next_number();
            let first = if self.options.is_exact { first } else { 0 };
            arena.note_lost(self.passing.connection, first);
        }
        drop(locked);
        let retry_in = self.state.on_lost(self.kernel.now());
        self.tell(|address| WriterEvent::Lost {
            address,
            cause,
            unread,
            retry_in,
        });
        if let Some(Tally { bytes: len, .. }) = given_up {
            self.tell(|address| WriterEvent::GivenUp { address, len });
        }
    }

    /// Closes the connection, if there is one, and says what the peer has left of it.
    fn close(&mut self) -> Option<Leftover> {
        let stream = self.stream.take()?;
        self.write_error = None;
        // In this order: what a peer leaves unread when it closes is not counted any more, but told
        // then.
        let is_drained = stream.unread() == Some(0);
        let was_reset = stream.lost_unread(self.has_ended()) || self.was_reset;
        // A request for a receipt that the peer left unread is no message.
        let unread = was_reset && self.shared.lock().acks.has_unacked();
        if self.passing.arena.is_some() {
            self.settle_passage(Passage::Settled);
            // Whatever closed the connection may have closed a copy of the arena's descriptor.
            self.kernel.hold();
        }
        self.shared.counters.set_connected(false);
        self.shared.counters.lost_with_unread.add(u64::from(unread));
        Some(Leftover {
            was_reset,
            unread,
            has_read: is_drained && !was_reset,
        })
    }

    /// Ends the queue, unless a shutdown has, and closes the connection.
    pub(crate) fn finish(&mut self) -> Tally {
        let mut locked = self.shared.lock();
        let end = locked.end().unwrap_or_else(|| locked.finish());
        self.shared.notify_all(&mut locked);
        locked.queue.take_unused(&mut self.unused);
        drop(locked);
        self.close();
        self.unused.drop_all();
        end.left
    }

    pub(crate) fn tell(&self, event: impl FnOnce(crate::address::Address) -> WriterEvent) {
        let counters = &self.shared.counters;
        self.observer.tell(
            || event(self.shared.address.clone()),
            || counters.observer_panics.add(1),
        );
    }
}

/// The peer has closed without having read everything.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}
