//! Counts the writer's figures while it runs: sent, dropped, failed and the rest.
//! `WriterMetrics` is what users see of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::metrics::{Counter, Dropped, Failed, Tally, TallyCounter, WriterMetrics};
use crate::writer::lane::Lane;
use crate::writer::settings::{Delivery, Limits};

/// How many lanes there are at most. Threads beyond send under the queue's lock.
pub(crate) const MOST_LANES: usize = 64;

#[derive(Debug)]
pub(crate) struct Counters {
    delivery: Delivery,
    /// The most that the queue holds.
    pub(crate) capacity: Tally,
    /// Under the lock, not in a lane.
    pub(crate) accepted: TallyCounter,
    lanes: [OnceLock<Arc<Lane>>; MOST_LANES],
    pub(crate) sent: TallyCounter,
    pub(crate) confirmed: TallyCounter,
    pub(crate) resent: TallyCounter,
    dropped_full: TallyCounter,
    pub(crate) dropped_too_large: TallyCounter,
    pub(crate) dropped_empty: TallyCounter,
    pub(crate) dropped_closed: TallyCounter,
    dropped_oldest: TallyCounter,
    pub(crate) given_up: TallyCounter,
    pub(crate) left: TallyCounter,
    pub(crate) connects: Counter,
    pub(crate) lost_with_unread: Counter,
    pub(crate) writes: Counter,
    pub(crate) observer_panics: Counter,
    connected: AtomicBool,
    /// When the first message was dropped that no notice has told of: in microseconds since 1970,
    /// or 0.
    first_drop: AtomicU64,
    since_1970: fn() -> Duration,
}

impl Counters {
    /// `since_1970` is the clock on the wall.
    pub(crate) fn new(delivery: Delivery, limits: Limits, since_1970: fn() -> Duration) -> Self {
        Self {
            delivery,
            capacity: Tally {
                messages: limits.messages,
                bytes: limits.bytes,
            },
            accepted: TallyCounter::default(),
            lanes: [const { OnceLock::new() }; MOST_LANES],
            sent: TallyCounter::default(),
            confirmed: TallyCounter::default(),
            resent: TallyCounter::default(),
            dropped_full: TallyCounter::default(),
            dropped_too_large: TallyCounter::default(),
            dropped_empty: TallyCounter::default(),
            dropped_closed: TallyCounter::default(),
            dropped_oldest: TallyCounter::default(),
            given_up: TallyCounter::default(),
            left: TallyCounter::default(),
            connects: Counter::default(),
            lost_with_unread: Counter::default(),
            writes: Counter::default(),
            observer_panics: Counter::default(),
            connected: AtomicBool::default(),
            first_drop: AtomicU64::default(),
            since_1970,
        }
    }

    /// Adds what is accepted in `lane` to the figures from now on. There are no more than
    /// [`MOST_LANES`].
    pub(crate) fn add_lane(&self, lane: Arc<Lane>) {
        if let Some(place) = self.lanes.iter().find(|place| place.get().is_none()) {
            // Only the holder of the queue's lock fills them.
            let _ = place.set(lane);
        }
    }

    fn accepted(&self) -> Tally {
        let lanes = self.lanes.iter().map_while(OnceLock::get);
        lanes.fold(self.accepted.value(), |sum, lane| sum + lane.accepted())
    }

    /// Counts what there was no room for.
    pub(crate) fn add_full(&self, refused: Tally) {
        self.note_drop();
        self.dropped_full.add(refused);
    }

    /// Counts what was dropped to make room.
    pub(crate) fn add_oldest(&self, evicted: Tally) {
        self.note_drop();
        self.dropped_oldest.add(evicted);
    }

    fn note_drop(&self) {
        if self.first_drop.load(Ordering::Relaxed) == 0 {
            let now = (self.since_1970)().as_micros();
            let now = u64::try_from(now).unwrap_or_default();
            self.first_drop.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped_for_room(&self) -> Tally {
        self.dropped_full.value() + self.dropped_oldest.value()
    }

    /// When the first message was dropped since this was last asked, since 1970; now, where that is
    /// not told yet.
    pub(crate) fn take_first_drop(&self) -> Duration {
        match self.first_drop.swap(0, Ordering::Relaxed) {
            0 => (self.since_1970)(),
            micros => Duration::from_micros(micros),
        }
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> WriterMetrics {
        // First: what ends meanwhile must not seem to be more than there was.
        let accepted = self.accepted();
        fence(Ordering::Acquire);
        let (sent, confirmed) = (self.sent.value(), self.confirmed.value());
        let dropped = Dropped {
            full: self.dropped_full.value(),
            too_large: self.dropped_too_large.value(),
            empty: self.dropped_empty.value(),
            closed: self.dropped_closed.value(),
            oldest: self.dropped_oldest.value(),
        };
        let failed = Failed {
            given_up: self.given_up.value(),
            left: self.left.value(),
        };
        let done = match self.delivery {
            Delivery::AtMostOnce => sent,
            Delivery::AtLeastOnce => confirmed,
        };
        WriterMetrics {
            accepted,
            sent,
            confirmed,
            resent: self.resent.value(),
            capacity: self.capacity,
            queued: accepted.beyond(done + dropped.oldest + failed.total()),
            dropped,
            failed,
            connects: self.connects.value(),
            lost_with_unread: self.lost_with_unread.value(),
            writes: self.writes.value(),
            observer_panics: self.observer_panics.value(),
            connected: self.is_connected(),
        }
    }
}
