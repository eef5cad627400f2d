//! What a program leaves in a writer when it ends: a guard for the end of `main`, and a hook for
//! panics.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::writer::Writer;
use crate::writer::settings::{Delivery, FlushLevel};
use crate::writer::shared::{Shared, deadline};

/// How long the end of a program waits for the observer to hear of it.
const LAST_EVENT: Duration = Duration::from_millis(200);

/// Shuts a [`Writer`] down when it is dropped, whoever still has clones of it. Made by
/// [`Writer::shutdown_guard`].
#[derive(Debug)]
#[must_use = "the writer is shut down when this is dropped: keep it until the end of `main`"]
pub struct ShutdownGuard {
    writer: Writer,
    timeout: Duration,
}

impl Writer {
    /// A guard whose drop [shuts this writer down](Self::shutdown): for writers of which a clone
    /// is never dropped, as in a global subscriber or logger, or in a `static`. What was left then
    /// the observer hears, in [`Stopped`](crate::event::WriterEvent::Stopped): the guard waits for
    /// that too, up to 200 ms. Call `shutdown` yourself to have its report.
    ///
    /// Bind it at the beginning of `main`: it is dropped when `main` returns, and when it panics.
    ///
    /// ```
    /// use std::time::Duration;
    /// use uds_ipc::Writer;
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// # let reader = uds_ipc::Reader::builder(&path).bind()?.start(|_| ())?;
    ///
    /// let writer = Writer::start(&path)?;
    /// let guard = writer.shutdown_guard(Duration::from_secs(2));
    /// writer.try_send("started")?;
    /// // At the end of `main`:
    /// drop(guard);
    /// assert_eq!(writer.metrics().sent.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown_guard(&self, timeout: Duration) -> ShutdownGuard {
        ShutdownGuard {
            writer: self.clone(),
            timeout,
        }
    }

    /// From now on each panic in this process waits up to `timeout` until what was sent before it
    /// is written (with `AtLeastOnce`: handled), after all panic hooks that are set already.
    ///
    /// It is for what a program says last before it ends: a panic hook runs also with
    /// `panic = "abort"`, where no drop does. A panic that is caught waits as well, but for those
    /// on the writer's own thread. It does not keep the writer alive. A second call for the same
    /// writer changes nothing, and nor does one from a thread that panics. Set your own hooks
    /// before, or have them call this one.
    pub fn flush_on_panic(&self, timeout: Duration) {
        if thread::panicking() || self.shared.flushes_on_panic.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let _alone = SETTING_HOOK.lock();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // First, since it may send what it has to say.
            before(info);
            if let Some(shared) = shared.upgrade() {
                last_words(&shared, timeout);
            }
        }));
    }
}

/// Of two that take the hook at once and set their own, one would be lost.
static SETTING_HOOK: Mutex<()> = Mutex::new(());

fn last_words(shared: &Shared, timeout: Duration) {
    let level = match shared.delivery {
        Delivery::AtMostOnce => FlushLevel::Written,
        Delivery::AtLeastOnce => FlushLevel::Handled,
    };
    // There is nobody to tell whether they were. (On the writer's own thread it returns at once.)
    let _ = shared.flush(level, deadline(timeout));
}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        let _ = self.writer.shutdown(self.timeout);
        // The process may end now: let the thread tell first what was left.
        self.writer.thread.wait_to_be_gone(LAST_EVENT);
    }
}
