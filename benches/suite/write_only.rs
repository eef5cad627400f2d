//! Enqueueing alone. The queue has room for a burst, and nobody reads while the clock runs: the
//! writer's thread fills the socket and waits. After each burst all of it is read, so that the next
//! finds the memory of this one.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use tempfile::TempDir;
use uds_ipc::Writer;

use crate::PATIENCE;
use crate::messages::{Messages, to_u64};

/// What a thread sends in a burst.
const BURST_LEN: u64 = 1 << 20;

/// A way to send a message.
type Send<'a> = &'a (dyn Fn(&Writer) + Sync);

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("WriteOnly");
    for (name, len) in [("100 B", 100), ("1 KiB", 1024)] {
        let messages = Messages::of(len);
        let message = messages.first();
        group.throughput(messages.throughput());
        let copied = |writer: &Writer| writer.try_send(message).expect("there is room");
        let owned = |writer: &Writer| writer.try_send(message.to_vec()).expect("there is room");
        let encoded = |writer: &Writer| {
            writer
                .try_send_with(|buffer| buffer.extend_from_slice(message))
                .expect("there is room");
        };
        for threads in [1, 4] {
            let ways: [(_, Send<'_>); 3] = [
                ("copied", &copied),
                ("owned", &owned),
                ("encoded", &encoded),
            ];
            for (how, send) in ways {
                let mut bursts = Bursts::new(threads, messages.frame().len());
                group.bench_function(format!("{name}, {how}, threads: {threads}"), |bencher| {
                    bencher.iter_custom(|count| bursts.send(count, send));
                });
            }
        }
    }
}

struct Bursts {
    threads: u64,
    frame_len: u64,
    writer: Writer,
    stream: UnixStream,
    _directory: TempDir,
}

impl Bursts {
    fn new(threads: u64, frame_len: usize) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        let frame_len = to_u64(frame_len);
        let capacity = usize::try_from(threads * BURST_LEN).expect("a size");
        let builder = Writer::builder(&path)
            .max_queued_messages(capacity)
            .write_timeout(PATIENCE);
        let writer = builder.start().expect("a writer");
        let (stream, _) = listener.accept().expect("a connection");
        Self {
            threads,
            frame_len,
            writer,
            stream,
            _directory: directory,
        }
    }

    /// Sends `count` messages. Returns how long that took, from the first thread's beginning to the
    /// last one's end.
    fn send(&mut self, count: u64, send: Send<'_>) -> Duration {
        let most = self.threads * (BURST_LEN / self.frame_len);
        let mut took = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let burst = left.min(most);
            took += self.burst(burst, send);
            self.read(burst * self.frame_len);
            left -= burst;
        }
        took
    }

    fn burst(&self, count: u64, send: Send<'_>) -> Duration {
        let run = |share: u64| {
            let start = Instant::now();
            (0..share).for_each(|_| send(&self.writer));
            (start, Instant::now())
        };
        if self.threads == 1 {
            let (start, end) = run(count);
            return end - start;
        }
        let barrier = Barrier::new(usize::try_from(self.threads).expect("a number"));
        let (barrier, run) = (&barrier, &run);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| count / self.threads + u64::from(thread < count % self.threads))
                .map(|share| {
                    scope.spawn(move || {
                        barrier.wait();
                        run(share)
                    })
                })
                .collect();
            let times: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect();
            let start = times
                .iter()
                .map(|(start, _)| *start)
                .min()
                .expect("a thread");
            let end = times.iter().map(|(_, end)| *end).max().expect("a thread");
            end - start
        })
    }

    fn read(&mut self, mut left: u64) {
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let len = self.stream.read(&mut buffer).expect("a writer");
            assert_ne!(len, 0, "the writer is there");
            left -= to_u64(len);
        }
    }
}
