//! The programs, as processes that do not outlive their test.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::wait_until;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    C,
    /// With a check of each access to memory, and of each operation that is not defined.
    CheckedC,
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients")
}

/// What all programs must agree on.
pub(super) fn vectors() -> String {
    fs::read_to_string(clients().join("vectors.json")).unwrap()
}

/// Set to `must` where a test that finds no such program is to fail.
const MUST: &str = "UDS_IPC_CLIENTS";

/// `None`, said aloud, where there is no such program.
#[expect(clippy::print_stderr, reason = "a test that skips itself says so")]
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    let is_there = !found.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if !is_there {
        let must = env::var_os(MUST).is_some_and(|must| must == "must");
        assert!(!must, "there is no {program}");
        eprintln!("skipped: there is no {program}");
    }
    is_there
}

/// One of the clients, to be started.
#[derive(Clone, Debug)]
pub(super) struct Client(Vec<OsString>);

impl Language {
    /// The client `send` or `receive`, made in `folder` where that must be. `None` where nothing
    /// can run it.
    pub(super) fn client(self, name: &str, folder: &Path) -> Option<Client> {
        if self == Self::Python {
            let script = clients().join("python").join(format!("{name}.py"));
            let words = ["python3".into(), "-B".into(), script.into()];
            return is_there("python3").then(|| Client(words.into()));
        }
        if !is_there("cc") {
            return None;
        }
        let made = folder.join(name);
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2"]);
        if self == Self::CheckedC {
            compiler.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        }
        compiler.arg("-o").arg(&made);
        compiler.arg(clients().join("c").join(format!("{name}.c")));
        let compiled = compiler.output().unwrap();
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{said}");
        Some(Client(vec![made.into()]))
    }
}

impl Client {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        // As containers have it. Python's standard output is then not buffered.
        command.env("PYTHONUNBUFFERED", "1");
        command
    }

    /// Runs it until it ends by itself; returns its exit code.
    pub(super) fn run(&self, address: &Path, input: Stdio) -> Option<i32> {
        let mut command = self.command();
        command
            .arg(address)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Program::start(&mut command).wait().code()
    }
}

/// A message that says which it is, and whether it is whole. It is a line.
pub(crate) fn line(number: u64) -> String {
    let len = usize::try_from(number % 200).unwrap();
    format!("{number} {}", "x".repeat(len))
}

/// The number of such a message; `None` where it is not as it was sent.
pub(crate) fn number_of_line(message: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(message).ok()?;
    let number = text.split(' ').next()?.parse().ok()?;
    (text == line(number)).then_some(number)
}

/// A process that is killed with whoever holds this.
pub(super) struct Program(pub(super) Child);

impl Program {
    pub(super) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    #[track_caller]
    pub(super) fn wait(&mut self) -> ExitStatus {
        wait_until("the program ends", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap()
    }

    #[track_caller]
    fn wait_for_success(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // That is SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sender, to whose standard input lines are written.
pub(super) struct Sender {
    program: Program,
    input: Option<ChildStdin>,
}

impl Sender {
    pub(super) fn start(client: &Client, path: &Path, is_at_least_once: bool) -> Self {
        let mut command = client.command();
        if is_at_least_once {
            command.arg("--at-least-once");
        }
        command
            .arg(path)
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = Program::start(&mut command);
        let input = program.0.stdin.take();
        Self { program, input }
    }

    pub(super) fn process(&self) -> Pid {
        Pid::from_raw(self.program.0.id().try_into().unwrap())
    }

    pub(super) fn hand(&mut self, message: &[u8]) {
        let line = [message, b"\n"].concat();
        self.input.as_mut().unwrap().write_all(&line).unwrap();
    }

    /// Waits until it has sent all; with at-least-once, until all is confirmed.
    #[track_caller]
    pub(super) fn end(mut self) {
        self.input = None;
        self.program.wait_for_success();
    }

    /// Hands it one line after the other, counted from `first`.
    pub(super) fn feed(mut self, first: u64) -> Fed {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let mut input = self.input.take().unwrap();
        let thread = thread::spawn(move || {
            let mut next = first;
            while !over.load(Ordering::Relaxed) && writeln!(input, "{}", line(next)).is_ok() {
                next += 1;
            }
            next
        });
        Fed {
            program: self.program,
            is_over,
            thread,
        }
    }
}

/// A sender that is being fed.
pub(super) struct Fed {
    program: Program,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Fed {
    /// As [`Sender::end`]; says which line would have been the next.
    #[track_caller]
    pub(super) fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let next = self.thread.join().unwrap();
        self.program.wait_for_success();
        next
    }

    /// Ends it in the midst of what it does; says which line would have been the next.
    pub(super) fn kill(self) -> u64 {
        drop(self.program);
        self.thread.join().unwrap()
    }
}

/// A receiver, whose standard output is a file.
pub(super) struct Receiver {
    program: Program,
    output: PathBuf,
}

impl Receiver {
    /// Starts it, and waits until it listens, where that is a path.
    #[track_caller]
    pub(super) fn start(client: &Client, path: &Path, output: &Path) -> Self {
        let file = File::create_new(output).unwrap();
        Self::start_writing(client, path, output, file.into())
    }

    /// As [`Receiver::start`], where it writes to something else than a new file.
    #[track_caller]
    pub(super) fn start_writing(client: &Client, path: &Path, output: &Path, to: Stdio) -> Self {
        let mut command = client.command();
        command.arg(path).stdin(Stdio::null()).stdout(to);
        let receiver = Self {
            program: Program::start(&mut command),
            output: output.to_owned(),
        };
        wait_until("it listens", || {
            !path.is_absolute() || UnixStream::connect(path).is_ok()
        });
        receiver
    }

    /// What it has stored so far.
    pub(super) fn stored(&self) -> Vec<Vec<u8>> {
        stored_in(&self.output)
    }

    /// How many bytes it has stored so far: of [`line`]s some hundred each.
    pub(super) fn stored_len(&self) -> u64 {
        fs::metadata(&self.output).unwrap().len()
    }

    /// Has it end in order, and waits for that.
    #[track_caller]
    pub(super) fn stop(mut self) {
        self.ask_to_stop();
        self.wait_for_end();
    }

    #[track_caller]
    pub(super) fn wait_for_end(&mut self) {
        self.program.wait_for_success();
    }

    pub(super) fn ask_to_stop(&self) {
        let process = Pid::from_raw(self.program.0.id().try_into().unwrap());
        kill(process, Signal::SIGTERM).unwrap();
        let status = format!("/proc/{process}/status");
        wait_until("it has taken the signal", || {
            // Other systems have no such file.
            fs::read_to_string(&status).map_or(true, |status| {
                let pending = status
                    .lines()
                    .find_map(|line| line.strip_prefix("ShdPnd:\t"));
                pending == Some("0000000000000000")
            })
        });
    }

    /// Ends it in the midst of what it does.
    pub(super) fn kill(self) {
        drop(self);
    }
}

/// The whole lines of a file: a death may have torn the last.
pub(super) fn stored_in(output: &Path) -> Vec<Vec<u8>> {
    let stored = fs::read(output).unwrap();
    let mut lines: Vec<_> = stored
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    lines.pop();
    lines
}
