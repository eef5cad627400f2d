//! Runs the examples as their readers would, each as a process of its own: `cargo test`.
//!
//! Cargo builds the examples for `cargo test`; for `cargo test --test examples` they must have been
//! built before.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper cannot do fails the test"
)]
#![expect(clippy::print_stderr, reason = "a test that skips itself says so")]

mod jsonrpc;
mod patience;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
#[cfg(feature = "calls")]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use patience::PATIENCE;
use prost::Message;
use tempfile::tempdir;
use uds_ipc::metrics::Exposition;
use uds_ipc::{FlushLevel, Reader, Writer};

#[test]
fn telemetry_delivers_every_line_of_a_folder() {
    let folder = tempdir().unwrap();
    let odd =
        b"plain\n\n\r\nwith a carriage return\r\n\xff\xfe\x00\x80\n\xe2\x82\n \r\r\nno line end\r";
    let long = [1_000_000, 40_000, 32_768, 128, 127]
        .map(|len| "x".repeat(len) + "\n")
        .concat();
    let many = "a line\n".repeat(20_000);
    for (name, content) in [
        ("odd.log", &odd[..]),
        ("long.log", long.as_bytes()),
        ("many.log", many.as_bytes()),
        ("empty.log", b""),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join("README"), "not a log file\n").unwrap();

    let temporary = tempdir().unwrap();
    let ended = Running::start(
        example("telemetry")
            .arg(folder.path())
            .env("TMPDIR", temporary.path()),
    )
    .end();

    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.text().starts_with("20013 lines in 4 files\n"),
        "{ended:?}"
    );
    assert!(
        ended
            .text()
            .contains("\ncollector: received 20013 messages, "),
        "{ended:?}"
    );
    // Read, accepted, sent, received, missing and repeated. The files are dealt out by turns, in
    // the order of their names.
    assert_eq!(
        ended.row("1"),
        ["20000", "20000", "20000", "20000", "0", "0", "the", "same"],
        "{ended:?}"
    );
    assert_eq!(
        ended.row("2"),
        ["13", "13", "13", "13", "0", "0", "the", "same"],
        "{ended:?}"
    );
    let result = "all 20013 lines were received: none lost, none twice, their contents the same\n";
    assert!(ended.text().ends_with(result), "{ended:?}");
    assert_eq!(
        fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "the socket's directory is left"
    );
}

#[test]
fn telemetry_fails_when_a_line_cannot_be_sent() {
    let folder = tempdir().unwrap();
    // Longer than a message may be.
    fs::write(folder.path().join("a.log"), vec![b'x'; 10 * 1024 * 1024]).unwrap();
    fs::write(folder.path().join("b.log"), "a line\n").unwrap();
    let temporary = tempdir().unwrap();
    let ended = Running::start(
        example("telemetry")
            .arg(folder.path())
            .env("TMPDIR", temporary.path()),
    )
    .end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("emitter 1 failed"), "{ended:?}");
    assert_eq!(
        fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "the socket's directory is left"
    );
}

#[test]
fn telemetry_fails_without_lines_and_without_a_folder_that_it_can_read() {
    let folder = tempdir().unwrap();
    let ended = Running::start(example("telemetry").arg(folder.path())).end();
    assert_eq!(
        (ended.code, ended.errors.as_str()),
        (Some(1), "telemetry: there is nothing to send\n")
    );
    let ended = Running::start(example("telemetry").arg(folder.path().join("missing"))).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("missing"), "{ended:?}");
}

#[test]
fn telemetry_takes_no_option_for_a_folder() {
    for (option, code) in [("--help", 0), ("--verbose", 1)] {
        let ended = Running::start(example("telemetry").arg(option)).end();
        assert_eq!(ended.code, Some(code));
        let said = [ended.text(), ended.errors].concat();
        assert!(
            said.contains("usage: telemetry [FOLDER [ADDRESS]]"),
            "{said}"
        );
    }
}

