//! `listen` and `send`: what goes from one to the other, and how each ends.

use std::fs::{self, File};
use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use serde_json::Value;

use crate::stage::{Place, Tool, wait_until};

/// Several thousand lines of all kinds: text, bytes that are no text, carriage returns, empty ones,
/// long ones.
fn all_kinds_of_lines() -> Vec<Vec<u8>> {
    let lines = (0..6000).map(|number: usize| match number % 5 {
        0 => format!("line {number}").into_bytes(),
        1 => format!("{number}\r").into_bytes(),
        2 => Vec::new(),
        3 => [0xff, 0x00, 0xc3].repeat(number % 7 + 1),
        _ => number.to_string().repeat(number % 700).into_bytes(),
    });
    lines
        .chain([vec![b'x'; 400_000], b"the last".to_vec()])
        .collect()
}

#[test]
fn lines_arrive_byte_for_byte() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let lines = all_kinds_of_lines();
    let sent = place.send(&lines.join(&b'\n'), &[]).end();
    sent.assert_code(0).assert_books_balance();
    let received = listener.stop();
    received.assert_code(0);

    let full: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let expected: Vec<u8> = full
        .iter()
        .flat_map(|line| [&line[..], b"\n"].concat())
        .collect();
    assert!(
        place.printed() == expected,
        "what was printed is not what was sent"
    );
    let count = u64::try_from(full.len()).unwrap();
    assert_eq!(
        (
            sent.figure("sent/messages"),
            received.figure("received/messages")
        ),
        (count, count)
    );
    assert_eq!(sent.figure("sent/bytes"), received.figure("received/bytes"));
}

#[test]
fn at_the_end_each_side_says_in_one_line_how_much_it_was() {
    let place = Place::new();
    let mut listener = place.tool(&["listen", "s"], Stdio::null(), Stdio::null());
    listener.wait_for("listening on ");
    for (options, expected) in [
        (&["one"][..], "sent 1 message, 3 B in "),
        (
            &["one", "two", "--at-least-once", "--figures", "text"],
            "sent 2 messages, 6 B in ",
        ),
    ] {
        let arguments = [&["send", "s"], options].concat();
        let sent = place.tool(&arguments, Stdio::null(), Stdio::null()).end();
        sent.assert_code(0);
        let [line] = &sent.said[..] else {
            panic!("not one line: {sent:?}");
        };
        assert!(line.starts_with(expected), "{line}");
        let is_confirmed = options.contains(&"--at-least-once");
        assert_eq!(line.ends_with(" s, all confirmed"), is_confirmed, "{line}");
    }
    for form in [&["--quiet"][..], &["--figures", "none"]] {
        let arguments = [&["send", "s", "one"], form].concat();
        let sent = place.tool(&arguments, Stdio::null(), Stdio::null()).end();
        assert!(sent.assert_code(0).said.is_empty(), "{sent:?}");
    }
    let ended = listener.stop();
    ended
        .assert_code(0)
        .assert_said("received 5 messages, 15 B over 4 connections in ");
    assert_eq!(ended.own_words().len(), 2, "{ended:?}");
}

#[test]
fn lines_that_were_taken_arrive_from_a_sender_that_is_killed() {
    let place = Place::new();
    let mut listener = place.listen(&["--format", "json"]);
    // Its input stays open.
    let (read, mut write) = std::io::pipe().unwrap();
    let arguments = ["send", "s", "--crash-proof"];
    let mut sender = place.tool(&arguments, read.into(), Stdio::null());
    let out = || fs::read_to_string(place.path("out")).unwrap();
    write.write_all(b"first\n").unwrap();
    wait_until("the first line is there", || out().lines().count() == 1);
    listener.signal(Signal::SIGSTOP);
    // More than the sender's socket takes while nobody reads, and less than its queue.
    let lines: Vec<_> = (0..15_000)
        .map(|number| format!("{number:050}\n"))
        .collect();
    write.write_all(lines.concat().as_bytes()).unwrap();
    sender.signal(Signal::SIGKILL);
    let _ = sender.child.wait().unwrap();
    listener.signal(Signal::SIGCONT);
    listener.wait_for("its process died, and left ");
    listener.stop().assert_code(0);
    let text = out();
    let objects = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (recovered, came): (Vec<_>, Vec<_>) = objects
        .skip(1)
        .partition(|object| object["recovered"] == true);
    assert!(!recovered.is_empty());
    let all = came.iter().chain(&recovered);
    for (number, object) in all.enumerate() {
        assert_eq!(object["text"], format!("{number:050}"));
    }
}

