//! Calls between the crate and Python, in both directions: many at once, answers in any order, and
//! what each end gets when the other fails, is killed or stops.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uds_ipc::calls::{Call, CallError, Caller, Refusal, Reply, Responder};

use super::programs::{Client, Language, Program, stored_in};
use crate::stage::{PATIENCE, SHORT, wait_until};

/// Longer than any test lasts, in milliseconds as `nap` takes them.
const LONG_NAP: &str = "600000";
const LONG: Duration = Duration::from_secs(600);

/// The responder in Python.
struct Python {
    program: Program,
    errors: PathBuf,
}

impl Python {
    /// Starts it, and waits until it listens.
    #[track_caller]
    fn respond(client: &Client, path: &Path) -> Self {
        Self::start(client.command(), path)
    }

    #[track_caller]
    fn start(mut command: Command, path: &Path) -> Self {
        let errors = path.with_extension("errors");
        command.arg(path).stdin(Stdio::null());
        command.stderr(File::create(&errors).unwrap());
        let program = Program::start(&mut command);
        wait_until("it listens", || UnixStream::connect(path).is_ok());
        Self { program, errors }
    }

    fn said(&self) -> Vec<Vec<u8>> {
        stored_in(&self.errors)
    }

    fn ask_to_stop(&self) {
        signal(&self.program, Signal::SIGTERM);
    }

    #[track_caller]
    fn end(mut self) {
        self.ask_to_stop();
        assert!(self.program.wait().success());
    }
}

fn signal(program: &Program, signal: Signal) {
    let process = Pid::from_raw(program.0.id().try_into().unwrap());
    kill(process, signal).unwrap();
}

/// A folder with a path for a socket, and the client `name`, where Python is there.
fn stage(name: &str) -> Option<(tempfile::TempDir, PathBuf, Client)> {
    let place = tempfile::tempdir().unwrap();
    let client = Language::Python.client(name, place.path())?;
    let path = place.path().join("s");
    Some((place, path, client))
}

#[test]
fn python_answers_many_calls_at_once_while_others_are_open() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let python = Python::respond(&client, &path);
    let caller = Caller::new(&path).unwrap();
    let naps: Vec<_> = (0..5)
        .map(|_| caller.call_many("nap", LONG_NAP, LONG).unwrap())
        .collect();
    thread::scope(|scope| {
        for thread in 0..4 {
            let caller = &caller;
            scope.spawn(move || {
                for number in 0..100 {
                    // From empty, over more than a buffer of a socket, to the longest but some
                    // bytes.
                    let body = format!("{thread} {number}").repeat(number * number * 14);
                    assert_eq!(
                        caller.call("ping", &body, PATIENCE).unwrap(),
                        body.as_bytes()
                    );
                }
            });
        }
    });
    assert_eq!(caller.figures().open, naps.len());
    assert_eq!(caller.figures().connects, 1);
    caller.notify("ping", "x", PATIENCE).unwrap();

    let failed = caller.call("fail", "as asked", PATIENCE).unwrap_err();
    assert!(
        matches!(&failed, CallError::Failed { error, .. } if error == "as asked"),
        "{failed}"
    );
    // What a method is called may take more room in the error than in the call.
    let long = ["x", &"\u{1}".repeat(11), &"ä".repeat(524_260)].concat();
    for (method, body, why) in [
        ("nothing", "", "no method 'nothing'"),
        (&long, "", r"no method 'x\x01"),
        ("nap", "-5", "-5"),
    ] {
        let failed = caller.call(method, body, PATIENCE).unwrap_err();
        assert!(
            matches!(&failed, CallError::Failed { error, .. } if error.contains(why)),
            "{failed}"
        );
    }
    drop(naps);
    python.end();
    assert!(!path.exists());
}

/// A program that uses `respond.py`.
fn python_with(program: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-B", "-c"]).arg(format!(
        "import asyncio, sys\nsys.path.insert(0, sys.argv[1])\nimport respond\n{program}"
    ));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients/python"));
    command
}

/// Methods that end otherwise than those of `respond.py`.
const ODD_METHODS: &str = r#"
async def late(body):
    raise asyncio.TimeoutError("too late")

async def text(body):
    return "text"

async def surrogate(body):
    raise ValueError("\udcff")

methods = {"late": late, "text": text, "surrogate": surrogate}
asyncio.run(respond.Responder(sys.argv[2], methods).run())
"#;

#[test]
fn whatever_a_method_in_python_does_its_caller_is_told() {
    let Some((_place, path, _)) = stage("respond") else {
        return;
    };
    let python = Python::start(python_with(ODD_METHODS), &path);
    let caller = Caller::new(&path).unwrap();
    for (method, why) in [("late", "too late"), ("text", "'str'"), ("surrogate", "?")] {
        let failed = caller.call(method, "", PATIENCE).unwrap_err();
        assert!(
            matches!(&failed, CallError::Failed { error, .. } if error.contains(why)),
            "{method}: {failed}"
        );
    }
    python.end();
}

