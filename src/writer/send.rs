//! Every way into the queue: copied, handed over, or written by an encoder.
//! Blocks only where a caller asked to wait for room.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::message::IntoMessage;
use crate::metrics::Tally;
use crate::outcome::Outcome;
use crate::send_error::{EncodeError, SendError};
use crate::writer::arena::Arena;
use crate::writer::lane::local;
use crate::writer::lane::{LaneSender, Pushed};
use crate::writer::queue::{FULL_SIZE, Lane, Payloads, Queue, Refusal, Whole};
use crate::writer::settings::{MOST_COPIED, MOST_IN_LANE};
use crate::writer::shared::{Shared, deadline};

/// The largest buffer that a thread keeps for its encoders.
const MOST_KEPT: usize = 64 * 1024;

thread_local! {
    /// What encoders write into. It is taken out while one runs, so that another one inside it has
    /// its own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Whether a sender waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    None,
    /// From the first wait on: the clock is read only when there is no room, for that costs more
    /// than a send.
    For(Duration),
    Until(Deadline),
    /// It comes again: a refusal for lack of room is none yet, and not counted.
    #[cfg(feature = "async")]
    Polls,
}

impl Patience {
    fn asks_again(self) -> bool {
        match self {
            #[cfg(feature = "async")]
            Self::Polls => true,
            Self::None | Self::For(_) | Self::Until(_) => false,
        }
    }

    /// The moment at which it ends, where there is any: the same one, however often a sender waits.
    fn deadline(&mut self) -> Option<Deadline> {
        if let Self::For(timeout) = *self {
            *self = Self::Until(deadline(timeout));
        }
        match *self {
            Self::Until(deadline) => Some(deadline),
            Self::None | Self::For(_) => None,
            #[cfg(feature = "async")]
            Self::Polls => None,
        }
    }
}

impl Shared {
    #[inline]
    pub(crate) fn send<M: IntoMessage>(
        &self,
        message: M,
        patience: Patience,
        shed_from: Option<Tally>,
    ) -> Result<(), SendError<M>> {
        if let Some(from) = shed_from {
            if self.must_shed(from) {
                return Err(self.shed(message));
            }
        }
        let bytes = message.bytes();
        let len = bytes.len();
        if len == 0 || len > MOST_COPIED || len > self.max_message_len {
            return self.send_unusual(message, patience);
        }
        if local::push(self.scope, bytes) {
            Ok(())
        } else {
            self.send_by_queue(message, patience)
        }
    }

    /// Whether the queue is filled to `from`, in messages or in bytes.
    pub(crate) fn must_shed(&self, from: Tally) -> bool {
        let queued = self.counters.metrics().queued;
        queued.messages >= from.messages || queued.bytes >= from.bytes
    }

    /// Refuses a message that gives way to others.
    #[cold]
    pub(crate) fn shed<M: IntoMessage>(&self, message: M) -> SendError<M> {
        if self.home.is_elsewhere() {
            return SendError::InForkedChild(message);
        }
        let len = message.bytes().len();
        self.refuse(Patience::None, Refusal::Full, Tally::one(len), message)
    }

    /// Sends a message that the thread's lane does not take.
    #[cold]
    fn send_by_queue<M: IntoMessage>(
        &self,
        message: M,
        patience: Patience,
    ) -> Result<(), SendError<M>> {
        if self.home.is_elsewhere() {
            // Before any lock: a thread that is not here may hold it for ever.
            return Err(SendError::InForkedChild(message));
        }
        let bytes = message.bytes();
        let len = bytes.len();
        match self.push_copy_by_queue(patience, bytes) {
            Ok(()) => {
                self.wait_for_passage();
                Ok(())
            }
            Err(refusal) => Err(self.refuse(patience, refusal, Tally::one(len), message)),
        }
    }

