//! One connection of a responder: what came of it, and what is to be written to it.
//! Never waits for the peer, but in `answer`, which the user calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::machine::{Key, Limits, Machine, Verdict};
use crate::calls::error::{Refusal, ReplyError};
use crate::calls::message::{CallFrame, Frames, Malformed, OVERHEAD, frame};
use crate::clock::now;
use crate::deadline::{after, earlier, has_come};
use crate::num::to_u64;
use crate::peer::Peer;
use crate::sys::{Interest, Poller, Received, Sent, Stream};

/// How many frames are written with one call of the system.
const MOST_SLICES: usize = 64;

/// The lowest rate at which a frame may come, in bytes a second, besides the time that each has.
const LEAST_RATE: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) since: Instant,
    pub(super) key: u64,
    input: Mutex<Input>,
    state: Mutex<State>,
    /// Told when the socket has taken what blocked.
    room: Condvar,
}

/// What came, and is not whole yet.
#[derive(Debug)]
struct Input {
    frames: Frames<CallFrame>,
    half_since: Option<Instant>,
    /// What of it was counted.
    counted: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    pub(super) answered: u64,
    /// `None` once it has ended: whoever keeps the handle of a call keeps no descriptor with it.
    stream: Option<Arc<Stream>>,
    output: VecDeque<Bytes>,
    /// How much of the first of them is written.
    written: usize,
    /// What they hold, with what the list takes.
    output_len: usize,
    blocked_since: Option<Instant>,
    is_reading: bool,
    is_writing: bool,
    /// Somebody is to flush it soon.
    pub(super) is_corked: bool,
}

