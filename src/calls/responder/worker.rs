//! A thread of a responder: waits for a connection that is ready, reads its calls, and runs their
//! handlers itself.
//!
//! Before it does, it sees to it that another thread waits for the poller, so that a handler that
//! blocks holds up nobody. Of several calls that came together it runs one after the other, and a
//! thread that is woken for it takes from them too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::call::{Call, Reply};
use super::connection::{Connection, Read};
use super::machine::Verdict;
use super::shared::{Accepting, FIRST_CONNECTION, Job, LISTENER, QUEUE, Shared};
use crate::calls::error::Refusal;
use crate::calls::message::CallFrame;
use crate::clock::now;
use crate::deadline::after;
use crate::listen::Accepted;
use crate::own_thread::OwnThread;
use crate::panic_guard::guarded;
use crate::peer::Peer;
use crate::sys::{Interest, Poller, Ready, Stream};

/// How much is read at a time.
const READ_SIZE: usize = 64 * 1024;

/// How many connections are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How long to wait for descriptors or memory.
const SHORTAGE: Duration = Duration::from_millis(100);

/// How often to look at the clock while a peer is to do something in time.
const LOOK: Duration = Duration::from_millis(100);

/// A thread that has had nothing to do for so long may end.
const LEAVE: Duration = Duration::from_secs(5);

/// So many threads stay: one for a call, and one that waits meanwhile.
const LEAST_THREADS: usize = 2;

/// What the threads share, and the user's handler.
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Box<dyn Fn(Call, Reply) + Send + Sync>,
}

/// Starts a thread, if none waits. Says whether one does.
pub(super) fn ensure_idle(service: &Arc<Service>) -> io::Result<bool> {
    service.shared.ensure_idle(|name| {
        let service = Arc::clone(service);
        // Nobody joins it: a handler may never return.
        OwnThread::start(name, move || run(service)).map(drop)
    })
}

