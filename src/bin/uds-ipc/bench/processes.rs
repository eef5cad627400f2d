//! The reader's process: this same program in another role, started for one turn and ended with it.
//! It is killed on every way out, a signal's too; a parent that is killed takes it along by closing
//! its standard input.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use clap::ValueEnum;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::answers::{Answer, Received};
use super::cases::{Contender, PATIENCE, Stream};
use super::ends::Place;
use super::failure::Failure;

/// The first word of the other process, which is no subcommand for people.
pub(crate) const READER: &str = "bench-reader";

/// The reader's process of the present turn, shared with the thread that waits for signals.
#[derive(Clone, Debug, Default)]
pub(super) struct Present(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    child: Option<Child>,
}

impl Present {
    /// Ends the bench: kills the reader, without which whoever waits fails soon.
    pub(super) fn stop(&self) {
        let mut state = self.0.lock();
        state.is_stopped = true;
        if let Some(child) = &mut state.child {
            let _ = child.kill();
        }
    }

    /// Fails once there is nothing more to wait for.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let mut state = self.0.lock();
        if state.is_stopped {
            return Err(Failure::Interrupted);
        }
        match state.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(Failure::ReaderEnded(status)),
            Some(Err(error)) => Err(Failure::at("wait for the reader's process")(error)),
            Some(Ok(None)) | None => Ok(()),
        }
    }

    /// Under the lock, so that one that is stopped starts no more.
    fn start(&self, command: &mut Command) -> Result<ChildStdout, Failure> {
        const DOING: &str = "start the reader's process";
        let mut state = self.0.lock();
        if state.is_stopped {
            return Err(Failure::Interrupted);
        }
        let mut child = command.spawn().map_err(Failure::at(DOING))?;
        let output = child.stdout.take();
        state.child = Some(child);
        output.ok_or_else(|| Failure::at(DOING)(io::Error::other("it has no standard output")))
    }

    fn end(&self) {
        if let Some(mut child) = self.0.lock().child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// After the end of its output: why.
    fn ended(&self) -> Failure {
        let mut state = self.0.lock();
        if state.is_stopped {
            return Failure::Interrupted;
        }
        match state.child.as_mut().map(|child| {
            // It may have closed its output only.
            let _ = child.kill();
            child.wait()
        }) {
            Some(Ok(status)) => Failure::ReaderEnded(status),
            Some(Err(error)) => Failure::at("wait for the reader's process")(error),
            None => Failure::Silent,
        }
    }
}

/// Where the readers are started, each with a socket or a FIFO of its own.
#[derive(Debug)]
pub(super) struct Stage {
    present: Present,
    program: PathBuf,
    directory: TempDir,
}

impl Stage {
    pub(super) fn new(present: Present) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(Failure::at("find this program's file"))?;
        let directory = tempfile::Builder::new().prefix("uds-ipc-bench").tempdir();
        let directory = directory.map_err(Failure::at("make a temporary folder"))?;
        Ok(Self {
            present,
            program,
            directory,
        })
    }

    pub(super) fn present(&self) -> &Present {
        &self.present
    }

    /// Starts a reader that answers when each of `phases` has come (messages; of the bare stream
    /// bytes), and waits until it listens.
    pub(super) fn reader(
        &self,
        contender: Contender,
        size: usize,
        stream: Stream,
        phases: &[u64],
    ) -> Result<Reader, Failure> {
        let name = contender
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let path = self.directory.path().join("s");
        // A reader that was killed has left it.
        let _ = fs::remove_file(&path);
        let mut command = Command::new(&self.program);
        command
            .arg(READER)
            .args([&name, &size.to_string(), stream.name()])
            .arg(&path)
            .args(phases.iter().map(u64::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The terminal's signals are for the parent, which ends this one.
            .process_group(0);
        let output = self
            .present
            .start(&mut command)
            .inspect_err(|_| self.present.end())?;
        let mut reader = Reader {
            present: self.present.clone(),
            output: BufReader::new(output),
            place: match stream {
                Stream::Unix | Stream::Tcp => Place::Unix(path),
                Stream::Pipe => Place::Pipe(path),
            },
        };
        match (stream, reader.answer()?) {
            (Stream::Tcp, Answer::Ready(Some(address))) => reader.place = Place::Tcp(address),
            (Stream::Unix | Stream::Pipe, Answer::Ready(None)) => {}
            _ => return Err(Failure::NoAnswer("before it listens".into())),
        }
        Ok(reader)
    }
}

/// A reader that runs; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    present: Present,
    output: BufReader<ChildStdout>,
    place: Place,
}

impl Reader {
    /// Where it listens.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Waits until it has received what it was to.
    pub(super) fn received(&mut self) -> Result<Received, Failure> {
        match self.answer()? {
            Answer::Received(received) => Ok(received),
            Answer::Ready(_) | Answer::Failed(_) => {
                Err(Failure::NoAnswer("that it listens, again".into()))
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        const DOING: &str = "hear the reader's process";
        let mut line = String::new();
        if self.output.buffer().is_empty() {
            let mut readable = [PollFd::new(
                self.output.get_ref().as_fd(),
                PollFlags::POLLIN,
            )];
            let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            let count = loop {
                match poll(&mut readable, timeout) {
                    Err(Errno::EINTR) => {}
                    other => break other.map_err(Failure::at(DOING))?,
                }
            };
            if count == 0 {
                return Err(Failure::Silent);
            }
        }
        if self
            .output
            .read_line(&mut line)
            .map_err(Failure::at(DOING))?
            == 0
        {
            return Err(self.present.ended());
        }
        match Answer::parse(line.trim_end()) {
            Some(Answer::Failed(problem)) => Err(Failure::ReaderFailed(problem)),
            Some(answer) => Ok(answer),
            None => Err(Failure::NoAnswer(line)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.present.end();
    }
}
