//! Takes the steps that `State` decides: connects, writes, sleeps, closes, and finds out why a
//! connection was lost, and whether its peer died with data unread. The thread blocks only here.

use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::{Deadline, earlier};
use crate::event::{BadReceipt, ConnectError, LostCause, WriterEvent};
use crate::metrics::Tally;
use crate::observer::Observer;
use crate::peer::Credentials;
use crate::sys::{Readiness, Sent, Wanted};
use crate::system_error::SystemError;
use crate::writer::queue::Unused;
use crate::writer::queue::outbox::{Ending, Outbox};
use crate::writer::settings::Delivery;
use crate::writer::shared::Shared;
use crate::writer::shared::locked::Life;
use crate::writer::state::State;
use crate::writer::state::step::Step;
use crate::writer::thread::drop_notice::DropNotices;
use crate::writer::thread::kernel::{Kernel, Socket};
use crate::writer::wake::WakeOn;

/// The pieces of one write. A quarter of a MiB is seldom more, and the kernel takes 1,024.
const MOST_SLICES: usize = 64;

pub(crate) struct Worker<K: Kernel> {
    pub(crate) kernel: K,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) observer: Observer<WriterEvent>,
    pub(crate) drop_notices: Option<DropNotices>,
    pub(crate) options: Options,
    pub(crate) stream: Option<K::Socket>,
    /// Who listened at the last connect; kept beyond the end of the connection.
    reader: Option<Credentials>,
    /// The kernel has said, while something else was asked of it, that the peer left bytes unread.
    pub(crate) was_reset: bool,
    /// The peer takes nothing more, and owes a receipt: why the connection is lost once that has
    /// come.
    pub(crate) write_error: Option<SystemError>,
    pub(crate) outage: Outage,
    /// What is dropped after each look at the queue.
    pub(crate) unused: Unused,
}