#[test]
fn lines_are_confirmed_where_that_is_asked_for() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let sent = place.send(b"one\ntwo\n", &["--at-least-once"]).end();
    sent.assert_code(0).assert_books_balance();
    assert_eq!(
        (
            sent.figure("confirmed/messages"),
            sent.figure("resent/messages")
        ),
        (2, 0)
    );
    assert_eq!(
        place.printed(),
        b"one\ntwo\n",
        "what is confirmed is printed"
    );
    listener.stop().assert_code(0);
}

#[test]
fn sending_may_start_before_listening() {
    let place = Place::new();
    let mut sender = place.send(b"early\n", &["--timeout", "50"]);
    let line = sender.wait_for("waiting for a reader at ");
    // Why, and that once.
    assert!(line.ends_with("/s: no such file or directory"), "{line}");
    let listener = place.listen(&[]);
    sender.end().assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"early\n");
}

#[test]
fn json_tells_who_sent_what() {
    let place = Place::new();
    let listener = place.listen(&["--format", "json"]);
    let text = "with \"quotes\", \\ and \x01\u{9b}31m\x7f \u{a0}é";
    let sent = [text.as_bytes(), b"\n\xff\xfe\n"].concat();
    let sender = place.send(&sent, &[]);
    let pid = sender.child.id();
    sender.end().assert_code(0);
    listener.stop().assert_code(0);
    let printed = String::from_utf8(place.printed()).unwrap();
    let messages: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(messages.len(), 2);
    // A terminal takes nothing of it for a command.
    let is_control = |char: char| char.is_control() && char != '\n';
    assert!(!printed.contains(is_control), "{printed:?}");
    for (message, length) in messages.iter().zip([text.len(), 2]) {
        assert_eq!(
            (&message["connection"], &message["length"]),
            (&1.into(), &length.into())
        );
        assert_eq!(message["uid"], nix::unistd::geteuid().as_raw());
        assert!(
            !cfg!(target_os = "linux") || message["pid"] == pid,
            "{message}"
        );
    }
    assert_eq!(messages[0]["text"], text);
    assert_eq!(messages[1]["base64"], STANDARD.encode(b"\xff\xfe"));
    assert!(messages[1].get("text").is_none());
}

#[test]
fn frames_may_hold_any_bytes() {
    let place = Place::new();
    let listener = place.listen(&["--format", "hex"]);
    let long = [&[0xac, 0x02][..], &[b'\n'; 300]].concat();
    let frames = [
        &[4, 0x00, b'\n', 0x1f, 0xa9, 0, 0x81, 0x00, b'c'][..],
        &long,
    ]
    .concat();
    place
        .send(&frames, &["--frames"])
        .end()
        .assert_code(0)
        .assert_books_balance();
    listener.stop().assert_code(0);
    assert_eq!(
        place.printed(),
        format!("000a1fa9\n63\n{}\n", "0a".repeat(300)).as_bytes()
    );
}

#[test]
fn a_broken_frame_is_told_also_where_nobody_listens() {
    let place = Place::new();
    let options = ["--frames", "--connect-timeout", "0.1"];
    let sender = place.send(b"\x80\x80", &options);
    sender.end().assert_code(2).assert_said("nobody listened");
}

#[test]
fn a_broken_frame_is_an_error_and_those_before_it_are_sent() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let sent = place.send(b"\x02ok\x05a", &["--frames"]).end();
    sent.assert_code(2)
        .assert_said("truncated frame at byte 3")
        .assert_books_balance();
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"ok\n");
}

#[test]
fn lines_above_the_limit_are_passed_over_and_counted() {
    const LIMIT: usize = 10 * 1024 * 1024;
    let place = Place::new();
    let listener = place.listen(&["--format", "none"]);
    let lines = [
        &b"before"[..],
        &vec![b'x'; LIMIT + 1],
        &vec![b'y'; LIMIT],
        b"after",
        &vec![b'x'; LIMIT + 2],
    ];
    let sent = place.send(&lines.join(&b'\n'), &["--timeout", "50"]).end();
    sent.assert_code(1)
        .assert_said("above the limit of 10 MiB: 2")
        .assert_books_balance();
    assert_eq!(sent.figure("dropped/too_large/messages"), 2);
    assert_eq!(
        sent.figure("dropped/too_large/bytes"),
        u64::try_from(2 * LIMIT + 3).unwrap()
    );
    assert_eq!(listener.stop().figure("received/messages"), 3);
    assert!(
        place.printed().is_empty(),
        "without a format messages are only counted"
    );
}

