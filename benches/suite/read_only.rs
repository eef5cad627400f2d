//! A reader alone: its socket is filled while its handler waits, and the clock runs from when that
//! goes on until it has had all that was there.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use criterion::Criterion;
use parking_lot::Mutex;
use uds_ipc::{Handler, Peer, Reader};

use crate::PATIENCE;
use crate::messages::{Messages, to_u64};
use crate::reader::Touch;

/// A frame with the one message for which the handler waits.
const GATE: &[u8] = &[1, 0];

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ReadOnly");
    for (name, len) in [("100 B", 100), ("1 KiB", 1024), ("10 KiB", 10 * 1024)] {
        let messages = Messages::of(len);
        group.throughput(messages.throughput());
        let mut filled = Filled::new(&messages.frame());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| filled.read(count));
        });
    }
}

/// A connection to a reader.
struct Filled {
    frame_len: usize,
    frames: Vec<u8>,
    /// How much of a frame the last round ended with.
    begun: usize,
    stream: UnixStream,
    waits: Receiver<()>,
    go_on: Sender<u64>,
    took: Receiver<Duration>,
    _reader: Reader,
}

impl Filled {
    fn new(frame: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("s");
        let (waiting, waits) = channel();
        let (go_on, goes_on) = channel();
        let (taking, took) = channel();
        let turn = Mutex::new(Turn {
            waiting,
            goes_on,
            taking,
            start: Instant::now(),
        });
        let gate = Gate {
            touch: Touch::default(),
            left: AtomicU64::new(0),
            turn,
        };
        let reader = Reader::builder(&path)
            .bind()
            .expect("a socket")
            .start_handler(gate)
            .expect("a reader");
        let stream = UnixStream::connect(&path).expect("a connection");
        let frame_len = frame.len();
        let frames = frame.repeat((64 * 1024_usize).div_ceil(frame_len));
        Self {
            frame_len,
            frames,
            begun: 0,
            stream,
            waits,
            go_on,
            took,
            _reader: reader,
        }
    }

    /// Has `count` messages read, as many at a time as the socket holds. Returns how long that
    /// took.
    fn read(&mut self, count: u64) -> Duration {
        let mut took = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            if self.begun > 0 {
                self.stream
                    .write_all(&self.frames[self.begun..self.frame_len])
                    .expect("a reader");
                self.begun = 0;
            }
            self.stream.write_all(GATE).expect("a reader");
            self.waits
                .recv_timeout(PATIENCE)
                .expect("it comes to the handler");
            let whole = self.fill(left);
            self.go_on.send(whole).expect("a handler");
            took += self
                .took
                .recv_timeout(PATIENCE)
                .expect("all of them come to the handler");
            left -= whole;
        }
        took
    }

    /// Writes up to `most` messages, while there is room for them. Returns how many are there
    /// whole.
    fn fill(&mut self, most: u64) -> u64 {
        self.stream.set_nonblocking(true).expect("a socket");
        let most = usize::try_from(most)
            .expect("a size")
            .saturating_mul(self.frame_len);
        let mut written = 0;
        while written < most {
            let begun = written % self.frame_len;
            let part = &self.frames[begun..];
            match self.stream.write(&part[..part.len().min(most - written)]) {
                Ok(len) => written += len,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    break;
                }
            }
        }
        self.stream.set_nonblocking(false).expect("a socket");
        self.begun = written % self.frame_len;
        to_u64(written / self.frame_len)
    }
}

struct Gate {
    touch: Touch,
    /// How many messages are still to come until the clock stops.
    left: AtomicU64,
    turn: Mutex<Turn>,
}

struct Turn {
    waiting: Sender<()>,
    goes_on: Receiver<u64>,
    taking: Sender<Duration>,
    start: Instant,
}

impl Handler for Gate {
    type Error = Infallible;

    #[inline]
    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Infallible> {
        self.touch.message(message, peer)?;
        // There is one connection, so that this needs no atomic subtraction.
        let left = self.left.load(Ordering::Relaxed);
        if left > 1 {
            self.left.store(left - 1, Ordering::Relaxed);
        } else {
            self.last(message);
        }
        Ok(())
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), Infallible> {
        self.touch.batch_end(peer)
    }
}

impl Gate {
    #[cold]
    fn last(&self, message: &[u8]) {
        let mut turn = self.turn.lock();
        if self.left.swap(0, Ordering::Relaxed) == 1 {
            let _ = turn.taking.send(turn.start.elapsed());
        } else if message.len() == 1 {
            let _ = turn.waiting.send(());
            // Without a word there is no more to come.
            self.left
                .store(turn.goes_on.recv().unwrap_or(0), Ordering::Relaxed);
            turn.start = Instant::now();
        }
    }
}
