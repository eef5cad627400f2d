//! The handle of a background thread: start, join, and the check for a forked child.
//! What the thread does, and how it is stopped, is its owner's.

use std::io;
use std::mem;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::sys::fork::HomeProcess;
use crate::sys::with_signals_blocked;

/// The handle of a thread, and the process that has it. A child made by `fork` inherits the object,
/// but no thread.
#[derive(Debug)]
pub(crate) struct OwnThread {
    handle: Mutex<Option<JoinHandle<()>>>,
    process: HomeProcess,
}

impl OwnThread {
    /// Starts a thread that takes no signals. `run` must not panic: the panic would be lost.
    pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = thread::Builder::new().name(name.to_owned());
        let handle = with_signals_blocked(|| thread.spawn(run))?;
        Ok(Self {
            handle: Mutex::new(Some(handle)),
            process: HomeProcess::this(),
        })
    }

    /// No thread, but the fork guard all the same.
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn none() -> Self {
        Self {
            handle: Mutex::new(None),
            process: HomeProcess::this(),
        }
    }

    /// Whether this process is the one that started the thread: false in a forked child.
    pub(crate) fn is_of_this_process(&self) -> bool {
        !self.process.is_elsewhere_for_certain()
    }

    /// Waits for the thread's end, and so do further calls that come meanwhile.
    pub(crate) fn join(&self) {
        if let Some(handle) = self.handle.lock().take() {
            let _ = handle.join();
        }
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            // A thread of the child's own may lie where the parent's did: to drop the handle would
            // detach that thread.
            #[expect(
                clippy::mem_forget,
                reason = "the handle is of no thread of this process"
            )]
            mem::forget(self.handle.get_mut().take());
        }
    }
}
