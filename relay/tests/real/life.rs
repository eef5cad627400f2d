//! Starting, stopping, and being watched.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::nats::Nats;
use crate::support::process::Process;
use crate::support::producer::{Producer, message, writer};
use crate::support::relay::{PROGRAM, Relay};
use crate::support::{PATIENCE, free_port, pause, wait_for};

#[test]
fn planned_stops_under_load_leave_nothing_behind() {
    let nats = Nats::start();
    nats.make_stream();
    let mut relay = Relay::start(&["--nats-url", &nats.url()]);
    let producer = Producer::start(&relay.socket(), &["web"], 1);
    for _ in 0..10 {
        pause(Duration::from_millis(60));
        assert!(relay.stop().success());
        relay.restart();
    }
    nats.compare(&producer.end()).unwrap();
    assert_eq!(
        relay.log().matches("relay down left=0").count(),
        10,
        "{}",
        relay.log()
    );
}

/// However many messages wait: each run is longer than what a task of tokio may do in one go.
#[test]
fn a_backlog_goes_through_without_trouble() {
    let nats = Nats::start();
    nats.make_stream();
    nats.signal(Signal::SIGSTOP);
    let relay = Relay::start(&["--nats-url", &nats.url(), "--ack-timeout", "60s"]);
    let writer = writer(&relay.socket());
    for number in 1..=10_000 {
        writer
            .send_timeout(message("web", number), PATIENCE)
            .unwrap();
    }
    nats.signal(Signal::SIGCONT);
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    nats.compare(&[("web".to_owned(), 10_000)]).unwrap();
    for reason in ["unreachable", "moved", "refused", "blocked", "too_long"] {
        let refused = relay.figure(&format!("refused_total{{reason=\"{reason}\"}}"));
        assert_eq!(refused, 0, "{reason}");
    }
}

#[test]
fn a_stop_takes_its_time_and_no_more_when_the_engine_is_away() {
    let mut nats = Nats::start();
    nats.make_stream();
    nats.kill();
    let mut relay = Relay::start(&["--nats-url", &nats.url(), "--stop-timeout", "300ms"]);
    let writer = writer(&relay.socket());
    for number in 1..=100 {
        writer
            .send_timeout(message("web", number), PATIENCE)
            .unwrap();
    }
    wait_for("the messages", || relay.figure("in_flight_messages") == 100);
    assert!(relay.stop().success());
    assert!(
        relay.log().contains("relay down left=100"),
        "{}",
        relay.log()
    );
    // The writer has kept them.
    nats.restart();
    relay.restart();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    nats.compare(&[("web".to_owned(), 100)]).unwrap();
}

#[test]
fn send_says_what_it_leaves_when_the_engine_is_away() {
    let mut nats = Nats::start();
    nats.make_stream();
    nats.kill();
    let mut relay = Relay::start(&["--nats-url", &nats.url(), "--stop-timeout", "100ms"]);
    let socket = relay.socket();
    let mut send = Command::new(PROGRAM)
        .args(["send", "--name", "web", "--timeout", "300ms"])
        .arg(socket)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    send.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    let output = send.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("2 of 2 messages were not confirmed in time"),
        "{said}"
    );
    wait_for("the reason", || {
        let health = relay.get("/health").unwrap();
        health.contains(": no connection to the server")
    });
    // What a stop leaves is no error.
    assert!(relay.stop().success());
    assert!(!relay.log().contains("ERROR"), "{}", relay.log());
}

