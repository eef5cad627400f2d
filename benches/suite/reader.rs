//! The readers' process.

use std::cell::Cell;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use uds_ipc::{Handler, Peer, Reader};

use crate::common;
use crate::messages::Seen;

/// What the process may be started for.
pub(crate) const TOUCH: &str = "touch";
pub(crate) const TOUCH_IN_10_US: &str = "touch in 10 µs";
pub(crate) const TOUCH_IN_100_US: &str = "touch in 100 µs";
pub(crate) const NOTE_DELAYS: &str = "note delays";

/// Reads until nobody can ask it any more.
pub(crate) fn read(role: &str, path: &Path) {
    let bound = Reader::builder(path).bind().expect("a socket");
    if role == NOTE_DELAYS {
        let delays = Arc::new(Delays::default());
        let _reader = bound.start_handler(Arc::clone(&delays)).expect("a reader");
        common::answer(|| delays.figures());
        return;
    }
    let work = match role {
        TOUCH_IN_10_US => Duration::from_micros(10),
        TOUCH_IN_100_US => Duration::from_micros(100),
        _ => Duration::ZERO,
    };
    let touched = Arc::new(Touch {
        work,
        ..Touch::default()
    });
    let _reader = bound.start_handler(Arc::clone(&touched)).expect("a reader");
    common::answer(|| touched.seen().0);
}

/// Looks at each message.
#[derive(Debug, Default)]
pub(crate) struct Touch {
    /// How long it is at work on each.
    work: Duration,
    total: [AtomicU64; 3],
}

impl Touch {
    pub(crate) fn seen(&self) -> Seen {
        Seen(
            self.total
                .each_ref()
                .map(|total| total.load(Ordering::Relaxed)),
        )
    }
}

thread_local! {
    /// A batch comes from one thread: so a message costs no atomic addition.
    static BATCH: Cell<Seen> = const { Cell::new(Seen([0; 3])) };
}

impl Handler for Touch {
    type Error = Infallible;

    #[inline]
    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        let mut seen = BATCH.get();
        seen.add(message);
        BATCH.set(seen);
        if !self.work.is_zero() {
            let start = Instant::now();
            while start.elapsed() < self.work {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    fn batch_end(&self, _: &Peer) -> Result<(), Infallible> {
        for (total, part) in self.total.iter().zip(BATCH.take().0) {
            total.fetch_add(part, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The system's clock, which both processes read.
pub(crate) fn nanoseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is not before 1970");
    u64::try_from(since.as_nanos()).expect("it is before 2554")
}

/// Notes how long ago each message says that it was sent.
#[derive(Debug, Default)]
struct Delays(Mutex<Vec<u64>>);

impl Delays {
    fn figures(&self) -> [u64; 5] {
        figures(&self.0.lock())
    }
}

/// How many delays there are, their sum, and p50, p99 and the longest.
pub(crate) fn figures(delays: &[u64]) -> [u64; 5] {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    let at = |part: usize| {
        sorted
            .get(sorted.len() * part / 1000)
            .or(sorted.last())
            .copied()
            .unwrap_or(0)
    };
    [
        crate::messages::to_u64(sorted.len()),
        sorted.iter().sum(),
        at(500),
        at(990),
        at(1000),
    ]
}

impl Handler for Delays {
    type Error = Infallible;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Infallible> {
        let now = nanoseconds();
        let sent = message
            .first_chunk()
            .map_or(now, |sent| u64::from_le_bytes(*sent));
        self.0.lock().push(now.saturating_sub(sent));
        Ok(())
    }
}
