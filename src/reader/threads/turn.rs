//! One turn at a connection: reads what is there, gives it to the handler, deals with the handler's
//! errors and panics, and sends the receipt that is owed. Starts no thread, and waits for nothing.

use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::batch::{Batch, Failure};
use crate::clock::now;
use crate::event::{CloseCause, ReaderEvent, RefuseCause};
use crate::metrics::Tally;
use crate::num::to_u64;
use crate::panic_guard::guarded;
use crate::reader::connection::closing::{Closing, TurnEnd, end_cause};
use crate::reader::connection::decoder::{Decoder, Frame, Malformed};
use crate::reader::connection::receipts::{BatchEnd, CloseDecision, Receipts};
use crate::reader::connection::{Admission, Connection, Serving};
use crate::reader::handler::Handler;
use crate::reader::shared::{READ_SIZE, Schedule, Shared};
use crate::sys::{Received, Sent};

/// How many reads a connection has before others have their turn.
const READS_PER_TURN: usize = 4;

/// Likewise when its peer waits for a receipt, which comes at the turn's end: half of what its
/// queue holds of 10,000 messages of 100 bytes.
const READS_BEFORE_RECEIPT: usize = 2;

/// How long a turn may go on when its peer waits for a receipt: that comes at the turn's end.
const PROMPT: Duration = Duration::from_millis(100);

/// How long a handler must go without an error for the next one to be news.
const NEWS_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Turn<'a, H> {
    pub(super) shared: &'a Shared,
    pub(super) handler: &'a H,
    pub(super) connection: &'a Connection,
}

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