/// What a read has come to.
#[derive(Debug)]
pub(super) enum Read {
    /// These came, and perhaps others can be read.
    Calls(Vec<CallFrame>),
    /// Likewise, and they are the last: the peer has gone, or what follows is none of this
    /// protocol.
    Last(Vec<CallFrame>, Option<Malformed>),
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        peer: Peer,
        key: u64,
        max_call_len: usize,
        limits: Limits,
    ) -> Self {
        Self {
            peer,
            since: now(),
            key,
            input: Mutex::new(Input {
                frames: Frames::new(max_call_len),
                half_since: None,
                counted: 0,
            }),
            state: Mutex::new(State {
                machine: Machine::new(limits),
                answered: 0,
                stream: Some(Arc::new(stream)),
                output: VecDeque::new(),
                written: 0,
                output_len: 0,
                blocked_since: None,
                is_reading: false,
                is_writing: false,
                is_corked: false,
            }),
            room: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The poller has told of it: writes what waits. Returns the socket if it is now for this
    /// thread to read.
    pub(super) fn begin_reading(&self, poller: &Poller) -> Option<Arc<Stream>> {
        let mut state = self.lock();
        self.flush(&mut state, poller);
        if state.is_reading {
            return None;
        }
        if state.blocked_since.is_some() {
            // A peer that does not read its answers is not read from.
            self.arm(&state, poller);
            return None;
        }
        let stream = state.stream.clone();
        state.is_reading = stream.is_some();
        stream
    }

    /// Reads once.
    pub(super) fn read(&self, stream: &Stream, buffer: &mut [u8], at: Instant) -> Read {
        let mut input = self.input.lock();
        let mut calls = Vec::new();
        match stream.receive(buffer) {
            Ok(Received::Some(len)) => {
                let bytes = buffer.get(..len).unwrap_or_default();
                if let Err(malformed) = input.frames.feed(bytes, &mut calls) {
                    return Read::Last(calls, Some(malformed));
                }
                if input.frames.half_len() == 0 {
                    input.half_since = None;
                } else if !calls.is_empty() || input.half_since.is_none() {
                    input.half_since = Some(at);
                }
                Read::Calls(calls)
            }
            Ok(Received::Nothing) => Read::Calls(calls),
            Ok(Received::End) | Err(_) => Read::Last(calls, None),
        }
    }

    /// A call that was read. `Err` too when answers above `most` bytes wait, and it would be one
    /// more refusal.
    pub(super) fn received(
        &self,
        call: &CallFrame,
        refusal: Option<Refusal>,
        at: Instant,
        most: usize,
        poller: &Poller,
    ) -> Result<Verdict, Malformed> {
        let mut state = self.lock();
        let verdict = state.machine.received(call, refusal, at)?;
        if let Verdict::Refuse(Some(answer)) = &verdict {
            if state.output_len > most {
                return Err(Malformed::Lie("calls go on though answers are not read"));
            }
            state.push(frame(answer));
            self.flush(&mut state, poller);
        }
        if call.cancel {
            // Its handler may wait for room to answer it.
            self.room.notify_all();
        }
        Ok(verdict)
    }

    /// This thread has read all that it wanted. Says whether the peer leaves answers unread.
    pub(super) fn end_reading(&self, poller: &Poller) -> bool {
        let mut state = self.lock();
        state.is_reading = false;
        self.arm(&state, poller);
        state.is_blocked()
    }

    /// Queues an answer, and waits while those before it hold `most` bytes already. `is_last`
    /// closes the call, whatever becomes of the answer.
    pub(super) fn answer(
        &self,
        key: Key,
        answer: Bytes,
        is_last: bool,
        most: usize,
        write_timeout: Duration,
        poller: &Poller,
    ) -> Result<MutexGuard<'_, State>, ReplyError> {
        let mut state = self.lock();
        let queued = loop {
            let at = now();
            if !state.machine.is_wanted(key, at) {
                break Err(ReplyError::NotWanted);
            }
            if state.output_len >= most && state.blocked_since.is_none() {
                // Others may have left it for later.
                self.flush(&mut state, poller);
            }
            if state.output_len < most {
                break Ok(());
            }
            let since = state.blocked_since.unwrap_or(at);
            let too_long = after(since, write_timeout);
            if has_come(too_long, at) {
                break Err(ReplyError::PeerDoesNotRead);
            }
            let deadline = state.machine.deadline(key);
            match earlier(too_long, deadline) {
                Some(until) => drop(self.room.wait_until(&mut state, until)),
                None => self.room.wait(&mut state),
            }
        };
        if is_last {
            state.machine.close(key);
        }
        queued?;
        state.push(answer);
        state.answered += u64::from(is_last);
        Ok(state)
    }

    /// Writes what the socket takes; what it does not take is written when the poller tells of
    /// room. Not under the lock: the peer may answer at once, and then another thread reads
    /// that.
    pub(super) fn flush(&self, state: &mut MutexGuard<'_, State>, poller: &Poller) {
        if state.is_writing {
            // Whoever writes goes on to what was queued meanwhile.
            return;
        }
        state.is_writing = true;
        let was_blocked = state.blocked_since.is_some();
        while !state.output.is_empty() {
            let Some(stream) = state.stream.clone() else {
                state.discard();
                break;
            };
            let (pieces, written) = (mem::take(&mut state.output), state.written);
            let sent = MutexGuard::unlocked(state, || send(&stream, &pieces, written));
            drop(stream);
            state.put_back(pieces);
            if state.machine.has_ended() {
                state.discard();
                break;
            }
            match sent {
                Ok(Sent::Some(len)) => {
                    state.blocked_since = None;
                    state.wrote(len);
                }
                Ok(Sent::Blocked | Sent::NoMemory) => {
                    state.blocked_since.get_or_insert_with(now);
                    if !was_blocked {
                        self.arm(state, poller);
                    }
                    break;
                }
                // The poller tells that it is gone.
                Err(_) => {
                    state.discard();
                    break;
                }
            }
        }
        state.is_writing = false;
        // Others may have found no room while this was written.
        self.room.notify_all();
        if was_blocked && !state.is_reading {
            self.arm(state, poller);
        }
    }

    /// Nobody waits for anything here any more.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.machine.end();
        state.discard();
        if let Some(stream) = state.stream.take() {
            // For a thread that reads or writes at this moment.
            stream.cut();
        }
        self.room.notify_all();
    }

    /// What half a frame held when it was counted before, and what it holds now: nothing once the
    /// connection has ended.
    pub(super) fn count_half(&self) -> (usize, usize) {
        let mut input = self.input.lock();
        let has_ended = self.lock().machine.has_ended();
        let len = if has_ended { 0 } else { input.frames.held() };
        (mem::replace(&mut input.counted, len), len)
    }

    /// Whether the peer has taken too long, for the rest of a frame or for reading an answer;
    /// `None` where nothing is awaited of it.
    pub(super) fn is_overdue(
        &self,
        at: Instant,
        frame_timeout: Duration,
        write_timeout: Duration,
    ) -> Option<bool> {
        let half = self.input.try_lock().and_then(|input| {
            let len = to_u64(input.frames.half_len());
            let time = frame_timeout.saturating_add(Duration::from_secs(len / LEAST_RATE));
            input
                .half_since
                .map(|since| has_come(after(since, time), at))
        });
        let blocked = self.lock().blocked_since;
        let blocked = blocked.map(|since| has_come(after(since, write_timeout), at));
        match (half, blocked) {
            (Some(half), Some(blocked)) => Some(half || blocked),
            (one, None) | (None, one) => one,
        }
    }

    /// Arms it for what is awaited of it. A poller that cannot is one that is closed.
    fn arm(&self, state: &State, poller: &Poller) {
        let interest = if state.blocked_since.is_some() {
            Interest::Room
        } else if state.is_reading {
            return;
        } else {
            Interest::Read
        };
        if let Some(stream) = &state.stream {
            let _ = poller.arm(&**stream, self.key, interest);
        }
    }
}

/// Sends what is behind the first `written` bytes of the pieces.
fn send(stream: &Stream, pieces: &VecDeque<Bytes>, written: usize) -> io::Result<Sent> {
    let mut slices = [IoSlice::new(&[]); MOST_SLICES];
    let (mut skip, mut len) = (written, 0);
    for (place, piece) in slices.iter_mut().zip(pieces) {
        *place = IoSlice::new(piece.get(skip..).unwrap_or_default());
        (skip, len) = (0, len + 1);
    }
    stream.send(slices.get(..len).unwrap_or_default())
}

impl State {
    /// What was taken to be written stands before what was queued meanwhile.
    fn put_back(&mut self, mut pieces: VecDeque<Bytes>) {
        pieces.append(&mut self.output);
        self.output = pieces;
    }

    /// Whether the peer has left so much unread that the socket takes no more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    fn push(&mut self, bytes: Bytes) {
        self.output_len += bytes.len() + OVERHEAD;
        self.output.push_back(bytes);
    }

    fn wrote(&mut self, len: usize) {
        self.written += len;
        while let Some(first) = self.output.front() {
            if self.written < first.len() {
                break;
            }
            self.written -= first.len();
            self.output_len -= first.len() + OVERHEAD;
            self.output.pop_front();
        }
    }

    fn discard(&mut self) {
        self.output.clear();
        (self.written, self.output_len) = (0, 0);
        self.blocked_since = None;
    }

    /// Whether all was written.
    pub(super) fn is_written(&self) -> bool {
        self.output.is_empty() && !self.is_writing
    }
}
