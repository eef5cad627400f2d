//! What the tests over sockets and those of whole processes share: waiting for a condition, and a
//! test that runs again in another process.

use std::io::{self, Read};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::again::this_program;
use crate::patience::PATIENCE;

/// A timeout that a test means to see the end of.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// How late what has a timeout may be, on a machine that has much else to do.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// Waits until `is_so`; fails with `what` when patience is over.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::park_timeout(Duration::from_micros(200));
    }
}

/// Whoever runs the tests may have left them descriptors, as `flock FILE cargo test` does: a role
/// has none but the standard streams. More a shell cannot name.
const CLEAN: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";

/// How to run the test `name` again, in a process of its own. A shell does `setup` first, and
/// becomes the program.
pub(crate) fn this_test(name: &str, setup: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("set -e\n{CLEAN}\n{setup}\nexec \"$0\" \"$@\""))
        .arg(this_program().get_program())
        .args(["--exact", name, "--nocapture", "--test-threads=1"]);
    if cfg!(panic = "abort") {
        // There each test has a process of its own, and this is how it is asked for: without it
        // there would be another process between the two.
        command.env("__RUST_TEST_INVOKE", name);
    }
    command
}

/// In another role: waits until the process that began it has ended, or wants the end.
pub(crate) fn wait_for_cue() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}
