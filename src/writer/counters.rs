//! The writer's figures while it runs.
//! Only counts; `WriterMetrics` is what users see of it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::{Counter, Dropped, Failed, TallyCounter, WriterMetrics};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: TallyCounter,
    pub(super) queued: TallyCounter,
    pub(super) sent: TallyCounter,
    pub(super) confirmed: TallyCounter,
    pub(super) resent: TallyCounter,
    pub(super) dropped_full: TallyCounter,
    pub(super) dropped_too_large: TallyCounter,
    pub(super) dropped_closed: TallyCounter,
    pub(super) dropped_oldest: TallyCounter,
    pub(super) given_up: TallyCounter,
    pub(super) left: TallyCounter,
    pub(super) connects: Counter,
    pub(super) lost_with_unread: Counter,
    pub(super) writes: Counter,
    pub(super) observer_panics: Counter,
    connected: AtomicBool,
}

impl Counters {
    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn metrics(&self) -> WriterMetrics {
        WriterMetrics {
            accepted: self.accepted.value(),
            sent: self.sent.value(),
            confirmed: self.confirmed.value(),
            resent: self.resent.value(),
            queued: self.queued.value(),
            dropped: Dropped {
                full: self.dropped_full.value(),
                too_large: self.dropped_too_large.value(),
                closed: self.dropped_closed.value(),
                oldest: self.dropped_oldest.value(),
            },
            failed: Failed { given_up: self.given_up.value(), left: self.left.value() },
            connects: self.connects.value(),
            lost_with_unread: self.lost_with_unread.value(),
            writes: self.writes.value(),
            observer_panics: self.observer_panics.value(),
            connected: self.is_connected(),
        }
    }
}
