//! A reader in a process of its own: the bench program, started again in the role of one.

#[path = "../../tests/again/mod.rs"]
mod again;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};

use again::{Process, this_program};

/// What the first argument of such a process says.
const MARK: &str = "as-reader";

/// The role that this process was started for, and the path of its socket. `None` in the bench
/// itself.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    Some((
        arguments.next()?.into_string().ok()?,
        arguments.next()?.into(),
    ))
}

/// In the other process: answers each line that comes with the figures of that moment, until no
/// more can come.
pub(crate) fn answer<const N: usize>(figures: impl Fn() -> [u64; N]) {
    println!();
    for _ in std::io::stdin().lines() {
        println!("{}", figures().map(|figure| figure.to_string()).join(" "));
    }
}

/// The process that reads.
pub(crate) struct ReaderProcess {
    process: Process,
    answers: Lines<BufReader<ChildStdout>>,
}

impl ReaderProcess {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(role: &str, path: &Path) -> Self {
        let mut command = this_program();
        command
            .args([OsStr::new(MARK), OsStr::new(role), path.as_os_str()])
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command).expect("a process");
        let answers = process.child.stdout.take().expect("it is piped");
        let answers = BufReader::new(answers).lines();
        let mut process = Self { process, answers };
        process.answer();
        process
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("an answer").expect("an answer")
    }

    /// What it says of itself now.
    pub(crate) fn figures<const N: usize>(&mut self) -> [u64; N] {
        self.process.say("");
        let numbers: Vec<_> = self
            .answer()
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        numbers.try_into().expect("as many as it has")
    }
}

impl Drop for ReaderProcess {
    fn drop(&mut self) {
        // It ends when nobody can ask it any more.
        self.process.end();
    }
}
