//! `uds-ipc bench-reader`: the other process of a turn.
//! Counts, touches and answers; it ends with the process that started it.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::answers::{Answer, Received, histogram};
use super::cases::Contender;
use super::numbers::widen;
use super::{clock, handwritten, ours, raw, stamped};
use crate::say;

/// Of which all messages consist: what comes is compared with it.
pub(super) const FILL: u8 = 0x5a;

/// The reader's role of a bench, which starts it itself
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    contender: Contender,

    /// The length of each message
    size: usize,

    /// Where to listen
    path: PathBuf,

    /// How many to expect before each answer
    #[arg(required = true)]
    phases: Vec<u64>,
}

/// Receives on a thread of its own, and waits for the end of the other process.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let counter = Arc::new(Counter::new(options.size, options.phases));
    let receive = move || {
        let (path, counter) = (&options.path, &counter);
        let received = match options.contender {
            Contender::Ours => ours::receive(path, counter),
            Contender::Raw => raw::receive(path, counter),
            Contender::Handwritten => handwritten::receive(path, counter),
            Contender::Stamped => stamped::receive(path, counter),
        };
        if let Err(error) = received {
            let _ = Answer::Failed(say::chain(&*error)).say();
        }
    };
    thread::Builder::new()
        .name("uds-ipc-receive".into())
        .spawn(receive)?;
    // Nothing is ever written to it.
    let _ = io::stdin().lock().read(&mut [0]);
    Ok(ExitCode::SUCCESS)
}

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
    fn new(size: usize, phases: Vec<u64>) -> Self {
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
