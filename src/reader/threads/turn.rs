//! One turn at a connection: reads what is there, gives it to the handler, deals with the handler's
//! errors and panics, and sends the receipt that is owed. Starts no thread, and waits for nothing.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;

use super::batch::{Batch, Failure};
use crate::clock::now;
use crate::deadline::{after, earlier};
use crate::event::{CloseCause, ReaderEvent, RefuseCause};
use crate::metrics::Tally;
use crate::num::to_u64;
use crate::panic_guard::guarded;
use crate::reader::connection::batch_end::BatchEnd;
use crate::reader::connection::closing::{Closing, TurnEnd, end_cause};
use crate::reader::connection::decoder::{Frame, Malformed, Position};
use crate::reader::connection::receipts::{CloseDecision, Receipts};
use crate::reader::connection::timeouts::FrameClock;
use crate::reader::connection::{Admission, Connection, Farewell, Heed, Serving};
use crate::reader::shared::{READ_SIZE, Schedule, Shared};
use crate::reader::target::{Ended, Target};
use crate::sys::Received;

/// How many reads a connection has before others have their turn.
const READS_PER_TURN: usize = 4;

/// Likewise when its peer waits for a receipt, which comes at the turn's end: half of what its
/// queue holds of 10,000 messages of 100 bytes.
const READS_BEFORE_RECEIPT: usize = 2;

/// How long a turn may go on when its peer waits for a receipt: that comes at the turn's end.
const PROMPT: Duration = Duration::from_millis(100);

/// How long a peer may be silent that was told that the connection is to end.
/// Long enough for some packets to be lost on the way.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long a peer that was told so in a receipt may go on, though all that had come was read, and
/// how many bytes it may send: by then it does not know the word. What is on its way from one that
/// does is far less, and has come much sooner, unless the way is a slow one.
const MOST_UNHEEDED: Duration = Duration::from_secs(10);
const MOST_UNHEEDED_BYTES: u64 = 64 * 1024 * 1024;

/// How long a handler must go without an error for the next one to be news.
const NEWS_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Turn<'a, T> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) target: &'a T,
    pub(super) connection: &'a Arc<Connection>,
}

/// Why a batch was not stored.
#[derive(Clone, Copy, Debug, Error)]
#[error("the batch was dropped without being confirmed: call its `done` once it is stored")]
struct NotDone;

/// What one read came to.
#[derive(Debug)]
enum Read {
    Some,
    Nothing,
    End,
    Bad(CloseCause),
    /// The handler failed on a message that comes again.
    Failed,
}

/// Why the decoding of a run of bytes stopped before its end.
enum Stop {
    Malformed(Malformed),
    Failed(Failure),
}

