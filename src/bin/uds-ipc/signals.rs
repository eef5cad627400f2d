//! The signals that ask the tool to stop.
//! Says when; what stopping means is the subcommand's business.

use std::error::Error;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::after;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::say;

/// Signals that follow the first within this time are the same request: timeout(1) signals its
/// child, then the child's group.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// Calls `stop` on a thread of its own at the first SIGTERM, SIGINT or SIGHUP. A further one ends
/// the process at once, with 128 and the signal's number as exit code, whatever the other threads
/// wait for.
pub(crate) fn on_first(stop: impl FnOnce() + Send + 'static) -> Result<(), Box<dyn Error>> {
    watch(stop).map_err(|error| format!("cannot wait for signals: {}", say::chain(&error)).into())
}

fn watch(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut wanted = vec![SIGTERM, SIGINT];
    // A terminal that closes sends it. Who has it ignored, as nohup(1) does, wants to go on then.
    // Where that is not known it is left as it is.
    if is_ignored(SIGHUP) == Some(false) {
        wanted.push(SIGHUP);
    }
    for signal in wanted.iter().copied() {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new(wanted)?;
    let wait = move || {
        if signals.forever().next().is_none() {
            return;
        }
        stop();
        let _ = after(SAME_REQUEST).recv();
        // Read by the signal's handler alone, and nothing else goes with it.
        stopping.store(true, Ordering::Relaxed);
        say::problem("still stopping: another signal ends it at once");
    };
    thread::Builder::new()
        .name("uds-ipc-signals".into())
        .spawn(wait)?;
    Ok(())
}

/// Whether the process was started with that signal ignored. `None` where the system does not tell.
fn is_ignored(signal: i32) -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
}
