//! Writers here, their reader in another process.

use std::iter;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uds_ipc::{FlushLevel, Writer, WriterBuilder};

use crate::PATIENCE;
use crate::common::ReaderProcess;
use crate::messages::{Messages, Seen, to_u64};

/// What `writers` writers send to one reader, each from `producers` threads.
pub(crate) struct Pipe {
    reader: ReaderProcess,
    writers: Vec<Writer>,
    producers: u64,
    sent: Seen,
    _directory: TempDir,
}

impl Pipe {
    /// One writer with the settings of `build`, and one thread.
    pub(crate) fn new(role: &str, build: impl Fn(WriterBuilder) -> WriterBuilder) -> Self {
        Self::with(role, 1, 1, build)
    }

    pub(crate) fn with(
        role: &str,
        writers: usize,
        producers: u64,
        build: impl Fn(WriterBuilder) -> WriterBuilder,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("s");
        let reader = ReaderProcess::start(role, &path);
        let writer = |path: &Path| build(Writer::builder(path)).start().expect("a writer");
        let writers = iter::repeat_with(|| writer(&path)).take(writers).collect();
        let mut pipe = Self {
            reader,
            writers,
            producers,
            sent: Seen::default(),
            _directory: directory,
        };
        // All are connected before anything is measured.
        pipe.send(&Messages::of(1), pipe.threads());
        pipe
    }

    fn threads(&self) -> u64 {
        self.producers * to_u64(self.writers.len())
    }

    /// Sends `count` messages, shared out among the threads. Returns how long it took until the
    /// handler had had all of them.
    pub(crate) fn send(&mut self, messages: &Messages, count: u64) -> Duration {
        let threads = self.threads();
        let shares: Vec<_> = (0..threads)
            .map(|thread| count / threads + u64::from(thread < count % threads))
            .collect();
        let took = if let (&[share], [writer]) = (&shares[..], &self.writers[..]) {
            let start = Instant::now();
            send(writer, messages, share);
            finish(writer);
            start.elapsed()
        } else {
            self.send_from_threads(messages, &shares)
        };
        for share in shares {
            for (sum, part) in self.sent.0.iter_mut().zip(messages.seen(share).0) {
                *sum += part;
            }
        }
        assert_eq!(
            Seen(self.reader.figures()),
            self.sent,
            "all that was sent has come as it was"
        );
        took
    }

    fn send_from_threads(&self, messages: &Messages, shares: &[u64]) -> Duration {
        let barrier = Barrier::new(shares.len() + 1);
        let mut start = Instant::now();
        thread::scope(|scope| {
            for (share, writer) in shares.iter().zip(self.writers.iter().cycle()) {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    send(writer, messages, *share);
                    finish(writer);
                });
            }
            start = Instant::now();
            barrier.wait();
        });
        start.elapsed()
    }
}

fn send(writer: &Writer, messages: &Messages, count: u64) {
    for message in messages.take(count) {
        if writer.try_send(message).is_err() {
            writer
                .send_timeout(message, PATIENCE)
                .expect("the reader reads");
        }
    }
}

fn finish(writer: &Writer) {
    writer
        .flush(FlushLevel::Handled, PATIENCE)
        .expect("the reader reads");
}
