//! `call` and `respond`: what goes both ways, each exit code, and that no command outlives its
//! call.

use std::fs::{self, Permissions};
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uds_ipc::calls::{CallError, Caller, Responder};

use crate::patience::PATIENCE;
use crate::stage::{Ended, Place, Tool, wait_until};

/// Longer than any test.
const LONG: &str = "600";

impl Place {
    /// A responder that accepts, with the script that a shell runs for each call.
    fn respond(&self, options: &[&str], script: &str) -> Tool {
        let command = ["--exec", "sh", "-c", script];
        let figures = if options.contains(&"--figures") {
            &[][..]
        } else {
            &["--figures", "json"]
        };
        let arguments = [&["respond", "s"], figures, options, &command].concat();
        let mut responder = self.tool(&arguments, Stdio::null(), Stdio::null());
        responder.wait_for("listening on ");
        responder
    }

    /// What a call prints, and how it ends.
    fn call(&self, arguments: &[&str]) -> (Vec<u8>, Ended) {
        self.call_with(b"", arguments)
    }

    fn call_with(&self, input: &[u8], arguments: &[&str]) -> (Vec<u8>, Ended) {
        let arguments = [&["call", "s"], arguments].concat();
        let mut call = self.tool(&arguments, self.input(input), Stdio::piped());
        let mut answer = Vec::new();
        call.output().read_to_end(&mut answer).unwrap();
        (answer, call.end())
    }

    /// Whether that command has come to hang.
    fn hangs(&self) -> bool {
        fs::read(self.path("command")).is_ok_and(|number| number.ends_with(b"\n"))
    }

    /// A process that a script has left the number of in a file.
    fn process(&self, file: &str) -> Pid {
        let path = self.path(file);
        let read = || fs::read_to_string(&path).ok()?.trim().parse().ok();
        wait_until("the command runs", || read().is_some());
        Pid::from_raw(read().unwrap())
    }
}

/// What is dead may still be in the table, until whoever it fell to looks.
fn is_gone(process: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/stat")) else {
        return kill(process, None).is_err();
    };
    status.rsplit(')').next().unwrap().starts_with(" Z")
}

/// Bytes that are no text, the same at each run.
fn any_bytes(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let bytes: Vec<_> = (0..len).map(|_| next()).collect();
    assert!(bytes.contains(&0) && std::str::from_utf8(&bytes).is_err());
    bytes
}

/// Times that a command may take: on a busy machine the first may be over before it has begun.
const TIMES: [&str; 3] = ["1", "5", "30"];

/// A command that starts a child, leaves both numbers, and hangs.
const HANGS: &str = "sleep 600 & echo $! > child; echo $$ > command; wait";

#[test]
fn a_command_knows_what_is_asked_by_whom_and_answers() {
    let place = Place::new();
    let script = "echo $UDS_IPC_METHOD $UDS_IPC_UID $UDS_IPC_GID $UDS_IPC_PID; cat";
    let responder = place.respond(&[], script);
    let arguments = ["call", "s", "size of it", "body"];
    let mut call = place.tool(&arguments, Stdio::null(), Stdio::piped());
    let pid = call.child.id();
    let mut answer = String::new();
    call.output().read_to_string(&mut answer).unwrap();
    call.end().assert_code(0);
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let expected = format!("size of it {uid} {gid} ");
    assert!(answer.starts_with(&expected), "{answer}");
    assert!(answer.ends_with("body\n"), "{answer}");
    let pid = format!("{expected}{pid}\nbody\n");
    assert!(!cfg!(target_os = "linux") || answer == pid, "{answer}");
    let ended = responder.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("answered"), 1);
}

#[test]
fn big_and_binary_bodies_go_both_ways() {
    let place = Place::new();
    let options = ["--max-call", "8000000", "--max-answer", "8000000"];
    let responder = place.respond(&options, "cat");
    let body = any_bytes(5_000_000);
    let options = ["echo", "-", "--raw", "--timeout", "60", "--figures", "json"];
    let limits = ["--max-call", "8000000", "--max-answer", "8000000"];
    let (answer, ended) = place.call_with(&body, &[&options[..], &limits].concat());
    ended.assert_code(0);
    assert!(answer == body, "what came back is not what was sent");
    assert_eq!(ended.figure("sent_bytes"), 5_000_000);
    assert_eq!(ended.figure("answers/messages"), 1);
    assert_eq!(ended.figure("answers/bytes"), 5_000_000);
    assert_eq!(ended.figure("connects"), 1);

    let (_, ended) = place.call(&["echo", "four", "--figures", "text"]);
    ended.assert_code(0).assert_said("1 answer, 4 B in ");

    // Above the limit nothing is sent.
    let (_, ended) = place.call_with(&body, &["echo", "-"]);
    ended.assert_code(2).assert_said("raise --max-call");
    assert_eq!(responder.stop().figure("answered"), 2);
}

