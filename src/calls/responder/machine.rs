//! The calls of one connection of a responder: which are open, and what may be answered.
//! Pure: frames and `now` come in. No I/O, no threads, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::calls::error::Refusal;
use crate::calls::message::{CallFrame, Cause, Malformed, ReplyFrame};
use crate::deadline::{Deadline, after, has_come};

/// The key of the first notification: calls have their id.
const NOTIFICATIONS: u64 = 1 << 63;

/// Identifies an open call of a connection.
pub(crate) type Key = u64;

/// The bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_open_calls: usize,
    pub(crate) max_bytes_in_flight: usize,
}

/// What is to become of a call that came.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is open, and its handler to be called.
    Run { key: Key, deadline: Deadline },
    /// It is not begun, and this is the answer; a notification gets none.
    Refuse(Option<ReplyFrame>),
    /// It was no call, but said that nobody waits for another one.
    Nothing,
}

/// What is in flight, as the registry shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) method: String,
    pub(crate) since: Instant,
    pub(crate) deadline: Deadline,
    pub(crate) is_cancelled: bool,
    len: usize,
}

#[derive(Debug)]
pub(crate) struct Machine {
    limits: Limits,
    /// The greatest id that came.
    last: u64,
    notifications: u64,
    open: BTreeMap<Key, Open>,
    bytes: usize,
    /// The peer has gone: nobody waits for anything.
    has_ended: bool,
}

impl Machine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last: 0,
            notifications: 0,
            open: BTreeMap::new(),
            bytes: 0,
            has_ended: false,
        }
    }

    /// A call, or a cancellation, has come. `refusal` is why calls are not begun, if that has a
    /// reason outside of this connection. `Err` when the peer lies: it uses an id twice.
    pub(crate) fn received(
        &mut self,
        call: &CallFrame,
        refusal: Option<Refusal>,
        now: Instant,
    ) -> Result<Verdict, Malformed> {
        if call.cancel {
            if let Some(open) = self
                .open
                .get_mut(&call.id)
                .filter(|_| call.id < NOTIFICATIONS)
            {
                open.is_cancelled = true;
            }
            return Ok(Verdict::Nothing);
        }
        let key = if call.id == 0 {
            self.notifications += 1;
            NOTIFICATIONS | self.notifications
        } else if call.id <= self.last || call.id >= NOTIFICATIONS {
            return Err(Malformed::Lie(
                "the id of a call is not above the one before",
            ));
        } else {
            self.last = call.id;
            call.id
        };
        let len = call.held();
        // One is taken in any case: it is below the bound of a single one.
        let is_full = self.open.len() >= self.limits.max_open_calls
            || self.bytes > 0 && self.bytes.saturating_add(len) > self.limits.max_bytes_in_flight;
        if let Some(refusal) = refusal.or(is_full.then_some(Refusal::Busy)) {
            let answer = (call.id != 0).then(|| refused(call.id, refusal));
            return Ok(Verdict::Refuse(answer));
        }
        let timeout = Some(call.timeout_ms).filter(|timeout| *timeout > 0);
        let deadline = timeout.and_then(|timeout| after(now, Duration::from_millis(timeout)));
        self.bytes += len;
        self.open.insert(
            key,
            Open {
                method: call.method.clone(),
                since: now,
                deadline,
                is_cancelled: false,
                len,
            },
        );
        Ok(Verdict::Run { key, deadline })
    }

    /// Whether an answer to a call is still of use: not once it was answered for the last time, was
    /// cancelled, or is overdue. Nor is that of a notification.
    pub(crate) fn is_wanted(&self, key: Key, now: Instant) -> bool {
        key < NOTIFICATIONS && self.is_current(key, now)
    }

    /// Whether a call is still worth doing. That of a notification is also when its peer has gone,
    /// which may have sent it as its last word.
    pub(crate) fn is_current(&self, key: Key, now: Instant) -> bool {
        let has_gone = self.has_ended && key < NOTIFICATIONS;
        let open = self.open.get(&key).filter(|_| !has_gone);
        open.is_some_and(|open| !open.is_cancelled && !has_come(open.deadline, now))
    }

    /// When the caller stops waiting.
    pub(crate) fn deadline(&self, key: Key) -> Deadline {
        self.open.get(&key)?.deadline
    }

    /// A call is over: what it held is free, and no answer of it goes out any more.
    pub(crate) fn close(&mut self, key: Key) {
        if let Some(open) = self.open.remove(&key) {
            self.bytes -= open.len;
        }
    }

    /// The peer has gone.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What is in flight.
    pub(crate) fn open(&self) -> impl ExactSizeIterator<Item = &Open> {
        self.open.values()
    }
}

/// The answer to a call that is not begun.
pub(crate) fn refused(id: u64, refusal: Refusal) -> ReplyFrame {
    let (cause, why) = match refusal {
        Refusal::Stopping => (Cause::Stopping, "the responder stops"),
        Refusal::NotAllowed => (Cause::NotAllowed, "this peer may not call this method"),
        Refusal::Busy => (Cause::Busy, "too many calls are open, or too large"),
    };
    ReplyFrame::failure(id, cause, why)
}