#[test]
fn a_listener_with_a_lower_limit_says_so_and_the_message_is_given_up() {
    let place = Place::new();
    let listener = place.listen(&["--max-message", "1000"]);
    let large = vec![b'x'; 2_000_000];
    let sent = place
        .send(&[&large[..], b"\nsmall\n"].concat(), &["--timeout", "50"])
        .end();
    sent.assert_code(1)
        .assert_said("given up")
        .assert_books_balance();
    assert_eq!(
        (
            sent.figure("sent/messages"),
            sent.figure("failed/given_up/messages")
        ),
        (1, 1)
    );
    listener
        .stop()
        .assert_code(0)
        .assert_said("a message of 2000000 bytes, above the limit of 1000: raise --max-message");
    assert_eq!(place.printed(), b"small\n");
}

#[test]
fn lines_of_many_senders_stay_whole() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let line =
        |sender: usize, number: usize| format!("{sender}:{number}:{}\n", "abc".repeat(number % 50));
    let text = |sender| (0..3000).fold(String::new(), |text, number| text + &line(sender, number));
    let senders: Vec<_> = (0..6)
        .map(|sender| place.send(text(sender).as_bytes(), &[]))
        .collect();
    for sender in senders {
        sender.end().assert_code(0);
    }
    assert_eq!(listener.stop().figure("connections"), 6);
    let printed = String::from_utf8(place.printed()).unwrap();
    for sender in 0..6 {
        let of_sender = |line: &&str| line.starts_with(&format!("{sender}:"));
        let lines: String = printed.split_inclusive('\n').filter(of_sender).collect();
        assert!(
            lines == text(sender),
            "lines of sender {sender} are not as they were sent"
        );
    }
}

#[test]
fn the_listener_has_its_mode_and_prints_figures_as_often_as_asked_for() {
    let place = Place::new();
    let mut listener = place.listen(&["--mode", "660", "--figures-every", "0.05"]);
    assert_eq!(
        fs::metadata(place.path("s")).unwrap().permissions().mode() & 0o777,
        0o660
    );
    place.send(b"one\n", &[]).end().assert_code(0);
    let line = listener.wait_for(r#""messages":1"#);
    let figures: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(figures["received"]["bytes"], 3);
}

#[test]
fn a_signal_stops_the_listener_which_prints_its_figures() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        #[cfg(target_os = "linux")]
        Signal::SIGHUP,
    ] {
        let place = Place::new();
        let listener = place.listen(&[]);
        listener.signal(signal);
        let ended = listener.end();
        ended.assert_code(0);
        assert_eq!(ended.figure("received/messages"), 0);
        assert!(!place.path("s").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_closes_costs_no_line() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let mut sender = place.tool(
        &["send", "s", "--figures", "json"],
        Stdio::piped(),
        Stdio::null(),
    );
    let mut input = sender.child.stdin.take().unwrap();
    input.write_all(&b"a line\n".repeat(1_000)).unwrap();
    // Sent on, so that the sender has read all that comes before.
    wait_until("something is printed", || !place.printed().is_empty());
    sender.signal(Signal::SIGHUP);
    let sent = sender.end();
    sent.assert_code(0).assert_books_balance();
    listener.signal(Signal::SIGHUP);
    let listened = listener.end();
    listened.assert_code(0);
    let printed = place.printed();
    let lines = u64::try_from(printed.len() / b"a line\n".len()).unwrap();
    assert_eq!(sent.figure("sent/messages"), lines);
    assert_eq!(listened.figure("received/messages"), lines);
    assert!(!place.path("s").exists());
}

#[test]
fn who_has_hangups_ignored_goes_on_after_one() {
    let place = Place::new();
    let command = r#"trap "" HUP; exec "$0" listen s"#;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command, env!("CARGO_BIN_EXE_uds-ipc")])
        .current_dir(&place.0)
        .stdin(Stdio::null())
        .stdout(File::create(place.path("out")).unwrap())
        .stderr(Stdio::piped());
    let mut listener = Tool::new(shell.spawn().unwrap());
    listener.wait_for("listening on ");
    listener.signal(Signal::SIGHUP);
    place.send(b"after the hangup\n", &[]).end().assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"after the hangup\n");
}