#[test]
fn at_its_end_a_responder_says_in_one_line_what_became_of_the_calls() {
    let place = Place::new();
    let script = "test $UDS_IPC_METHOD = good";
    let responder = place.respond(&["--figures", "text"], script);
    for (method, code) in [("good", 0), ("bad", 1), ("good", 0)] {
        place.call(&[method]).1.assert_code(code);
    }
    let ended = responder.stop();
    ended.assert_code(0).assert_said("answered 2 calls in ");
    let line = ended.said.last().unwrap();
    assert!(line.ends_with(" s, failed: 1"), "{line}");
}

#[test]
fn a_command_need_not_read_what_it_is_given() {
    let place = Place::new();
    let responder = place.respond(&[], "echo enough");
    let body = any_bytes(900_000);
    let (answer, ended) = place.call_with(&body, &["m", "-"]);
    ended.assert_code(0);
    assert_eq!(answer, b"enough\n");
    responder.stop().assert_code(0);
}

#[test]
fn answers_are_lines_unless_they_are_to_be_raw() {
    let place = Place::new();
    let responder = Responder::builder(place.path("s")).bind().unwrap();
    let responder = responder.start(|call, reply| {
        if call.method() == "three" {
            reply.send_part("one").unwrap();
            reply.send_part("two\n").unwrap();
        }
        let _ = reply.send("last");
    });
    let responder = responder.unwrap();
    for (arguments, expected) in [
        (&["three"][..], "one\ntwo\nlast\n"),
        (&["three", "--raw"], "onetwo\nlast"),
        (&["one"], "last\n"),
        (&["one", "--raw"], "last"),
    ] {
        let (answer, ended) = place.call(arguments);
        ended.assert_code(0);
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        assert!(ended.said.is_empty(), "{ended:?}");
    }
    responder.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_closed_output_ends_a_call_and_the_responder_is_told() {
    let place = Place::new();
    let (gone, is_gone) = crossbeam_channel::bounded(1);
    let responder = Responder::builder(place.path("s")).bind().unwrap();
    let responder = responder.start(move |_, reply| {
        while reply.send_part("more").is_ok() {}
        let _ = gone.send(());
    });
    let arguments = ["call", "s", "feed", "--timeout", LONG];
    let mut call = place.tool(&arguments, Stdio::null(), Stdio::piped());
    let mut line = [0; 5];
    let mut output = call.output();
    output.read_exact(&mut line).unwrap();
    drop(output);
    assert_eq!(&line, b"more\n");
    call.end().assert_code(0);
    is_gone.recv_timeout(PATIENCE).unwrap();
    responder.unwrap().shutdown(PATIENCE).unwrap();
}

#[test]
fn a_closed_output_ends_a_call_that_has_no_further_answer_yet() {
    for answers in [0, 1] {
        let place = Place::new();
        let (gone, is_gone) = crossbeam_channel::bounded(1);
        let (came, has_come) = crossbeam_channel::bounded(1);
        let responder = Responder::builder(place.path("s")).bind().unwrap();
        let responder = responder.start(move |_, reply| {
            for _ in 0..answers {
                reply.send_part("one").unwrap();
            }
            let _ = came.send(());
            wait_until("it is cancelled", || reply.is_cancelled());
            let _ = gone.send(());
        });
        let arguments = ["call", "s", "feed", "--timeout", LONG];
        let mut call = place.tool(&arguments, Stdio::null(), Stdio::piped());
        let mut output = call.output();
        has_come.recv_timeout(PATIENCE).unwrap();
        let mut line = String::new();
        for _ in 0..answers {
            output.read_line(&mut line).unwrap();
        }
        drop(output);
        let ended = call.end();
        if answers == 0 {
            ended.assert_code(6).assert_said("closed before an answer");
        } else {
            ended.assert_code(0);
        }
        is_gone.recv_timeout(PATIENCE).unwrap();
        responder.unwrap().shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn a_notification_is_done_and_prints_nothing() {
    let place = Place::new();
    let responder = place.respond(&[], "cat > noted.tmp; mv noted.tmp noted; echo done");
    let (answer, ended) = place.call(&["note", "text", "--notify"]);
    ended.assert_code(0);
    assert!(answer.is_empty() && ended.said.is_empty(), "{ended:?}");
    wait_until("it is done", || place.path("noted").exists());
    assert_eq!(fs::read(place.path("noted")).unwrap(), b"text");
    responder.stop().assert_code(0);
}

#[test]
fn a_command_that_cannot_be_run_is_wrong_usage() {
    let place = Place::new();
    fs::write(place.path("text"), "no program").unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    for (program, why) in [
        ("./no such command", "no such file"),
        ("no-such-command-anywhere", "not found"),
        ("./text", "permission denied"),
        ("./folder", "is a directory"),
    ] {
        let arguments = ["respond", "s", "--exec", program];
        let ended = place.tool(&arguments, Stdio::null(), Stdio::null()).end();
        ended.assert_code(2).assert_said(why);
        assert!(!place.path("s").exists());
    }
}

#[test]
fn a_failure_has_the_words_of_the_command() {
    let place = Place::new();
    let script = "echo not this; echo \"no $UDS_IPC_METHOD here\" >&2; exit 7";
    let responder = place.respond(&[], script);
    let (answer, ended) = place.call(&["disk"]);
    ended.assert_code(1);
    assert_eq!(ended.said, ["uds-ipc: no disk here"]);
    assert!(answer.is_empty());
    assert_eq!(responder.stop().figure("failed"), 1);
}

#[test]
fn a_command_that_is_not_there_any_more_fails_each_call_and_is_told_at_both_ends() {
    let place = Place::new();
    let program = place.path("such a command");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let arguments = [
        "respond",
        "s",
        "--figures",
        "json",
        "--exec",
        "./such a command",
    ];
    let mut responder = place.tool(&arguments, Stdio::null(), Stdio::null());
    responder.wait_for("listening on ");
    fs::remove_file(&program).unwrap();
    for _ in 0..2 {
        let (_, ended) = place.call(&["m"]);
        ended.assert_code(1);
        ended.assert_said("cannot run the command: no such file");
    }
    responder.wait_for("cannot run the command: no such file");
    let ended = responder.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("failed"), 2);
}

#[test]
fn an_answer_that_is_too_long_is_a_failure_and_its_command_killed() {
    let place = Place::new();
    let responder = place.respond(&["--max-answer", "1000"], "echo $$ > command; exec yes");
    let (answer, ended) = place.call(&["m", "--timeout", LONG]);
    ended.assert_code(1).assert_said("more than 1000 bytes");
    assert!(answer.is_empty());
    assert!(is_gone(place.process("command")));
    assert_eq!(responder.stop().figure("failed"), 1);
}

#[test]
fn at_the_deadline_a_command_is_killed_with_its_children() {
    let place = Place::new();
    let responder = place.respond(&[], HANGS);
    let mut tries = 0;
    for time in TIMES {
        let (answer, ended) = place.call(&["m", "--timeout", time]);
        ended.assert_code(5).assert_said("no answer came in time");
        assert!(answer.is_empty());
        tries += 1;
        if place.hangs() {
            break;
        }
    }
    for file in ["command", "child"] {
        let process = place.process(file);
        wait_until("it is killed", || is_gone(process));
    }
    let ended = responder.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("cancelled"), tries);
}

#[test]
fn a_caller_that_goes_takes_its_command_along() {
    let place = Place::new();
    let responder = place.respond(&[], HANGS);
    let arguments = ["call", "s", "m", "--timeout", LONG];
    let mut call = place.tool(&arguments, Stdio::null(), Stdio::null());
    let processes = ["command", "child"].map(|file| place.process(file));
    // Not SIGINT, which is ignored where the tests run in the background of a script.
    call.signal(Signal::SIGTERM);
    call.child.wait().unwrap();
    for process in processes {
        wait_until("it is killed", || is_gone(process));
    }
    let ended = responder.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("cancelled"), 1);
}

