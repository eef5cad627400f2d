//! The open calls of a caller: which are queued, sent, answered, given up or lost.
//! Pure: frames, bytes and `now` come in. No I/O, no threads, no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::calls::error::{CallError, Refusal};
use crate::calls::message::{
    CallFrame, Cause, Malformed, OVERHEAD, ReplyFrame, frame, frame_of_call,
};
use crate::deadline::{Deadline, after};
use crate::system_error::SystemError;

/// The bounds of a caller.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "they are called as the settings are"
)]
pub(crate) struct Limits {
    pub(crate) max_open_calls: usize,
    pub(crate) max_bytes_in_flight: usize,
    pub(crate) max_call_len: usize,
    pub(crate) max_reply_len: usize,
}

/// How many answers a call expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// It is over once it is written.
    None,
    One,
    Many,
}

/// What has become of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pending,
    Answer {
        body: Bytes,
        /// The call is over, and not known any more.
        is_last: bool,
    },
    /// Likewise.
    End(Result<(), CallError>),
}

/// Identifies a call, a notification too, for as long as the caller lives.
pub(crate) type Key = u64;

#[derive(Debug)]
pub(crate) struct Machine {
    limits: Limits,
    /// The last key that was given. It is the id on the wire too, but for notifications.
    last: Key,
    open: BTreeMap<Key, Open>,
    /// Those with a time, the earliest first.
    deadlines: BTreeSet<(Instant, Key)>,
    outbox: VecDeque<Outgoing>,
    /// How much of the first of them is written.
    written: usize,
    /// So many of the first are on their way into the socket.
    being_written: usize,
    /// What the open calls hold.
    call_bytes: usize,
    /// What the answers hold that nobody has taken.
    answer_bytes: usize,
    /// Answers that came when nobody waited any more.
    late: u64,
}

#[derive(Debug)]
struct Open {
    answers: Answers,
    deadline: Deadline,
    held: usize,
    is_sent: bool,
    /// Those that came, and are not taken.
    came: VecDeque<Bytes>,
    end: Option<Result<(), CallError>>,
}

#[derive(Debug)]
struct Outgoing {
    /// `None` for a cancellation.
    key: Option<Key>,
    frame: Bytes,
}