/// Makes calls fail where they would have to wait: so it is when another program that has the pipe
/// too made it non-blocking.
fn make_impatient(end: &OwnedFd) {
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

#[test]
fn an_output_that_somebody_made_non_blocking_loses_no_line() {
    const LINES: usize = 50_000;
    let place = Place::new();
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
    make_impatient(&writing);
    let same = writing.try_clone().unwrap();
    let listener = place.listen_to(writing.into(), &[]);
    let sender = place.send(&b"a line of some length\n".repeat(LINES), &[]);
    wait_until("the pipe is full, and the listener has to wait", || {
        let mut ends = [PollFd::new(same.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ends, PollTimeout::ZERO).unwrap() == 0
    });
    drop(same);
    let printed = thread::spawn(move || {
        let mut printed = Vec::new();
        File::from(reading).read_to_end(&mut printed).unwrap();
        printed
    });
    sender.end().assert_code(0);
    listener.stop().assert_code(0);
    let printed = printed.join().unwrap();
    assert_eq!(printed.len(), LINES * b"a line of some length\n".len());
}

#[test]
fn an_input_that_somebody_made_non_blocking_is_read_to_its_end() {
    let place = Place::new();
    let listener = place.listen(&[]);
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
    make_impatient(&reading);
    let sender = place.tool(
        &["send", "s", "--figures", "json"],
        reading.into(),
        Stdio::null(),
    );
    let mut input = File::from(writing);
    for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
        input.write_all(line.as_bytes()).unwrap();
        wait_until("it is printed", || {
            place.printed().ends_with(line.as_bytes())
        });
    }
    drop(input);
    sender.end().assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"one\ntwo\nthree\nfour\nfive\n");
}

#[test]
fn a_second_signal_ends_the_listener_at_once() {
    let place = Place::new();
    let mut listener = place.listen_to(Stdio::piped(), &[]);
    let mut output = listener.output();
    let _sender = place.send(&vec![b'x'; 1_000_000], &[]);
    // The first byte of a message that no pipe holds: from now on the listener is stuck.
    output.read_exact(&mut [0]).unwrap();
    listener.signal(Signal::SIGTERM);
    listener.wait_for("another signal ends it at once");
    listener.signal(Signal::SIGTERM);
    listener.end().assert_code(128 + 15);
}

#[test]
fn a_closed_output_ends_the_listener_cleanly() {
    let place = Place::new();
    let mut listener = place.listen_to(Stdio::piped(), &[]);
    // No message need find out.
    drop(listener.output());
    let ended = listener.end();
    ended
        .assert_code(0)
        .assert_said("standard output was closed: messages that came and were not printed: 0");
    assert_eq!(ended.figure("received/messages"), 0);
}

#[test]
fn what_a_closed_output_did_not_take_is_said_and_not_confirmed() {
    const PIPE_SIZE: usize = 64 * 1024;
    let place = Place::new();
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let same = writing.try_clone().unwrap();
    let listener = place.listen_to(writing.into(), &[]);
    let lines = b"a line of some length\n".repeat(20_000);
    let sender = place.send(&lines, &["--at-least-once", "--timeout", "50"]);
    wait_until("the pipe is full", || {
        let mut ends = [PollFd::new(same.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ends, PollTimeout::ZERO).unwrap() == 0
    });
    drop((same, reading));
    let ended = listener.end();
    ended.assert_code(0);
    let words = "not printed: ";
    let said = ended.said.iter().find_map(|line| line.split(words).nth(1));
    assert!(said.unwrap().parse::<u64>().unwrap() > 0, "{ended:?}");
    // What was not printed comes to the next.
    let listener = place.listen(&[]);
    sender.end().assert_code(0).assert_books_balance();
    listener.stop().assert_code(0);
    let printed = place.printed();
    assert!(lines.ends_with(&printed));
    // The pipe had the rest, which is no more than it holds.
    assert!(
        printed.len() + PIPE_SIZE >= lines.len(),
        "{}",
        printed.len()
    );
}

#[test]
fn failures_are_said_with_their_cause() {
    let place = Place::new();
    let _listener = place.listen(&[]);
    let folder = File::open(&place.0).unwrap().into();
    for (arguments, input, problem) in [
        (
            ["listen", "s"],
            Stdio::null(),
            "s is in use: stop the other reader",
        ),
        (
            ["listen", "none/s"],
            Stdio::null(),
            "/none: make it with mkdir",
        ),
        (
            ["send", "s"],
            folder,
            "uds-ipc: cannot read the input: is a directory",
        ),
    ] {
        place
            .tool(&arguments, input, Stdio::null())
            .end()
            .assert_code(1)
            .assert_said(problem);
    }
}

#[test]
fn bad_usage_has_a_code_of_its_own() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["shout", "s"],
        &["listen"],
        &["listen", ""],
        &["listen", "s", "--format", "xml"],
        &["listen", "s", "--mode", "9"],
        &["listen", "tcp:127.0.0.1:0", "--mode", "600"],
        &["send", "127.0.0.1"],
        &["send", "7000"],
        &["send", "tcp:127.0.0.1:0"],
        &["listen", "s", "--max-message", "0"],
        &["listen", "s", "--idle-timeout", "0"],
        &["send", "s", "--timeout", "soon"],
        &["send", &"x".repeat(200)],
        &["bench", "--size", "0"],
        &["bench", "--size", "16,10485761"],
        &["bench", "--producers", "0"],
        &["bench", "--seconds", "0"],
        &["bench", "--stream", "unix,carrier-pigeon"],
    ] {
        place
            .tool(arguments, Stdio::null(), Stdio::null())
            .end()
            .assert_code(2);
    }
}