#[test]
fn a_command_that_takes_too_long_is_killed_however_long_its_caller_would_wait() {
    let place = Place::new();
    for time in TIMES {
        let responder = place.respond(&["--command-timeout", time], HANGS);
        let (_, ended) = place.call(&["m", "--timeout", LONG]);
        ended.assert_code(1).assert_said("took longer than ");
        assert_eq!(responder.stop().figure("too_slow"), 1);
        if place.hangs() {
            break;
        }
    }
    assert!(is_gone(place.process("command")));
    let child = place.process("child");
    wait_until("it is killed", || is_gone(child));
}

/// A command that says that it runs, and how many do, and waits for the file `go`.
const WAITS: &str = "touch run-$UDS_IPC_METHOD; ls -d run-* | wc -l >> counts; \
                     until [ -e go ]; do sleep 0.02; done; \
                     rm run-$UDS_IPC_METHOD; echo $UDS_IPC_METHOD";

const METHODS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Allows those methods.
fn methods() -> Vec<&'static str> {
    METHODS.iter().flat_map(|name| ["--method", name]).collect()
}

/// What was sent on the connection before has been read by then: the calls wait for a command, or
/// are cancelled.
fn assert_read(caller: &Caller) {
    let error = caller.call("not allowed", "", PATIENCE).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
}