#[test]
fn the_collector_of_telemetry_notices_gaps_and_repeats() {
    let directory = tempdir().unwrap();
    let socket = directory.path().join("telemetry.sock");
    let collector = Running::start(example("telemetry").arg("--collector").arg(&socket));
    let writer = Writer::start(&socket).unwrap();
    for number in [0_u64, 1, 4, 1, 5] {
        writer
            .try_send([&[7], &number.to_le_bytes()[..], b"a line"].concat())
            .unwrap();
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let ended = collector.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Five were received; two are missing, and one came again.
    assert!(ended.text().contains("\nreport 7 5 2 1 "), "{ended:?}");
}

#[test]
fn the_collector_prints_all_that_the_emitter_sent() {
    let directory = tempdir().unwrap();
    let socket = directory.path().join("telemetry.sock");
    let emitter = Running::start(example("emitter").arg(&socket).args(["1000", "1"]));
    let collector = Running::start(example("collector").arg(&socket));

    let ended = emitter.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.text(),
        "accepted 1000\nrefused 0\nsent 1000\nleft 0\n",
        "{ended:?}"
    );

    collector.signal("TERM");
    let ended = collector.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<String> = (0..1000)
        .map(|number| format!("emitter.requests.{number}:1|c"))
        .collect();
    assert_eq!(ended.text().lines().collect::<Vec<_>>(), lines, "{ended:?}");
    assert!(
        ended.errors.contains(
            "collector: 1000 messages (23890 bytes) received, 0 connections open, 0 connections cut"
        ),
        "{ended:?}"
    );
    assert!(!socket.exists(), "the socket's file is left");
}

#[test]
fn the_collector_and_the_emitter_meet_over_tcp() {
    let collector = Running::start(example("collector").arg("tcp:127.0.0.1:0"));
    let address = collector.wait_for("listening at ");
    let ended = Running::start(example("emitter").arg(&address).args(["1000", "1"])).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.text().ends_with("\nsent 1000\nleft 0\n"), "{ended:?}");
    collector.signal("TERM");
    let ended = collector.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = (0..1000).map(|number| format!("emitter.requests.{number}:1|c"));
    assert!(ended.text().lines().eq(lines), "{ended:?}");
}

/// One of each spelling; `fd:3` is for a process that has something there.
fn spellings(folder: &Path, name: &str) -> Vec<String> {
    let folder = folder.to_str().expect("a temporary folder is text");
    let mut all = vec![
        format!("{folder}/{name}"),
        format!("unix:{folder}/{name}.sock"),
        "tcp:127.0.0.1:0".to_owned(),
        "fd:3".to_owned(),
    ];
    if cfg!(target_os = "linux") {
        all.push(format!("@uds-ipc-examples-{}-{name}", std::process::id()));
    }
    all
}

/// A process with that as its descriptor 3.
fn start_with(mut command: Command, descriptor: impl Into<OwnedFd>) -> Running {
    let parent_fd = descriptor.into();
    let child_fd = 3;
    let mappings = vec![FdMapping {
        parent_fd,
        child_fd,
    }];
    command.fd_mappings(mappings).expect("there is only one");
    Running::start(&mut command)
}

fn assert_no_file_in(folder: &Path) {
    let mut entries = fs::read_dir(folder).expect("a folder");
    assert!(entries.next().is_none(), "a file is left");
}

/// Where a process listens: what it was given, unless that is port 0.
fn reached_at(given: &str, bound: String) -> String {
    if given.starts_with("tcp:") {
        bound
    } else {
        given.to_owned()
    }
}

#[test]
fn the_collector_and_the_emitter_take_any_address_and_one_stream_ends_the_collector() {
    let folder = tempdir().unwrap();
    for address in spellings(folder.path(), "telemetry") {
        let is_stream = address == "fd:3";
        let (near, far) = UnixStream::pair().unwrap();
        let mut command = example("collector");
        command.arg(&address);
        let collector = start_with(command, near);
        let to = reached_at(&address, collector.wait_for("listening at "));
        // Where it listens it outlives a connection.
        let emitters = if is_stream { 1 } else { 2 };
        for far in [far.try_clone().unwrap(), far].into_iter().take(emitters) {
            let mut command = example("emitter");
            command.args([&to, "1", "1"]);
            let ended = start_with(command, far).end();
            assert_eq!(ended.code, Some(0), "{address}: {ended:?}");
            assert!(
                ended.text().ends_with("\nsent 1\nleft 0\n"),
                "{address}: {ended:?}"
            );
        }
        if !is_stream {
            collector.signal("TERM");
        }
        let ended = collector.end();
        assert_eq!(ended.code, Some(0), "{address}: {ended:?}");
        assert_eq!(
            ended.text(),
            "emitter.requests.0:1|c\n".repeat(emitters),
            "{address}"
        );
    }
    assert_no_file_in(folder.path());
}

#[test]
fn the_collector_ends_with_its_standard_input() {
    let mut collector = Running::start(example("collector").arg("-"));
    let input = collector.process.stdin.as_mut().unwrap();
    input.write_all(b"\x05hello\x03you").unwrap();
    let ended = collector.end();
    assert_eq!(
        (ended.code, &*ended.text()),
        (Some(0), "hello\nyou\n"),
        "{ended:?}"
    );
}

