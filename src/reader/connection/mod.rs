//! A connection: its socket, its peer, and the machines that serve it.
//! What happens in a turn at a connection is in `threads`.

pub(super) mod batch_end;
pub(super) mod closing;
pub(super) mod decoder;
pub(super) mod receipts;
pub(super) mod remains;
pub(super) mod source;
pub(super) mod timeouts;
mod unconfirmed;

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use self::decoder::Decoder;
use self::receipts::Receipts;
use self::source::Source;
use self::timeouts::FrameClock;
use crate::arena::ticket::Ticket;
use crate::event::CloseCause;
use crate::metrics::Tally;
use crate::peer::Peer;
use crate::sys::{PeerEnd, Sent};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Source,
    pub(super) peer: Peer,
    /// What its writer passed with the first byte, if anything: set once that was read.
    passed: OnceLock<Option<Passed>>,
    is_detached: AtomicBool,
    /// Messages that were given to the handler: written by the worker whose turn it is, and read
    /// to see whether the handler hangs.
    handled: AtomicU64,
    /// Shared with the batches that are out. Nothing else is locked while this is.
    pub(super) receipts: Arc<Mutex<Receipts>>,
    serving: Mutex<Serving>,
}

/// An arena that was passed, by its numbers, and which of its connections this is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) arena: (u64, u64),
    pub(super) ticket: Ticket,
}

/// What a turn works on, and leaves to the next turn.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) decoder: Decoder,
    pub(super) clock: FrameClock,
    pub(super) admission: Admission,
    pub(super) last_failure: Option<Instant>,
    /// The connection is to end so, once the batches that are out are settled.
    pub(super) ending: Option<CloseCause>,
    /// It waited for batches since its last turn.
    pub(super) has_waited: bool,
    pub(super) farewell: Farewell,
    /// How many of the next messages have come on an earlier connection.
    pub(super) had: u64,
    /// What a dead writer had left, as far as it was handled.
    pub(super) recovered: Tally,
    /// What the end is to be told as, once the peer was told of it: it may cut its own frame then.
    pub(super) cause: Option<CloseCause>,
}

/// How the peer was told that the connection is to end, where it is to end its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    Due,
    /// By a receipt: more receipts may follow.
    Said(Heed),
    /// By the end of the way back.
    Over,
}

/// Whether a peer may have heeded the word that the reader is to close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heed {
    /// When the word was given.
    pub(super) since: Instant,
    /// How many bytes of messages have come since then.
    pub(super) bytes: u64,
}

/// Whether the peer was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Due,
    Done,
}

impl Connection {
    pub(super) fn new(stream: Source, peer: Peer, max_message_len: usize) -> Self {
        let serving = Serving {
            decoder: Decoder::new(max_message_len),
            clock: FrameClock::default(),
            admission: Admission::Due,
            last_failure: None,
            ending: None,
            has_waited: false,
            farewell: Farewell::Due,
            cause: None,
            had: 0,
            recovered: Tally::default(),
        };
        Self {
            stream,
            peer,
            passed: OnceLock::new(),
            is_detached: AtomicBool::new(false),
            handled: AtomicU64::new(0),
            receipts: Arc::default(),
            serving: Mutex::new(serving),
        }
    }

    /// Whether its first byte was read.
    pub(super) fn was_read(&self) -> bool {
        self.passed.get().is_some()
    }

    /// Its first byte was read, and this came with it.
    pub(super) fn note_first_read(&self, passed: Option<Passed>) {
        let _ = self.passed.set(passed);
    }

    /// What came with its first byte: once.
    pub(super) fn take_passed(&self) -> Option<Passed> {
        let passed = self.passed.get().copied().flatten();
        passed.filter(|_| !self.is_detached.swap(true, Ordering::Relaxed))
    }

    /// How many of its messages do not come again.
    pub(super) fn settled(&self) -> u64 {
        let receipts = self.receipts.lock();
        if receipts.comes_again() {
            receipts.handled()
        } else {
            self.handled()
        }
    }

    #[inline]
    pub(super) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// One more message goes to the handler. Only the worker whose turn it is writes this, so that
    /// it needs no atomic addition.
    #[inline]
    pub(super) fn count_handled(&self) {
        self.handled.store(self.handled() + 1, Ordering::Relaxed);
    }

    /// The connection is to be read to its end. Where the peer can be told so at once, it is.
    pub(super) fn begin_end(&self) {
        if !self.waits_for_peer() {
            self.stream.stop_receiving();
        }
    }

    /// Whether it ends when the peer has ended its side, and not when nothing more is there.
    pub(super) fn waits_for_peer(&self) -> bool {
        self.stream.abilities().peer_end == PeerEnd::EndsSending
    }

    /// Batches of it are out, and not settled.
    pub(super) fn is_out(&self) -> bool {
        self.receipts.lock().is_out()
    }

    /// Whether batches that are out must be settled before it can end. They bring the next turn
    /// then.
    pub(super) fn waits_with_its_end(&self) -> bool {
        let mut receipts = self.receipts.lock();
        let may_be_told = self.waits_for_peer() && receipts.can_say_stop();
        !may_be_told && receipts.wait_for_all()
    }

    /// Tells the peer how far it was dealt with, if that is owed. Never blocks.
    pub(super) fn answer(&self, receipts: &mut Receipts) {
        if !self.stream.abilities().answers {
            receipts.fall_silent();
        }
        while let Some(bytes) = receipts.next() {
            match self.stream.send(&[IoSlice::new(bytes)]) {
                Ok(Sent::Some(len)) => receipts.on_sent(len),
                // What does not fit now goes out when there is room.
                Ok(Sent::Blocked | Sent::NoMemory) => break,
                // A peer that is gone is noticed when it is read from; one that was told of the end
                // is told nothing more.
                Err(_) => receipts.fall_silent(),
            }
        }
    }

    /// For the worker whose turn it is. No other thread asks for it, so that the lock is never
    /// waited for.
    pub(super) fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock()
    }
}