impl Machine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last: 0,
            open: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            outbox: VecDeque::new(),
            written: 0,
            being_written: 0,
            call_bytes: 0,
            answer_bytes: 0,
            late: 0,
        }
    }

    /// Queues a call. `Err`, and nothing has changed, when it is above a bound.
    pub(crate) fn open(
        &mut self,
        method: &str,
        body: &[u8],
        answers: Answers,
        timeout: Duration,
        now: Instant,
    ) -> Result<Key, CallError> {
        let limits = self.limits;
        if self.open.len() >= limits.max_open_calls {
            return Err(CallError::TooManyOpen {
                limit: limits.max_open_calls,
            });
        }
        // Before it is copied.
        let len = method.len().saturating_add(body.len());
        let key = self.last + 1;
        let frame = if len > limits.max_call_len {
            Bytes::new()
        } else {
            let id = if answers == Answers::None { 0 } else { key };
            frame_of_call(id, method, body, milliseconds(timeout))
        };
        let len = len.max(frame.len());
        if len > limits.max_call_len {
            return Err(CallError::TooLarge {
                len,
                limit: limits.max_call_len,
            });
        }
        let held = len.saturating_add(OVERHEAD);
        // One is taken in any case: it is below the bound of a single one.
        let sum = self.call_bytes.saturating_add(held);
        if self.call_bytes > 0 && sum > limits.max_bytes_in_flight {
            return Err(CallError::TooManyBytes {
                limit: limits.max_bytes_in_flight,
                sent: false,
            });
        }
        self.last = key;
        self.call_bytes += held;
        let deadline = after(now, timeout);
        self.deadlines.extend(deadline.map(|at| (at, key)));
        self.outbox.push_back(Outgoing {
            key: Some(key),
            frame,
        });
        self.open.insert(
            key,
            Open {
                answers,
                deadline,
                held,
                is_sent: false,
                came: VecDeque::new(),
                end: None,
            },
        );
        Ok(key)
    }

    /// What is to be written next, `most` pieces at most. [`wrote`](Self::wrote) must follow, with
    /// nothing if none of it was; until then nobody knows how much of it is.
    pub(crate) fn begin_write(&mut self, most: usize) -> Vec<Bytes> {
        let frames = self.outbox.iter().take(most);
        let mut pieces: Vec<_> = frames.map(|outgoing| outgoing.frame.clone()).collect();
        if let Some(first) = pieces.first_mut() {
            *first = first.slice(self.written..);
        }
        self.being_written = pieces.len();
        pieces
    }

    pub(crate) fn has_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next `len` bytes were written, and no more for now. Appends what is over by that to
    /// `over`.
    pub(crate) fn wrote(&mut self, len: usize, over: &mut Vec<Key>) {
        self.being_written = 0;
        self.written += len;
        while let Some(first) = self.outbox.front() {
            if self.written < first.frame.len() {
                break;
            }
            self.written -= first.frame.len();
            let key = first.key;
            self.outbox.pop_front();
            let Some((key, open)) = key.and_then(|key| Some((key, self.open.get_mut(&key)?)))
            else {
                continue;
            };
            open.is_sent = true;
            // Its time may have been over before.
            if open.answers == Answers::None && open.end.is_none() {
                self.end(key, Ok(()));
                over.push(key);
            }
        }
    }

    /// A reply has come. Returns the call that has something new. `Err` when the peer lies: it
    /// answers what was never asked.
    pub(crate) fn received(&mut self, reply: ReplyFrame) -> Result<Option<Key>, Malformed> {
        let key = reply.id;
        if key == 0 || key > self.last {
            return Err(Malformed::Lie("an answer to a call that was never made"));
        }
        // A quick peer answers before the write is known to have ended.
        let mut begun = self.outbox.iter().take(self.being_written);
        let is_begun = begun.any(|outgoing| outgoing.key == Some(key));
        let Some(open) = self.open.get_mut(&key).filter(|open| open.end.is_none()) else {
            self.late += 1;
            return Ok(None);
        };
        if open.answers == Answers::None {
            return Err(Malformed::Lie("an answer to a notification"));
        }
        if !(open.is_sent || is_begun) {
            return Err(Malformed::Lie("an answer to a call that was not sent"));
        }
        if !reply.error.is_empty() {
            self.end(key, Err(failure(reply)));
            return Ok(Some(key));
        }
        if reply.more && open.answers == Answers::One {
            self.give_up(key, |_| CallError::SeveralAnswers);
            return Ok(Some(key));
        }
        let limit = self.limits.max_bytes_in_flight;
        // What comes last is taken in any case: it would be lost, though it is here.
        let sum = self.answer_bytes.saturating_add(held(&reply.body));
        if reply.more && self.answer_bytes > 0 && sum > limit {
            self.give_up(key, |sent| CallError::TooManyBytes { limit, sent });
            return Ok(Some(key));
        }
        // The last of many may be empty, to say no more than that it is the last.
        if open.answers == Answers::One || reply.more || !reply.body.is_empty() {
            self.answer_bytes = sum;
            open.came.push_back(reply.body);
        }
        if !reply.more {
            self.end(key, Ok(()));
        }
        Ok(Some(key))
    }

    /// Takes what has become of a call.
    pub(crate) fn take(&mut self, key: Key) -> Outcome {
        let Some(open) = self.open.get_mut(&key) else {
            return Outcome::End(Ok(()));
        };
        if let Some(body) = open.came.pop_front() {
            self.answer_bytes -= held(&body);
            let is_last = open.came.is_empty() && open.end == Some(Ok(()));
            if is_last {
                self.open.remove(&key);
            }
            return Outcome::Answer { body, is_last };
        }
        let Some(end) = open.end.take() else {
            return Outcome::Pending;
        };
        self.open.remove(&key);
        Outcome::End(end)
    }

    /// Whether a call has something to be taken.
    pub(crate) fn has_news(&self, key: Key) -> bool {
        let open = self.open.get(&key);
        open.is_none_or(|open| open.end.is_some() || !open.came.is_empty())
    }

    /// Nobody waits for it any more: it is forgotten, and cancelled at the other end.
    pub(crate) fn forget(&mut self, key: Key) {
        self.give_up(key, |sent| CallError::Timeout { sent });
        if let Some(open) = self.open.remove(&key) {
            self.answer_bytes -= open.came.iter().map(held).sum::<usize>();
        }
    }

    /// When nobody waits for a call any more.
    pub(crate) fn deadline(&self, key: Key) -> Deadline {
        self.open.get(&key)?.deadline
    }

    /// Whether a call has gone out, or never will.
    pub(crate) fn is_sent_or_over(&self, key: Key) -> bool {
        let open = self.open.get(&key);
        open.is_none_or(|open| open.is_sent || open.end.is_some())
    }

    /// The time of the next call that has one.
    pub(crate) fn next_deadline(&self) -> Deadline {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends the calls whose time is over. `unsent` is why those have failed that were not sent, if
    /// there is no connection. Appends them to `over`.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        unsent: Option<&SystemError>,
        over: &mut Vec<Key>,
    ) {
        while let Some((_, key)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.give_up(key, |sent| match unsent {
                Some(source) if !sent => CallError::NotConnected {
                    source: source.clone(),
                },
                Some(_) | None => CallError::Timeout { sent },
            });
            over.push(key);
        }
    }

    /// The connection was lost. What was sent whole ends, and nobody knows whether it was done;
    /// what was sent in part was not done. All else waits for the next connection. Appends what is
    /// over to `over`.
    pub(crate) fn lost(&mut self, source: Option<&SystemError>, over: &mut Vec<Key>) {
        // Half a frame is nothing to the other end. What is on its way may be whole.
        let may_be_sent = self.being_written > 0;
        let begun = self.being_written.max(usize::from(self.written > 0));
        let begun: BTreeSet<_> = self
            .outbox
            .drain(..begun)
            .filter_map(|begun| begun.key)
            .collect();
        (self.written, self.being_written) = (0, 0);
        self.outbox.retain(|outgoing| outgoing.key.is_some());
        let is_lost = |(key, open): (&Key, &Open)| {
            let is_begun = begun.contains(key);
            let is_over = open.end.is_some() || !(open.is_sent || is_begun);
            (!is_over).then_some((*key, open.is_sent || may_be_sent))
        };
        let lost: Vec<_> = self.open.iter().filter_map(is_lost).collect();
        for (key, sent) in lost {
            let source = source.cloned();
            self.end(key, Err(CallError::Lost { sent, source }));
            over.push(key);
        }
    }

    /// How many calls are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.open.len()
    }

    /// What open calls hold, and what answers do that nobody has taken.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.call_bytes, self.answer_bytes)
    }

    /// How many answers came when nobody waited for them any more.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    /// Ends a call before its last answer; `why` is told whether the other end may have got it.
    fn give_up(&mut self, key: Key, why: impl FnOnce(bool) -> CallError) {
        let Some(open) = self.open.get(&key).filter(|open| open.end.is_none()) else {
            return;
        };
        let place = |outgoing: &Outgoing| outgoing.key == Some(key);
        let queued = if open.is_sent {
            None
        } else {
            self.outbox.iter().position(place)
        };
        let is_cancelled = open.answers != Answers::None;
        match queued {
            Some(at) if at >= self.being_written.max(usize::from(self.written > 0)) => {
                self.outbox.remove(at);
                self.end(key, Err(why(false)));
            }
            // What has begun goes on to its end: the frames behind it are to be found.
            Some(_) | None => {
                if is_cancelled {
                    self.outbox.push_back(Outgoing {
                        key: None,
                        frame: frame(&CallFrame::cancel(key)),
                    });
                }
                self.end(key, Err(why(true)));
            }
        }
    }

    fn end(&mut self, key: Key, end: Result<(), CallError>) {
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        open.end = Some(end);
        self.call_bytes -= open.held;
        if let Some(at) = open.deadline {
            self.deadlines.remove(&(at, key));
        }
    }
}

/// At least one, for 0 is for ever; rounded up, so that the other end does not give up first.
fn milliseconds(timeout: Duration) -> u64 {
    let whole = timeout.as_nanos().div_ceil(1_000_000);
    // What no clock can count to is for ever.
    u64::try_from(whole).map_or(0, |whole| whole.max(1))
}

/// What an answer holds until it is taken.
fn held(answer: &Bytes) -> usize {
    answer.len().saturating_add(OVERHEAD)
}

fn failure(reply: ReplyFrame) -> CallError {
    let refusal = match reply.cause() {
        Cause::Handler => return CallError::Failed { error: reply.error },
        Cause::Unanswered => return CallError::Unanswered,
        Cause::Stopping => Refusal::Stopping,
        Cause::NotAllowed => Refusal::NotAllowed,
        Cause::Busy => Refusal::Busy,
    };
    CallError::Refused {
        refusal,
        reason: reply.error,
    }
}

impl Outcome {
    /// The end of a call, where no answer is expected.
    pub(crate) fn end(self) -> Result<(), CallError> {
        match self {
            Self::End(end) => end,
            Self::Answer { .. } | Self::Pending => Ok(()),
        }
    }
}