#[test]
fn nobody_listening_is_a_failure_that_says_what_was_left() {
    let place = Place::new();
    // Long enough for one try to connect on a busy machine.
    let ended = place.send(b"one\n\nthree\n", &["--timeout", "1"]).end();
    ended.assert_code(1).assert_books_balance();
    ended
        .assert_said("no such file or directory")
        .assert_said("left unsent when the time was over: 2");
    assert_eq!(
        (
            ended.figure("failed/left/messages"),
            ended.figure("failed/left/bytes")
        ),
        (2, 8)
    );
}

#[test]
fn who_does_not_want_to_wait_for_a_reader_says_how_long() {
    let place = Place::new();
    let few = place.send(b"one\n", &["--connect-timeout", "0.1"]);
    // More than the queue takes: the input does not end by itself.
    let many = place.send(&b"line\n".repeat(20_000), &["--connect-timeout", "0.1"]);
    for sender in [few, many] {
        let ended = sender.end();
        ended
            .assert_code(3)
            .assert_said("/s in time")
            .assert_said("left unsent");
        ended.assert_books_balance();
    }
    let listener = place.listen(&[]);
    place
        .send(b"two\n", &["--connect-timeout", "60"])
        .end()
        .assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"two\n");
}

#[test]
fn who_does_not_want_to_wait_for_a_reader_that_has_gone_says_how_long() {
    let place = Place::new();
    let (input, lines) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut lines = File::from(lines);
    let listener = place.listen(&["--count", "1"]);
    let arguments = ["send", "s", "--connect-timeout", "0.3", "--timeout", "0"];
    let sender = place.tool(&arguments, input.into(), Stdio::null());
    lines.write_all(b"one\n").unwrap();
    listener.end().assert_code(0);
    // The input goes on, and nobody comes.
    let ended = sender.end();
    ended.assert_code(3).assert_said("nobody listened at ");
    drop(lines);
}

#[test]
fn input_that_cannot_be_read_is_told_before_anybody_listens() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    for (file, why) in [("folder", "is a directory"), ("nothing", "no such file")] {
        let arguments = ["send", "s", "--file", file];
        let sender = place.tool(&arguments, Stdio::null(), Stdio::null());
        sender.end().assert_code(2).assert_said(why);
    }
}

#[test]
fn a_reader_that_gives_no_receipts_is_told_of_and_does_not_hold_up_the_end() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).unwrap();
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut sender = place.send(b"one\ntwo\n", &["--at-least-once", "--timeout", "3"]);
    sender.wait_for("has given no receipt yet");
    let ended = sender.end();
    ended
        .assert_code(1)
        .assert_said("left unconfirmed when the time was over: 2")
        .assert_said("send without --at-least-once");
    let told = |line: &&String| line.contains("no receipt yet");
    assert_eq!(ended.said.iter().filter(told).count(), 1, "{ended:?}");
    reader.join().unwrap();
}

#[test]
fn a_signal_stops_the_sender_once_it_has_sent_what_it_has_read() {
    let place = Place::new();
    let mut listener = place.listen_to(Stdio::piped(), &[]);
    let mut output = listener.output();
    let mut sender = place.tool(
        &["send", "s", "--figures", "json"],
        Stdio::piped(),
        Stdio::null(),
    );
    let mut input = sender.child.stdin.take().unwrap();
    input.write_all(b"whole\nhalf").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "whole\n");
    sender.signal(Signal::SIGTERM);
    let ended = sender.end();
    ended.assert_code(0).assert_books_balance();
    assert_eq!(ended.figure("sent/messages"), 1);
    drop(input);
}

