//! The two ends of a way: this program, started again, and talked to in lines.

use std::env;
use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::measure::{Figures, Outcome};
use crate::ways::Way;
use crate::work::Work;

/// The first argument of an answering end.
pub(crate) const ANSWER: &str = "answer";

/// The first argument of a calling end.
pub(crate) const CALL: &str = "call";

/// What a calling end is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) way: Way,
    /// `None`: as many callers that make a call each and wait.
    pub(crate) work: Option<Work>,
    pub(crate) len: usize,
    pub(crate) calls: usize,
}

/// A process that is told to go on, and to end by the end of its input.
#[derive(Debug)]
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(role: &str, order: &str, path: &Path) -> Self {
        let program = env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .args([role, order])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("it is piped");
        let output = BufReader::new(output).lines();
        Self {
            child,
            input,
            output,
        }
    }

    fn hear<T: DeserializeOwned>(&mut self) -> T {
        let line = self.output.next().expect("it lives").expect("a line");
        serde_json::from_str(&line).expect("as it was written")
    }

    fn ask<T: DeserializeOwned>(&mut self) -> T {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(b"\n").expect("it lives");
        self.hear()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The answering end, and its socket.
#[derive(Debug)]
pub(crate) struct Answering {
    other: Other,
    path: PathBuf,
    _place: TempDir,
}

impl Answering {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(way: Way) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("s");
        let mut other = Other::start(ANSWER, &written(&way), &path);
        other.hear::<Figures>();
        Self {
            other,
            path,
            _place: place,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn figures(&mut self) -> Figures {
        self.other.ask()
    }
}

/// The calling end.
#[derive(Debug)]
pub(crate) struct Calling(Other);

impl Calling {
    /// Starts it, and waits until it is connected and warm.
    pub(crate) fn start(order: &Order, path: &Path) -> Self {
        let mut other = Other::start(CALL, &written(order), path);
        other.hear::<()>();
        Self(other)
    }

    /// Has it call. It holds what it has until it is dropped.
    pub(crate) fn go(&mut self) -> Outcome {
        self.0.ask()
    }
}

/// In the answering end, which listens: says its figures, whenever it is asked.
pub(crate) fn tell_figures() {
    say(&Figures::now());
    for _ in io::stdin().lines() {
        say(&Figures::now());
    }
}

/// In the calling end, which is ready: waits until it is to go on.
pub(crate) fn wait_for_go() {
    say(&());
    let _ = io::stdin().read_line(&mut String::new());
}

/// In the calling end: says what came out, and waits until it is to end.
pub(crate) fn tell_outcome(outcome: &Outcome) {
    say(outcome);
    let _ = io::stdin().read_line(&mut String::new());
}

fn say(what: &impl Serialize) {
    println!("{}", written(what));
}

fn written(what: &impl Serialize) -> String {
    serde_json::to_string(what).expect("plain data")
}