#[test]
fn telemetry_and_multi_threaded_take_any_address_that_both_ends_can_name() {
    let [folder, logs] = [tempdir().unwrap(), tempdir().unwrap()];
    fs::write(logs.path().join("a.log"), "a line\nand another\n").unwrap();
    fs::write(logs.path().join("b.log"), "a third\n").unwrap();
    let log_folder = logs.path().to_str().unwrap();
    for (name, arguments, result) in [
        ("telemetry", &[log_folder][..], "all 3 lines were received"),
        ("multi_threaded", &["2", "30"], "arrived in order"),
    ] {
        let mut addresses = spellings(folder.path(), name);
        addresses.push("-".to_owned());
        for address in addresses {
            let ended = Running::start(example(name).args(arguments).arg(&address)).end();
            if ["fd:3", "-"].contains(&&*address) {
                assert_eq!(ended.code, Some(1), "{address}: {ended:?}");
                assert!(ended.errors.contains("a path, @NAME or tcp:"), "{ended:?}");
            } else {
                assert_eq!(ended.code, Some(0), "{address}: {ended:?}");
                assert!(ended.text().contains(result), "{address}: {ended:?}");
            }
        }
    }
    assert_no_file_in(folder.path());
}

#[test]
fn the_emitter_keeps_standard_output_for_the_messages_that_go_there() {
    let ended = Running::start(example("emitter").args(["-", "1000", "1"])).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let figures = "accepted 1000\nrefused 0\nsent 1000\nleft 0\n";
    assert!(ended.errors.contains(figures), "{ended:?}");
    let frames = (0..1000).flat_map(|number| {
        let message = format!("emitter.requests.{number}:1|c").into_bytes();
        let len = u8::try_from(message.len()).expect("they are short");
        [vec![len], message].concat()
    });
    assert!(ended.output.iter().copied().eq(frames), "{ended:?}");
}

/// A client in Python, or nothing where that is not installed.
#[cfg(feature = "calls")]
fn python_client(name: &str) -> Option<Command> {
    let python = python_with("UDS_IPC_PYTHON", "import asyncio")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/clients/python")
        .join(name);
    let mut command = Command::new(python);
    command.arg("-B").arg(script);
    Some(command)
}

#[cfg(feature = "calls")]
fn assert_answered(ended: &Ended, count: usize) {
    // On a slow machine the responder may come too late for the first.
    let early = ended.errors.matches(": cannot connect to the ").count();
    assert_eq!(ended.code, Some(i32::from(early > 0)), "{ended:?}");
    let answered = count - early;
    let expected = format!("answered {answered}\nfailed {early}\nconnections 1\np50 ");
    assert!(ended.text().starts_with(&expected), "{ended:?}");
    assert!(ended.text().contains("\np99 "), "{ended:?}");
}

#[test]
#[cfg(feature = "calls")]
fn pings_are_answered_by_a_responder_that_comes_later_in_either_language() {
    let directory = tempdir().unwrap();
    // Not every system has names that are no text.
    let name = if cfg!(target_os = "linux") {
        OsStr::from_bytes(b"s\xff")
    } else {
        OsStr::new("s")
    };
    let socket = directory.path().join(name);
    let call = || Running::start(example("ping").arg("call").arg(&socket).arg("500"));

    let caller = call();
    let responder = Running::start(example("ping").arg("respond").arg(&socket));
    assert_answered(&caller.end(), 500);
    responder.signal("TERM");
    let ended = responder.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.ends_with("ping: 0 calls left\n"), "{ended:?}");
    assert_no_file_in(directory.path());

    if let Some(mut python) = python_client("respond.py") {
        let caller = call();
        let responder = Running::start(python.arg(&socket));
        assert_answered(&caller.end(), 500);
        responder.signal("TERM");
        assert_eq!(responder.end().code, Some(0));
        assert_no_file_in(directory.path());
    }
}

#[test]
#[cfg(feature = "calls")]
fn ping_takes_nothing_else_than_it_says() {
    for words in [
        &[][..],
        &["call"],
        &["respond", "a", "b"],
        &["call", "a", "many"],
    ] {
        let ended = Running::start(example("ping").args(words)).end();
        assert_eq!(ended.code, Some(1), "{words:?} {ended:?}");
        assert!(ended.errors.starts_with("ping: "), "{words:?} {ended:?}");
    }
}