#[test]
fn a_signal_ends_a_sender_whose_queue_is_full() {
    let place = Place::new();
    let mut sender = place.tool(
        &["send", "s", "--timeout", "0.1", "--figures", "json"],
        Stdio::piped(),
        Stdio::null(),
    );
    let mut input = sender.child.stdin.take().unwrap();
    // More than the queue takes, but not so much that the pipe could not hold the rest.
    input
        .write_all(&[&[b'x'; 99][..], b"\n"].concat().repeat(10_010))
        .unwrap();
    sender.signal(Signal::SIGTERM);
    let ended = sender.end();
    ended
        .assert_code(1)
        .assert_said("left unsent")
        .assert_books_balance();
    assert_eq!(
        ended.figure("accepted/messages"),
        ended.figure("failed/left/messages")
    );
    drop(input);
}

/// One end of each kind of stream, for a tool to read from, and the other.
fn streams() -> [(OwnedFd, File); 3] {
    let pipe = pipe2(OFlag::O_CLOEXEC).unwrap();
    let pair = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    [
        (pipe.0, File::from(pipe.1)),
        (pair.0.into(), OwnedFd::from(pair.1).into()),
        (far.into(), OwnedFd::from(near).into()),
    ]
}

#[test]
fn lines_go_from_standard_output_to_standard_input() {
    let place = Place::new();
    let lines = all_kinds_of_lines();
    let input = place.input(&lines.join(&b'\n'));
    let mut sender = place.tool(&["send", "-", "--figures", "json"], input, Stdio::piped());
    let pipe = sender.child.stdout.take().unwrap();
    let output = File::create(place.path("out")).unwrap();
    let listener = place.tool(
        &["listen", "-", "--figures", "json"],
        pipe.into(),
        output.into(),
    );
    sender.end().assert_code(0).assert_books_balance();
    // Nobody has told it to stop.
    let received = listener.end();
    received.assert_code(0).assert_said("listening on -");
    let full: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let count = u64::try_from(full.len()).unwrap();
    assert_eq!(received.figure("received/messages"), count);
    assert!(place.printed() == [full.join(&b'\n'), b"\n".to_vec()].concat());
}