#[test]
fn python_does_what_a_notification_says_though_its_sender_has_gone() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let mut python = Python::respond(&client, &path);
    let caller = Caller::new(&path).unwrap();
    caller.notify("nap", "300", LONG).unwrap();
    // It has begun: they are begun in the order in which they came.
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    drop(caller);
    python.ask_to_stop();
    assert!(python.program.wait().success());
    // It would tell of a nap that was cancelled.
    assert_eq!(python.said(), Vec::<Vec<u8>>::new());
}

#[test]
fn python_sees_that_its_caller_waits_no_more() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let python = Python::respond(&client, &path);
    let caller = Caller::new(&path).unwrap();
    // A word from the caller.
    let nap = caller.call_many("nap", LONG_NAP, LONG).unwrap();
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    assert_eq!(python.said().len(), 0);
    drop(nap);
    wait_until("a nap was cancelled", || python.said().len() == 1);
    // The end of its time. One that comes with its end has not begun.
    wait_until("a nap has timed out", || {
        let nap = caller.call("nap", LONG_NAP, SHORT);
        assert!(matches!(nap, Err(CallError::Timeout { .. })), "{nap:?}");
        python.said().len() > 1
    });
    // The end of the connection. Nothing else is open there.
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    let before = python.said().len();
    let other = Caller::new(&path).unwrap();
    let nap = other.call_many("nap", LONG_NAP, LONG).unwrap();
    assert_eq!(other.call("ping", "x", PATIENCE).unwrap(), b"x");
    drop((other, nap));
    wait_until("a nap was cancelled", || python.said().len() == before + 1);
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    python.end();
}

#[test]
fn python_that_was_killed_leaves_its_caller_with_unknown_and_is_found_again() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let caller = Caller::new(&path).unwrap();
    for life in 1..=3 {
        let python = Python::respond(&client, &path);
        assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
        assert_eq!(caller.figures().connects, life);
        let mut nap = caller.call_many("nap", LONG_NAP, LONG).unwrap();
        assert_eq!(caller.call("ping", "y", PATIENCE).unwrap(), b"y");
        drop(python);
        let lost = nap.next().unwrap().unwrap_err();
        assert!(matches!(lost, CallError::Lost { sent: true, .. }), "{lost}");
    }
}

/// However slow the machine is, it does not stop before the test has seen what it wants to see.
const SLOW_STOP: &str = r#"
respond.LAST_WAIT = 600
methods = {"ping": respond.ping, "nap": respond.nap}
asyncio.run(respond.Responder(sys.argv[2], methods).run())
"#;

#[test]
fn python_that_stops_refuses_new_calls_and_answers_those_in_hand() {
    let Some((_place, path, _)) = stage("respond") else {
        return;
    };
    let mut python = Python::start(python_with(SLOW_STOP), &path);
    let caller = Caller::new(&path).unwrap();
    let mut short = caller.call_many("nap", "300", LONG).unwrap();
    let long = caller.call_many("nap", LONG_NAP, LONG).unwrap();
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    python.ask_to_stop();
    wait_until("its socket is gone", || !path.exists());
    let refused = caller.call("ping", "x", PATIENCE).unwrap_err();
    assert!(
        matches!(
            refused,
            CallError::Refused {
                refusal: Refusal::Stopping,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(short.next().unwrap().unwrap(), b"300");
    drop(long);
    assert!(python.program.wait().success());
}

#[test]
fn python_answers_what_is_in_hand_though_its_socket_was_removed() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let mut python = Python::respond(&client, &path);
    let caller = Caller::new(&path).unwrap();
    let mut nap = caller.call_many("nap", "300", LONG).unwrap();
    assert_eq!(caller.call("ping", "x", PATIENCE).unwrap(), b"x");
    fs::remove_file(&path).unwrap();
    python.ask_to_stop();
    assert_eq!(nap.next().unwrap().unwrap(), b"300");
    assert!(python.program.wait().success());
}

/// A call with those fields behind some that nobody knows, of each kind.
fn frame(fields: &[u8]) -> Vec<u8> {
    let mut message = b"\x70\x96\x01\x7912345678\x7a\x03abc\x7d1234".to_vec();
    message.extend_from_slice(fields);
    let len = u8::try_from(message.len()).unwrap();
    assert!(len < 128);
    [&[len], &message[..]].concat()
}

#[test]
fn python_skips_fields_that_it_does_not_know_and_hangs_up_on_nonsense() {
    let Some((_place, path, client)) = stage("respond") else {
        return;
    };
    let python = Python::respond(&client, &path);
    let ping = |id: u8| frame(&[b"\x08", &[id][..], b"\x12\x01b\x2a\x04ping"].concat());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // An empty frame before it says nothing.
    stream.write_all(&[b"\0", &ping(5)[..]].concat()).unwrap();
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, *b"\x05\x08\x05\x12\x01b");
    let nonsense: [Vec<u8>; 7] = [
        ping(5),
        // An id above all that may be.
        frame(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        // A group, half a number, half a field.
        frame(b"\x0b"),
        frame(b"\x08\x80"),
        frame(b"\x12\x05b"),
        // No length, and one above all that may be.
        vec![0xff; 11],
        b"\x80\x80\x80\x80\x01".to_vec(),
    ];
    for lie in &nonsense {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&ping(5)).unwrap();
        stream.read_exact(&mut reply).unwrap();
        stream.write_all(lie).unwrap();
        assert_eq!(stream.read(&mut reply).unwrap(), 0, "{lie:?}");
    }
    stream.write_all(&ping(6)).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, *b"\x05\x08\x06\x12\x01b");
    drop(stream);
    python.end();
}

