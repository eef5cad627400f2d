//! `membarrier(2)`: a memory fence in all threads of the process.
//! Not on Android, whose filter of system calls ends a process for a call it does not know.

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers the process, which the kernel wants first. Says whether it can be had.
pub(in crate::sys) fn register() -> bool {
    cfg!(target_os = "linux") && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
}

/// Has all threads of the process pass a fence. Says whether they did.
pub(in crate::sys) fn fence_all_threads() -> bool {
    membarrier(MembarrierCommand::PrivateExpedited).is_ok()
}
