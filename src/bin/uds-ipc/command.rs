//! One command for one call: it is given the call's body, and what it prints is the answer.
//! Reads and writes by turns, on one thread, so that neither waits for the other; and kills the
//! command with its whole process group when it is to run no longer.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};

/// The most that is kept of what a command says on standard error: its end, which says why.
const MOST_WORDS: usize = 4096;

/// What is read or written at once: what a pipe holds.
const PIECE: usize = 64 * 1024;

/// How soon to look whether a command that has closed its output has ended, at first.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It succeeded, and printed this.
    Answered(Vec<u8>),
    /// It failed, in its own words.
    Failed(String),
    /// It printed more than it may, and was killed.
    TooLong,
    /// It was killed, because it was to run no longer.
    Killed,
}

/// Whether there is such a program, now: as the system will look for it.
pub(crate) fn check(program: &OsStr) -> io::Result<()> {
    let is_there = |path: &Path| {
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        access(path, AccessFlags::X_OK).map_err(io::Error::from)
    };
    let path = Path::new(program);
    if path.components().count() > 1 || program.as_encoded_bytes().contains(&b'/') {
        return is_there(path);
    }
    let folders = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut found = env::split_paths(&folders).map(|folder| is_there(&folder.join(path)));
    if found.any(|found| found.is_ok()) {
        return Ok(());
    }
    Err(ErrorKind::NotFound.into())
}

/// Runs it to its end. `look` says how long it may run until the next look, at most, and `None` to
/// kill it.
///
/// It has ended when the program has and its standard output is closed: what it leaves in the
/// background belongs to it as long as it could print.
pub(crate) fn run(
    command: &mut Command,
    body: &[u8],
    most: usize,
    look: impl FnMut() -> Option<Duration>,
) -> io::Result<End> {
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = Running(Some(command.spawn()?));
    running.finish(body, most, look)
}

/// A command that has not ended; dropped, it is killed. `None` once it has ended: its number may be
/// another's then.
struct Running(Option<Child>);

