//! Accepts connections, enforces the limits on their number, and pauses while descriptors or memory
//! are short. Runs on a worker. The user's check of the peer runs later, in the first turn.

use std::io;
use std::mem;
use std::time::Duration;

use crate::clock::now;
use crate::deadline::after;
use crate::event::{ReaderEvent, RefuseCause};
use crate::listen::{Accepted, Listener};
use crate::reader::shared::{Accepting, Registered, Shared};

/// How many connections are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How long to wait for descriptors or memory.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Accepts the connections that wait, then lets the next thread accept before anything of the
/// user's runs.
pub(super) fn accept(shared: &Shared) {
    let Some(listener) = shared.listener.lock().clone() else {
        return;
    };
    // One thread at a time: at a stop another could find the backlog empty, and end it, while this
    // one has yet to register the last.
    let turn = shared.accept_turn.lock();
    let events = accept_some(shared, &listener);
    if shared.lock().accepting == Accepting::Open {
        shared.arm_listener();
    }
    drop(turn);
    // Not kept while the user's code runs: its address is to be free when the reader has stopped.
    drop(listener);
    for event in events {
        shared.emit(|| event);
    }
}

/// Accepts up to a turn's share; returns what is to be told of it.
fn accept_some(shared: &Shared, listener: &Listener) -> Vec<ReaderEvent> {
    let (mut events, mut gone) = (Vec::new(), 0);
    for _ in 0..ACCEPTS_PER_TURN {
        if is_full(shared) {
            break;
        }
        match listener.accept() {
            Accepted::Stream(stream) => {
                // A peer of whom nothing is known has gone already.
                let Ok(identity) = stream.peer() else {
                    continue;
                };
                let registered = shared.register(stream, identity, now());
                if let Registered::Unwatched(error) = registered {
                    events.extend(pause(shared, error));
                    break;
                }
                events.extend(resume(shared));
                if let Registered::TooManyOfUser(peer) = registered {
                    shared.counters.refused_peers.add(1);
                    let limit = shared.settings.max_connections_per_user;
                    events.push(ReaderEvent::Refused {
                        peer,
                        cause: RefuseCause::TooManyOfUser { limit },
                    });
                }
            }
            Accepted::Gone(error) => {
                gone += 1;
                // So many in a row were not peers' doing: whatever forbids it will not be over at
                // once.
                if gone == ACCEPTS_PER_TURN {
                    events.extend(pause(shared, error));
                }
            }
            Accepted::Empty => {
                events.extend(resume(shared));
                break;
            }
            Accepted::Short(error) => {
                events.extend(pause(shared, error));
                break;
            }
            Accepted::Ended => {
                if listener.must_be_closed() {
                    // With the last reference: this thread's.
                    shared.listener.lock().take();
                }
                shared.lock().accepting = Accepting::Ended;
                shared.supervisor_waker.wake();
                break;
            }
        }
    }
    events
}

/// Whether there are as many connections as there may be. If so, one that ends opens the listener
/// again.
fn is_full(shared: &Shared) -> bool {
    let mut locked = shared.lock();
    let is_full = locked.entries.len() >= shared.settings.max_connections;
    if is_full {
        locked.accepting = Accepting::Full;
    }
    is_full
}

/// Accepts nothing for a while. Returns an event, if that is news.
fn pause(shared: &Shared, error: io::Error) -> Option<ReaderEvent> {
    let was_short = {
        let mut locked = shared.lock();
        locked.accepting =
            after(now(), SHORTAGE).map_or(Accepting::Open, |until| Accepting::Paused { until });
        mem::replace(&mut locked.is_short, true)
    };
    shared.supervisor_waker.wake();
    // Descriptors of writers that may come back are worth less than connections.
    shared.arenas.lock().forget_living();
    if was_short {
        return None;
    }
    shared.counters.accept_pauses.add(1);
    let address = shared.address.clone();
    Some(ReaderEvent::AcceptPaused {
        address,
        error: error.into(),
    })
}

/// The shortage is over. Returns an event, if there was one.
fn resume(shared: &Shared) -> Option<ReaderEvent> {
    let was_short = mem::replace(&mut shared.lock().is_short, false);
    was_short.then(|| ReaderEvent::AcceptResumed {
        address: shared.address.clone(),
    })
}