#[test]
fn a_listener_at_one_stream_ends_with_it() {
    for address in ["-", "fd:0", "fd:5"] {
        for (far, mut near) in streams() {
            let place = Place::new();
            let mut shell = Command::new("sh");
            shell
                .args(["-c", r#"exec 5<&0; exec "$0" listen "$1" --figures json"#])
                .args([env!("CARGO_BIN_EXE_uds-ipc"), address])
                .current_dir(&place.0)
                .stdin(far)
                .stdout(File::create(place.path("out")).unwrap())
                .stderr(Stdio::piped());
            let listener = Tool::new(shell.spawn().unwrap());
            drop(shell);
            near.write_all(b"\x03one\x03two").unwrap();
            drop(near);
            let ended = listener.end();
            ended
                .assert_code(0)
                .assert_said(&format!("listening on {address}"));
            assert_eq!(ended.figure("received/messages"), 2);
            assert_eq!(place.printed(), b"one\ntwo\n");
        }
    }
}

#[test]
fn a_stream_that_ends_in_the_middle_is_a_failure_of_its_listener() {
    for (far, mut near) in streams() {
        let place = Place::new();
        let output = File::create(place.path("out")).unwrap();
        let listener = place.tool(
            &["listen", "-", "--figures", "json"],
            far.into(),
            output.into(),
        );
        near.write_all(b"\x05whole\x05ha").unwrap();
        drop(near);
        listener
            .end()
            .assert_code(1)
            .assert_said("the stream ended inside a frame");
        assert_eq!(place.printed(), b"whole\n");
    }
}

#[test]
fn one_stream_may_be_silent_unless_a_time_is_given() {
    for (far, _near) in streams() {
        let place = Place::new();
        let arguments = ["listen", "-", "--figures", "json", "--idle-timeout", "0.1"];
        place
            .tool(&arguments, far.into(), Stdio::null())
            .end()
            .assert_code(1)
            .assert_said("nothing came for the idle timeout");
    }
}

#[test]
fn a_listening_socket_may_be_given_as_a_descriptor() {
    for address in ["-", "fd:0"] {
        let place = Place::new();
        let socket = UnixListener::bind(place.path("s")).unwrap();
        let output = File::create(place.path("out")).unwrap();
        let input = OwnedFd::from(socket).into();
        let mut listener = place.tool(
            &["listen", address, "--figures", "json"],
            input,
            output.into(),
        );
        let line = listener.wait_for("listening on ");
        assert!(line.ends_with("/s"), "{line}");
        for line in [&b"one\n"[..], b"two\n"] {
            place.send(line, &["--at-least-once"]).end().assert_code(0);
        }
        let ended = listener.stop();
        ended.assert_code(0);
        assert_eq!(ended.figure("connections"), 2);
        assert_eq!(place.printed(), b"one\ntwo\n");
    }
}

#[test]
fn what_comes_back_on_standard_output_is_no_receipt() {
    // As from sshd: one socket for both standard streams.
    let place = Place::new();
    let (mut near, far) = UnixStream::pair().unwrap();
    let far = OwnedFd::from(far);
    let sender = place.tool(
        &["send", "-", "--figures", "json"],
        far.try_clone().unwrap().into(),
        far.into(),
    );
    let line = b"\x01\x02\xff of whatever bytes";
    let lines = [&line[..], b"\n"].concat().repeat(10_000);
    let mut input = near.try_clone().unwrap();
    let writing = thread::spawn(move || {
        input.write_all(&lines).unwrap();
        input.shutdown(Shutdown::Write).unwrap();
    });
    let mut frames = Vec::new();
    near.read_to_end(&mut frames).unwrap();
    writing.join().unwrap();
    sender.end().assert_code(0).assert_books_balance();
    let frame = [&[u8::try_from(line.len()).unwrap()][..], line].concat();
    assert!(frames == frame.repeat(10_000));

    // And for standard output only, on which somebody types, and ends that.
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(b"\xff\xff\xff\xff\xff typed").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let far = OwnedFd::from(far);
    let mut sender = place.tool(
        &["send", "-", "--figures", "json"],
        Stdio::piped(),
        far.into(),
    );
    let mut input = sender.child.stdin.take().unwrap();
    for word in [b"one", b"two"] {
        input.write_all(&[&word[..], b"\n"].concat()).unwrap();
        let mut frame = [0; 4];
        near.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [&[3][..], word].concat()[..]);
    }
    drop(input);
    sender.end().assert_code(0);
}

#[test]
fn a_sender_whose_only_stream_ends_says_so() {
    let pipe = pipe2(OFlag::O_CLOEXEC).unwrap();
    let pair = UnixStream::pair().unwrap();
    let ends = [
        (File::from(pipe.0), pipe.1),
        (OwnedFd::from(pair.0).into(), pair.1.into()),
    ];
    for (mut near, far) in ends {
        let place = Place::new();
        let mut sender = place.tool(
            &["send", "-", "--figures", "json"],
            Stdio::piped(),
            far.into(),
        );
        let mut input = sender.child.stdin.take().unwrap();
        input.write_all(b"one\n").unwrap();
        let mut frame = [0; 4];
        near.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x03one");
        drop(near);
        // It may have ended before.
        let _ = input.write_all(b"two\n");
        sender
            .end()
            .assert_code(1)
            .assert_said("standard output ended before all was sent")
            .assert_books_balance();
        drop(input);
    }
}

#[test]
fn what_is_left_when_the_only_stream_ends_is_said() {
    let place = Place::new();
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let same = writing.try_clone().unwrap();
    let input = place.input(&b"a line of some length\n".repeat(20_000));
    let sender = place.tool(&["send", "-", "--figures", "json"], input, writing.into());
    wait_until("the pipe is full", || {
        let mut ends = [PollFd::new(same.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ends, PollTimeout::ZERO).unwrap() == 0
    });
    drop(reading);
    let ended = sender.end();
    ended
        .assert_code(1)
        .assert_said("standard output ended before all was sent")
        .assert_said("messages left unsent: ")
        .assert_books_balance();
    assert!(ended.figure("failed/left/messages") > 0);
}

#[test]
fn what_is_no_stream_is_refused_in_words() {
    let place = Place::new();
    let file = || File::create(place.path("file")).unwrap().into();
    for (arguments, output, problem) in [
        (
            &["send", "-"][..],
            file(),
            "standard output is a regular file",
        ),
        (&["send", "-"], Stdio::null(), "standard output is a device"),
        (&["send", "fd:77"], Stdio::null(), "fd:77 is not open"),
        (
            &["send", "-", "--at-least-once"],
            Stdio::piped(),
            "no way back for receipts: send without --at-least-once",
        ),
        (
            &["listen", "-"],
            Stdio::null(),
            "standard input is a device",
        ),
        (&["listen", "fd:77"], Stdio::null(), "fd:77 is not open"),
    ] {
        place
            .tool(arguments, Stdio::null(), output)
            .end()
            .assert_code(2)
            .assert_said(problem);
    }
}

#[test]
fn tcp_tells_where_each_message_came_from() {
    let place = Place::new();
    let output = File::create(place.path("out")).unwrap();
    let mut listener = place.tool(
        &[
            "listen",
            "tcp:127.0.0.1:0",
            "--format",
            "json",
            "--figures",
            "json",
        ],
        Stdio::null(),
        output.into(),
    );
    let line = listener.wait_for("listening on tcp:127.0.0.1:");
    let address = line.strip_prefix("listening on ").unwrap();
    let sent = place.send_to(address, b"one\n", &[]).end();
    sent.assert_code(0).assert_books_balance();
    let options = ["--at-least-once", "--connect-timeout", "60"];
    let sent = place.send_to(address, b"two\nthree\n", &options).end();
    sent.assert_code(0);
    assert_eq!(sent.figure("confirmed/messages"), 2);
    let received = listener.stop();
    received.assert_code(0);
    assert_eq!(received.figure("connections"), 2);
    let printed = String::from_utf8(place.printed()).unwrap();
    let messages: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(messages.len(), 3);
    for (message, text) in messages.iter().zip(["one", "two", "three"]) {
        assert_eq!(message["text"], text);
        assert!(message["uid"].is_null() && message["pid"].is_null());
        let from: SocketAddr = message["from"].as_str().unwrap().parse().unwrap();
        assert!(from.ip().is_loopback());
    }
}

#[test]
fn nobody_listening_over_tcp_has_the_same_code() {
    let place = Place::new();
    // A port that is taken, and at which nobody listens.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let taken = socket.local_addr().unwrap().as_socket().unwrap();
    let address = format!("tcp:{taken}");
    place
        .send_to(&address, b"one\n", &["--connect-timeout", "0.1"])
        .end()
        .assert_code(3)
        .assert_said(&format!("nobody listened at {address} in time"))
        .assert_said("left unsent")
        .assert_books_balance();
}

#[test]
fn what_is_no_reader_is_named_with_what_it_said() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", server.local_addr().unwrap());
    thread::spawn(move || {
        // They stay open: what it says would be lost with the end of a connection.
        let mut streams = Vec::new();
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            streams.push(stream);
        }
    });
    let options = ["--at-least-once", "--timeout", "1"];
    let ended = place.send_to(&address, b"one\n", &options).end();
    ended
        .assert_code(1)
        .assert_said(&format!("what answers at {address} is no reader: "))
        .assert_said("left unconfirmed");
}