#[test]
#[cfg(feature = "calls")]
fn python_finds_the_next_responder_when_that_of_ping_is_killed() {
    let Some(mut python) = python_client("call.py") else {
        return;
    };
    let directory = tempdir().unwrap();
    let socket = directory.path().join("s");
    let mut caller = Running::start(python.arg(&socket).arg("600"));
    let mut input = caller.process.stdin.take().unwrap();
    let respond = || {
        let responder = Running::start(example("ping").arg("respond").arg(&socket));
        responder.wait_for("answering at ");
        responder
    };
    let responder = respond();
    // The answer to the second call says that the first was read.
    input.write_all(b"nap 600000\nping x\n").unwrap();
    caller.wait_for_output("2 = x\n");
    // That is SIGKILL.
    drop(responder);
    caller.wait_for_output("1 ! the connection was lost: unknown whether the call was done\n");
    let _responder = respond();
    input.write_all(b"nap 1\nfail as asked\n").unwrap();
    drop(input);
    let ended = caller.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.text().contains("3 = 1\n"), "{ended:?}");
    assert!(ended.text().contains("4 ! as asked\n"), "{ended:?}");
}

#[test]
#[cfg(all(feature = "calls", feature = "serde"))]
fn the_admin_socket_answers_and_drains_the_collector() {
    let directory = tempdir().unwrap();
    let (telemetry, admin) = (directory.path().join("t"), directory.path().join("a"));
    let collector = Running::start(example("admin").arg(&telemetry).arg(&admin));
    let caller = uds_ipc::calls::Caller::new(&admin).unwrap();
    let call = |method, body| {
        let answer = caller.call(method, body, PATIENCE)?;
        Ok::<_, uds_ipc::calls::CallError>(String::from_utf8(answer).unwrap())
    };
    let figures =
        || -> serde_json::Value { serde_json::from_str(&call("figures", "").unwrap()).unwrap() };
    assert_eq!(figures()["received"]["messages"], 0);
    assert_eq!(call("connections", "").unwrap(), "");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&admin).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // It would be closed when it is idle for long, which is an event too.
    let writer = Writer::builder(&telemetry)
        .keepalive(Duration::from_secs(1))
        .start()
        .unwrap();
    writer.try_send("a line").unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    wait_until("it is counted", || figures()["received"]["messages"] == 1);
    let connections = call("connections", "").unwrap();
    assert!(
        connections.starts_with("connection 1 (uid "),
        "{connections}"
    );
    assert_eq!(connections.lines().count(), 1);

    // Connections come and go at the level debug.
    assert_eq!(call("log-level", "debug").unwrap(), "info");
    let other = Writer::start(&telemetry).unwrap();
    other.try_send("another").unwrap();
    let _ = collector.wait_for("admin: connection 2 (");
    assert_eq!(other.shutdown(PATIENCE).unwrap().left.messages, 0);
    for (method, body, error) in [
        ("log-level", "loud", r#""loud" is none of debug"#),
        (
            "reboot",
            "",
            r#"there is no method "reboot", but figures, "#,
        ),
    ] {
        let failed = call(method, body).unwrap_err().to_string();
        assert!(failed.contains(error), "{failed}");
    }
    assert_eq!(call("log-level", "warning").unwrap(), "debug");

    writer.try_send("the last").unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    // The answer comes once all is handled.
    let drained = call("drain", "").unwrap();
    assert_eq!(
        drained,
        "3 messages (21 bytes) received, 0 connections open, 0 connections cut"
    );
    let ended = collector.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.errors.ends_with(&format!("admin: {drained}\n")),
        "{ended:?}"
    );
    let mut lines: Vec<_> = ended.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a line", "another", "the last"], "{ended:?}");
    assert!(!ended.errors.contains("connection 1 ("), "{ended:?}");
    assert_no_file_in(directory.path());
}

#[cfg(target_os = "linux")]
#[test]
fn the_last_words_of_a_process_that_kills_itself_arrive() {
    let ended = Running::start(&mut example("last_words")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("line "))
        .collect();
    let expected: Vec<_> = (1..=10)
        .map(|number| format!("line {number} of 10"))
        .collect();
    assert_eq!(lines, expected, "{ended:?}");
}

#[test]
fn children_are_collected_from_whatever_program_they_are() {
    let ended = Running::start(&mut example("children")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for child in 1..=3 {
        assert_eq!(ended.said_by(child).len(), 30, "{ended:?}");
        assert_eq!(ended.end_of(child), "exit status: 0");
    }

    let commands = [r"printf '\005hello\003you' >&3", "exit 7", "exec sleep 0"];
    let ended = Running::start(example("children").args(commands)).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.said_by(1), ["hello", "you"], "{ended:?}");
    assert_eq!(ended.end_of(1), "exit status: 0");
    assert_eq!(ended.end_of(2), "exit status: 7");
    assert_eq!(ended.end_of(3), "exit status: 0");
}