#[test]
fn several_commands_run_at_once_and_no_more_than_may() {
    let place = Place::new();
    let options = [&["--max-commands", "3"][..], &methods()].concat();
    let responder = place.respond(&options, WAITS);
    let caller = Caller::new(place.path("s")).unwrap();
    let runs = |name: &&str| place.path(&format!("run-{name}")).exists();
    let answers = thread::scope(|scope| {
        let answers =
            scope.spawn(|| caller.call_batch(METHODS.map(|method| (method, "")), PATIENCE));
        wait_until("three run", || {
            METHODS.iter().filter(|it| runs(it)).count() == 3
        });
        assert_read(&caller);
        fs::write(place.path("go"), "").unwrap();
        answers.join().unwrap()
    });
    for (method, answer) in METHODS.iter().zip(answers) {
        assert_eq!(answer.unwrap(), format!("{method}\n").as_bytes());
    }
    let ended = responder.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("answered"), 5);
    let counts = fs::read_to_string(place.path("counts")).unwrap();
    let counts: Vec<u32> = counts
        .lines()
        .map(|count| count.trim().parse().unwrap())
        .collect();
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
}

#[test]
fn for_a_call_that_is_given_up_while_it_waits_no_command_begins() {
    let place = Place::new();
    let options = [&["--max-commands", "1"][..], &methods()].concat();
    let responder = place.respond(&options, WAITS);
    let arguments = ["call", "s", "a", "--timeout", LONG];
    let call = place.tool(&arguments, Stdio::null(), Stdio::null());
    wait_until("the first runs", || place.path("run-a").exists());
    let caller = Caller::new(place.path("s")).unwrap();
    let waits = caller.call_many("b", "", PATIENCE).unwrap();
    assert_read(&caller);
    drop(waits);
    assert_read(&caller);
    fs::write(place.path("go"), "").unwrap();
    call.end().assert_code(0);
    assert_eq!(caller.call("c", "", PATIENCE).unwrap(), b"c\n");
    let ended = responder.stop();
    assert_eq!(
        (ended.figure("answered"), ended.figure("cancelled")),
        (2, 1)
    );
    let counts = fs::read_to_string(place.path("counts")).unwrap();
    assert_eq!(counts.lines().count(), 2, "two commands began");
}

#[test]
fn only_the_methods_that_are_named_are_allowed() {
    let place = Place::new();
    let options = ["--method", "status", "--method", "drain"];
    let responder = place.respond(&options, "echo yes");
    for method in ["status", "drain"] {
        place.call(&[method]).1.assert_code(0);
    }
    for method in ["stop", "", "STATUS"] {
        let (answer, ended) = place.call(&[method]);
        ended.assert_code(4).assert_said("refused: ");
        assert!(answer.is_empty());
    }
    let ended = responder.stop();
    assert_eq!((ended.figure("answered"), ended.figure("refused")), (2, 3));
}

#[test]
fn who_is_not_among_the_users_is_refused() {
    let place = Place::new();
    let responder = place.respond(&["--allow-uid", "4294967294"], "echo yes");
    place.call(&["m"]).1.assert_code(4);
    assert_eq!(responder.stop().figure("refused"), 1);
    let us = nix::unistd::geteuid().to_string();
    let responder = place.respond(&["--allow-uid", &us], "echo yes");
    place.call(&["m"]).1.assert_code(0);
    responder.stop().assert_code(0);
}

