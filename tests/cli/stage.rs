//! Where the tool is run, and how it is waited for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines};
use std::mem;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, tick};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::patience::PATIENCE;

/// The tool, with hangups as they are by default: whoever runs the tests may have them ignored.
pub(crate) fn tool_command() -> Command {
    const TOOL: &str = env!("CARGO_BIN_EXE_uds-ipc");
    if cfg!(target_os = "linux") {
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", TOOL]);
        command
    } else {
        Command::new(TOOL)
    }
}

/// A folder of its own for each test, gone with it, and the tools that work in it.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("uds").tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The tool in this folder, on the socket `s`.
    pub(crate) fn tool(&self, arguments: &[&str], input: Stdio, output: Stdio) -> Tool {
        let command = tool_command()
            .args(arguments)
            .current_dir(&self.0)
            .env("TMPDIR", self.0.path())
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn();
        Tool::new(command.unwrap())
    }

    /// A listener that accepts, and prints to the file `out`.
    pub(crate) fn listen(&self, options: &[&str]) -> Tool {
        self.listen_to(File::create(self.path("out")).unwrap().into(), options)
    }

    pub(crate) fn listen_to(&self, output: Stdio, options: &[&str]) -> Tool {
        let arguments = [&["listen", "s", "--figures", "json"], options].concat();
        let mut listener = self.tool(&arguments, Stdio::null(), output);
        listener.wait_for("listening on ");
        listener
    }

    /// A sender of `input`.
    pub(crate) fn send(&self, input: &[u8], options: &[&str]) -> Tool {
        self.send_to("s", input, options)
    }

    pub(crate) fn send_to(&self, address: &str, input: &[u8], options: &[&str]) -> Tool {
        let input = self.input(input);
        let figures = if options.contains(&"--quiet") {
            &[][..]
        } else {
            &["--figures", "json"]
        };
        let arguments = [&["send", address], figures, options].concat();
        self.tool(&arguments, input, Stdio::null())
    }

    /// A file to read, which is gone with its reader.
    pub(crate) fn input(&self, bytes: &[u8]) -> Stdio {
        let file = tempfile::Builder::new().tempfile_in(&self.0).unwrap();
        fs::write(&file, bytes).unwrap();
        File::open(&file).unwrap().into()
    }

    /// What the listener has printed.
    pub(crate) fn printed(&self) -> Vec<u8> {
        fs::read(self.path("out")).unwrap()
    }
}

/// A running tool; killed with its test, or when patience is over, so that nobody waits for it for
/// ever.
pub(crate) struct Tool {
    pub(crate) child: Child,
    pub(crate) errors: Lines<BufReader<ChildStderr>>,
    pub(crate) said: Vec<String>,
    pub(crate) watch: Option<Sender<()>>,
}

impl Tool {
    pub(crate) fn new(mut child: Child) -> Self {
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let (watch, ended) = bounded::<()>(0);
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Self {
            child,
            errors,
            said: Vec::new(),
            watch: Some(watch),
        }
    }

    /// Waits for a line on standard error that has these words.
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        while let Some(Ok(line)) = self.errors.next() {
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!("never said: {words}: {:?}", self.said)
    }

    pub(crate) fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end: its exit code, and what was said.
    pub(crate) fn end(mut self) -> Ended {
        self.said.extend(self.errors.by_ref().map_while(Result::ok));
        self.watch = None;
        Ended {
            code: self.child.wait().unwrap().code(),
            said: mem::take(&mut self.said),
        }
    }

    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.watch = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looks = tick(Duration::from_millis(2));
    let end = crossbeam_channel::after(PATIENCE);
    while !is_so() {
        assert!(end.try_recv().is_err(), "never: {what}");
        looks.recv().unwrap();
    }
}

/// How a tool ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: Vec<String>,
}

impl Ended {
    /// One figure by its path, such as `sent/messages`, from the last line.
    #[track_caller]
    pub(crate) fn figure(&self, path: &str) -> u64 {
        let figures: Option<Value> = self
            .said
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let figure = figures.and_then(|figures| figures.pointer(&format!("/{path}"))?.as_u64());
        figure.unwrap_or_else(|| panic!("no {path}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_said(&self, words: &str) -> &Self {
        assert!(
            self.said.iter().any(|line| line.contains(words)),
            "not said: {words}: {self:?}"
        );
        self
    }

    /// What it said but for the word that a stop takes its time: a busy machine's does.
    pub(crate) fn own_words(&self) -> Vec<&str> {
        let lines = self.said.iter().map(String::as_str);
        lines
            .filter(|line| !line.contains("still stopping"))
            .collect()
    }

    /// What was accepted has ended, one way or the other.
    #[track_caller]
    pub(crate) fn assert_books_balance(&self) -> &Self {
        for unit in ["messages", "bytes"] {
            let done = if self.figure("confirmed/messages") > 0 {
                "confirmed"
            } else {
                "sent"
            };
            let ends = [
                done,
                "queued",
                "dropped/oldest",
                "failed/given_up",
                "failed/left",
            ];
            let ended: u64 = ends
                .iter()
                .map(|end| self.figure(&format!("{end}/{unit}")))
                .sum();
            assert_eq!(self.figure(&format!("accepted/{unit}")), ended, "{self:?}");
        }
        self
    }
}