fn run(service: Arc<Service>) {
    let shared = Arc::clone(&service.shared);
    shared.scope.enter();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let is_timed = shared.is_timed.load(Ordering::SeqCst);
        let patience = if is_timed {
            Some(LOOK)
        } else {
            (shared.idle.load(Ordering::SeqCst) > LEAST_THREADS).then_some(LEAVE)
        };
        shared
            .looking
            .fetch_add(usize::from(is_timed), Ordering::SeqCst);
        let ready = shared.poller.wait(patience);
        shared
            .looking
            .fetch_sub(usize::from(is_timed), Ordering::SeqCst);
        if is_timed {
            // Also where there is always something to do.
            shared.look_at_the_clock(now(), LOOK);
        }
        if matches!(ready, Ok(Ready::Nothing)) {
            if !is_timed && patience.is_some() && shared.may_leave(LEAST_THREADS) {
                return;
            }
            continue;
        }
        shared.idle.fetch_sub(1, Ordering::SeqCst);
        match ready {
            Ok(Ready::Socket(LISTENER)) => accept(&shared),
            Ok(Ready::Socket(QUEUE)) => {
                shared.came_for_queue();
                shared.uncork_all();
                work_off(&service);
            }
            Ok(Ready::Socket(key)) => serve(&service, key, &mut buffer),
            // A poller that cannot wait never will again.
            Ok(Ready::Closed | Ready::Nothing) | Err(_) => {
                // The handler goes before the thread is known to have ended.
                let _ = guarded(|| drop(service));
                shared.leave();
                return;
            }
        }
        shared.idle.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs a call's handler, unless the call `has_waited` so long that it is too late.
fn handle(service: &Service, job: Job, has_waited: bool) {
    let shared = &service.shared;
    let Job {
        connection,
        call,
        key,
        deadline,
    } = job;
    let peer = connection.peer;
    let reply = Reply::new(Arc::clone(shared), connection, call.id, key, call.held());
    if has_waited && (reply.is_cancelled() || shared.has_stopped()) {
        // It tells nobody: nobody waits.
        return;
    }
    let call = Call::new(call, peer, deadline);
    shared.leave_the_clock();
    if guarded(|| (service.handle)(call, reply)).is_err() {
        shared.figures.panics.fetch_add(1, Ordering::Relaxed);
    }
}

fn serve(service: &Arc<Service>, key: u64, buffer: &mut [u8]) {
    let shared = &service.shared;
    let connection = shared.connections.lock().entries.get(&key).map(Arc::clone);
    let Some(connection) = connection else {
        return;
    };
    let stream = connection.begin_reading(&shared.poller);
    shared.tell_end();
    let Some(stream) = stream else {
        if connection.lock().is_blocked() {
            shared.watch_the_clock();
        }
        return;
    };
    // Where as many threads run as may, the others are held up after all; but no answer is.
    if !ensure_idle(service).unwrap_or(false) {
        shared.uncork_all();
    }
    let at = now();
    let (calls, is_last) = match connection.read(&stream, buffer, at) {
        Read::Calls(calls) => (calls, false),
        Read::Last(calls, malformed) => {
            let count = usize::from(malformed.is_some());
            shared.figures.malformed.fetch_add(count, Ordering::Relaxed);
            (calls, true)
        }
    };
    // The handler may take long, and the peer go meanwhile.
    drop(stream);
    let mut jobs = Vec::with_capacity(calls.len());
    let is_good = calls
        .into_iter()
        .all(|call| take_in(shared, &connection, call, at, &mut jobs));
    if is_last || !is_good || shared.count_half(&connection) {
        shared.remove(&connection);
    } else if connection.end_reading(&shared.poller) {
        shared.watch_the_clock();
    }
    if jobs.len() > 1 {
        shared.queue.lock().calls.extend(jobs);
        work_off(service);
    } else if let Some(job) = jobs.pop() {
        handle(service, job, false);
    }
}

/// Sorts a call that came. `false` when the connection cannot go on.
fn take_in(
    shared: &Shared,
    connection: &Arc<Connection>,
    call: CallFrame,
    at: Instant,
    jobs: &mut Vec<Job>,
) -> bool {
    let is_full = shared.is_full();
    // Before it is looked whether a stop has begun: either this sees the stop, or that waits.
    let held = call.held();
    shared.is_in_hand(held);
    // Of whoever may not call it, it is not said that it would be too much.
    let refusal = if call.cancel {
        None
    } else if !is_allowed(shared, &connection.peer, &call.method) {
        Some(Refusal::NotAllowed)
    } else if shared.is_stopping.load(Ordering::SeqCst) {
        Some(Refusal::Stopping)
    } else {
        is_full.then_some(Refusal::Busy)
    };
    let most = shared.settings.limits.max_bytes_in_flight;
    match connection.received(&call, refusal, at, most, &shared.poller) {
        Ok(Verdict::Run { key, deadline }) => {
            jobs.push(Job {
                connection: Arc::clone(connection),
                call,
                key,
                deadline,
            });
            return true;
        }
        Ok(verdict @ (Verdict::Nothing | Verdict::Refuse(_))) => {
            let count = usize::from(matches!(verdict, Verdict::Refuse(_)));
            shared.figures.refused.fetch_add(count, Ordering::Relaxed);
            shared.is_over(held);
            return true;
        }
        Err(_) => shared.is_over(held),
    }
    shared.figures.malformed.fetch_add(1, Ordering::Relaxed);
    false
}

fn is_allowed(shared: &Shared, peer: &Peer, method: &str) -> bool {
    guarded(|| (shared.settings.allow)(peer, method)).unwrap_or_else(|_| {
        shared.figures.panics.fetch_add(1, Ordering::Relaxed);
        false
    })
}

/// Runs calls until none waits.
fn work_off(service: &Arc<Service>) {
    loop {
        // This one may block in the handler.
        let can_come = ensure_idle(service).unwrap_or(false);
        let Some(job) = service.shared.next_job(can_come) else {
            return;
        };
        handle(service, job, true);
    }
}

/// Accepts the connections that wait, up to a turn's share.
fn accept(shared: &Shared) {
    let mut connections = shared.connections.lock();
    if matches!(
        connections.accepting,
        Accepting::Ended | Accepting::Paused { .. }
    ) {
        return;
    }
    for _ in 0..ACCEPTS_PER_TURN {
        if connections.entries.len() >= shared.settings.max_connections {
            connections.accepting = Accepting::Full;
            return;
        }
        match shared.listener.accept() {
            Accepted::Stream(stream) => {
                // A peer of whom nothing is known has gone already.
                let Ok(identity) = stream.peer() else {
                    continue;
                };
                let of_user = |other: &&Arc<Connection>| {
                    identity.uid().is_some() && other.peer.identity.uid() == identity.uid()
                };
                let count = connections.entries.values().filter(of_user).count();
                if count >= shared.settings.max_connections_per_user {
                    continue;
                }
                connections.count += 1;
                let peer = Peer {
                    connection: connections.count,
                    identity,
                    recovered: false,
                };
                let connection = connect(shared, stream, peer);
                // One that cannot be watched is closed.
                if let Ok(connection) = connection {
                    connections.entries.insert(connection.key, connection);
                }
            }
            Accepted::Gone(_) => {}
            Accepted::Empty => break,
            Accepted::Short(_) => {
                connections.accepting = Accepting::Paused {
                    until: after(now(), SHORTAGE),
                };
                drop(connections);
                shared.watch_the_clock();
                return;
            }
            Accepted::Ended => {
                connections.accepting = Accepting::Ended;
                drop(connections);
                shared.tell_end();
                return;
            }
        }
    }
    shared.arm_listener();
}

fn connect(shared: &Shared, stream: Stream, peer: Peer) -> io::Result<Arc<Connection>> {
    let key = FIRST_CONNECTION + peer.connection % (Poller::MOST_KEY - FIRST_CONNECTION);
    let settings = &shared.settings;
    // It is looked up under the lock that its acceptor has.
    shared.poller.add(&stream, key, Interest::Read)?;
    let connection = Connection::new(stream, peer, key, settings.max_call_len, settings.limits);
    Ok(Arc::new(connection))
}