/// How many bytes a process has read.
fn bytes_read(pid: u32) -> usize {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// Whether its first thread waits.
fn waits(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}

/// While the engine stands still nothing is confirmed: more than the relay and the socket take is
/// in the queue of the dead program, in memory that the relay has too.
#[test]
fn what_a_killed_program_had_queued_arrives() {
    const LINES: usize = 9_000;
    let nats = Nats::start();
    nats.make_stream();
    nats.signal(Signal::SIGSTOP);
    let bounds = ["--max-in-flight-messages", "500"];
    let relay = Relay::start(&[&["--nats-url", &nats.url()][..], &bounds].concat());
    let mut send = Command::new(PROGRAM);
    send.args(["send", "--name", "web"]).arg(relay.socket());
    let mut send = send.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = send.stdin.take().unwrap();
    let line = "x".repeat(200) + "\n";
    input.write_all(line.as_bytes()).unwrap();
    wait_for("the first line", || relay.figure("in_flight_messages") == 1);
    let before = bytes_read(send.id());
    let rest = line.repeat(LINES - 1);
    input.write_all(rest.as_bytes()).unwrap();
    wait_for("the last line", || {
        bytes_read(send.id()) - before >= rest.len() && waits(send.id())
    });
    send.kill().unwrap();
    send.wait().unwrap();
    nats.signal(Signal::SIGCONT);
    wait_for("all of them", || {
        relay.figure("acknowledged_total") == u64::try_from(LINES).unwrap()
    });
    let (mut count, mut last) = (0, 0);
    nats.read("messages.web", |_, number, body| {
        assert!(number > last && body == line.trim_end().as_bytes());
        (count, last) = (count + 1, number);
    });
    assert_eq!(count, LINES);
}

#[test]
fn systemd_is_told() {
    let nats = Nats::start();
    nats.make_stream();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let mut relay = Relay::start_with(&["--nats-url", &nats.url()], &environment);
    let wait = |what: &str| loop {
        let mut buffer = [0; 4096];
        let len = systemd.recv(&mut buffer).unwrap();
        if String::from_utf8_lossy(&buffer[..len]).contains(what) {
            break;
        }
    };
    wait("READY=1");
    wait("STATUS=collector up, stream reachable");
    wait("WATCHDOG=1");
    wait("WATCHDOG=1");
    nats.signal(Signal::SIGSTOP);
    wait("STATUS=collector up, stream unreachable for");
    // It lives, whatever the engine does.
    wait("WATCHDOG=1");
    nats.signal(Signal::SIGCONT);
    assert!(relay.stop().success());
    wait("STOPPING=1");
}

#[test]
fn the_socket_of_a_socket_unit_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, files) = (folder.path().join("s"), folder.path().join("files"));
    let http = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&socket).arg(PROGRAM).arg("run");
    command
        .args([
            "--to",
            "files",
            "--files-plain",
            "--http",
            &http,
            "--files-folder",
        ])
        .arg(&files);
    let _activated = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for("the socket", || socket.exists());
    let writer = writer(&socket);
    writer.send_timeout(message("web", 1), PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let text = fs::read_to_string(files.join("000000000001.log")).unwrap();
    assert_eq!(text.trim_end(), message("web", 1));
}

#[test]
fn users_that_are_not_allowed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let relay = Relay::start(&[
        "--to",
        "files",
        "--files-folder",
        path,
        "--allow-users",
        "nobody,54321",
        "--socket-mode",
        "0600",
    ]);
    assert_eq!(
        fs::metadata(relay.socket()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let writer = writer(&relay.socket());
    writer.send_timeout(message("web", 1), PATIENCE).unwrap();
    wait_for("the refusal", || {
        let page = relay.get("/metrics").unwrap();
        !page.contains("uds_ipc_reader_refused_peers_total{name=\"relay\"} 0")
    });
    assert_eq!(writer.shutdown(Duration::ZERO).unwrap().left.messages, 1);
}

#[test]
fn a_check_sees_through_to_the_engine() {
    let nats = Nats::start();
    nats.make_stream();
    let mut relay = Relay::start(&["--nats-url", &nats.url()]);
    let http = format!("127.0.0.1:{}", relay.http);
    let check = || {
        let output = Command::new(PROGRAM)
            .args(["check", "--http", &http])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    wait_for("the stream", || {
        check() == (0, "collector up, stream reachable\n".to_owned())
    });
    nats.signal(Signal::SIGSTOP);
    wait_for("seconds", || {
        let (code, text) = check();
        code == 1 && text.starts_with("collector up, stream unreachable for 3 s: ")
    });
    nats.signal(Signal::SIGCONT);
    wait_for("the stream", || check().0 == 0);
    relay.kill();
    let (code, text) = check();
    assert_eq!(code, 2);
    assert!(
        text.starts_with("collector down: nobody answers at"),
        "{text}"
    );
}