impl<H: Handler> Turn<'_, H> {
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
        match end {
            // After a cut nothing more is called: the shutdown may have returned.
            TurnEnd::Refuse | TurnEnd::Cut => {
                shared.remove(peer.connection);
            }
            TurnEnd::Close(cause) => {
                let held = serving.decoder.held();
                drop(serving);
                shared.counters.count_end(&cause);
                self.call(|| self.handler.closed(&peer));
                shared.emit(|| ReaderEvent::Closed { peer, cause });
                shared.note_held(held, 0);
                // After the last call, so that a stop that waits for this connection waits for the
                // handler too.
                shared.remove(peer.connection);
            }
            TurnEnd::Park | TurnEnd::Again | TurnEnd::OverBudget => {
                let Serving {
                    decoder,
                    clock,
                    receipts,
                    ..
                } = &mut *serving;
                let now = now();
                let deadline = clock.deadline(
                    now,
                    shared.settings.pace,
                    decoder.position(),
                    decoder.frames(),
                );
                let schedule = Schedule {
                    deadline,
                    half_since: clock.since(),
                    owes: receipts.next().is_some(),
                    must_close: receipts.close_decision() != CloseDecision::GoesOn,
                };
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
            self.call(|| self.handler.opened(&peer));
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

    /// Reads until there is nothing, or the connection has had its share.
    fn serve(&self, serving: &mut Serving, closing: Option<Closing>) -> TurnEnd {
        let shared = self.shared;
        if closing == Some(Closing::NoMemory) {
            return TurnEnd::Close(CloseCause::NoMemory);
        }
        if closing.is_some() {
            // Where that is possible, before the last look: what comes after it would be lost.
            self.connection.stream.stop_receiving();
        }
        let mut buffer = shared.buffers.take();
        buffer.resize(READ_SIZE, 0);
        let mut batch = Batch::default();
        let mut end = TurnEnd::Again;
        let start = now();
        for reads in 0..READS_PER_TURN {
            let is_long = || now().saturating_duration_since(start) > PROMPT;
            if batch.asks && (reads >= READS_BEFORE_RECEIPT || is_long()) {
                end = TurnEnd::Again;
                break;
            }
            if shared.is_over_budget() && closing.is_none() {
                end = TurnEnd::OverBudget;
                break;
            }
            let ended = |decoder: &Decoder| TurnEnd::Close(end_cause(closing, decoder.position()));
            end = match self.read(serving, &mut buffer, &mut batch) {
                Read::Some => continue,
                Read::Nothing if closing.is_some() => ended(&serving.decoder),
                Read::Nothing => TurnEnd::Park,
                Read::End => ended(&serving.decoder),
                Read::Bad(cause) => TurnEnd::Close(cause),
                Read::Failed => TurnEnd::Close(CloseCause::NotStored),
            };
            break;
        }
        shared.buffers.give(buffer);
        if shared.is_cut.load(Ordering::Relaxed) {
            shared.drop_guarded(batch.error);
            return TurnEnd::Cut;
        }
        self.end_batch(&mut batch, &mut serving.receipts);
        if let TurnEnd::Close(CloseCause::TooLarge { .. }) = end {
            serving.receipts.refuse_next();
        }
        self.answer(&mut serving.receipts);
        self.report(batch, serving);
        if let TurnEnd::Close(CloseCause::TooLarge { .. } | CloseCause::InvalidPrefix) = end {
            // What the peer did wrong is reported, whatever became of the batch.
            return end;
        }
        match serving.receipts.close_decision() {
            CloseDecision::EndsWithTheRest if matches!(end, TurnEnd::Close(_)) => {
                TurnEnd::Close(CloseCause::NotStored)
            }
            CloseDecision::GoesOn | CloseDecision::EndsWithTheRest => end,
            // What follows would be handled before the batch that comes again, and none of it can
            // be confirmed.
            CloseDecision::EndsAtOnce => TurnEnd::Close(CloseCause::NotStored),
        }
    }

    /// Reads once, and gives the handler what has become whole.
    fn read(&self, serving: &mut Serving, buffer: &mut [u8], batch: &mut Batch) -> Read {
        let (shared, stream) = (self.shared, &self.connection.stream);
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
            if let Some(Frame::Message(message)) = serving.decoder.filled(given, len) {
                let delivered = guarded(|| self.deliver(message, batch));
                if let Err(failure) = delivered.unwrap_or_else(|panic| Err(Failure::Panic(panic))) {
                    self.note(failure, batch);
                    if serving.receipts.comes_again() {
                        batch.last_failed = true;
                        read = Read::Failed;
                    }
                }
            }
            read
        } else {
            match stream.receive(buffer) {
                Ok(Received::Some(len)) => {
                    let mut input = buffer.get(..len).unwrap_or_default();
                    self.decode(serving, &mut input, batch)
                }
                received => sort(received),
            }
        };
        serving.decoder.reclaim(&shared.pieces);
        shared.note_held(held, serving.decoder.held());
        shared.counters.received.add(batch.tally - before);
        read
    }

    /// Gives the handler what has become whole in `input`.
    fn decode(&self, serving: &mut Serving, input: &mut &[u8], batch: &mut Batch) -> Read {
        let shared = self.shared;
        let Serving {
            decoder, receipts, ..
        } = serving;
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
                        Frame::Message(message) => {
                            self.deliver(message, batch).map_err(Stop::Failed)?;
                        }
                        Frame::AckRequest => batch.asks = true,
                        Frame::Opening => {
                            receipts.on_opening();
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
            if receipts.comes_again() {
                batch.last_failed = true;
                return Read::Failed;
            }
        }
    }

    #[inline]
    fn deliver(&self, message: &[u8], batch: &mut Batch) -> Result<(), Failure> {
        batch.tally += Tally::one(message.len());
        self.connection.count_handled();
        self.handler
            .message(message, &self.connection.peer)
            .map_err(|error| Failure::Error(error.into()))
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

    /// Tells the handler that the batch is over.
    fn end_batch(&self, batch: &mut Batch, receipts: &mut Receipts) {
        let messages = batch.tally.messages;
        let ended = if messages == 0 {
            Ok(())
        } else {
            let batch_end = || self.handler.batch_end(&self.connection.peer);
            match guarded(batch_end) {
                Ok(ended) => ended.map_err(|error| Failure::Error(error.into())),
                Err(panic) => Err(Failure::Panic(panic)),
            }
        };
        receipts.on_batch_end(BatchEnd {
            messages,
            last_failed: batch.last_failed,
            is_stored: ended.is_ok(),
            asks: batch.asks,
        });
        if let Err(failure) = ended {
            self.note(failure, batch);
        }
    }

    /// Tells the peer how far it was dealt with, if that is owed. Never blocks.
    fn answer(&self, receipts: &mut Receipts) {
        while let Some(bytes) = receipts.next() {
            match self.connection.stream.send(&[IoSlice::new(bytes)]) {
                Ok(Sent::Some(len)) => receipts.on_sent(len),
                // What does not fit now goes out when there is room. A peer that is gone is noticed
                // when it is read from.
                Ok(Sent::Blocked | Sent::NoMemory) | Err(_) => break,
            }
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
