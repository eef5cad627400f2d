//! The writer's thread: its loop over the steps, and its end.

pub(crate) mod acks;
pub(crate) mod attempt;
pub(crate) mod dial;
pub(crate) mod drop_notice;
pub(crate) mod inherit;
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod worker;

use crate::event::WriterEvent;
use crate::observer::Observer;
use crate::panic_guard::guarded;
use crate::sys::asymmetric_fence;
use crate::writer::shared::locked::Life;
use crate::writer::thread::kernel::System;
use crate::writer::thread::worker::Worker;

/// The thread.
pub(crate) fn run(mut worker: Worker<System>) {
    asymmetric_fence::prepare();
    worker.shared.scope.enter();
    while worker.take_step().is_continue() {}
    worker.end();
}

impl Worker<System> {
    /// Ends the thread.
    fn end(mut self) {
        let left = self.finish();
        let is_for_nobody = left.messages == 0 || !self.shared.lock().leaves_rest;
        if is_for_nobody {
            self.kernel.release();
        }
        self.tell(|address| WriterEvent::Stopped { address, left });
        // What the user's closure holds goes before the end is told: no caller is to wait for it
        // beyond a timeout.
        let observer = std::mem::replace(&mut self.observer, Observer::none());
        let _ = guarded(|| drop(observer));
        let notices = self.drop_notices.take();
        let _ = guarded(|| drop(notices));
        let source = self.kernel.take_source();
        let _ = guarded(|| drop(source));
        let mut locked = self.shared.lock();
        if let Life::Ended(end) = locked.life {
            locked.life = Life::Gone(end);
        }
        self.shared.notify_all(&mut locked);
    }
}
