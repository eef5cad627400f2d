//! One connection, and one turn at it: read what is there, and give it to the handler.
//! Decides nothing about time or threads.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::batch::Batch;
use super::core::{Core, Rest};
use super::decoder::{Decoder, Frame, Malformed};
use super::handler::Handler;
use super::receipts::{Fate, Receipts};
use super::state::{Closing, FrameClock, Outcome, end_cause};
use crate::clock::now;
use crate::event::{CloseCause, ReaderEvent, RefuseCause};
use crate::metrics::Tally;
use crate::num::to_u64;
use crate::observer::guarded;
use crate::peer::Peer;
use crate::sys::{Received, Sent, Stream};

/// How much one read takes. More brings nothing.
pub(super) const READ_SIZE: usize = 256 * 1024;

/// A peer that has sent so much at once is likely to send on.
const HEAVY: usize = 128 * 1024;

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
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Messages that the handler has had: written by the thread whose turn it is, and read by
    /// whoever wonders whether it hangs.
    handled: AtomicU64,
    /// Only the thread whose turn it is looks at this: the lock is never waited for.
    serving: Mutex<Serving>,
}

#[derive(Debug)]
struct Serving {
    decoder: Decoder,
    clock: FrameClock,
    receipts: Receipts,
    greeting: Greeting,
    last_turn: Turn,
    last_failure: Option<Instant>,
}

/// How much a turn brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Light,
    /// At least [`HEAVY`] bytes.
    Heavy,
}

