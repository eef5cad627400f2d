//! A connection: its socket, its peer, and the machines that serve it.
//! No I/O: what happens in a turn at a connection is in `threads`.

pub(super) mod closing;
pub(super) mod decoder;
pub(super) mod receipts;
pub(super) mod timeouts;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use self::decoder::Decoder;
use self::receipts::Receipts;
use self::timeouts::FrameClock;
use crate::peer::Peer;
use crate::sys::Stream;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Messages that were given to the handler: written by the worker whose turn it is, and read
    /// to see whether the handler hangs.
    handled: AtomicU64,
    serving: Mutex<Serving>,
}

/// What a turn works on, and leaves to the next turn.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) decoder: Decoder,
    pub(super) clock: FrameClock,
    pub(super) receipts: Receipts,
    pub(super) admission: Admission,
    pub(super) last_failure: Option<Instant>,
}

/// Whether the peer was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Due,
    Done,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Peer, max_message_len: usize) -> Self {
        let serving = Serving {
            decoder: Decoder::new(max_message_len),
            clock: FrameClock::default(),
            receipts: Receipts::default(),
            admission: Admission::Due,
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

    /// One more message goes to the handler. Only the worker whose turn it is writes this, so that
    /// it needs no atomic addition.
    #[inline]
    pub(super) fn count_handled(&self) {
        self.handled.store(self.handled() + 1, Ordering::Relaxed);
    }

    /// For the worker whose turn it is. No other thread asks for it, so that the lock is never
    /// waited for.
    pub(super) fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock()
    }
}
