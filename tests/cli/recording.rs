//! A stream that is recorded and sent again; how `listen` stops by itself, and what `send` takes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::stage::{Place, wait_until};

/// Of all kinds: with newlines, NUL bytes, and lengths of one and more bytes.
const MESSAGES: [&[u8]; 5] = [b"one", b"\n\n", b"\0", &[0xff; 300], b"the last"];

fn frames() -> Vec<u8> {
    let mut frames = Vec::new();
    for message in MESSAGES {
        uds_ipc::FrameCodec::default()
            .append(message, &mut frames)
            .unwrap();
    }
    frames
}

#[test]
fn a_stream_is_recorded_and_sent_again_message_for_message() {
    let place = Place::new();
    let recorder = place.listen(&["--format", "frames", "--count", "5"]);
    fs::write(place.path("original"), frames()).unwrap();
    let send = ["--frames", "--file", "original"];
    place.send(b"", &send).end().assert_code(0);
    recorder.end().assert_code(0);
    assert_eq!(place.printed(), frames());

    fs::rename(place.path("out"), place.path("messages.bin")).unwrap();
    let again = place.listen(&["--format", "frames"]);
    let send = ["--frames", "--file", "messages.bin", "--quiet"];
    let ended = place.send(b"", &send).end();
    assert!(ended.assert_code(0).said.is_empty(), "{ended:?}");
    again.stop().assert_code(0);
    assert_eq!(place.printed(), frames());
}

#[test]
fn a_listener_stops_after_as_many_messages_as_were_wanted() {
    let place = Place::new();
    for format in ["lines", "none"] {
        let listener = place.listen(&["--count", "2", "--format", format]);
        let sender = place.send(
            b"one\ntwo\nthree\n",
            &["--at-least-once", "--timeout", "50"],
        );
        // Whether the third came before it stopped, and how often, is a matter of luck.
        listener.end().assert_code(0);
        let printed = if format == "none" { "" } else { "one\ntwo\n" };
        assert_eq!(place.printed(), printed.as_bytes());
        // What was printed is confirmed, and what was not comes to the next.
        let listener = place.listen(&["--count", "1"]);
        sender.end().assert_code(0);
        listener.end().assert_code(0);
        assert_eq!(place.printed(), b"three\n");
    }
}

#[test]
fn what_was_sent_beyond_the_count_is_lost_without_receipts_and_that_is_said() {
    let place = Place::new();
    let listener = place.listen(&["--count", "2"]);
    // In one piece: all has come before it stops.
    let mut sender = UnixStream::connect(place.path("s")).unwrap();
    sender.write_all(b"\x03one\x03two\x05three").unwrap();
    listener
        .end()
        .assert_code(0)
        .assert_said("messages that came and were not printed: 1");
    assert_eq!(place.printed(), b"one\ntwo\n");
    drop(sender);
    place.listen(&["--until-idle", "0.1"]).end().assert_code(0);
    assert!(place.printed().is_empty());
}

#[test]
fn a_listener_stops_when_its_time_is_over_or_nothing_comes() {
    let place = Place::new();
    for options in [["--for", "100ms"], ["--until-idle", "0.1"]] {
        place.listen(&options).end().assert_code(0);
        // Fewer than were wanted are a failure.
        let options = [&options[..], &["--count", "2"]].concat();
        place
            .listen(&options)
            .end()
            .assert_code(1)
            .assert_said("messages that did not come: 2");
    }
}

#[test]
fn a_nul_may_end_messages_on_both_sides() {
    let place = Place::new();
    let listener = place.listen(&["--nul"]);
    place
        .send(b"one\nline\0two\0\0three", &["--nul"])
        .end()
        .assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"one\nline\0two\0three\0");
}

#[test]
fn each_message_may_say_when_it_came() {
    let place = Place::new();
    let before = SystemTime::now();
    for format in ["lines", "hex", "json"] {
        let listener = place.listen(&["--timestamps", "--format", format]);
        place.send(b"a\n", &[]).end().assert_code(0);
        listener.stop().assert_code(0);
        let text = String::from_utf8(place.printed()).unwrap();
        let (time, rest) = if format == "json" {
            let object: Value = serde_json::from_str(&text).unwrap();
            (
                object["time"].as_str().unwrap().to_owned(),
                "a\n".to_owned(),
            )
        } else {
            let (time, rest) = text.split_once(' ').unwrap();
            (time.to_owned(), rest.replace("61", "a"))
        };
        assert_eq!(rest, "a\n");
        let time = humantime::parse_rfc3339(&time).unwrap();
        // It is cut to the microsecond.
        assert!(before <= time + Duration::from_micros(1) && time <= SystemTime::now());
    }
}

