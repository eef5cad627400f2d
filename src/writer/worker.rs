//! The writer's thread: it connects, writes, waits and ends as `State` says.
//! Only here the clock is read and anything blocks; it decides nothing itself.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use super::outbox::{Ending, Outbox};
use super::queue::Attention;
use super::shared::{Life, Shared};
use super::state::{Deadline, State, Step, WaitFor};
use crate::event::{ConnectError, LostCause, Observer, WriterEvent, guarded};
use crate::metrics::Tally;
use crate::sys::{self, Sent, Stream};

/// The pieces of one write. A quarter of a MiB is seldom more, and the kernel takes 1,024.
const MOST_SLICES: usize = 64;

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    pub(super) observer: Observer<WriterEvent>,
    pub(super) options: Options,
    pub(super) stream: Option<Stream>,
    /// Whether the kernel took anything on this connection: else there was nothing to be left unread.
    pub(super) has_written: bool,
    pub(super) outage: Outage,
}

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) send_buffer_size: Option<usize>,
    pub(super) expect_peer_uid: Option<u32>,
    pub(super) write_timeout: std::time::Duration,
}

/// What was told about the time without a connection.
#[derive(Debug)]
pub(super) enum Outage {
    /// Nothing yet.
    Untold,
    /// That it is being tried.
    Connecting,
    /// That it failed, and why.
    Failing(ConnectError),
}

impl Worker {
    pub(super) fn run(mut self) {
        self.shared.scope.enter();
        let left = loop {
            match self.next_step() {
                Some((Step::Connect, _)) => self.connect(),
                Some((Step::Write, outbox)) => self.write(outbox),
                Some((Step::KeepAlive, _)) => self.keep_alive(),
                Some((Step::Wait(what, until), _)) => self.wait(what, until),
                Some((Step::TimeOut, _)) => self.lost(LostCause::WriteTimeout(self.options.write_timeout)),
                Some((Step::Exit, _)) | None => break self.finish(),
            }
        };
        self.stream = None;
        self.shared.counters.set_connected(false);
        self.tell(|address| WriterEvent::Stopped { address, left });
        // What the user's closure holds goes before the end is told: nobody is to wait for it beyond a timeout.
        let observer = std::mem::replace(&mut self.observer, Observer::none());
        let _ = guarded(|| drop(observer));
        let mut inner = self.shared.inner.lock();
        if let Life::Ended(end) = inner.life {
            inner.life = Life::Gone(end);
        }
        self.shared.tell(&inner);
    }

    /// Asks the state under the lock, so that no message and no call slips in between the look and the sleep. With
    /// `Step::Write` comes what to write; `None` when somebody else has ended the queue.
    fn next_step(&mut self) -> Option<(Step, Outbox)> {
        let now = now();
        let mut inner = self.shared.inner.lock();
        match inner.life {
            Life::Running => {}
            Life::Draining(deadline) => self.state.drain(deadline),
            Life::Ended(_) | Life::Gone(_) => return None,
        }
        let step = self.state.step(now, inner.pending());
        let outbox = if step == Step::Write { inner.queue.begin_write() } else { Outbox::default() };
        inner.queue.set_attention(match step {
            Step::Wait(WaitFor::Message, _) => Attention::Asleep,
            Step::Wait(WaitFor::Block, _) => Attention::Lingering,
            Step::Wait(WaitFor::Time | WaitFor::Room, _)
            | Step::Connect
            | Step::Write
            | Step::KeepAlive
            | Step::TimeOut
            | Step::Exit => Attention::Awake,
        });
        Some((step, outbox))
    }