/// The caller in Python.
struct Asker {
    program: Program,
    input: Option<ChildStdin>,
    output: PathBuf,
}

impl Asker {
    fn start(client: &Client, path: &Path, seconds: &str) -> Self {
        let output = path.with_extension("output");
        let mut command = client.command();
        command.arg(path).arg(seconds).stdin(Stdio::piped());
        command.stdout(File::create(&output).unwrap());
        let mut program = Program::start(&mut command);
        let input = program.0.stdin.take();
        Self {
            program,
            input,
            output,
        }
    }

    fn ask(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// Returns its exit code, and all that it has said.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        self.input = None;
        let code = self.program.wait().code();
        (code, self.said())
    }
}

/// Answers that the test gives when it will.
type Held = Arc<Mutex<Vec<(String, Reply)>>>;

fn responder(path: &Path, held: &Held) -> Responder {
    let held = Arc::clone(held);
    let answer = move |call: Call, reply: Reply| match call.method() {
        "hold" => {
            let body = String::from_utf8(call.body().to_vec()).unwrap();
            held.lock().unwrap().push((body, reply));
        }
        "drop" => drop(reply),
        "parts" => {
            let _ = reply.send_part("one");
            held.lock().unwrap().push((String::new(), reply));
        }
        "fail" => drop(reply.fail("as asked")),
        _ => drop(reply.send(call.body())),
    };
    let responder = Responder::builder(path).allow(|_, method| method != "forbidden");
    responder.bind().unwrap().start(answer).unwrap()
}

#[track_caller]
fn wait_for_held(held: &Held, count: usize) {
    wait_until("the calls have come", || {
        held.lock().unwrap().len() == count
    });
}

#[test]
fn python_calls_many_times_at_once_and_takes_answers_in_any_order() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let held = Held::default();
    // It is there before the responder.
    let mut asker = Asker::start(&client, &path, "600");
    for number in 1..=20 {
        asker.ask(&format!("hold {number}"));
    }
    let responder = responder(&path, &held);
    wait_for_held(&held, 20);
    asker.ask("ping ä");
    wait_until("one is answered before all others", || {
        asker.said() == "21 = ä\n"
    });
    let mut calls: Vec<_> = held.lock().unwrap().drain(..).collect();
    // They are handled by several threads.
    calls.sort_by_key(|(body, _)| body.parse::<u32>().unwrap());
    for (body, reply) in calls.into_iter().rev() {
        reply.send(body).unwrap();
    }
    let mut lines = vec!["21 = ä\n".to_owned()];
    lines.extend((1..=20).rev().map(|it| format!("{it} = {it}\n")));
    assert_eq!(asker.end(), (Some(0), lines.concat()));
    let report = responder.shutdown(PATIENCE).unwrap();
    assert_eq!((report.left, report.figures.malformed), (0, 0));
}

#[test]
fn python_has_no_more_calls_open_than_the_responder_takes() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let held = Held::default();
    let responder = responder(&path, &held);
    let mut asker = Asker::start(&client, &path, "600");
    let (most, count) = (1024, 1100);
    for _ in 0..count {
        asker.ask("hold x");
    }
    for more in [most, count - most] {
        wait_for_held(&held, more);
        let calls: Vec<_> = held.lock().unwrap().drain(..).collect();
        for (body, reply) in calls {
            reply.send(body).unwrap();
        }
    }
    let (code, said) = asker.end();
    assert_eq!((code, said.lines().count()), (Some(0), count), "{said}");
    assert_eq!(responder.figures().refused, 0);
}