/// What ends a connection.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The peer takes nothing more.
    Write(io::Error),
    BadReceipt(BadReceipt),
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

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) send_buffer_size: Option<usize>,
    pub(crate) expect_peer_uid: Option<u32>,
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
            write_error: None,
            outage: Outage::Unreported,
            unused: Unused::default(),
        }
    }

    /// Does what is next.
    pub(crate) fn take_step(&mut self) -> ControlFlow<()> {
        self.send_drop_notice();
        match self.next_step() {
            Some((Step::Connect, _)) => self.connect(),
            Some((Step::Write, outbox)) => match self.write(outbox) {
                Ok(()) => self.look_what_was_read(),
                Err(Trouble::Write(error)) => self.on_write_error(error),
                Err(Trouble::BadReceipt(bad)) => self.lost(LostCause::BadReceipt(bad)),
            },
            Some((Step::KeepAlive, _)) => self.shared.lock().queue.request_ack(),
            Some((Step::Wait(wake_on, until), _)) => self.wait(wake_on, until),
            Some((Step::TimeOut { after }, _)) => self.time_out(after),
            Some((Step::ReportSilence { waited }, _)) => {
                self.tell(|address| WriterEvent::NoReceipt { address, waited });
            }
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
            | Step::Write
            | Step::KeepAlive
            | Step::ReportSilence { .. }
            | Step::TimeOut { .. }
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
        let connected = self
            .kernel
            .connect(&self.shared.address, self.options.send_buffer_size)
            .and_then(|stream| stream.peer().map(|reader| (stream, reader)));
        let (stream, reader) = match connected {
            Ok(connected) => connected,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(retry_in) = self.state.on_backlog_full(self.kernel.now()) {
                    self.tell_failure(ConnectError::BacklogFull, retry_in);
                }
                return;
            }
            Err(error) => {
                // A reader that refuses a message is still there.
                self.shared.lock().queue.forget_suspect();
                let retry_in = self.state.on_connect_failed(self.kernel.now());
                return self.tell_failure(ConnectError::Io(error.into()), retry_in);
            }
        };
        if let Some(expected) = self
            .options
            .expect_peer_uid
            .filter(|expected| *expected != reader.uid)
        {
            let retry_in = self.state.on_connect_failed(self.kernel.now());
            return self.tell_failure(
                ConnectError::WrongPeer {
                    expected,
                    found: reader.uid,
                },
                retry_in,
            );
        }
        self.stream = Some(stream);
        self.was_reset = false;
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

    fn tell_failure(&mut self, cause: ConnectError, retry_in: Duration) {
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
        let sent = self.stream.as_ref().map_or(Ok(Sent::Blocked), |stream| {
            let mut slices = [IoSlice::new(&[]); MOST_SLICES];
            let filled = outbox.fill(&mut slices);
            stream.send(slices.get(..filled).unwrap_or_default())
        });
        let now = self.kernel.now();
        let len = match sent {
            Ok(Sent::Some(len)) => len,
            _ => 0,
        };
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
        if is_owed {
            self.take_receipts().map_err(Trouble::BadReceipt)?;
        }
        Ok(())
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

    /// Tells of what was dropped, as soon as there is room for that.
    fn send_drop_notice(&mut self) {
        let Some(notices) = &mut self.drop_notices else {
            return;
        };
        let Shared { counters, .. } = &*self.shared;
        let (dropped, now) = (counters.dropped_for_room(), self.kernel.now());
        let locked = self.shared.lock();
        let is_end = matches!(locked.life, Life::Draining(_));
        let len = notices.due(dropped, now, is_end);
        if !len.is_some_and(|len| locked.queue.has_room(len)) {
            return;
        }
        drop(locked);
        let Some(message) = notices.make(dropped, counters.first_drop()) else {
            counters.observer_panics.add(1);
            return notices.on_told(dropped, now);
        };
        let len = message.len();
        if len > self.shared.max_message_len {
            counters.dropped_too_large.add(Tally::one(len));
        } else if len > 0 && !self.shared.lock().queue.push_own(&message) {
            return notices.on_no_room(len);
        }
        counters.forget_first_drop();
        notices.on_told(dropped, now);
    }

    fn wait(&mut self, wake_on: WakeOn, until: Deadline) {
        let until = self.drop_notices.as_ref().map_or(until, |notices| {
            let dropped = self.shared.counters.dropped_for_room();
            earlier(until, notices.wakes_at(dropped, self.kernel.now()))
        });
        let timeout = until.map(|until| until.saturating_duration_since(self.kernel.now()));
        let Shared { waker, address, .. } = &*self.shared;
        let ready = if let Some(stream) = &self.stream {
            let for_receipt = self.shared.lock().acks.is_owed();
            let wanted = Wanted {
                room: wake_on == WakeOn::Writable,
                bytes: for_receipt,
            };
            self.kernel.wait(waker, stream, wanted, timeout)
        } else {
            self.kernel.wait_for_arrival(waker, address, timeout)
        };
        self.on_ready(ready);
    }

    /// A wait is over.
    pub(crate) fn on_ready(&mut self, ready: Readiness) {
        if ready.woken {
            self.shared.waker.reset();
        }
        if ready.hangup {
            let cause = self
                .write_error
                .take()
                .map_or(LostCause::Closed, LostCause::Failed);
            return self.lost(cause);
        }
        if ready.arrival {
            self.state.on_arrival(self.kernel.now());
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
        if self.write_error.is_some() {
            // Held up itself, the thread may have missed what the peer has said since then.
            self.receive();
            if self.stream.is_none() || self.state.is_patient(self.kernel.now()) {
                return;
            }
        }
        self.state.on_timed_out();
        // A peer that refused bytes has had its time to say how far it got.
        let cause = self
            .write_error
            .take()
            .map_or(LostCause::WriteTimeout(after), LostCause::Failed);
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
        let was_reset = stream.lost_unread() || self.was_reset;
        // A request for a receipt that the peer left unread is no message.
        let unread = was_reset && self.shared.lock().acks.has_unacked();
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