#[test]
fn other_machines_are_out_of_reach_unless_they_are_asked_for() {
    let place = Place::new();
    place
        .tool(&["listen", "tcp:0.0.0.0:0"], Stdio::null(), Stdio::null())
        .end()
        .assert_code(2)
        .assert_said("or give --allow-remote");
    let mut listener = place.tool(
        &["listen", "tcp:0.0.0.0:0", "--allow-remote"],
        Stdio::null(),
        Stdio::null(),
    );
    listener.wait_for("listening on tcp:0.0.0.0:");
    listener.stop().assert_code(0);

    // From the documentation's addresses: nothing is sent there.
    let few = place.send_to("tcp:192.0.2.1:9", b"one\n", &["--timeout", "1000"]);
    let mut open = place.tool(&["send", "tcp:192.0.2.1:9"], Stdio::piped(), Stdio::null());
    let input = open.child.stdin.take().unwrap();
    for sender in [few, open] {
        let ended = sender.end();
        ended.assert_code(2).assert_said("or give --allow-remote");
    }
    drop(input);
}

#[test]
fn a_sender_that_waits_at_what_is_no_socket_says_what_it_is() {
    let place = Place::new();
    File::create(place.path("s")).unwrap();
    let mut sender = place.send(b"one\n", &["--timeout", "50"]);
    let line = sender.wait_for("waiting for a reader at ");
    let why = "/s: this is a regular file, not a socket: give the path";
    assert!(line.contains(why), "{line}");
    drop(sender);
}

#[test]
fn where_there_is_no_directory_it_is_said_how_to_make_it() {
    let place = Place::new();
    for command in [
        &["listen", "none/s"][..],
        &["respond", "none/s", "--exec", "cat"],
    ] {
        place
            .tool(command, Stdio::null(), Stdio::null())
            .end()
            .assert_code(1)
            .assert_said(
                "/none: make it with mkdir, or in a unit of systemd with RuntimeDirectory=",
            );
    }
}