    fn connect(&mut self) {
        if matches!(self.outage, Outage::Untold) {
            self.outage = Outage::Connecting;
            self.tell(|address| WriterEvent::Connecting { address });
        }
        let connected = Stream::connect(&self.shared.address, self.options.send_buffer_size)
            .and_then(|stream| stream.peer().map(|reader| (stream, reader)));
        let (stream, reader) = match connected {
            Ok(connected) => connected,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if let Some(retry_in) = self.state.on_backlog_full(now()) {
                    self.tell_failure(ConnectError::BacklogFull, retry_in);
                }
                return;
            }
            Err(error) => {
                let retry_in = self.state.on_connect_failed(now());
                return self.tell_failure(ConnectError::Io(error), retry_in);
            }
        };
        if let Some(expected) = self.options.expect_peer_uid.filter(|expected| *expected != reader.uid) {
            let retry_in = self.state.on_connect_failed(now());
            return self.tell_failure(ConnectError::WrongPeer { expected, found: reader.uid }, retry_in);
        }
        self.stream = Some(stream);
        self.has_written = false;
        self.state.on_connected(now());
        self.outage = Outage::Untold;
        self.shared.counters.connects.add(1);
        self.shared.counters.set_connected(true);
        self.tell(|address| WriterEvent::Connected { address, reader });
    }

    fn tell_failure(&mut self, cause: ConnectError, retry_in: std::time::Duration) {
        if matches!(&self.outage, Outage::Failing(told) if told.is_like(&cause)) {
            return;
        }
        let told = match &cause {
            ConnectError::Io(error) => ConnectError::Io(
                error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error),
            ),
            ConnectError::BacklogFull => ConnectError::BacklogFull,
            ConnectError::WrongPeer { expected, found } => {
                ConnectError::WrongPeer { expected: *expected, found: *found }
            }
        };
        self.outage = Outage::Failing(told);
        self.tell(|address| WriterEvent::ConnectFailed { address, cause, retry_in });
    }

    fn write(&mut self, outbox: Outbox) {
        let sent = self.stream.as_ref().map_or(Ok(Sent::Blocked), |stream| {
            let mut slices = [IoSlice::new(&[]); MOST_SLICES];
            let filled = outbox.fill(&mut slices);
            stream.send(slices.get(..filled).unwrap_or_default())
        });
        let now = now();
        let taken = match sent {
            Ok(Sent::Some(len)) => len,
            _ => 0,
        };
        let mut inner = self.shared.inner.lock();
        inner.queue.end_write(outbox, taken);
        self.shared.tell(&inner);
        drop(inner);
        match sent {
            Ok(Sent::Some(_)) => {
                self.has_written = true;
                self.shared.counters.writes.add(1);
                self.state.on_written(now);
            }
            Ok(Sent::Blocked) => self.state.on_blocked(now),
            Ok(Sent::NoMemory) => self.state.on_no_memory(now),
            Err(error) => self.lost(LostCause::Failed(error)),
        }
    }

    fn keep_alive(&mut self) {
        const EMPTY_FRAME: &[u8] = &[0];

        let Some(stream) = &self.stream else { return };
        // A reader of ours answers each with a receipt of a few bytes. Nobody waits for them here, but they must not pile up.
        let _ = stream.receive(&mut [0; 256]);
        match stream.send(&[IoSlice::new(EMPTY_FRAME)]) {
            // A full socket is alive already.
            Ok(_) => self.state.on_written(now()),
            Err(error) => self.lost(LostCause::Failed(error)),
        }
    }

    fn wait(&mut self, what: WaitFor, until: Deadline) {
        let timeout = until.map(|until| until.saturating_duration_since(now()));
        let stream = self.stream.as_ref();
        let ready = sys::wait(&self.shared.waker, stream, what == WaitFor::Room, timeout);
        if ready.woken {
            self.shared.waker.reset();
        }
        if ready.hangup {
            self.lost(LostCause::Closed);
        } else if ready.room {
            self.state.on_room(now());
        }
    }

    /// The connection is gone: whatever the kernel has not taken whole goes out on the next.
    fn lost(&mut self, cause: LostCause) {
        let Some(stream) = self.stream.take() else { return };
        // The error may have come with the write already.
        let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        let is_told = matches!(&cause, LostCause::Failed(error) if is_reset(error)) || stream.lost_unread();
        let unread = self.has_written && is_told;
        drop(stream);
        self.shared.counters.set_connected(false);
        if unread {
            self.shared.counters.lost_with_unread.add(1);
        }
        let ending = match cause {
            LostCause::WriteTimeout(_) => Ending::Timeout,
            LostCause::Closed | LostCause::Failed(_) => Ending::Peer,
        };
        let mut inner = self.shared.inner.lock();
        let given_up = inner.queue.rewind(ending);
        if given_up.is_some() {
            self.shared.tell(&inner);
        }
        drop(inner);
        let retry_in = self.state.on_lost(now());
        self.tell(|address| WriterEvent::Lost { address, cause, unread, retry_in });
        if let Some(Tally { bytes: len, .. }) = given_up {
            self.tell(|address| WriterEvent::GivenUp { address, len });
        }
    }

    /// Ends the queue, if nobody has.
    fn finish(&self) -> Tally {
        let mut inner = self.shared.inner.lock();
        let end = inner.end().unwrap_or_else(|| inner.finish());
        self.shared.tell(&inner);
        end.left
    }

    fn tell(&self, event: impl FnOnce(crate::address::Address) -> WriterEvent) {
        let counters = &self.shared.counters;
        self.observer.tell(|| event(self.shared.address.clone()), || counters.observer_panics.add(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
fn now() -> Instant {
    Instant::now()
}