    /// Sends what is large, or refuses what is empty or too large, and all in a forked child.
    fn send_unusual<M: IntoMessage>(
        &self,
        message: M,
        mut patience: Patience,
    ) -> Result<(), SendError<M>> {
        if self.home.is_elsewhere() {
            return Err(SendError::InForkedChild(message));
        }
        let len = message.bytes().len();
        if len == 0 {
            return Err(
                match self.push(&mut Patience::None, |queue| queue.check_open()) {
                    Ok(()) => {
                        self.counters.dropped_empty.add(Tally::one(0));
                        SendError::Empty(message)
                    }
                    Err(refusal) => self.refuse(patience, refusal, Tally::one(0), message),
                },
            );
        }
        if len > self.max_message_len {
            self.counters.dropped_too_large.add(Tally::one(len));
            return Err(SendError::TooLarge {
                message,
                len,
                limit: self.max_message_len,
            });
        }
        if !M::OWNED {
            let pushed = self.push_long_copy(&mut patience, message.bytes());
            if pushed.is_ok() {
                self.wait_for_passage();
            }
            return pushed
                .map_err(|refusal| self.refuse(patience, refusal, Tally::one(len), message));
        }
        let mut message = Some(message);
        let pushed = self.push_long(&mut patience, &mut message);
        if let (Err(refusal), Some(message)) = (pushed, message) {
            return Err(self.refuse(patience, refusal, Tally::one(len), message));
        }
        // The queue takes the message only once nothing stands in its way; what is still there was
        // copied.
        self.wait_for_passage();
        Ok(())
    }

