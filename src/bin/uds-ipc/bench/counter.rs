//! Counts what a reader receives, and answers the process that sends it.
//! How it is received is not its business.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::answers::{Answer, Received, histogram};
use super::clock;
use super::numbers::widen;

/// Of which all messages consist: what comes is compared with it.
pub(super) const FILL: u8 = 0x5a;

/// Counts what comes, and answers at the end of each phase.
#[derive(Debug)]
pub(super) struct Counter {
    size: usize,
    /// Both are of the one thread that receives, which may be another one later: those are ordered
    /// by who hands over.
    received: AtomicU64,
    expected: AtomicU64,
    later: Mutex<VecDeque<u64>>,
}

impl Counter {
    pub(super) fn new(size: usize, phases: Vec<u64>) -> Self {
        let mut phases = VecDeque::from(phases);
        let expected = phases.pop_front().unwrap_or(u64::MAX).into();
        Self {
            size,
            received: 0.into(),
            expected,
            later: Mutex::new(phases),
        }
    }

    /// Touches and counts a message. Says whether the phase is over.
    #[inline]
    pub(super) fn take(&self, message: &[u8]) -> bool {
        self.check(message.len() == self.size && is_filled(message.first(), message.last()));
        self.add(1)
    }

    /// Touches and counts what is no message, by its bytes.
    pub(super) fn take_bytes(&self, bytes: &[u8]) -> bool {
        self.check(is_filled(bytes.first(), bytes.last()));
        self.add(widen(bytes.len()))
    }

    #[inline]
    pub(super) fn check(&self, is_right: bool) {
        if !is_right {
            let problem = format!(
                "it was sent something else than {} bytes of {FILL:#x}",
                self.size
            );
            let _ = Answer::Failed(problem).say();
        }
    }

    /// Not `fetch_add`, whose locked instruction costs more than all else: one thread counts at a
    /// time.
    #[inline]
    pub(super) fn add(&self, count: u64) -> bool {
        let received = self.received.load(Ordering::Relaxed) + count;
        self.received.store(received, Ordering::Relaxed);
        received == self.expected.load(Ordering::Relaxed)
    }

    /// Answers that a phase is over.
    pub(super) fn answer(&self) -> io::Result<()> {
        self.answer_with(histogram())
    }

    pub(super) fn answer_with(&self, latency: Histogram<u64>) -> io::Result<()> {
        self.received.store(0, Ordering::Relaxed);
        self.expected.store(
            self.later.lock().pop_front().unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        Answer::Received(Received {
            processor_time: clock::processor_time(),
            latency,
        })
        .say()
    }
}

fn is_filled(first: Option<&u8>, last: Option<&u8>) -> bool {
    (first, last) == (Some(&FILL), Some(&FILL))
}
