//! What systemd is told: ready, how it is, that it is alive, that it stops.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// How often the status may change.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Called from the relay's own loop, so that a loop that hangs is noticed.
pub(crate) struct Notify {
    /// How often systemd wants to be told.
    watchdog: Option<Duration>,
    told_alive: Option<Instant>,
    told_status: Option<Instant>,
    status: String,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            told_alive: None,
            told_status: None,
            status: String::new(),
        }
    }

    /// The loop goes on; this is how it is.
    pub(crate) fn alive(&mut self, now: Instant, status: impl FnOnce() -> String) {
        let is_due = |told: Option<Instant>, interval| {
            told.is_none_or(|told| now.duration_since(told) >= interval)
        };
        if let Some(interval) = self.watchdog
            && is_due(self.told_alive, interval)
        {
            self.told_alive = Some(now);
            notify(&[NotifyState::Watchdog]);
        }
        if is_due(self.told_status, STATUS_INTERVAL) {
            self.told_status = Some(now);
            let status = status();
            if status != self.status {
                notify(&[NotifyState::Status(&status.replace('\n', " "))]);
                self.status = status;
            }
        }
    }
}

pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Outside of systemd this does nothing; that systemd is deaf is no reason to stop.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd is not told");
    }
}
