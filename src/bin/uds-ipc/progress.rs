//! The line that shows a person how far sending has come.
//! Hidden, and without a thread, where standard error is no terminal.

use std::fmt::Display;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, select, tick};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uds_ipc::Writer;

use crate::say;

const INTERVAL: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{human_pos} messages sent, {per_sec}, {msg} in the queue";

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
        Self(
            bar.with_style(
                ProgressStyle::with_template(TEMPLATE)
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            ),
        )
    }

    /// Says what went wrong, above the line.
    pub(crate) fn problem(&self, text: impl Display) {
        self.0.suspend(|| say::problem(text));
    }

    pub(crate) fn follow(&self, writer: &Arc<Writer>) -> Following {
        let (over, is_over) = bounded::<()>(0);
        let (bar, writer) = (self.0.clone(), Arc::clone(writer));
        let show = move || {
            let ticks = tick(INTERVAL);
            loop {
                select! {
                    recv(ticks) -> _ => {
                        let metrics = writer.metrics();
                        bar.set_position(metrics.sent.messages);
                        bar.set_message(metrics.queued.messages.to_string());
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

impl Drop for Following {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