#[test]
fn over_tcp_whoever_may_call_must_be_said() {
    let place = Place::new();
    let address = "tcp:127.0.0.1:0";
    let nobody = ["respond", address, "--exec", "cat"];
    let refused = place.tool(&nobody, Stdio::null(), Stdio::null()).end();
    refused.assert_code(2).assert_said("give --allow-anyone");
    let anyone = [
        "respond",
        address,
        "--allow-anyone",
        "--exec",
        "sh",
        "-c",
        "echo ${UDS_IPC_UID-nobody} ${UDS_IPC_PID-nobody}",
    ];
    let mut responder = place.tool(&anyone, Stdio::null(), Stdio::null());
    let line = responder.wait_for("listening on ");
    let arguments = ["call", line.strip_prefix("listening on ").unwrap(), "m"];
    let mut call = place.tool(&arguments, Stdio::null(), Stdio::piped());
    let mut answer = String::new();
    call.output().read_to_string(&mut answer).unwrap();
    call.end().assert_code(0);
    assert_eq!(answer, "nobody nobody\n");
    responder.stop().assert_code(0);
}

#[test]
fn where_nobody_takes_a_call_that_is_told_apart() {
    let place = Place::new();
    // At once: the timeout is longer than any test.
    let nobody = ["m", "--timeout", LONG];
    let (_, ended) = place.call(&nobody);
    let why = "/s: no such file or directory";
    ended
        .assert_code(3)
        .assert_said("nobody answers at ")
        .assert_said(why);
    drop(UnixListener::bind(place.path("s")).unwrap());
    let (_, ended) = place.call(&nobody);
    ended.assert_code(3).assert_said("/s: connection refused");
    fs::remove_file(place.path("s")).unwrap();
    fs::write(place.path("s"), "").unwrap();
    let (_, ended) = place.call(&["m", "--notify", "--timeout", LONG]);
    ended
        .assert_code(3)
        .assert_said("/s: this is a regular file, not a socket");
    let arguments = [
        "call",
        "tcp:127.0.0.1:9",
        "m",
        "--wait",
        "0.1",
        "--timeout",
        LONG,
    ];
    let call = place.tool(&arguments, Stdio::null(), Stdio::null());
    call.end()
        .assert_code(3)
        .assert_said("tcp:127.0.0.1:9: connection refused");
}

#[test]
fn a_path_that_is_no_text_is_called_too() {
    use std::os::unix::ffi::OsStringExt;

    if !cfg!(target_os = "linux") {
        return;
    }
    let place = Place::new();
    let name = std::ffi::OsString::from_vec(b"s\xff".to_vec());
    let responder = Responder::builder(place.0.path().join(&name))
        .bind()
        .unwrap();
    let responder = responder.start(|_, reply| drop(reply.send("yes"))).unwrap();
    let call = crate::stage::tool_command()
        .arg("call")
        .arg(&name)
        .arg("m")
        .current_dir(&place.0)
        .output()
        .unwrap();
    assert_eq!((call.stdout, call.stderr), (b"yes\n".to_vec(), Vec::new()));
    responder.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_call_may_wait_for_the_responder() {
    let place = Place::new();
    let arguments = ["call", "s", "m", "--wait", LONG, "--timeout", LONG];
    let call = place.tool(&arguments, Stdio::null(), Stdio::null());
    let responder = place.respond(&[], "echo yes");
    call.end().assert_code(0);
    responder.stop().assert_code(0);
}

#[test]
fn what_may_have_been_done_has_a_code_of_its_own() {
    let place = Place::new();
    let responder = Responder::builder(place.path("s")).bind().unwrap();
    let responder = responder.start(|_, reply| drop(reply)).unwrap();
    let (_, ended) = place.call(&["m"]);
    ended.assert_code(6).assert_said("ended without an answer");
    responder.shutdown(PATIENCE).unwrap();

    let listener = UnixListener::bind(place.path("s")).unwrap();
    let takes_and_goes = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 6]).unwrap();
    });
    let (_, ended) = place.call(&["method", "--timeout", LONG]);
    ended.assert_code(6).assert_said("the connection was lost");
    takes_and_goes.join().unwrap();
}