#[test]
fn messages_may_stand_on_the_command_line() {
    let place = Place::new();
    let listener = place.listen(&["--nul"]);
    let sent = place.send(b"not read\n", &["one", "two\nlines", "--quiet"]);
    sent.end().assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"one\0two\nlines\0");
}

#[test]
fn a_whole_input_may_be_one_message() {
    const LIMIT: usize = 10 * 1024 * 1024;
    let place = Place::new();
    let listener = place.listen(&["--format", "frames"]);
    fs::write(place.path("file"), b"a\nb\n").unwrap();
    let whole = ["--file", "file", "--whole"];
    place.send(b"", &whole).end().assert_code(0);
    // An empty one is none, and one that is too long is passed over.
    place.send(b"", &["--whole"]).end().assert_code(0);
    let ended = place.send(&vec![0; LIMIT + 7], &["--whole"]).end();
    ended
        .assert_code(1)
        .assert_said("above the limit of 10 MiB: 1");
    let refused = ended.figure("dropped/too_large/bytes");
    assert_eq!(refused, u64::try_from(LIMIT + 7).unwrap());
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"\x04a\nb\n");
}

#[test]
fn a_rate_is_kept_and_a_signal_ends_its_pause() {
    let place = Place::new();
    let listener = place.listen(&[]);
    #[expect(clippy::disallowed_methods, reason = "it takes at least so long")]
    let began = Instant::now();
    place
        .send(b"1\n2\n3\n", &["--rate", "10"])
        .end()
        .assert_code(0);
    assert!(began.elapsed() >= Duration::from_millis(200));
    // The next would come in a thousand seconds.
    let sender = place.send(b"4\n5\n", &["--rate", "0.001", "--timeout", "500"]);
    wait_until("it pauses", || place.printed() == b"1\n2\n3\n4\n");
    let ended = sender.stop();
    ended.assert_code(0).assert_books_balance();
    assert_eq!(ended.figure("sent/messages"), 1);
    listener.stop().assert_code(0);
}

#[test]
fn who_may_connect_is_said_by_name_or_number() {
    let place = Place::new();
    let own = nix::unistd::geteuid().to_string();
    let group = nix::unistd::getegid().to_string();
    let options = ["--allow-uid", &own, "--owner", &own, "--group", &group];
    let listener = place.listen(&options);
    let file = fs::metadata(place.path("s")).unwrap();
    assert_eq!(
        (file.uid().to_string(), file.gid().to_string()),
        (own, group)
    );
    place.send(b"one\n", &[]).end().assert_code(0);
    listener.stop().assert_code(0);
    assert_eq!(place.printed(), b"one\n");

    let mut listener = place.listen(&["--allow-uid", "4294967294,4294967293"]);
    let sender = place.send(b"two\n", &["--timeout", "50", "--at-least-once"]);
    listener.wait_for("the peer check refused it");
    drop(sender);
    let ended = listener.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("received/messages"), 0);
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let place = Place::new();
    for arguments in [
        &["listen", "s", "--format", "frames", "--nul"][..],
        &["listen", "s", "--format", "frames", "--timestamps"],
        &["listen", "@abstract", "--owner", "0"],
        &["listen", "tcp:127.0.0.1:0", "--allow-uid", "0"],
        &["listen", "s", "--count", "0"],
        &["listen", "s", "--for", "soon"],
        &["listen", "s", "--group", "there is no such group"],
        &["send", "s", ""],
        &["send", "s", "message", "--file", "file"],
        &["send", "s", "message", "--whole"],
        &["send", "s", "--frames", "--nul"],
        &["send", "s", "--whole", "--nul"],
        &["send", "s", "--rate", "0"],
        &["check", "-"],
        &["check", "fd:0"],
        &["check"],
    ] {
        place
            .tool(arguments, Stdio::null(), Stdio::null())
            .end()
            .assert_code(2);
    }
    let mut missing = place.send(b"", &["--file", "none"]);
    missing.wait_for("cannot read none: no such file or directory");
    missing.end().assert_code(2);
}