/// Whether the peer was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Due,
    Done,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Peer, max_message_len: usize) -> Self {
        let serving = Serving {
            decoder: Decoder::new(max_message_len),
            clock: FrameClock::default(),
            receipts: Receipts::default(),
            greeting: Greeting::Due,
            last_turn: Turn::Light,
            last_failure: None,
        };
        Self {
            stream,
            peer,
            handled: AtomicU64::new(0),
            serving: Mutex::new(serving),
        }
    }

    #[inline]
    pub(super) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Has a turn, from the check of a new peer to the end of the stream.
    pub(super) fn turn<H: Handler>(
        &self,
        core: &Core,
        handler: &H,
        closing: Option<Closing>,
    ) -> Turn {
        let mut serving = self.serving.lock();
        let outcome = if serving.greeting == Greeting::Due && !self.greet(core, handler) {
            Outcome::Refuse
        } else {
            serving.greeting = Greeting::Done;
            self.serve(core, handler, &mut serving, closing)
        };
        let number = self.peer.connection;
        match outcome {
            // After a cut nothing more is called: the shutdown may have returned.
            Outcome::Refuse | Outcome::Cut => {
                core.remove(number);
                Turn::Light
            }
            Outcome::Close(cause) => {
                let held = serving.decoder.held();
                drop(serving);
                core.counters.count_end(&cause);
                self.guard(core, || handler.closed(&self.peer));
                core.tell(|| ReaderEvent::Closed {
                    peer: self.peer,
                    cause,
                });
                core.note_held(held, 0);
                // After the last call, so that a stop that waits for this connection waits for the
                // handler too.
                core.remove(number);
                Turn::Light
            }
            Outcome::Park | Outcome::Again | Outcome::Starve => {
                let Serving {
                    decoder,
                    clock,
                    receipts,
                    last_turn,
                    ..
                } = &mut *serving;
                let now = now();
                let deadline = clock.deadline(
                    now,
                    core.settings.pace,
                    decoder.position(),
                    decoder.frames(),
                );
                let rest = Rest {
                    deadline,
                    half_since: clock.since(),
                    owes: receipts.next().is_some(),
                    must_close: receipts.fate() != Fate::GoesOn,
                };
                let turn = *last_turn;
                drop(serving);
                core.end_turn(number, &outcome, rest, now);
                turn
            }
        }
    }

    /// Checks a new peer, and tells of it. False when it is turned away.
    fn greet<H: Handler>(&self, core: &Core, handler: &H) -> bool {
        let peer = self.peer;
        let checked = core.settings.callbacks.check(&peer).unwrap_or_else(|_| {
            core.counters.panics.add(1);
            false
        });
        if checked {
            self.guard(core, || handler.opened(&peer));
            core.tell(|| ReaderEvent::Opened { peer });
        } else {
            core.counters.refused_peers.add(1);
            core.tell(|| ReaderEvent::Refused {
                peer,
                cause: RefuseCause::Check,
            });
        }
        checked
    }

    /// Runs a callback that returns nothing.
    fn guard(&self, core: &Core, callback: impl FnOnce()) {
        if let Err(message) = guarded(callback) {
            core.counters.panics.add(1);
            core.tell(|| ReaderEvent::HandlerPanicked {
                peer: self.peer,
                message,
            });
        }
    }

    /// Reads until there is nothing, or the connection has had its share.
    fn serve<H: Handler>(
        &self,
        core: &Core,
        handler: &H,
        serving: &mut Serving,
        closing: Option<Closing>,
    ) -> Outcome {
        if closing == Some(Closing::NoMemory) {
            return Outcome::Close(CloseCause::NoMemory);
        }
        if closing.is_some() {
            // Where that is possible, before the last look: what comes after it would be lost.
            self.stream.stop_receiving();
        }
        let mut buffer = core.buffers.take();
        buffer.resize(READ_SIZE, 0);
        let mut batch = Batch::default();
        let mut outcome = Outcome::Again;
        let start = now();
        for reads in 0..READS_PER_TURN {
            let is_long = || now().saturating_duration_since(start) > PROMPT;
            if batch.asks && (reads >= READS_BEFORE_RECEIPT || is_long()) {
                outcome = Outcome::Again;
                break;
            }
            if core.is_starving() && closing.is_none() {
                outcome = Outcome::Starve;
                break;
            }
            let ended = |decoder: &Decoder| Outcome::Close(end_cause(closing, decoder.position()));
            outcome = match self.read(core, handler, serving, &mut buffer, &mut batch) {
                Read::Some => continue,
                Read::Nothing if closing.is_some() => ended(&serving.decoder),
                Read::Nothing => Outcome::Park,
                Read::End => ended(&serving.decoder),
                Read::Bad(cause) => Outcome::Close(cause),
            };
            break;
        }
        core.buffers.give(buffer);
        serving.last_turn = if batch.read_len < HEAVY {
            Turn::Light
        } else {
            Turn::Heavy
        };
        if core.is_cut.load(Ordering::Relaxed) {
            core.let_go(batch.error);
            return Outcome::Cut;
        }
        let refuses_next = matches!(outcome, Outcome::Close(CloseCause::TooLarge { .. }));
        self.end_batch(
            core,
            handler,
            &mut batch,
            &mut serving.receipts,
            refuses_next,
        );
        self.report(core, batch, serving);
        match serving.receipts.fate() {
            Fate::EndsWithTheRest if matches!(outcome, Outcome::Close(_)) => {
                Outcome::Close(CloseCause::NotStored)
            }
            Fate::GoesOn | Fate::EndsWithTheRest => outcome,
            // What follows would be handled before the batch that comes again, and none of it can
            // be confirmed.
            Fate::EndsAtOnce => Outcome::Close(CloseCause::NotStored),
        }
    }

    /// Tells the handler that the batch is over; then, if the peer has asked, tells the peer how
    /// far it was dealt with.
    fn end_batch<H: Handler>(
        &self,
        core: &Core,
        handler: &H,
        batch: &mut Batch,
        receipts: &mut Receipts,
        refuses_next: bool,
    ) {
        let stored = batch.tally.messages == 0
            || match guarded(|| handler.batch_end(&self.peer).map_err(Into::into)) {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    batch.note_error(core, error);
                    false
                }
                Err(panic) => {
                    batch.note_panic(core, panic);
                    false
                }
            };
        receipts.on_batch_end(batch.tally.messages, stored, batch.asks);
        if refuses_next {
            receipts.refuse_next();
        }
        while let Some(bytes) = receipts.next() {
            match self.stream.send(&[IoSlice::new(bytes)]) {
                Ok(Sent::Some(len)) => receipts.on_sent(len),
                // What does not fit now goes out when there is room. A peer that is gone is noticed
                // when it is read from.
                Ok(Sent::Blocked | Sent::NoMemory) | Err(_) => break,
            }
        }
    }

    /// Reads once, and gives the handler what has become whole.
    fn read<H: Handler>(
        &self,
        core: &Core,
        handler: &H,
        serving: &mut Serving,
        buffer: &mut [u8],
        batch: &mut Batch,
    ) -> Read {
        let Serving {
            decoder, receipts, ..
        } = serving;
        let held = decoder.held();
        let before = batch.tally;
        let read = if let Some(room) = decoder.direct() {
            let given = room.len();
            let received = self.stream.receive(room);
            let len = if let Ok(Received::Some(len)) = received {
                len
            } else {
                0
            };
            batch.read_len += len;
            if let Some(Frame::Message(message)) = decoder.filled(given, len) {
                let run = guarded(|| self.deliver(core, handler, message, batch));
                run.unwrap_or_else(|panic| batch.note_panic(core, panic));
            }
            Self::sort(received)
        } else {
            match self.stream.receive(buffer) {
                Ok(Received::Some(len)) => {
                    batch.read_len += len;
                    let mut input = buffer.get(..len).unwrap_or_default();
                    match self.decode(core, handler, decoder, receipts, &mut input, batch) {
                        Ok(()) => Read::Some,
                        Err(malformed) => Read::Bad(Self::bad(core, malformed)),
                    }
                }
                received => Self::sort(received),
            }
        };
        decoder.reclaim(&core.pieces);
        core.note_held(held, decoder.held());
        core.counters.received.add(batch.tally - before);
        read
    }

    fn sort(received: io::Result<Received>) -> Read {
        match received {
            Ok(Received::Some(_)) => Read::Some,
            Ok(Received::Nothing) => Read::Nothing,
            Ok(Received::End) => Read::End,
            // The peer closed without reading what was sent to it: no concern of the messages that
            // it sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Read::End,
            Err(error) => Read::Bad(CloseCause::Failed(error.into())),
        }
    }

    fn bad(core: &Core, malformed: Malformed) -> CloseCause {
        match malformed {
            Malformed::TooLarge { len } => CloseCause::TooLarge {
                len,
                limit: to_u64(core.settings.max_message_len),
            },
            Malformed::InvalidPrefix => CloseCause::InvalidPrefix,
        }
    }

    fn decode<H: Handler>(
        &self,
        core: &Core,
        handler: &H,
        decoder: &mut Decoder,
        receipts: &mut Receipts,
        input: &mut &[u8],
        batch: &mut Batch,
    ) -> Result<(), Malformed> {
        loop {
            // One guard around many calls: entering it is cheap, but not free. After a panic the
            // decoder stands behind the message that it came from.
            let run = guarded(|| {
                while let Some(frame) = decoder.next(input, &core.pieces)? {
                    if core.is_cut.load(Ordering::Relaxed) {
                        break;
                    }
                    match frame {
                        Frame::Message(message) => self.deliver(core, handler, message, batch),
                        Frame::AckRequest => batch.asks = true,
                        Frame::Opening => {
                            receipts.on_opening();
                            batch.asks = true;
                        }
                    }
                }
                Ok(())
            });
            match run {
                Ok(decoded) => return decoded,
                Err(panic) => batch.note_panic(core, panic),
            }
        }
    }

    #[inline]
    fn deliver<H: Handler>(&self, core: &Core, handler: &H, message: &[u8], batch: &mut Batch) {
        batch.tally += Tally::one(message.len());
        // No other thread writes it, so that this needs no atomic addition.
        self.handled.store(self.handled() + 1, Ordering::Relaxed);
        if let Err(error) = handler.message(message, &self.peer) {
            batch.note_error(core, error.into());
        }
    }

    /// Tells what went wrong in the handler, if that is news.
    fn report(&self, core: &Core, batch: Batch, serving: &mut Serving) {
        if batch.error.is_none() && batch.panic.is_none() {
            return;
        }
        let now = now();
        let before = serving.last_failure.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) < NEWS_AFTER) {
            core.let_go(batch.error);
            return;
        }
        if let Some(error) = batch.error {
            core.tell(|| ReaderEvent::HandlerFailed {
                peer: self.peer,
                error: error.into(),
            });
        }
        if let Some(message) = batch.panic {
            core.tell(|| ReaderEvent::HandlerPanicked {
                peer: self.peer,
                message,
            });
        }
    }
}

/// What one read came to.
#[derive(Debug)]
enum Read {
    Some,
    Nothing,
    End,
    Bad(CloseCause),
}
