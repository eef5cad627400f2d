//! The line that shows a person how far sending has come.
//! Hidden, and without a thread, where standard error is no terminal.

use std::fmt::Display;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, select, tick};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uds_ipc::Writer;
use uds_ipc::metrics::WriterMetrics;

use crate::say;
use crate::speed::Speed;

const INTERVAL: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{human_pos} messages sent, {msg}";

#[derive(Clone)]
pub(crate) struct Progress(ProgressBar);

/// Shows a writer's figures until it is dropped.
pub(crate) struct Following {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn new(is_hidden: bool) -> Self {
        let target = if is_hidden {
            ProgressDrawTarget::hidden()
        } else {
            // Not drawn where that is no terminal.
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message("0");
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self(bar.with_style(style))
    }

    /// Says what went wrong, above the line.
    pub(crate) fn problem(&self, text: impl Display) {
        self.0.suspend(|| say::problem(text));
    }

    /// Shows how far a writer has come, with an input of so many bytes where that is known.
    pub(crate) fn follow(&self, writer: &Arc<Writer>, input_len: Option<u64>) -> Following {
        let (over, is_over) = bounded::<()>(0);
        let (bar, writer) = (self.0.clone(), Arc::clone(writer));
        let show = move || {
            let ticks = tick(INTERVAL);
            let mut speed = Speed::default();
            loop {
                select! {
                    recv(ticks) -> now => {
                        let metrics = writer.metrics();
                        if let Ok(now) = now {
                            speed.note(now, metrics.sent);
                        }
                        bar.set_position(metrics.sent.messages);
                        bar.set_message(state(&metrics, &speed, input_len));
                    }
                    recv(is_over) -> _ => break,
                }
            }
            bar.finish_and_clear();
        };
        // It is worth showing, not worth failing for.
        let thread = if self.0.is_hidden() {
            None
        } else {
            thread::Builder::new()
                .name("uds-ipc-progress".into())
                .spawn(show)
                .ok()
        };
        Following {
            over: Some(over),
            thread,
        }
    }
}

/// How fast it goes, how much waits, and how much of a file that is the input has been sent.
fn state(metrics: &WriterMetrics, speed: &Speed, input_len: Option<u64>) -> String {
    let queued = metrics.queued.messages;
    let share = input_len.and_then(|len| {
        // A byte between two messages: a newline, or the length of a short one.
        let sent = metrics.sent.bytes + metrics.sent.messages;
        sent.saturating_mul(100).checked_div(len)
    });
    match share {
        Some(share) => format!(
            "{speed}, {queued} in the queue, {}% of the input",
            share.min(100)
        ),
        None => format!("{speed}, {queued} in the queue"),
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_the_share_that_has_been_sent_is_shown() {
        let mut metrics = WriterMetrics::default();
        metrics.queued.messages = 7;
        (metrics.sent.messages, metrics.sent.bytes) = (10, 90);
        for (input_len, expected) in [
            (None, "0/s, 0 B/s, 7 in the queue"),
            (Some(400), "0/s, 0 B/s, 7 in the queue, 25% of the input"),
            (Some(99), "0/s, 0 B/s, 7 in the queue, 100% of the input"),
            (Some(0), "0/s, 0 B/s, 7 in the queue"),
        ] {
            assert_eq!(state(&metrics, &Speed::default(), input_len), expected);
        }
    }
}