impl Running {
    fn finish(
        mut self,
        body: &[u8],
        most: usize,
        mut look: impl FnMut() -> Option<Duration>,
    ) -> io::Result<End> {
        let Some(child) = &mut self.0 else {
            return Ok(End::Killed);
        };
        let mut input = child.stdin.take().filter(|_| !body.is_empty());
        let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
        for pipe in [
            input.as_ref().map(AsFd::as_fd),
            output.as_ref().map(AsFd::as_fd),
            errors.as_ref().map(AsFd::as_fd),
        ] {
            pipe.map_or(Ok(()), |pipe| {
                fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
            })?;
        }
        let (mut rest, mut answer, mut words) = (body, Vec::new(), Vec::new());
        let mut pause = FIRST_LOOK;
        loop {
            let Some(mut wait) = look() else {
                return Ok(End::Killed);
            };
            write_some(&mut input, &mut rest)?;
            read_some(&mut output, &mut answer)?;
            if answer.len() > most {
                return Ok(End::TooLong);
            }
            read_some(&mut errors, &mut words)?;
            words.drain(..words.len().saturating_sub(MOST_WORDS));
            if output.is_none() {
                if let Some(status) = self.ended()? {
                    while read_some(&mut errors, &mut words)? {}
                    words.drain(..words.len().saturating_sub(MOST_WORDS));
                    return Ok(conclude(status, answer, &words));
                }
                wait = wait.min(pause);
                pause = pause.saturating_mul(2);
            }
            let pipes = [
                (input.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
                (output.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
                (errors.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            ];
            let pipes = pipes.into_iter();
            let mut pipes: Vec<_> = pipes
                .filter_map(|(pipe, wanted)| Some(PollFd::new(pipe?, wanted)))
                .collect();
            // Not a moment too soon.
            let wait = wait.saturating_add(Duration::from_micros(999)).as_millis();
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            match poll(&mut pipes, wait) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.0 else {
            return Ok(None);
        };
        let status = child.try_wait()?;
        if status.is_some() {
            self.0 = None;
        }
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            // It may have left the group, and would be waited for as long as it likes.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes what the pipe takes. A command need not read what it is given.
fn write_some(pipe: &mut Option<impl Write>, rest: &mut &[u8]) -> io::Result<()> {
    let Some(open) = pipe else {
        return Ok(());
    };
    match open.write(rest.get(..PIECE).unwrap_or(rest)) {
        Ok(len) => *rest = rest.get(len..).unwrap_or_default(),
        Err(error) if is_passing(&error) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => *rest = &[],
        Err(error) => return Err(error),
    }
    if rest.is_empty() {
        *pipe = None;
    }
    Ok(())
}

/// Reads what is there, up to a piece. Whether there was something.
fn read_some(pipe: &mut Option<impl Read>, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let Some(open) = pipe else {
        return Ok(false);
    };
    let before = bytes.len();
    bytes.resize(before + PIECE, 0);
    let read = open.read(bytes.get_mut(before..).unwrap_or_default());
    bytes.truncate(before + read.as_ref().map_or(0, |len| *len));
    match read {
        Ok(0) => *pipe = None,
        Ok(_) => return Ok(true),
        Err(error) if is_passing(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(false)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn conclude(status: ExitStatus, answer: Vec<u8>, words: &[u8]) -> End {
    if status.success() {
        return End::Answered(answer);
    }
    let words = String::from_utf8_lossy(words);
    let words = words.trim();
    End::Failed(if words.is_empty() {
        format!("the command ended with {status}")
    } else {
        words.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, body: &[u8], most: usize) -> End {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&mut command, body, most, || Some(Duration::from_secs(1))).unwrap()
    }

    #[test]
    fn a_command_is_given_all_and_all_that_it_prints_is_kept() {
        let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(shell("cat", &body, body.len()), End::Answered(body.clone()));
        // Who reads nothing may answer all the same.
        let answer = End::Answered(b"no\n".to_vec());
        assert_eq!(shell("exec <&-; echo no", &body, 10), answer);
        assert_eq!(shell("cat; echo no", b"", 10), answer);
    }

    #[test]
    fn an_answer_as_long_as_it_may_be_is_one_and_a_longer_one_is_none() {
        assert_eq!(
            shell("printf 1234", b"", 4),
            End::Answered(b"1234".to_vec())
        );
        assert_eq!(shell("printf 12345", b"", 4), End::TooLong);
        assert_eq!(shell("yes", b"", 1 << 20), End::TooLong);
    }

    #[test]
    fn a_failure_has_the_commands_words_or_its_exit_code() {
        let failed = |why: &str| End::Failed(why.to_owned());
        assert_eq!(shell("echo no disk >&2; exit 3", b"", 9), failed("no disk"));
        let without = failed("the command ended with exit status: 3");
        assert_eq!(shell("echo yes; exit 3", b"", 9), without);
        let End::Failed(words) = shell("yes | head -c 100000 >&2; echo end >&2; exit 1", b"", 9)
        else {
            panic!("it did not fail");
        };
        assert!(words.len() <= MOST_WORDS && words.ends_with("y\nend"));
    }

    #[test]
    fn what_closes_its_output_is_waited_for() {
        let closed = "exec >&- 2>&-; sleep 0.05; exit 7";
        let why = "the command ended with exit status: 7".to_owned();
        assert_eq!(shell(closed, b"", 9), End::Failed(why));
    }

    #[test]
    fn what_closes_its_output_and_goes_on_is_looked_at_as_often_as_it_takes() {
        let mut command = Command::new("sh");
        command.args(["-c", "exec >&- 2>&-; read line"]);
        // A body that the pipe does not hold keeps its input open.
        let body = vec![b'x'; 1 << 20];
        let mut looks = 0;
        let end = run(&mut command, &body, 9, || {
            looks += 1;
            (looks < 200).then_some(Duration::from_micros(1))
        });
        assert_eq!(end.unwrap(), End::Killed);
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let mut command = Command::new("./no such command");
        let error = run(&mut command, b"", 9, || None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
