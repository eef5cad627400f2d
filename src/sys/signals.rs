//! Which signals a thread takes.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// What a fault of the thread itself raises: blocked, it would end the process without a handler.
const RAISED_BY_FAULTS: [Signal; 7] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

/// Runs `act` with all signals blocked in this thread, but for those of faults. A thread that is
/// started in it keeps that: signals are for the program's own threads.
pub(crate) fn with_signals_blocked<T>(act: impl FnOnce() -> T) -> T {
    let mut blocked = SigSet::all();
    for signal in RAISED_BY_FAULTS {
        blocked.remove(signal);
    }
    // It fails only for what is no way to change a mask.
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = act();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}