#[test]
fn what_a_killed_child_had_flushed_is_collected() {
    const CHILDREN: usize = 3;
    for _ in 0..3 {
        let program = example("children");
        let command = format!(
            "exec '{}' --child {}",
            program.get_program().to_str().unwrap(),
            u64::MAX
        );
        let parent = Running::start(example("children").args(vec![command; CHILDREN]));
        let ids: Vec<_> = (1..=CHILDREN)
            .map(|child| parent.wait_for(&format!("child {child} is process ")))
            .collect();
        for id in &ids {
            parent.wait_for(&format!("process {id}: 100 are safe"));
            thread::park_timeout(Duration::from_micros(fastrand::u64(..50_000)));
            signal("KILL", id);
        }
        let ended = parent.end();
        assert_eq!(ended.code, Some(1), "{}", ended.errors);
        for (child, id) in (1..).zip(&ids) {
            let said = ended.said_by(child);
            let numbers = 1..=said.len();
            let all = numbers.map(|number| format!("message {number} of process {id}"));
            assert!(
                all.eq(said.iter().cloned()),
                "some of child {child} are not in order"
            );
            let reports = ended.errors.lines().filter_map(|line| {
                let safe = line.strip_prefix(&format!("process {id}: "))?;
                safe.strip_suffix(" are safe")?.parse().ok()
            });
            let safe: usize = reports.max().unwrap();
            assert!(said.len() >= safe, "{} of {safe} came", said.len());
            assert_eq!(ended.end_of(child), "signal: 9 (SIGKILL)");
        }
    }
}

/// Every number from 1 to `count` is in a line, however often.
#[cfg(all(feature = "async", feature = "metrics"))]
fn has_all(path: &Path, count: u64, number: impl Fn(&str) -> Option<u64>) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let numbers: std::collections::BTreeSet<_> = text.lines().filter_map(number).collect();
    numbers.into_iter().eq(1..=count)
}

/// The collector of the ecosystem has stored as many, however often.
#[cfg(all(feature = "async", feature = "metrics"))]
fn assert_stored(folder: &Path, count: u64) {
    assert!(has_all(&folder.join("events"), count, |line| {
        line.strip_suffix(" something happened")?.parse().ok()
    }));
    assert!(has_all(&folder.join("log"), count, |line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line.pointer("/fields/number")?.as_u64()
    }));
}

#[test]
#[cfg(all(feature = "async", feature = "metrics"))]
fn the_ecosystem_loses_nothing_that_was_confirmed_when_its_collector_is_killed() {
    const COUNT: u64 = 2_000;
    let folder = tempdir().unwrap();
    let start = || Running::start(example("ecosystem").arg("collector").arg(folder.path()));
    let stored = || fs::metadata(folder.path().join("events")).map_or(0, |file| file.len());
    let mut collector = start();
    let mut daemon = example("ecosystem");
    daemon
        .arg("daemon")
        .arg(folder.path())
        .arg(COUNT.to_string());
    let daemon = Running::start(&mut daemon);
    for _ in 0..3 {
        let before = stored();
        wait_until("it stores", || stored() > before + 2_000);
        collector.signal("KILL");
        drop(collector);
        collector = start();
    }
    let ended = daemon.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    collector.signal("TERM");
    assert_eq!(collector.end().code, Some(0));
    let sent = format!("uds_ipc_writer_confirmed_messages_total{{name=\"events\"}} {COUNT}\n");
    assert!(ended.errors.contains(&sent), "{ended:?}");
    assert_stored(folder.path(), COUNT);
}

#[test]
#[cfg(all(feature = "async", feature = "metrics"))]
fn the_ecosystem_takes_any_two_addresses() {
    let sockets = tempdir().unwrap();
    let [logs, events] = ["log", "events"].map(|name| spellings(sockets.path(), name));
    for (log, events) in logs.into_iter().zip(events) {
        // A stream for each of the two would be one more descriptor: there the log has a socket.
        let log = if log == "fd:3" {
            format!("{}/log", sockets.path().display())
        } else {
            log
        };
        let folder = tempdir().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let mut command = example("ecosystem");
        command
            .arg("collector")
            .arg(folder.path())
            .args([&log, &events]);
        let collector = start_with(command, near);
        let log = reached_at(&log, collector.wait_for("log at "));
        let events = reached_at(&events, collector.wait_for("events at "));
        let mut command = example("ecosystem");
        command.args(["daemon", &log, &events, "3"]);
        let ended = start_with(command, far).end();
        assert_eq!(ended.code, Some(0), "{log} {events}: {ended:?}");
        collector.signal("TERM");
        let ended = collector.end();
        assert_eq!(ended.code, Some(0), "{log} {events}: {ended:?}");
        assert_stored(folder.path(), 3);
    }
    assert_no_file_in(sockets.path());
}

