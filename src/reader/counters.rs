//! Counts the reader's figures while it runs: received, handled, failed and the rest.
//! `ReaderMetrics` is what users see of it.

use crate::event::CloseCause;
use crate::metrics::{Counter, ProtocolErrors, ReaderMetrics, TallyCounter};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: TallyCounter,
    pub(super) recovered: TallyCounter,
    pub(super) repeated: Counter,
    pub(super) connections: Counter,
    pub(super) open: Counter,
    pub(super) handler_errors: Counter,
    pub(super) panics: Counter,
    pub(super) too_large: Counter,
    pub(super) invalid_prefix: Counter,
    pub(super) truncated: Counter,
    pub(super) too_slow: Counter,
    pub(super) refused_peers: Counter,
    pub(super) accept_pauses: Counter,
    pub(super) threads: Counter,
}

impl Counters {
    pub(super) fn metrics(&self) -> ReaderMetrics {
        ReaderMetrics {
            received: self.received.value(),
            recovered: self.recovered.value(),
            repeated: self.repeated.value(),
            connections: self.connections.value(),
            open: self.open.value(),
            handler_errors: self.handler_errors.value(),
            panics: self.panics.value(),
            protocol_errors: ProtocolErrors {
                too_large: self.too_large.value(),
                invalid_prefix: self.invalid_prefix.value(),
                truncated: self.truncated.value(),
                too_slow: self.too_slow.value(),
            },
            refused_peers: self.refused_peers.value(),
            accept_pauses: self.accept_pauses.value(),
            threads: self.threads.value(),
        }
    }

    pub(super) fn count_end(&self, cause: &CloseCause) {
        match cause {
            CloseCause::TooLarge { .. } => self.too_large.add(1),
            CloseCause::InvalidPrefix => self.invalid_prefix.add(1),
            CloseCause::Truncated => self.truncated.add(1),
            CloseCause::TooSlow => self.too_slow.add(1),
            CloseCause::EndOfStream
            | CloseCause::Idle
            | CloseCause::Stopped
            | CloseCause::NoMemory
            | CloseCause::NotStored
            | CloseCause::Failed(_) => {}
        }
    }
}
