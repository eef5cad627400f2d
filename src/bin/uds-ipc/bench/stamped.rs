//! Messages of this crate that carry the time at which they were sent, and a reader that looks how
//! long they took. At what pace they are sent is decided elsewhere.

use std::error::Error;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::Writer;

use super::answers::histogram;
use super::cases::{PACED_SIZE, Stream};
use super::clock;
use super::counter::{Counter, FILL};
use super::failure::Failure;
use super::ours::{self, finish, send_late, serve};
use super::processes::{Present, Reader};
use super::target::Target;

pub(super) struct Stamped {
    writer: Writer,
    present: Present,
    message: [u8; PACED_SIZE],
}

impl Stamped {
    pub(super) fn new(reader: &Reader, present: Present) -> Result<Self, Failure> {
        Ok(Self {
            writer: ours::writer(reader.place())?.start()?,
            present,
            message: [FILL; PACED_SIZE],
        })
    }

    pub(super) fn finish(&self) -> Result<(), Failure> {
        finish(&self.writer)
    }
}

impl Target for Stamped {
    fn try_send(&mut self, now: u64) -> bool {
        if let Some(stamp) = self.message.first_chunk_mut() {
            *stamp = now.to_le_bytes();
        }
        self.writer.try_send(&self.message).is_ok()
    }

    fn send_late(&mut self) -> Result<(), Failure> {
        send_late(&self.writer, &self.present, || &self.message)
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        let _ = self.writer.shutdown(Duration::ZERO);
    }
}

pub(super) fn receive(
    stream: Stream,
    path: &Path,
    counter: &Arc<Counter>,
) -> Result<(), Box<dyn Error>> {
    let counter = Arc::clone(counter);
    let latency = Mutex::new(histogram());
    serve(stream, path, move |message| {
        let stamp = message
            .first_chunk()
            .map(|stamp| u64::from_le_bytes(*stamp));
        counter.check(message.len() == PACED_SIZE && message.last() == Some(&FILL));
        let mut latency = latency.lock();
        latency.saturating_record(clock::now().saturating_sub(stamp.unwrap_or(0)));
        if counter.add(1) {
            counter.answer_with(mem::replace(&mut latency, histogram()))
        } else {
            Ok(())
        }
    })
}
