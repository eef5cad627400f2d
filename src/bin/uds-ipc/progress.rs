//! The line that shows a person how far sending has come.
//! Hidden, and without a thread, where standard error is no terminal.

use std::fmt::{self, Display};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, select, tick};
use indicatif::{HumanFloatCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use uds_ipc::Writer;
use uds_ipc::metrics::WriterMetrics;

use crate::say;

const INTERVAL: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{human_pos} messages sent, {rate}, {msg}";

#[derive(Clone)]
pub(crate) struct Progress(ProgressBar);

/// Shows a writer's figures until it is dropped.
pub(crate) struct Following {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        // Not drawn where that is no terminal.
        let bar =
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message("0");
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        // Of the style's own there is one with four decimals only.
        let rate = |state: &ProgressState, line: &mut dyn fmt::Write| {
            let _ = write!(line, "{}/s", HumanFloatCount(state.per_sec().round()));
        };
        Self(bar.with_style(style.with_key("rate", rate)))
    }

    /// Says what went wrong, above the line.
    pub(crate) fn problem(&self, text: impl Display) {
        self.0.suspend(|| say::problem(text));
    }

    pub(crate) fn follow(&self, writer: &Arc<Writer>) -> Following {
        let (over, is_over) = bounded::<()>(0);
        let (bar, writer) = (self.0.clone(), Arc::clone(writer));
        let input_len = input_len();
        let show = move || {
            let ticks = tick(INTERVAL);
            loop {
                select! {
                    recv(ticks) -> _ => {
                        let metrics = writer.metrics();
                        bar.set_position(metrics.sent.messages);
                        bar.set_message(state(&metrics, input_len));
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

/// How much waits, and how much of a file that is the input has been sent.
fn state(metrics: &WriterMetrics, input_len: Option<u64>) -> String {
    let queued = metrics.queued.messages;
    let share = input_len.and_then(|len| {
        // A byte between two messages: a newline, or the length of a short one.
        let sent = metrics.sent.bytes + metrics.sent.messages;
        sent.saturating_mul(100).checked_div(len)
    });
    match share {
        Some(share) => format!("{queued} in the queue, {}% of the input", share.min(100)),
        None => format!("{queued} in the queue"),
    }
}

/// How long standard input is, where it is a file.
fn input_len() -> Option<u64> {
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(input).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
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
        assert_eq!(state(&metrics, None), "7 in the queue");
        assert_eq!(
            state(&metrics, Some(400)),
            "7 in the queue, 25% of the input"
        );
        assert_eq!(
            state(&metrics, Some(99)),
            "7 in the queue, 100% of the input"
        );
        assert_eq!(state(&metrics, Some(0)), "7 in the queue");
    }
}
