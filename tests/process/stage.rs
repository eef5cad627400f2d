//! How a test plays a role in another process: this program again, told to run only the test of
//! that name.

use std::env;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::again::Process;
pub(crate) use crate::patience::PATIENCE;
use crate::shared::this_test;
pub(crate) use crate::shared::{SHORT, wait_for_cue, wait_until};

const PLACE: &str = "UDS_IPC_PLACE";
const PART: &str = "UDS_IPC_PART";
pub(crate) const SEED: &str = "UDS_IPC_SEED";
const SAID: &str = "UDS_IPC_SAID";

/// What systemd says to a service by its environment.
const SYSTEMD: [&str; 8] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "RUNTIME_DIRECTORY",
];

/// Where a role plays; `None` in the test that starts it.
pub(crate) fn stage() -> Option<PathBuf> {
    let place = PathBuf::from(env::var_os(PLACE)?);
    fs::write(mark(&place), "").unwrap();
    Some(place)
}

/// Which part of its role a process plays, where there are several.
pub(crate) fn part() -> String {
    env::var(PART).expect("a part")
}

/// In a role: what the test says to it, until that wants the end.
pub(crate) fn lines() -> impl Iterator<Item = String> {
    io::stdin().lines().map_while(Result::ok)
}

/// Shows that a role was entered: a program that is asked for a test that it does not have succeeds
/// at once.
fn mark(place: &Path) -> PathBuf {
    place.join("entered")
}

/// Where the words of a role lie that has no place to say them.
fn said(place: &Path) -> PathBuf {
    place.join("said")
}

/// A process that plays a role. It does not outlive its test.
pub(crate) struct Role {
    process: Process,
    place: PathBuf,
}

impl Role {
    /// Runs the test `name`, with its module, in a process of its own.
    pub(crate) fn start(name: &str, place: &Path) -> Self {
        Self::start_part(name, place, "")
    }

    pub(crate) fn start_part(name: &str, place: &Path, part: &str) -> Self {
        let mut command = this_test(name, "");
        command.env(PLACE, place).env(PART, part);
        command.stdout(Stdio::null());
        Self::spawn(command, place)
    }

    /// How a shell runs the test `name`, as [`Role::spawn`] then does: with `setup` before, which
    /// has the standard streams of the caller. What the role says is kept for
    /// [`Role::succeed`].
    pub(crate) fn command(name: &str, place: &Path, part: &str, setup: &str) -> Command {
        let mut command = this_test(name, &format!("{setup}\nexec >\"${SAID}\" 2>&1"));
        command
            .env(PLACE, place)
            .env(PART, part)
            .env(SAID, said(place));
        // The test itself may run as a service.
        for variable in SYSTEMD {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn spawn(mut command: Command, place: &Path) -> Self {
        Self {
            process: Process::start(&mut command).expect("a process"),
            place: place.to_owned(),
        }
    }

    pub(crate) fn child(&self) -> &Child {
        &self.process.child
    }

    /// Says a line to it, as [`lines`] hears it.
    pub(crate) fn say(&mut self, line: &str) {
        self.process.say(line);
    }

    /// Likewise [`Role::end`], for one that was made by [`Role::command`] and is to have no fault.
    #[track_caller]
    pub(crate) fn succeed(self) {
        let said = said(&self.place);
        let status = self.end();
        assert!(
            status.success(),
            "{status}: {}",
            fs::read_to_string(said).unwrap_or_default()
        );
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Gives the cue to end, and waits for that.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        let status = self.process.end();
        assert!(mark(&self.place).exists(), "there is no such role");
        status
    }

    /// Has it do nothing more, until it is killed.
    #[cfg(target_os = "linux")]
    pub(crate) fn freeze(&self) {
        use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

        let process = Pid::from_child(self.child());
        kill_process(process, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED)
            .unwrap()
            .expect("its state");
        assert!(status.stopped(), "it has ended instead: {status:?}");
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// Waits until all other threads of this process sleep. Each takes a lock of the standard library
/// when it begins: a child that is forked at that moment can start none. (Elsewhere than on Linux
/// nobody tells.)
pub(crate) fn wait_until_others_sleep() {
    let Ok(own) = fs::read_link("/proc/thread-self") else {
        return;
    };
    let own = own.file_name().unwrap();
    let sleeps = |thread: &fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, state)| state);
        state.is_some_and(|state| state.starts_with('S'))
    };
    wait_until("all other threads sleep", || {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let mut others = threads.filter(|thread| thread.file_name() != own);
        others.all(|thread| sleeps(&thread))
    });
}

/// Whether `act` says yes in a child made by fork.
#[track_caller]
#[expect(clippy::exit, reason = "a forked child must not go on as a test")]
pub(crate) fn in_forked_child(act: impl FnOnce() -> bool) -> bool {
    match fork::fork().unwrap() {
        // A panic would end its only thread, and so the process, as if all were well.
        fork::Fork::Child => {
            let is_well = catch_unwind(AssertUnwindSafe(act)).unwrap_or(false);
            std::process::exit(i32::from(!is_well))
        }
        fork::Fork::Parent(child) => {
            let start = Instant::now();
            let mut status = None;
            while status.is_none() && start.elapsed() < PATIENCE {
                status = fork::waitpid_nohang(child).unwrap();
                thread::park_timeout(Duration::from_micros(200));
            }
            if status.is_none() {
                // It hangs, and must not outlive the test.
                let _ = Command::new("kill")
                    .args(["-KILL", &child.to_string()])
                    .status();
            }
            status == Some(0)
        }
    }
}

/// The moments at which things happen: other ones each time, unless a seed is given.
#[expect(clippy::print_stdout, reason = "a failed test shows its seed")]
pub(crate) fn moments() -> fastrand::Rng {
    let seed = env::var(SEED).map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("a number"),
    );
    println!("{SEED}={seed}");
    fastrand::Rng::with_seed(seed)
}
