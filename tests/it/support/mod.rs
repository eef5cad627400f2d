//! What the tests share: a socket path each, raw peers, readers and writers that note what happens,
//! and other processes.

pub(crate) mod acts;
#[cfg(target_os = "linux")]
pub(crate) mod cable;
mod notes;
mod process;
mod raw;
mod readers;
mod writers;

use nix::sys::resource::{Resource, getrlimit};
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

pub(crate) use crate::patience::PATIENCE;
pub(crate) use crate::shared::{SHORT, wait_until};
pub(crate) use notes::{Gate, Notes, Over, WatchedThread};
pub(crate) use process::{Child, assert_rests, ended_as, memory, python, stranger};
pub(crate) use raw::{
    RawReader, connect, frame, is_closed, read_messages, read_to_end, receipt, send_and_close,
    unframe,
};
pub(crate) use readers::{Collector, Scripted, let_pass};
pub(crate) use writers::{
    assert_balanced, assert_balanced_by_receipts, finish, finish_either, finish_with_receipts,
    numbered, send_all, writer, writer_with,
};

/// A folder of its own for each test, gone with it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("uds")
                .tempdir()
                .expect("a temporary folder"),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("s")
    }

    /// What lies in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = self.0.path().read_dir().expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Runs `act` on a thread of its own, and fails if that does not return in time.
#[track_caller]
pub(crate) fn returns<T: Send + 'static>(
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::spawn(act);
    wait_until(&format!("{what} returns"), || thread.is_finished());
    thread.join().expect("no panic")
}

/// Whether a process may have so many descriptors; says so where it may not.
pub(crate) fn may_open(descriptors: u64) -> bool {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it has a limit");
    if most < descriptors {
        skip(&format!(
            "it takes {descriptors} descriptors, and no process may have more than {most}"
        ));
    }
    most >= descriptors
}

/// Says why a test is not run here.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}
