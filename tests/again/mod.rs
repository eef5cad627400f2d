//! Another process, as a rule this program again, in another role. What it does there is not told
//! here.

use std::env;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::patience::PATIENCE;

/// This program, to be started once more.
pub(crate) fn this_program() -> Command {
    Command::new(env::current_exe().expect("the file of this program"))
}

/// A process that does not outlive whoever holds this: it is killed then. Its standard input is
/// ours, and ends before it has to.
pub(crate) struct Process {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// Says a line to it.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("it is piped"), "{line}").expect("it listens");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_some()
    }

    /// Ends its standard input, and waits for its own end.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "patience has an end")]
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.input = None;
        let start = Instant::now();
        while !self.has_ended() {
            assert!(start.elapsed() < PATIENCE, "the process does not end");
            thread::park_timeout(Duration::from_micros(200));
        }
        let status = self.child.wait().expect("a process");
        // There a test that is a process of its own says so that it went well.
        #[cfg(panic = "abort")]
        if status.code() == Some(50) {
            return std::os::unix::process::ExitStatusExt::from_raw(0);
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // That is SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