impl<T: Target> Turn<'_, T> {
    /// Has the turn, from the check of a new peer to the end of the stream.
    pub(super) fn run(&self, closing: Option<Closing>) {
        let Self {
            shared, connection, ..
        } = *self;
        let mut serving = connection.serving();
        let end = if serving.admission == Admission::Due && !self.admit() {
            TurnEnd::Refuse
        } else {
            serving.admission = Admission::Done;
            self.serve(&mut serving, closing)
        };
        let peer = connection.peer;
        if matches!(end, TurnEnd::Close(_)) {
            shared.detach(connection);
        }
        match end {
            // After a cut nothing more is called: the shutdown may have returned.
            TurnEnd::Refuse | TurnEnd::Cut => {
                shared.remove(peer.connection);
            }
            TurnEnd::Close(cause) => {
                let (held, recovered) = (serving.decoder.held(), serving.recovered);
                drop(serving);
                shared.counters.count_end(&cause);
                self.call(|| self.target.closed(&peer));
                if let Some(remains) = connection.stream.remains() {
                    let is_whole = remains.is_whole();
                    shared.emit(|| ReaderEvent::Recovered {
                        peer,
                        messages: recovered,
                        is_whole,
                    });
                }
                shared.emit(|| ReaderEvent::Closed { peer, cause });
                shared.note_held(held, 0);
                // After the last call, so that a stop that waits for this connection waits for the
                // handler too.
                shared.remove(peer.connection);
            }
            TurnEnd::Park
            | TurnEnd::Again
            | TurnEnd::OverBudget
            | TurnEnd::AllOut
            | TurnEnd::Wait
            | TurnEnd::Ending => {
                let Serving {
                    decoder,
                    clock,
                    farewell,
                    ..
                } = &mut *serving;
                let has_said_end = *farewell != Farewell::Due;
                let now = now();
                let mut receipts = connection.receipts.lock();
                let mut deadline = clock.deadline(
                    now,
                    shared.settings.pace,
                    decoder.position(),
                    decoder.frames(),
                );
                if has_said_end {
                    let until = after(now, FAREWELL);
                    deadline = match decoder.position() {
                        // What is on its way from a peer that has yet to hear of the end may take
                        // longer than the idle timeout.
                        Position::BetweenFrames => until,
                        Position::InPrefix | Position::InPayload { .. } => earlier(deadline, until),
                    };
                }
                let schedule = Schedule {
                    deadline,
                    half_since: clock.since(),
                    owes: receipts.next().is_some(),
                    must_close: receipts.close_decision() != CloseDecision::GoesOn,
                    has_said_end,
                };
                drop(receipts);
                drop(serving);
                shared.end_turn(peer.connection, &end, schedule, now);
            }
        }
    }

    /// Checks a new peer, and tells of it. False when it is turned away.
    fn admit(&self) -> bool {
        let (shared, peer) = (self.shared, self.connection.peer);
        let checked = shared.settings.callbacks.check(&peer);
        let is_welcome = checked.unwrap_or_else(|_| {
            shared.counters.panics.add(1);
            false
        });
        if is_welcome {
            self.call(|| self.target.opened(&peer));
            shared.emit(|| ReaderEvent::Opened { peer });
        } else {
            shared.counters.refused_peers.add(1);
            shared.emit(|| ReaderEvent::Refused {
                peer,
                cause: RefuseCause::Check,
            });
        }
        is_welcome
    }

    /// Calls what of the handler returns nothing.
    fn call(&self, callback: impl FnOnce()) {
        if let Err(message) = guarded(callback) {
            self.shared.counters.panics.add(1);
            self.shared.emit(|| ReaderEvent::HandlerPanicked {
                peer: self.connection.peer,
                message,
            });
        }
    }

    /// Deals with what is there, as far as may be, and with what has become of it.
    fn serve(&self, serving: &mut Serving, closing: Option<Closing>) -> TurnEnd {
        let mut batch = Batch::default();
        if mem::take(&mut serving.has_waited) {
            // The peer could not help that time passed.
            serving.clock = FrameClock::default();
        }
        let (is_void, must_wait) = {
            let mut receipts = self.connection.receipts.lock();
            receipts.on_turn();
            (receipts.is_void(), receipts.wait_for_room())
        };
        let end = match (serving.ending.take(), closing) {
            (Some(cause), _) => TurnEnd::Close(cause),
            (None, Some(Closing::NoMemory)) => TurnEnd::Close(CloseCause::NoMemory),
            (None, _) if is_void => TurnEnd::Close(CloseCause::NotStored),
            (None, _) if must_wait => TurnEnd::Wait,
            (None, _) => self.receive(serving, closing, &mut batch),
        };
        if self.shared.is_cut.load(Ordering::Relaxed) {
            self.shared.drop_guarded(batch.error);
            return TurnEnd::Cut;
        }
        self.settle(end, closing, batch, serving)
    }

    /// Reads until there is nothing, or the connection has had its share.
    fn receive(
        &self,
        serving: &mut Serving,
        closing: Option<Closing>,
        batch: &mut Batch,
    ) -> TurnEnd {
        let shared = self.shared;
        let waits_for_peer = self.connection.waits_for_peer();
        if closing.is_some() {
            // Where that is possible, before the last look: what comes after it would be lost.
            self.connection.begin_end();
        }
        let mut gathered = T::Gathered::default();
        let mut buffer = shared.buffers.take();
        let mut end = TurnEnd::Again;
        let start = now();
        // After the word that the reader stops, each batch is answered.
        let has_said_stop = matches!(serving.farewell, Farewell::Said(_));
        let is_asked = |batch: &Batch| batch.asks || has_said_stop;
        for reads in 0..READS_PER_TURN {
            let is_long = || now().saturating_duration_since(start) > PROMPT;
            if is_asked(batch) && (reads >= READS_BEFORE_RECEIPT || is_long()) {
                break;
            }
            if shared.is_over_budget() && closing.is_none() {
                end = TurnEnd::OverBudget;
                break;
            }
            if shared.is_all_out() {
                end = TurnEnd::AllOut;
                break;
            }
            let ended = |serving: &Serving| {
                let cause = serving.cause.clone();
                TurnEnd::Close(
                    cause.unwrap_or_else(|| end_cause(closing, serving.decoder.position())),
                )
            };
            buffer.resize(READ_SIZE, 0);
            end = match self.read(serving, &mut buffer, batch, &mut gathered) {
                Read::Some => continue,
                Read::Nothing if closing.is_some() && !waits_for_peer => ended(serving),
                Read::Nothing => TurnEnd::Park,
                Read::End => ended(serving),
                Read::Bad(cause) => TurnEnd::Close(cause),
                Read::Failed => TurnEnd::Close(CloseCause::NotStored),
            };
            break;
        }
        shared.buffers.give(buffer);
        if !shared.is_cut.load(Ordering::Relaxed) {
            self.end_batch(batch, gathered);
        }
        end
    }

    /// Ends the batch, answers the peer, and decides how the connection goes on.
    fn settle(
        &self,
        mut end: TurnEnd,
        closing: Option<Closing>,
        mut batch: Batch,
        serving: &mut Serving,
    ) -> TurnEnd {
        let mut receipts = self.connection.receipts.lock();
        if receipts.take_dropped() {
            // It was counted when it was dropped.
            batch.note(Failure::Error(Box::new(NotDone)));
        }
        let is_bad = matches!(
            end,
            TurnEnd::Close(CloseCause::TooLarge { .. } | CloseCause::InvalidPrefix)
        );
        let decision = receipts.close_decision();
        end = match end {
            // What follows would be handled before the batch that comes again, and none of it can
            // be confirmed.
            _ if !is_bad && decision == CloseDecision::EndsAtOnce => {
                TurnEnd::Close(CloseCause::NotStored)
            }
            TurnEnd::Close(cause) if receipts.wait_for_all() => {
                serving.ending = Some(cause);
                TurnEnd::Ending
            }
            TurnEnd::Close(_) if !is_bad && decision == CloseDecision::EndsWithTheRest => {
                TurnEnd::Close(CloseCause::NotStored)
            }
            // What the peer did wrong is reported, whatever became of the batch.
            TurnEnd::Close(cause) => {
                if matches!(cause, CloseCause::TooLarge { .. }) {
                    receipts.refuse_next();
                }
                TurnEnd::Close(cause)
            }
            TurnEnd::Park | TurnEnd::Again if receipts.wait_for_room() => TurnEnd::Wait,
            TurnEnd::Park
            | TurnEnd::Again
            | TurnEnd::OverBudget
            | TurnEnd::AllOut
            | TurnEnd::Wait
            | TurnEnd::Ending
            | TurnEnd::Refuse
            | TurnEnd::Cut => end,
        };
        serving.has_waited = matches!(end, TurnEnd::Wait | TurnEnd::AllOut);
        let goes_on = !matches!(end, TurnEnd::Close(_) | TurnEnd::Ending);
        if closing.is_some() && goes_on && self.connection.waits_for_peer() {
            let cause = || end_cause(closing, serving.decoder.position());
            serving.cause.get_or_insert_with(cause);
            let farewell = &mut serving.farewell;
            if let Farewell::Said(heed) = farewell {
                heed.bytes += batch.tally.bytes;
            }
            self.say_farewell(farewell, &mut receipts, matches!(end, TurnEnd::Park));
        }
        self.connection.answer(&mut receipts);
        drop(receipts);
        if serving.ending.is_some() {
            let held = serving.decoder.held();
            serving.decoder.give_up();
            self.shared.note_held(held, 0);
        }
        self.report(batch, serving);
        end
    }

    /// Tells the peer that the connection is to end. All that it has sent may be read.
    fn say_farewell(&self, farewell: &mut Farewell, receipts: &mut Receipts, is_drained: bool) {
        let since = now();
        let is_over = match *farewell {
            // Whoever waits for receipts gets all of them, and then ends its side.
            Farewell::Due if receipts.say_stop() => {
                *farewell = Farewell::Said(Heed { since, bytes: 0 });
                return;
            }
            Farewell::Due => true,
            Farewell::Said(Heed { since: said, bytes }) => {
                let time = since.saturating_duration_since(said);
                bytes > MOST_UNHEEDED_BYTES || is_drained && time > MOST_UNHEEDED
            }
            Farewell::Over => return,
        };
        // Nothing can be said after it: batches that are out may yet be confirmed. Receipts for
        // which there is no room wait for nothing: their peer does not read them.
        if is_over && !receipts.wait_for_all() {
            self.connection.answer(receipts);
            self.connection.stream.end_sending();
            *farewell = Farewell::Over;
        }
    }

    /// Reads once, and gives the handler what has become whole.
    fn read(
        &self,
        serving: &mut Serving,
        buffer: &mut Vec<u8>,
        batch: &mut Batch,
        gathered: &mut T::Gathered,
    ) -> Read {
        let (shared, connection) = (self.shared, self.connection);
        let stream = &connection.stream;
        let held = serving.decoder.held();
        let before = batch.tally;
        let read = if let Some(room) = serving.decoder.direct() {
            let given = room.len();
            let received = stream.receive(room);
            let len = if let Ok(Received::Some(len)) = received {
                len
            } else {
                0
            };
            let mut read = sort(received);
            let Serving { decoder, had, .. } = serving;
            let filled = decoder.filled(given, len);
            if filled.is_some() && *had > 0 {
                *had -= 1;
                self.note_repeated(batch);
            } else if let Some(Frame::Message(message)) = filled {
                let delivered = guarded(|| self.deliver(message, batch, gathered));
                if let Err(failure) = delivered.unwrap_or_else(|panic| Err(Failure::Panic(panic))) {
                    self.note(failure, batch);
                    if self.comes_again() {
                        batch.last_failed = true;
                        read = Read::Failed;
                    }
                }
            }
            read
        } else {
            let received = if connection.was_read() {
                stream.receive(buffer)
            } else {
                self.receive_first(serving, buffer)
            };
            match received {
                Ok(Received::Some(len)) => {
                    let mut input = buffer.get(..len).unwrap_or_default();
                    self.target.read_begin(gathered, input);
                    let read = self.decode(serving, &mut input, batch, gathered);
                    self.target.read_end(gathered, buffer, &shared.buffers);
                    read
                }
                received => sort(received),
            }
        };
        serving.decoder.reclaim(&shared.pieces);
        shared.note_held(held, serving.decoder.held());
        shared.counters.received.add(batch.tally - before);
        if connection.peer.recovered {
            shared.counters.recovered.add(batch.tally - before);
            serving.recovered += batch.tally - before;
        }
        read
    }

    /// Reads, and takes what the peer passes with its first byte.
    fn receive_first(&self, serving: &mut Serving, buffer: &mut [u8]) -> io::Result<Received> {
        let (shared, connection) = (self.shared, self.connection);
        let (received, descriptors) = if shared.takes_memory_of(connection.peer) {
            connection.stream.receive_with(buffer)?
        } else {
            (connection.stream.receive(buffer)?, Vec::new())
        };
        match received {
            Received::Some(_) => serving.had = shared.attach(connection, descriptors),
            Received::End => connection.note_first_read(None),
            Received::Nothing => {}
        }
        Ok(received)
    }

    /// Gives the handler what has become whole in `input`.
    fn decode(
        &self,
        serving: &mut Serving,
        input: &mut &[u8],
        batch: &mut Batch,
        gathered: &mut T::Gathered,
    ) -> Read {
        let shared = self.shared;
        let Serving { decoder, had, .. } = serving;
        loop {
            // One guard around many calls: entering it is cheap, but not free. After a panic the
            // decoder stands behind the message that it came from.
            let run = guarded(|| {
                while let Some(frame) = decoder
                    .next(input, &shared.pieces)
                    .map_err(Stop::Malformed)?
                {
                    if shared.is_cut.load(Ordering::Relaxed) {
                        break;
                    }
                    match frame {
                        Frame::Message(_) if *had > 0 => {
                            *had -= 1;
                            self.note_repeated(batch);
                        }
                        Frame::Message(message) => {
                            self.deliver(message, batch, gathered)
                                .map_err(Stop::Failed)?;
                        }
                        Frame::AckRequest => batch.asks = true,
                        Frame::Opening => {
                            self.connection.receipts.lock().on_opening();
                            batch.asks = true;
                        }
                    }
                }
                Ok(())
            });
            let failure = match run {
                Ok(Ok(())) => return Read::Some,
                Ok(Err(Stop::Malformed(malformed))) => return Read::Bad(self.bad(malformed)),
                Ok(Err(Stop::Failed(failure))) => failure,
                Err(panic) => Failure::Panic(panic),
            };
            self.note(failure, batch);
            if self.comes_again() {
                batch.last_failed = true;
                return Read::Failed;
            }
        }
    }

    #[inline]
    fn deliver(
        &self,
        message: &[u8],
        batch: &mut Batch,
        gathered: &mut T::Gathered,
    ) -> Result<(), Failure> {
        batch.tally += Tally::one(message.len());
        self.connection.count_handled();
        self.target
            .message(message, &self.connection.peer, gathered)
            .map_err(Failure::Error)
    }

    /// A message came again that had been handled on an earlier connection.
    fn note_repeated(&self, batch: &mut Batch) {
        batch.repeated += 1;
        self.connection.count_handled();
        self.shared.counters.repeated.add(1);
    }

    /// A message on which the handler fails comes again.
    fn comes_again(&self) -> bool {
        self.connection.receipts.lock().comes_again()
    }

    /// Counts what went wrong in the handler, and keeps it to be told of.
    fn note(&self, failure: Failure, batch: &mut Batch) {
        let counters = &self.shared.counters;
        match failure {
            Failure::Error(_) => counters.handler_errors.add(1),
            Failure::Panic(_) => counters.panics.add(1),
        }
        if let Some(error) = batch.note(failure) {
            self.shared.drop_guarded(error);
        }
    }

    /// Tells the target that the batch is over.
    fn end_batch(&self, batch: &mut Batch, gathered: T::Gathered) {
        let (connection, shared) = (self.connection, self.shared);
        let mut end = BatchEnd {
            messages: batch.tally.messages + batch.repeated,
            last_failed: batch.last_failed,
            is_stored: true,
            asks: batch.asks,
        };
        let ended = if batch.tally.messages == 0 {
            Ok(Ended::Stored)
        } else {
            let batch_end = || self.target.batch_end(gathered, end, connection, shared);
            match guarded(batch_end) {
                Ok(ended) => ended.map_err(Failure::Error),
                Err(panic) => Err(Failure::Panic(panic)),
            }
        };
        end.is_stored = ended.is_ok();
        if !matches!(ended, Ok(Ended::Out)) {
            connection.receipts.lock().on_batch_end(end);
        }
        if let Err(failure) = ended {
            self.note(failure, batch);
        }
    }

    /// Tells what went wrong in the handler, if that is news.
    fn report(&self, batch: Batch, serving: &mut Serving) {
        if batch.error.is_none() && batch.panic.is_none() {
            return;
        }
        let (shared, peer) = (self.shared, self.connection.peer);
        let now = now();
        let before = serving.last_failure.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) < NEWS_AFTER) {
            shared.drop_guarded(batch.error);
            return;
        }
        if let Some(error) = batch.error {
            shared.emit(|| ReaderEvent::HandlerFailed {
                peer,
                error: error.into(),
            });
        }
        if let Some(message) = batch.panic {
            shared.emit(|| ReaderEvent::HandlerPanicked { peer, message });
        }
    }

    fn bad(&self, malformed: Malformed) -> CloseCause {
        match malformed {
            Malformed::TooLarge { len } => CloseCause::TooLarge {
                len,
                limit: to_u64(self.shared.settings.max_message_len),
            },
            Malformed::InvalidPrefix => CloseCause::InvalidPrefix,
        }
    }
}

fn sort(received: io::Result<Received>) -> Read {
    match received {
        Ok(Received::Some(_)) => Read::Some,
        Ok(Received::Nothing) => Read::Nothing,
        Ok(Received::End) => Read::End,
        // The peer closed without reading what was sent to it: no concern of the messages that it
        // sent.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Read::End,
        Err(error) => Read::Bad(CloseCause::Failed(error.into())),
    }
}