/// What an HTTP server on this machine answers.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Programs of Prometheus, or nothing where they are not installed.
fn prometheus(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").output();
    if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        assert!(
            env::var_os("UDS_IPC_PROMETHEUS").is_none_or(|it| it != "must"),
            "there is no {name}"
        );
        eprintln!("skipped: there is no {name}");
        return None;
    }
    Some(Command::new(name))
}

#[test]
fn a_real_prometheus_scrapes_the_collector() {
    let directory = tempdir().unwrap();
    let socket = directory.path().join("telemetry.sock");
    let collector = Running::start(example("collector").arg(&socket).arg("127.0.0.1:0"));
    let address = collector.wait_for("figures at http://");
    let address = address.strip_suffix("/metrics").unwrap();
    let writer = Writer::start(&socket).unwrap();
    for _ in 0..17 {
        writer.try_send("a message").unwrap();
    }
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    let received = "uds_ipc_reader_received_messages_total";
    let answer = get(address, "/metrics").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let line = format!("{received}{{name=\"{}\"}} 17\n", socket.display());
    assert!(answer.contains(&line), "{answer}");

    let Some(mut command) = prometheus("prometheus") else {
        return;
    };
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus");
    let config = fs::read_to_string(sample.join("prometheus.yml")).unwrap();
    let config = config
        .replace("127.0.0.1:9464", address)
        .replace("15s", "1s");
    fs::write(directory.path().join("prometheus.yml"), config).unwrap();
    fs::copy(
        sample.join("alerts.yml"),
        directory.path().join("alerts.yml"),
    )
    .unwrap();
    // It does not tell which port it got: this one is free, or was a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = format!("127.0.0.1:{port}");
    let running = Running::start(
        command
            .arg(format!("--web.listen-address={server}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .current_dir(directory.path()),
    );
    wait_until("it has the figure", || {
        let answer = get(&server, &format!("/api/v1/query?query={received}"));
        answer.is_some_and(|answer| answer.contains(",\"17\"]"))
    });
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
    collector.signal("TERM");
    assert_eq!(collector.end().code, Some(0));
}

#[test]
fn promtool_finds_no_fault_in_the_page_nor_in_the_alarms() {
    let Some(mut command) = prometheus("promtool") else {
        return;
    };
    let place = tempdir().unwrap();
    let reader = Reader::builder(place.path().join("s")).bind().unwrap();
    let reader = reader.start(|_| ()).unwrap();
    let writer = Writer::start(place.path().join("s")).unwrap();
    let mut page = Exposition::default();
    page.writer("logs", &writer.metrics())
        .writer("odd \"name\"\n\\", &writer.metrics())
        .reader("ingest", &reader.metrics());
    let mut check = Running::start(command.args(["check", "metrics"]));
    let mut input = check.process.stdin.take().unwrap();
    input.write_all(page.to_string().as_bytes()).unwrap();
    drop(input);
    let ended = check.end();
    assert_eq!(
        (ended.code, &*ended.errors),
        (Some(0), ""),
        "{}",
        ended.text()
    );

    let alarms = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus/alerts.yml");
    let rules = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&alarms)
        .output()
        .unwrap();
    assert!(rules.status.success(), "{rules:?}");
    // Each figure that an alarm asks for is on the page.
    let alarms = fs::read_to_string(alarms).unwrap();
    let page = page.to_string();
    let figures = alarms.split(|char: char| !char.is_alphanumeric() && char != '_');
    let figures: Vec<_> = figures
        .filter(|word| word.starts_with("uds_ipc_"))
        .collect();
    assert!(figures.len() > 8, "{figures:?}");
    for figure in figures {
        assert!(page.contains(&format!("# TYPE {figure} ")), "{figure}");
    }
}

#[test]
fn the_collector_prints_bytes_as_they_are_and_obeys_an_interrupt() {
    let directory = tempdir().unwrap();
    let socket = directory.path().join("telemetry.sock");
    let collector = Running::start(example("collector").arg(&socket));
    let writer = Writer::start(&socket).unwrap();
    for message in messages() {
        writer.try_send(message).unwrap();
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    // It has been written to, and so it is ready for the signal.
    collector.signal("INT");
    let ended = collector.end();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.output == lines(), "the output differs");
}

#[test]
fn multi_threaded_proves_that_each_thread_keeps_its_order() {
    let ended = Running::start(example("multi_threaded").args(["3", "50000"])).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let counts = "3 threads with 50000 messages each: 150000 accepted, 150000 received\n";
    assert!(ended.text().starts_with(counts), "{ended:?}");
    let result = "the messages of each thread arrived in order, each of them once\n";
    assert!(ended.text().ends_with(result), "{ended:?}");
}

/// Messages of every length at which the wire format changes, and of every byte that is no line
/// end.
fn messages() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..=u8::MAX).filter(|byte| *byte != b'\n').collect();
    let lengths = [1, 127, 128, 255, 300, 16_383, 16_384, 32_768, 300_000];
    let of_length = |length| bytes.iter().copied().cycle().take(length).collect();
    lengths
        .into_iter()
        .map(of_length)
        .chain([b"\xff\xfe".to_vec(), b"\r".to_vec()])
        .collect()
}

