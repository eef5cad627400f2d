//! Other processes: a test in another role, another user, and what a process costs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Notes, Place, let_pass, skip, wait_until};
use crate::again::Process;
use crate::shared::{this_test, wait_for_cue};

/// Tells a process that was started by [`Child::test`] where its socket is to be.
const CHILD_PATH: &str = "UDS_IPC_TEST_PATH";

/// A process that ends with the test, and whose lines are kept.
pub(crate) struct Child {
    process: Process,
    pub(crate) lines: Notes<String>,
}

impl Child {
    /// Starts a process, and notes the lines that it prints.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = Process::start(command.stdout(Stdio::piped()))?;
        let lines = Notes::new();
        let (notes, output) = (
            lines.clone(),
            process.child.stdout.take().expect("it is piped"),
        );
        thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| notes.add(line));
        });
        Ok(Self { process, lines })
    }

    /// How to run the test `name` again, in a process of its own, where [`Child::path`] is `path`.
    /// `setup` is done first, by a shell.
    pub(crate) fn test(name: &str, path: &Path, setup: &str) -> Command {
        let mut command = this_test(name, setup);
        command.env(CHILD_PATH, path);
        command
    }

    /// In a process that was started by [`Child::test`]: where its socket is to be.
    pub(crate) fn path() -> Option<PathBuf> {
        env::var_os(CHILD_PATH).map(PathBuf::from)
    }

    /// In such a process: tells the test that started it.
    pub(crate) fn say(line: &str) {
        // After the test's name, which stands there without an end of line.
        writeln!(io::stdout(), "\n{line}").expect("somebody listens");
    }

    /// In such a process: waits until the test that started it has ended or calls
    /// [`Child::finish`].
    pub(crate) fn wait_for_end() {
        wait_for_cue();
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Kills it as hard as can be.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().expect("a process");
        self.process.child.wait().expect("a process");
    }

    /// Writes a line to its standard input.
    pub(crate) fn go_on(&mut self) {
        self.process.say("go on");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Closes its standard input, and waits for its good end.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        let status = self.process.end();
        assert!(status.success(), "{status} after {:#?}", self.lines.all());
    }
}

/// A figure of a process in KiB, as Linux tells it.
pub(crate) fn memory(process: u32, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(figure))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a Python program, for what the standard library of Rust has no call for. `None`, said
/// aloud, where there is no Python.
pub(crate) fn python(program: &str, args: &[&OsStr]) -> Option<Child> {
    let child = Child::start(Command::new("python3").arg("-c").arg(program).args(args));
    child
        .inspect_err(|error| skip(&format!("no python3: {error}")))
        .ok()
}

/// That a process hardly runs for a while, though others may keep this one waiting.
#[track_caller]
pub(crate) fn assert_rests(process: u32) {
    let (start, before) = (Instant::now(), cpu_time(process));
    let_pass(Duration::from_millis(500));
    let used = cpu_time(process)
        .zip(before)
        .map(|(now, before)| now.saturating_sub(before));
    let time = start.elapsed();
    assert!(
        used.is_none_or(|used| used <= time / 4),
        "it was at work for {used:?} of {time:?}"
    );
}

/// The time for which a process has been at work so far, in hundredths of a second. Only Linux
/// tells.
fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the program's name, which may have anything in it: for itself, and in the kernel.
    let fields = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    Some(10 * Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()))
}

/// Sends one message of one byte, and says what became of it.
const ONE_MESSAGE: &str = "
import socket, sys
print('up', flush=True)
peer = socket.socket(socket.AF_UNIX)
address = sys.argv[1]
try:
    peer.connect('\\0' + address[1:] if address[0] == '@' else address)
    peer.send(b'\\x01a')
    print('sent', flush=True)
except PermissionError:
    print('kept out', flush=True)
except ConnectionError:
    print('hung up on', flush=True)
sys.stdin.read()
";

/// A process of another user, uid 4242 and gid 4343, that sends one message to `address`, where
/// that can be.
pub(crate) fn stranger(place: &Place, address: &OsStr) -> Option<Child> {
    // A folder that we make has our effective user.
    if fs::metadata(place.path(".")).unwrap().uid() != 0 {
        skip("only root can be somebody else");
        return None;
    }
    fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("python3");
    command
        .arg("-c")
        .arg(ONE_MESSAGE)
        .arg(address)
        .uid(4_242)
        .gid(4_343);
    let child = Child::start(command.stderr(Stdio::null()));
    let is_up = |child: &mut Child| {
        wait_until("Python is up", || {
            child.lines.has("up") || child.has_ended()
        });
        child.lines.has("up")
    };
    let child = child
        .ok()
        .and_then(|mut child| is_up(&mut child).then_some(child));
    if child.is_none() {
        skip("no python3 for another user");
    }
    child
}

/// Runs a process of another user to its end. `None`, said aloud, where that cannot be.
pub(crate) fn ended_as(user: u32, command: &mut Command) -> Option<Child> {
    let child = Child::start(command.uid(user).gid(user));
    let cannot = "this program cannot be run by another user";
    let mut child = child
        .inspect_err(|error| skip(&format!("{cannot}: {error}")))
        .ok()?;
    wait_until("it ends", || child.has_ended());
    if child.lines.len() == 0 {
        skip(cannot);
        return None;
    }
    Some(child)
}