#[test]
fn python_tells_why_there_is_no_answer() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let held = Held::default();
    let responder = responder(&path, &held);
    for (line, error) in [
        ("fail", "as asked"),
        ("drop", "the handler ended without an answer"),
        ("parts", "the call has several answers"),
    ] {
        let mut asker = Asker::start(&client, &path, "600");
        asker.ask(line);
        asker.ask("ping x");
        let (code, said) = asker.end();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("1 ! {error}\n")), "{said}");
        assert!(said.contains("2 = x\n"), "{said}");
    }
    let mut asker = Asker::start(&client, &path, "600");
    asker.ask("forbidden");
    let (code, said) = asker.end();
    assert!(code == Some(1) && said.starts_with("1 ! "), "{said}");
    assert_eq!(responder.figures().refused, 1);
    wait_until("the other answers are not wanted", || {
        held.lock()
            .unwrap()
            .iter()
            .all(|(_, reply)| reply.is_cancelled())
    });
}

#[test]
fn python_cancels_what_it_does_not_wait_for() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let held = Held::default();
    let responder = responder(&path, &held);
    let mut asker = Asker::start(&client, &path, "3");
    asker.ask("hold");
    wait_for_held(&held, 1);
    let late = "1 ! no answer in time: unknown whether the call was done\n";
    wait_until("its time is over", || asker.said() == late);
    wait_until("the responder is told", || {
        let connections = responder.connections();
        connections[0].open[0].is_cancelled
    });
    // An answer that comes too late is none to another call.
    let (_, reply) = held.lock().unwrap().pop().unwrap();
    let _ = reply.send("late");
    asker.ask("ping x");
    assert_eq!(asker.end(), (Some(1), format!("{late}2 = x\n")));
    responder.shutdown(PATIENCE).unwrap();

    let mut asker = Asker::start(&client, &path, "0.1");
    asker.ask("ping x");
    let (code, said) = asker.end();
    let nobody = "1 ! the call could not be sent in time: it was not done ([Errno ";
    assert!(code == Some(1) && said.starts_with(nobody), "{said}");
}

#[test]
fn python_sends_and_prints_bytes_as_they_are() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let _responder = responder(&path, &Held::default());
    let mut asker = Asker::start(&client, &path, "600");
    // A method is text.
    let mut input = asker.input.take().unwrap();
    input.write_all(b"ping \xff\0\r\n\xff x\n").unwrap();
    drop(input);
    assert_eq!(asker.program.wait().code(), Some(1));
    let mut said = stored_in(&asker.output);
    said.sort();
    assert_eq!(said[0], b"1 = \xff\0\r");
    assert!(said[1].starts_with(b"2 ! "), "{:?}", said[1]);
    assert_eq!(said.len(), 2);
}

#[test]
fn an_interrupt_ends_python_though_its_input_has_not_ended() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let _responder = responder(&path, &Held::default());
    let mut asker = Asker::start(&client, &path, "600");
    asker.ask("ping x");
    wait_until("it is answered", || asker.said() == "1 = x\n");
    signal(&asker.program, Signal::SIGINT);
    let signal = asker.program.wait().signal().unwrap();
    assert_eq!(Signal::try_from(signal), Ok(Signal::SIGINT));
}

#[test]
fn python_does_not_know_what_a_lost_responder_has_done_and_finds_the_next() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let mut asker = Asker::start(&client, &path, "600");
    let mut said = Vec::new();
    for life in 1..=3 {
        let held = Held::default();
        let responder = responder(&path, &held);
        asker.ask("ping x");
        said.push(format!("{} = x\n", 2 * life - 1));
        wait_until("it finds the next", || asker.said() == said.concat());
        asker.ask("hold");
        wait_for_held(&held, 1);
        assert_eq!(responder.shutdown(Duration::ZERO).unwrap().left, 1);
        let lost = "the connection was lost: unknown whether the call was done";
        said.push(format!("{} ! {lost}\n", 2 * life));
        wait_until("it has lost the connection", || {
            asker.said() == said.concat()
        });
    }
    assert_eq!(asker.end(), (Some(1), said.concat()));
}

#[test]
fn python_that_was_killed_cancels_its_calls() {
    let Some((_place, path, client)) = stage("call") else {
        return;
    };
    let held = Held::default();
    let responder = responder(&path, &held);
    let mut asker = Asker::start(&client, &path, "600");
    asker.ask("hold");
    wait_for_held(&held, 1);
    assert!(!held.lock().unwrap()[0].1.is_cancelled());
    drop(asker);
    wait_until("the call is cancelled", || {
        held.lock().unwrap()[0].1.is_cancelled()
    });
    wait_until("the connection is gone", || {
        responder.connections().is_empty()
    });
}