/// The same, one a line.
fn lines() -> Vec<u8> {
    messages()
        .into_iter()
        .flat_map(|message| [message, b"\n".to_vec()].concat())
        .collect()
}

fn example(name: &str) -> Command {
    let test = env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/examples-HASH is where it runs, target/PROFILE/examples/NAME is what it
    // runs.
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in target/PROFILE/deps");
    let path = profile.join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --examples` in this profile, or `cargo test`, which builds it",
        path.display()
    );
    Command::new(path)
}

/// A message as others read it.
#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(string, tag = "2")]
    what: String,
}

/// The lengths of the texts of the events in a captured stream.
const EVENTS: [usize; 6] = [0, 1, 127, 128, 20_000, 3];

/// What those events are, as a line each.
fn events() -> String {
    let numbered = (1..).zip(EVENTS);
    let lines: Vec<_> = numbered
        .map(|(number, len): (u64, _)| format!("{number} {len}\n"))
        .collect();
    lines.concat()
}

/// The Python that the environment variable names, or the system's, if it can `import` that. Where
/// it is named it must.
fn python_with(variable: &str, import: &str) -> Option<OsString> {
    let named = env::var_os(variable);
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let tried = Command::new(&python).args(["-c", import]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(named.is_none(), "{variable} is set, and fails: {import}");
    eprintln!("skipped: python3 fails at: {import}");
    None
}

/// What a program of Python says of the bytes that a writer puts on its socket for those events.
fn read_by(python: &OsStr, program: &str) -> String {
    let directory = tempdir().expect("a folder");
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).expect("a listener");
    let captured = thread::spawn(move || {
        let mut stream = Vec::new();
        listener
            .accept()
            .expect("the writer connects")
            .0
            .read_to_end(&mut stream)
            .expect("an end");
        stream
    });
    let writer = Writer::start(&socket).expect("a writer");
    for (number, len) in (1..).zip(EVENTS) {
        let what = "x".repeat(len);
        let event = Event { number, what };
        let sent = writer.try_send_with(|buffer| event.encode(buffer));
        sent.expect("there is room");
    }
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.left.messages, 0);
    let stream = directory.path().join("stream");
    let bytes = captured.join().expect("no panic");
    fs::write(&stream, bytes).expect("a file");
    let read = Command::new(python)
        .args(["-c", program])
        .arg(&stream)
        .current_dir(directory.path())
        .output()
        .expect("Python starts");
    assert!(read.status.success(), "{read:?}");
    String::from_utf8(read.stdout).expect("UTF-8")
}

/// As any consumer of delimited messages would read the stream: with the library, and no code of
/// ours. `UDS_IPC_PROTOBUF` names a Python that has it.
#[test]
fn the_protobuf_library_of_python_reads_the_stream_of_a_writer() {
    const READ: &str = r#"
import sys
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.proto import parse_length_prefixed

file = descriptor_pb2.FileDescriptorProto(name="event.proto", syntax="proto3")
fields = file.message_type.add(name="Event").field
fields.add(name="number", number=1, type=4, label=1)
fields.add(name="what", number=2, type=9, label=1)
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
Event = message_factory.GetMessageClass(pool.FindMessageTypeByName("Event"))
with open(sys.argv[1], "rb") as stream:
    while (event := parse_length_prefixed(Event, stream)) is not None:
        print(event.number, len(event.what))
"#;
    let import = "from google.protobuf.proto import parse_length_prefixed";
    if let Some(python) = python_with("UDS_IPC_PROTOBUF", import) {
        assert_eq!(read_by(&python, READ), events());
    }
}

/// `ClickHouse`'s format `Protobuf` is the same stream: a file of it is a table. `UDS_IPC_CHDB`
/// names a Python that has `chdb`, which is some 900 MB.
#[test]
fn clickhouse_reads_the_stream_of_a_writer() {
    const READ: &str = r#"
import sys, chdb

print(chdb.query(f"""
    SELECT concat(toString(number), ' ', toString(length(what)))
    FROM file('{sys.argv[1]}', 'Protobuf', 'number UInt64, what String')
    ORDER BY number
    SETTINGS format_schema_source = 'string', format_schema_message_name = 'Event', format_schema = '
        syntax = "proto3"; message Event {{ uint64 number = 1; string what = 2; }}'
""", "TSVRaw"), end="")
"#;
    if let Some(python) = python_with("UDS_IPC_CHDB", "import chdb") {
        assert_eq!(read_by(&python, READ), events());
    }
}

/// A process, which does not outlive this object.
struct Running {
    process: Child,
    output: Receiver<Vec<u8>>,
    #[cfg(feature = "calls")]
    output_so_far: Arc<Mutex<Vec<u8>>>,
    errors: Receiver<Vec<u8>>,
    errors_so_far: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output_so_far = Arc::default();
        let output = read_all(process.stdout.take(), &output_so_far);
        let errors_so_far = Arc::default();
        let errors = read_all(process.stderr.take(), &errors_so_far);
        Self {
            process,
            output,
            #[cfg(feature = "calls")]
            output_so_far,
            errors,
            errors_so_far,
        }
    }

    /// Waits until `text` stands in its standard output.
    #[cfg(feature = "calls")]
    fn wait_for_output(&self, text: &str) {
        wait_until(&format!("its output has {text}"), || {
            let said = self.output_so_far.lock().expect("it does not panic");
            String::from_utf8_lossy(&said).contains(text)
        });
    }

    /// What it says on standard error behind `text`, up to the end of that line.
    fn wait_for(&self, text: &str) -> String {
        let mut found = None;
        wait_until(&format!("it says {text}"), || {
            let said = self.errors_so_far.lock().expect("it does not panic");
            let said = String::from_utf8_lossy(&said);
            found = said.split_once(text).and_then(|(_, rest)| {
                let (line, _) = rest.split_once('\n')?;
                Some(line.to_owned())
            });
            found.is_some()
        });
        found.expect("it was found")
    }

    /// Sends a signal by name. The process has not been waited for, so that the number is still its
    /// own.
    fn signal(&self, name: &str) {
        signal(name, &self.process.id().to_string());
    }

    /// Ends its input, and waits until it has ended.
    fn end(mut self) -> Ended {
        drop(self.process.stdin.take());
        let errors = self
            .errors
            .recv_timeout(PATIENCE)
            .expect("the process does not end");
        let output = self
            .output
            .recv_timeout(PATIENCE)
            .expect("the process does not end");
        let code = self
            .process
            .wait()
            .expect("a child can be waited for")
            .code();
        Ended {
            code,
            output,
            errors: String::from_utf8_lossy(&errors).into_owned(),
        }
    }
}

fn signal(name: &str, id: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, id])
        .status();
    assert!(
        status.expect("every Unix has sh").success(),
        "cannot send {name} to {id}"
    );
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing where it has ended and was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads to the end on a thread of its own: a process whose pipe is full would wait. What has come
/// `so_far` can be seen.
fn read_all(
    pipe: Option<impl Read + Send + 'static>,
    so_far: &Arc<Mutex<Vec<u8>>>,
) -> Receiver<Vec<u8>> {
    let (all, receiver) = mpsc::channel();
    let so_far = Arc::clone(so_far);
    thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            let mut piece = [0; 4096];
            // What it wrote before an error is what there is to look at.
            while let Ok(len @ 1..) = pipe.read(&mut piece) {
                let mut bytes = so_far.lock().expect("nobody panics with it");
                bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
            }
        }
        let bytes = so_far.lock().expect("nobody panics with it").clone();
        let _ = all.send(bytes);
    });
    receiver
}

#[expect(
    clippy::disallowed_methods,
    reason = "the patience of a test has an end"
)]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// What a process came to.
struct Ended {
    code: Option<i32>,
    output: Vec<u8>,
    errors: String,
}

impl Ended {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// What the parent of `children` has collected of one.
    fn said_by(&self, child: usize) -> Vec<String> {
        let name = format!("child {child}: ");
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix(&name));
        lines.map(str::to_owned).collect()
    }

    /// How it has ended, which is said behind all that.
    fn end_of(&self, child: usize) -> String {
        let name = format!("child {child}");
        let text = self.text();
        let last = text
            .lines()
            .filter_map(|line| line.strip_prefix(&name))
            .next_back();
        let status = last.and_then(|line| line.strip_prefix(" has ended: "));
        status.unwrap_or_default().to_owned()
    }

    /// The columns of the line that begins with `name`, without that.
    fn row(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let mut rows = text
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned));
        let row = rows.find_map(|mut row| {
            row.next()
                .is_some_and(|first| first == name)
                .then(|| row.collect())
        });
        row.unwrap_or_default()
    }
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {:?}\n{}\n{}",
            self.code,
            self.text(),
            self.errors
        )
    }
}
