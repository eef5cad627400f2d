//! Messages of 100 bytes that say which they are and whether they are whole, and a thread that
//! sends them.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use uds_ipc::Writer;

use crate::stage::PATIENCE;

pub(crate) const MESSAGE_LEN: usize = 100;
const SUM_AT: usize = MESSAGE_LEN - 8;

/// A number, bytes that look like any, and a checksum of both.
pub(crate) fn message(number: u64) -> [u8; MESSAGE_LEN] {
    let mut message = [0; MESSAGE_LEN];
    message[..8].copy_from_slice(&number.to_le_bytes());
    fastrand::Rng::with_seed(number).fill(&mut message[8..SUM_AT]);
    let sum = checksum(&message[..SUM_AT]);
    message[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    message
}

/// The number of a message; `None` when it is not as it was sent.
pub(crate) fn number_of(message: &[u8]) -> Option<u64> {
    let message: &[u8; MESSAGE_LEN] = message.try_into().ok()?;
    let is_whole = message[SUM_AT..] == checksum(&message[..SUM_AT]).to_le_bytes();
    is_whole.then(|| u64_at(message, 0))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn checksum(bytes: &[u8]) -> u64 {
    // Its keys are always the same.
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// A thread that sends one message after the other, counted from 0, as fast as they are taken.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Load {
    pub(crate) fn start(writer: &Arc<Writer>) -> Self {
        Self::start_with(writer, message)
    }

    /// Likewise, with other messages.
    pub(crate) fn start_with<M: AsRef<[u8]> + 'static>(
        writer: &Arc<Writer>,
        message: fn(u64) -> M,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, writer) = (Arc::clone(&is_over), Arc::clone(writer));
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                writer
                    .send_timeout(message(sent).as_ref(), PATIENCE)
                    .expect("there is room soon");
                sent += 1;
            }
            sent
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }

    /// How many messages it was.
    pub(crate) fn stop(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .unwrap()
            .join()
            .expect("every message was taken")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that fails leaves no thread at work.
        self.is_over.store(true, Ordering::Relaxed);
    }
}