#[test]
fn a_stop_answers_what_is_in_hand() {
    let place = Place::new();
    let script = format!("[ $UDS_IPC_METHOD = probe ] && exit; {WAITS}");
    let responder = place.respond(&["--timeout", LONG], &script);
    let arguments = ["call", "s", "m", "--timeout", LONG];
    let mut call = place.tool(&arguments, Stdio::null(), Stdio::piped());
    // Of a connection that is there already the next call is refused, with a word.
    let caller = Caller::new(place.path("s")).unwrap();
    caller.notify("n", "", PATIENCE).unwrap();
    let both = || {
        ["run-m", "run-n"]
            .iter()
            .all(|name| place.path(name).exists())
    };
    wait_until("both run", both);
    responder.signal(Signal::SIGTERM);
    let mut probes = 0;
    wait_until("new calls are refused", || {
        let probe = caller.call("probe", "", PATIENCE);
        probes += u64::from(probe.is_ok());
        probe.is_err_and(|error| matches!(error, CallError::Refused { .. }))
    });
    fs::write(place.path("go"), "").unwrap();
    let mut answer = String::new();
    call.output().read_to_string(&mut answer).unwrap();
    call.end().assert_code(0);
    assert_eq!(answer, "m\n");
    let ended = responder.end();
    ended.assert_code(0);
    let figures = (ended.figure("answered"), ended.figure("left"));
    assert_eq!(figures, (2 + probes, 0));
}

#[test]
fn a_stop_whose_time_is_over_kills_what_is_left() {
    let place = Place::new();
    let responder = place.respond(&["--timeout", "0.1"], HANGS);
    let arguments = ["call", "s", "m", "--timeout", LONG];
    let call = place.tool(&arguments, Stdio::null(), Stdio::null());
    let processes = ["command", "child"].map(|file| place.process(file));
    let ended = responder.stop();
    ended.assert_code(1).assert_said("calls left unanswered");
    assert_eq!(ended.figure("left"), 1);
    for process in processes {
        wait_until("it is killed", || is_gone(process));
    }
    call.end().assert_code(6);
}

#[test]
fn bad_usage_has_a_code_of_its_own_here_too() {
    let place = Place::new();
    for (arguments, words) in [
        (&["call", "s"][..], "METHOD"),
        (&["call", "-", "m"], "needs an address to connect to"),
        (&["call", "fd:0", "m"], "needs an address to connect to"),
        (&["call", "tcp:127.0.0.1:0", "m"], "is 0"),
        (&["call", "tcp:192.0.2.1:9", "m"], "to this machine only"),
        (&["call", "s", "m", "--timeout", "0"], "more than nothing"),
        (&["respond", "s"], "--exec"),
        (&["respond", "s", "--exec"], "--exec"),
        (
            &["respond", "s", "--max-answer", "10", "--exec", "cat"],
            "--max-answer is 10: it must be at least 64",
        ),
        (&["respond", "-", "--exec", "cat"], "is one stream"),
        (
            &["respond", "@n", "--mode", "660", "--exec", "cat"],
            "leave --mode away",
        ),
        (
            &["respond", "s", "--max-commands", "0", "--exec", "cat"],
            "from 1 to",
        ),
    ] {
        let ended = place.tool(arguments, Stdio::null(), Stdio::null()).end();
        ended.assert_code(2).assert_said(words);
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::new();
    let responder = place.respond(&[], "echo yes");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let call = place.tool(&["call", "s", "m"], Stdio::null(), full.into());
    call.end().assert_code(1).assert_said("cannot print");
    responder.stop().assert_code(0);
}

/// What systemd would pass: a socket that listens, as descriptor 3, with a name.
#[cfg(target_os = "linux")]
#[test]
fn a_service_takes_the_socket_of_its_name_and_says_that_it_is_ready() {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use command_fds::{CommandFdExt, FdMapping};

    let place = Place::new();
    let manager = UnixDatagram::bind(place.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = UnixListener::bind(place.path("s")).unwrap();
    let mut command = Command::new("sh");
    let start = "export LISTEN_PID=$$; exec \"$0\" respond other --activation admin --exec \
                 sh -c 'echo ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none}'";
    command
        .args(["-c", start, env!("CARGO_BIN_EXE_uds-ipc")])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "admin")
        .env("NOTIFY_SOCKET", place.path("notify"))
        .current_dir(&place.0)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mapping = FdMapping {
        parent_fd: socket.into(),
        child_fd: 3,
    };
    command.fd_mappings(vec![mapping]).unwrap();
    let responder = Tool::new(command.spawn().unwrap());
    let told = || {
        let mut text = [0; 512];
        let len = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    assert_eq!(told(), "READY=1\n");
    let (answer, ended) = place.call(&["m", "--timeout", LONG]);
    ended.assert_code(0);
    assert_eq!(answer, b"none none\n");
    responder.stop().assert_code(0);
    assert_eq!(told(), "STOPPING=1\n");
}
