//! The threads that run everything of the user's: each waits for one ready thing, deals with it,
//! and waits again. They block here and in callbacks only; how many there are is the dispatcher's
//! business.

use std::hint;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Turn;
use super::core::{Core, ERRANDS, FILE, LISTENER};
use super::handler::Handler;
use super::state::Accepting;
use crate::clock::now;
use crate::event::{ReaderEvent, RefuseCause};
use crate::listen::Accepted;
use crate::observer::guarded;
use crate::sys::{FileWatch, Interest, Ready};

/// How many connections are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How long a thread looks for more before it sleeps, after a heavy turn.
const SPINS_FOR: Duration = Duration::from_micros(20);

/// How long it rests between two looks, in pauses of the processor.
const PAUSES: u32 = 20;

/// How long to wait for descriptors or memory.
const SHORTAGE: Duration = Duration::from_millis(100);

/// One of the threads.
#[derive(Debug)]
pub(super) struct Worker<H> {
    pub(super) core: Arc<Core>,
    pub(super) handler: Arc<H>,
    pub(super) file: Arc<Option<FileWatch>>,
    pub(super) processors: usize,
}

impl<H: Handler> Worker<H> {
    pub(super) fn run(self) {
        self.core.scope.enter();
        let mut turn = Turn::Light;
        loop {
            let ready = self.wait(mem::replace(&mut turn, Turn::Light));
            let key = match ready {
                Ok(Ready::Socket(key)) => key,
                Ok(Ready::Nothing) if !self.core.may_leave() => continue,
                // A poller that cannot wait never will again: better no thread than one that spins.
                nothing @ (Ok(Ready::Nothing | Ready::Closed) | Err(_)) => {
                    let Self { core, handler, .. } = self;
                    core.let_go(handler);
                    core.leave(matches!(nothing, Ok(Ready::Nothing)));
                    return;
                }
            };
            self.core.begin_work();
            match key {
                LISTENER => self.accept(),
                ERRANDS => self.run_errands(),
                FILE => self.look_at_file(),
                number => {
                    if let Some((connection, closing)) = self.core.begin_turn(number) {
                        let run = || connection.turn(&self.core, &*self.handler, closing);
                        // Everything of the user's is guarded one by one. What was overlooked costs
                        // this connection, not the thread.
                        turn = guarded(run).unwrap_or_else(|_| {
                            self.core.counters.panics.add(1);
                            self.core.remove(number);
                            Turn::Light
                        });
                    }
                }
            }
            self.core.end_work();
        }
    }

    /// Waits for the next ready thing. After a heavy turn more is likely to come within a moment,
    /// and is looked for without sleeping: to wake a thread costs its peer more than this costs
    /// us.
    fn wait(&self, last: Turn) -> io::Result<Ready> {
        // Beside one that sleeps it would be in vain: the kernel would wake that one.
        if last == Turn::Heavy && self.processors > 1 && self.core.is_only_idle() {
            let start = now();
            while now().saturating_duration_since(start) < SPINS_FOR {
                let ready = self.core.poller.wait(Some(Duration::ZERO))?;
                if ready != Ready::Nothing {
                    return Ok(ready);
                }
                for _ in 0..PAUSES {
                    hint::spin_loop();
                }
            }
        }
        self.core.poller.wait(self.core.patience())
    }

    /// Accepts those who wait, then lets the next thread accept before anything of the user's runs.
    fn accept(&self) {
        let Some(listener) = self.core.listener.lock().clone() else {
            return;
        };
        let (mut events, mut gone) = (Vec::new(), 0);
        // One thread at a time: at a stop another could find the backlog empty, and end it, while
        // this one has yet to admit the last.
        let turn = self.core.accept_turn.lock();
        for _ in 0..ACCEPTS_PER_TURN {
            if self.is_full() {
                break;
            }
            match listener.accept() {
                Accepted::Stream(stream) => {
                    self.resumed(&mut events);
                    // A peer without credentials has gone already.
                    let Ok(credentials) = stream.peer() else {
                        continue;
                    };
                    if let Err(peer) = self.core.admit(stream, credentials, now()) {
                        self.core.counters.refused_peers.add(1);
                        let limit = self.core.settings.max_connections_per_user;
                        events.push(ReaderEvent::Refused {
                            peer,
                            cause: RefuseCause::TooManyOfUser { limit },
                        });
                    }
                }
                Accepted::Gone(error) => {
                    gone += 1;
                    // So many in a row were not peers' doing: whatever forbids it will not be over
                    // at once.
                    if gone == ACCEPTS_PER_TURN {
                        self.paused(error, &mut events);
                    }
                }
                Accepted::Empty => {
                    self.resumed(&mut events);
                    break;
                }
                Accepted::Short(error) => {
                    self.paused(error, &mut events);
                    break;
                }
                Accepted::Ended => {
                    self.core.inner.lock().accepting = Accepting::Ended;
                    self.core.waker.wake();
                    break;
                }
            }
        }
        if self.core.inner.lock().accepting == Accepting::Open {
            self.core.arm_listener();
        }
        drop(turn);
        // Not kept while the user's code runs: its address is to be free when the reader has
        // stopped.
        drop(listener);
        for event in events {
            self.core.tell(|| event);
        }
    }

    /// Whether there are as many connections as there may be. If so, one that ends opens the
    /// listener again.
    fn is_full(&self) -> bool {
        let mut inner = self.core.inner.lock();
        let is_full = inner.entries.len() >= self.core.settings.max_connections;
        if is_full {
            inner.accepting = Accepting::Full;
        }
        is_full
    }

    fn paused(&self, error: io::Error, events: &mut Vec<ReaderEvent>) {
        let is_news = {
            let mut inner = self.core.inner.lock();
            inner.accepting = now()
                .checked_add(SHORTAGE)
                .map_or(Accepting::Open, |until| Accepting::Paused { until });
            !mem::replace(&mut inner.is_short, true)
        };
        self.core.waker.wake();
        if is_news {
            self.core.counters.accept_pauses.add(1);
            events.push(ReaderEvent::AcceptPaused {
                address: self.core.address.clone(),
                error: error.into(),
            });
        }
    }

    fn resumed(&self, events: &mut Vec<ReaderEvent>) {
        if mem::replace(&mut self.core.inner.lock().is_short, false) {
            events.push(ReaderEvent::AcceptResumed {
                address: self.core.address.clone(),
            });
        }
    }

    fn run_errands(&self) {
        self.core.errands.reset();
        let (events, is_ending) = {
            let mut inner = self.core.inner.lock();
            (
                mem::take(&mut inner.errands),
                inner.is_draining() && inner.accepting == Accepting::Open,
            )
        };
        let _ = self
            .core
            .poller
            .arm(&self.core.errands, ERRANDS, Interest::Read);
        if is_ending {
            self.accept();
        }
        for event in events {
            self.core.tell(|| event);
        }
    }

    /// Something happened to the socket's file: is it still ours?
    fn look_at_file(&self) {
        let (Some(file), Some(listener)) = (&*self.file, self.core.listener.lock().clone()) else {
            return;
        };
        file.reset();
        let is_displaced = listener.is_displaced();
        drop(listener);
        if is_displaced {
            // Told once; the watch ends with the file.
            if !self.core.inner.lock().is_draining() {
                self.core.tell(|| ReaderEvent::Displaced {
                    address: self.core.address.clone(),
                });
            }
        } else {
            let _ = self.core.poller.arm(file, FILE, Interest::Read);
        }
    }
}