    /// Sends what `encode` writes.
    pub(crate) fn send_with<R: Outcome>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> R,
        patience: Patience,
        shed_from: Option<Tally>,
    ) -> Result<(), EncodeError<R::Error>> {
        if self.home.is_elsewhere() {
            return Err(EncodeError::Send(SendError::InForkedChild(())));
        }
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        let encoded = encode(&mut buffer).into_result();
        let sent = match encoded {
            Err(error) => Err(EncodeError::Encoder(error)),
            Ok(()) if buffer.len() > MOST_KEPT => {
                let sent = self.send(std::mem::take(&mut buffer), patience, shed_from);
                sent.map_err(|error| EncodeError::Send(error.map(drop)))
            }
            Ok(()) => self
                .send(buffer.as_slice(), patience, shed_from)
                .map_err(|error| EncodeError::Send(error.map(drop))),
        };
        if buffer.capacity() > 0 && buffer.capacity() <= MOST_KEPT {
            // At the end of a thread there is no place for it any more.
            let _ = BUFFER.try_with(|kept| kept.set(buffer));
        }
        sent
    }

    /// Accepts a copy of a message that is neither empty nor large.
    #[cfg(test)]
    pub(crate) fn push_copy(&self, patience: Patience, message: &[u8]) -> Result<(), Refusal> {
        if local::push(self.scope, message) {
            Ok(())
        } else {
            self.push_copy_by_queue(patience, message)
        }
    }

    /// Accepts a message that the process before this one had accepted. A refusal is counted like
    /// any.
    pub(crate) fn inherit(&self, message: &[u8]) -> bool {
        let refused = Tally::one(message.len());
        if message.len() > self.max_message_len {
            self.counters.dropped_too_large.add(refused);
            return false;
        }
        let pushed = self.push(&mut Patience::None, |queue| queue.push(message));
        let refuse = |refusal| self.refuse(Patience::None, refusal, refused, ());
        pushed.map_err(refuse).is_ok()
    }

    /// Accepts a copy of a long message, which is not made under the lock, nor where there is no
    /// room for it.
    pub(crate) fn push_long_copy(
        &self,
        patience: &mut Patience,
        message: &[u8],
    ) -> Result<(), Refusal> {
        let len = message.len();
        if len <= MOST_IN_LANE {
            let mut bytes = message;
            let make_room = |queue: &mut Queue, _: &mut &[u8]| queue.make_room(len);
            if self.push_into_lane(patience, &mut bytes, |bytes| bytes, make_room)? {
                return Ok(());
            }
        } else {
            self.push(patience, |queue| queue.make_room(len))?;
        }
        let arena = self.lock_for_arena();
        let mut copy = Some(Whole::copy(message, arena.as_ref()));
        self.push_in_order(patience, |queue| {
            let arena = queue.arena();
            if copy.as_ref().is_some_and(|copy| copy.is_left_for(arena)) {
                // There is another one since then.
                copy = Some(Whole::copy(message, arena));
            }
            queue.push_whole(len, &mut copy)
        })
    }

    fn lock_for_arena(&self) -> Option<Arc<Arena>> {
        let arena = || self.lock().queue.arena().cloned();
        self.is_crash_proof.then(arena).flatten()
    }

    /// Accepts a long message that is handed over: a copy in the lane, or itself. It is there still
    /// where it was copied or refused.
    pub(crate) fn push_long<M: IntoMessage>(
        &self,
        patience: &mut Patience,
        message: &mut Option<M>,
    ) -> Result<(), Refusal> {
        #[expect(clippy::ref_option, reason = "what is there is to be taken")]
        fn bytes<M: IntoMessage>(message: &Option<M>) -> &[u8] {
            message.as_ref().map_or(&[], M::bytes)
        }
        let len = bytes(message).len();
        if self.is_crash_proof {
            // What is handed over would be lost with the process.
            return self.push_long_copy(patience, bytes(message));
        }
        let give = |queue: &mut Queue, message: &mut Option<M>| {
            queue.make_room(len)?;
            let whole = message
                .take()
                .map(|message| Whole::of(message.into_bytes()));
            queue.push_whole(len, &mut { whole })
        };
        if M::SHARED || len > MOST_IN_LANE {
            return self.push_in_order(patience, |queue| give(queue, message));
        }
        self.push_into_lane(patience, message, bytes, give)
            .map(drop)
    }

    /// Puts a copy of `bytes` into the thread's lane, without the lock. Where the lane does not
    /// take it, does `otherwise` behind all that is in the lane, under the lock that said so, and
    /// says false.
    fn push_into_lane<T>(
        &self,
        patience: &mut Patience,
        message: &mut T,
        bytes: impl Fn(&T) -> &[u8],
        mut otherwise: impl FnMut(&mut Queue, &mut T) -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        let pushed = local::with(self.scope, |producer| {
            let mut evicted = Payloads::default();
            loop {
                let bytes = bytes(message);
                let len = bytes.len();
                let pushed = producer.as_mut().map(|lane| lane.push_if_settled(bytes));
                if pushed == Some(Pushed::Accepted) {
                    if len >= FULL_SIZE {
                        evicted.append(self.take_full_lane(producer.as_ref()));
                    }
                    return (Ok(true), evicted);
                }
                let mut lane = Lane::Without;
                let (readied, more) = self.push_on(patience, &mut |queue| {
                    lane = queue.ready_lane(producer, len)?;
                    if lane == Lane::Without {
                        otherwise(queue, message)?;
                    }
                    Ok(())
                });
                evicted.append(more);
                match (readied, lane) {
                    (Err(refusal), _) => return (Err(refusal), evicted),
                    (Ok(()), Lane::HasIt) => return (Ok(true), evicted),
                    (Ok(()), Lane::Without) => return (Ok(false), evicted),
                    (Ok(()), Lane::Ready) => {}
                }
            }
        });
        if let Some((pushed, mut evicted)) = pushed {
            evicted.drop_all();
            return pushed;
        }
        // It is about to end.
        self.push_in_order(patience, |queue| otherwise(queue, message))?;
        Ok(false)
    }

    /// A full block ends the thread's wait for more.
    fn take_full_lane(&self, producer: Option<&LaneSender>) -> Payloads {
        let take = &mut |queue: &mut Queue| {
            queue.take_from_lane(producer);
            Ok(())
        };
        let (_, evicted) = self.push_on(&mut Patience::None, take);
        evicted
    }

    fn push_copy_by_queue(&self, mut patience: Patience, message: &[u8]) -> Result<(), Refusal> {
        let pushed = local::with(self.scope, |producer| {
            // It may be another writer that the thread used last.
            if producer
                .as_mut()
                .map(|producer| producer.push_if_settled(message))
                == Some(Pushed::Accepted)
            {
                return (Ok(()), Payloads::default());
            }
            self.push_on(&mut patience, &mut |queue| {
                queue.push_from(producer, message)
            })
        });
        match pushed {
            // Dropped only here, where the thread's lanes are free to be used: the user's code may
            // call the writer.
            Some((pushed, mut evicted)) => {
                evicted.drop_all();
                pushed
            }
            // It is about to end.
            None => self.push_in_order(&mut patience, |queue| queue.push(message)),
        }
    }

    /// Like [`Shared::push`], behind all that the current thread has sent so far.
    pub(crate) fn push_in_order(
        &self,
        patience: &mut Patience,
        mut push: impl FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let pushed = local::with(self.scope, |producer| {
            self.push_on(patience, &mut |queue| {
                queue.settle(producer.as_mut());
                push(queue)
            })
        });
        let pushed = pushed.unwrap_or_else(|| {
            self.push_on(patience, &mut |queue| {
                queue.collect_all();
                push(queue)
            })
        });
        let (pushed, mut evicted) = pushed;
        evicted.drop_all();
        pushed
    }

    /// Runs `push` on the queue, again and again while there is no room and patience lasts, and
    /// wakes the thread if that is called for.
    fn push(
        &self,
        patience: &mut Patience,
        mut push: impl FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (pushed, mut evicted) = self.push_on(patience, &mut push);
        evicted.drop_all();
        pushed
    }

    /// Returns also the payloads that were evicted.
    fn push_on(
        &self,
        patience: &mut Patience,
        push: &mut dyn FnMut(&mut Queue) -> Result<(), Refusal>,
    ) -> (Result<(), Refusal>, Payloads) {
        let mut locked = self.lock();
        let mut pushed = push(&mut locked.queue);
        if pushed == Err(Refusal::Full) {
            if let Some(deadline) = patience.deadline() {
                // The thread itself would wait for itself.
                let mut in_time = !self.scope.is_current();
                while in_time && pushed == Err(Refusal::Full) {
                    in_time = self.wait_for_room(&mut locked, deadline);
                    // Also when time is over: there may be room since the last look.
                    pushed = push(&mut locked.queue);
                }
            }
        }
        let must_wake = match pushed {
            Ok(()) => locked.queue.must_wake_for_message(),
            Err(Refusal::Full) => locked.queue.must_wake_for_room(),
            Err(Refusal::Closed) => false,
        };
        let mut evicted = Payloads::default();
        if locked.queue.take_freed() {
            evicted = locked.queue.take_payloads();
            self.notify_all(&mut locked);
        }
        drop(locked);
        if must_wake {
            self.waker.wake();
        }
        (pushed, evicted)
    }

    /// Counts a refused message, and makes the error that gives it back.
    #[cold]
    fn refuse<M>(
        &self,
        patience: Patience,
        refusal: Refusal,
        refused: Tally,
        message: M,
    ) -> SendError<M> {
        match refusal {
            Refusal::Full if patience.asks_again() => SendError::Full(message),
            Refusal::Full => {
                self.counters.add_full(refused);
                self.tell_of_drop();
                SendError::Full(message)
            }
            Refusal::Closed => {
                self.counters.dropped_closed.add(refused);
                SendError::Closed(message)
            }
        }
    }

    /// Wakes the thread if it is to send a notice of drops: there was no room, and may be by now,
    /// so that nothing else would.
    fn tell_of_drop(&self) {
        // Behind the count: either the thread has seen that, or this sees that it awaits one.
        fence(Ordering::SeqCst);
        if self.awaits_drop.load(Ordering::Relaxed)
            && self.awaits_drop.swap(false, Ordering::Relaxed)
        {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_twice_has_the_time_of_one_wait() {
        let mut patience = Patience::For(Duration::from_secs(3600));
        let first = patience.deadline().unwrap();
        assert_eq!(patience.deadline(), Some(first));
        assert_eq!(Patience::None.deadline(), None);
    }
}
