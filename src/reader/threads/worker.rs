//! A worker: waits for one ready thing, deals with it, and waits again. Blocks only in that wait
//! and in the user's code, which runs here and nowhere else.
//! How many workers there are is the supervisor's business.

use std::mem;
use std::sync::Arc;

use super::accept::accept;
use super::turn::Turn;
use crate::panic_guard::guarded;
use crate::reader::shared::{Accepting, DEFERRED, LISTENER, Shared};
use crate::reader::target::Target;
use crate::sys::{Interest, Ready};

#[derive(Debug)]
pub(super) struct Worker<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Arc<T>,
}

impl<T: Target> Worker<T> {
    pub(super) fn run(self) {
        self.shared.scope.enter();
        loop {
            let key = match self.shared.poller.wait(self.shared.patience()) {
                Ok(Ready::Socket(key)) => key,
                Ok(Ready::Nothing) if !self.shared.may_leave() => continue,
                // A poller that cannot wait never will again: better no thread than one that spins.
                nothing @ (Ok(Ready::Nothing | Ready::Closed) | Err(_)) => {
                    let Self { shared, target } = self;
                    shared.drop_guarded(target);
                    shared.leave(matches!(nothing, Ok(Ready::Nothing)));
                    return;
                }
            };
            self.shared.begin_work();
            match key {
                LISTENER => accept(&self.shared),
                DEFERRED => self.do_deferred(),
                number => self.serve(number),
            }
            self.shared.end_work();
        }
    }

    /// Has a turn at a connection, unless it has gone, or another worker has it.
    fn serve(&self, number: u64) {
        let Some((connection, closing)) = self.shared.begin_turn(number) else {
            return;
        };
        let turn = Turn {
            shared: &self.shared,
            target: &*self.target,
            connection: &connection,
        };
        // Everything of the user's is guarded one by one. What was overlooked costs this
        // connection, not the thread.
        if guarded(|| turn.run(closing)).is_err() {
            self.shared.counters.panics.add(1);
            self.shared.detach(&connection);
            self.shared.remove(number);
        }
    }

    /// Emits the events of threads that run no code of the user's, and serves a connection that
    /// nothing makes ready.
    fn do_deferred(&self) {
        let shared = &self.shared;
        shared.worker_waker.reset();
        let mut locked = shared.lock();
        let events = mem::take(&mut locked.deferred_events);
        let is_ending = locked.is_draining() && locked.accepting == Accepting::Open;
        let called = locked.called.pop();
        if !locked.called.is_empty() {
            // For another worker: a handler may block.
            shared.worker_waker.wake();
        }
        drop(locked);
        let _ = shared
            .poller
            .arm(&shared.worker_waker, DEFERRED, Interest::Read);
        if is_ending {
            accept(shared);
        }
        for event in events {
            shared.emit(|| event);
        }
        if let Some(number) = called {
            self.serve(number);
        }
    }
}
