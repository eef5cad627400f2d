//! A parent that collects what its children say. Each child has one end of a socketpair as its
//! descriptor 3: there is no path anywhere, nobody else can connect, and nothing is left behind.
//!
//! ```text
//! cargo run --example children
//! cargo run --example children -- 'uds-ipc send fd:3 < app.log' "printf '\005hello' >&3"
//! ```
//!
//! Each argument is a command for `sh`, and a child of its own. Without arguments there are three
//! of this program. What they say goes to standard output, behind the name of the child; when a
//! child has died, a line says so behind its last message. The exit code is 0 if all ended well.
//!
//! A child that is killed loses nothing that it had handed to the kernel: the parent still reads it
//! from its end.

#![expect(clippy::expect_used, reason = "nothing panics while it holds the lock")]
#![expect(
    clippy::print_stderr,
    reason = "what is no message goes to standard error"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{self, Command, ExitCode, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use uds_ipc::event::ReaderEvent;
use uds_ipc::{FlushLevel, Handler, Peer, Reader, Writer};

type AnyError = Box<dyn Error + Send + Sync>;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a child has its end. Standard input and output stay as they are.
const DESCRIPTOR: i32 = 3;

const CHILDREN: usize = 3;
const MESSAGES: u64 = 30;

/// How often a child makes sure that its messages are safe.
const SAFE_EVERY: u64 = 10;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let done = match args.as_slice() {
        [role, messages] if role == "--child" => talk(&messages.to_string_lossy()),
        [] => ourselves().and_then(collect),
        commands => collect(commands.iter().map(shell).collect()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("children: {error}");
        ExitCode::FAILURE
    })
}

/// This program, as often as there are to be children.
fn ourselves() -> Result<Vec<Command>, AnyError> {
    let program = env::current_exe()?;
    let child = || {
        let mut command = Command::new(&program);
        command.args(["--child", &MESSAGES.to_string()]);
        command
    };
    Ok((0..CHILDREN).map(|_| child()).collect())
}

fn shell(line: &OsString) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

// The parent.

fn collect(commands: Vec<Command>) -> Result<ExitCode, AnyError> {
    let (closed, connections) = mpsc::channel();
    let reader = Reader::without_listener()
        .on_event(move |event| {
            if let ReaderEvent::Closed { peer, .. } = &event {
                // The number only: all of its messages have been handled.
                let _ = closed.send(peer.connection);
            }
        })
        .bind()?
        .start_handler(Printer)?;

    let mut children = BTreeMap::new();
    for mut command in commands {
        let (ours, theirs) = UnixStream::pair()?;
        command.fd_mappings(vec![FdMapping {
            parent_fd: OwnedFd::from(theirs),
            child_fd: DESCRIPTOR,
        }])?;
        let child = command.spawn()?;
        // The child alone has its end now. With it goes the stream, however the child ends.
        drop(command);
        let connection = reader.serve(ours)?;
        eprintln!("children: child {connection} is process {}", child.id());
        children.insert(connection, child);
    }

    // Each is waited for by a thread, once its stream has ended: it may close that and live on.
    let mut waiting = Vec::new();
    while !children.is_empty() {
        let connection = connections.recv()?;
        if let Some(mut child) = children.remove(&connection) {
            waiting.push(thread::spawn(move || -> io::Result<ExitStatus> {
                let status = child.wait()?;
                let line = format!("child {connection} has ended: {status}\n");
                io::stdout().write_all(line.as_bytes())?;
                Ok(status)
            }));
        }
    }
    let mut all_well = true;
    for thread in waiting {
        all_well &= thread.join().expect("it does not panic")?.success();
    }
    let report = reader.shutdown(PATIENCE)?;
    eprintln!("children: {}", report.metrics);
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

thread_local! {
    /// The lines of the batch that this thread is at. A batch stays on its thread from first
    /// message to end.
    static BATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Prints what a child says, behind its name: the number of its connection.
struct Printer;

impl Handler for Printer {
    type Error = io::Error;

    fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        BATCH.with_borrow_mut(|batch| {
            write!(batch, "child {}: ", peer.connection)?;
            batch.extend_from_slice(message);
            batch.push(b'\n');
            Ok(())
        })
    }

    fn batch_end(&self, _: &Peer) -> io::Result<()> {
        BATCH.with_borrow_mut(|batch| {
            let mut output = io::stdout().lock();
            let printed = output.write_all(batch).and_then(|()| output.flush());
            batch.clear();
            printed
        })
    }
}

// A child.

/// Sends numbered messages, and says which are safe, whatever becomes of this process.
fn talk(messages: &str) -> Result<ExitCode, AnyError> {
    let writer = Writer::start(format!("fd:{DESCRIPTOR}"))?;
    let id = process::id();
    for number in 1..=messages.parse()? {
        // When the parent has died this is an error, and so the child ends too.
        writer.send_timeout(format!("message {number} of process {id}"), PATIENCE)?;
        if number % SAFE_EVERY == 0 {
            writer.flush(FlushLevel::Written, PATIENCE)?;
            // In one piece, so that lines of several processes do not mix.
            let line = format!("process {id}: {number} are safe\n");
            io::stderr().write_all(line.as_bytes())?;
        }
    }
    let report = writer.shutdown(PATIENCE)?;
    Ok(if report.left.messages == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
