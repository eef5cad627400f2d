//! `check`: its exit codes, and that it leaves the one who is asked as it was.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;

#[cfg(target_os = "linux")]
use crate::stage::wait_until;
use crate::stage::{Ended, Place};

impl Place {
    /// What a check says on standard output, and how it ends.
    fn check(&self, arguments: &[&str]) -> (String, Ended) {
        let arguments = [&["check"], arguments].concat();
        let mut check = self.tool(&arguments, Stdio::null(), Stdio::piped());
        let mut text = String::new();
        check.output().read_to_string(&mut text).unwrap();
        (text, check.end())
    }
}

#[test]
fn a_listener_is_named_and_not_disturbed() {
    let place = Place::new();
    let listener = place.listen(&[]);
    for _ in 0..20 {
        let (text, ended) = place.check(&["s", "--timeout", "50"]);
        ended.assert_code(0);
        let uid = nix::unistd::geteuid();
        for words in [": accepts\n", &format!("uid {uid}, "), "receipts: yes\n"] {
            assert!(text.contains(words), "no {words}: {text}");
        }
        let pid = format!("reader: uds-ipc, pid {}, ", listener.child.id());
        assert!(!cfg!(target_os = "linux") || text.contains(&pid), "{text}");
    }
    let (text, ended) = place.check(&["s", "--quiet", "--timeout", "50"]);
    ended.assert_code(0);
    assert!(text.is_empty() && ended.said.is_empty());
    let ended = listener.stop();
    ended.assert_code(0);
    assert_eq!(ended.figure("received/messages"), 0);
    let faults = ["truncated", "invalid_prefix", "too_slow", "too_large"];
    for fault in faults {
        assert_eq!(ended.figure(&format!("protocol_errors/{fault}")), 0);
    }
    assert_eq!(ended.own_words().len(), 2, "no word of it: {ended:?}");
}

#[test]
fn a_reader_over_tcp_is_found_and_nobody_says_who_it_is() {
    let place = Place::new();
    let arguments = ["listen", "tcp:127.0.0.1:0"];
    let mut listener = place.tool(&arguments, Stdio::null(), Stdio::null());
    let line = listener.wait_for("listening on ");
    let address = line.strip_prefix("listening on ").unwrap();
    let (text, ended) = place.check(&[address, "--timeout", "50"]);
    ended.assert_code(0);
    assert!(text.contains("nobody says who\nreceipts: yes\n"), "{text}");
    listener.stop().assert_code(0);
}

#[test]
fn a_reader_without_receipts_is_one_too() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    });
    let (text, ended) = place.check(&["s", "--timeout", "50"]);
    ended.assert_code(0);
    assert!(text.contains("receipts: no\n"), "{text}");
    assert_eq!(reader.join().unwrap(), [0]);
}

#[test]
fn nobody_is_told_apart_from_one_who_does_not_answer() {
    let place = Place::new();
    let (_, ended) = place.check(&["s"]);
    ended.assert_code(1).assert_said("s: nobody listens: ");
    drop(UnixListener::bind(place.path("s")).unwrap());
    let (_, ended) = place.check(&["s"]);
    ended
        .assert_code(1)
        .assert_said("nobody listens: connection refused");
    fs::remove_file(place.path("s")).unwrap();

    let listener = place.listen(&[]);
    listener.signal(Signal::SIGSTOP);
    #[cfg(target_os = "linux")]
    wait_until("it is stopped", || is_stopped(listener.child.id()));
    let (_, ended) = place.check(&["s", "--timeout", "0.2"]);
    ended
        .assert_code(4)
        .assert_said("no answer: it does not read");
    listener.signal(Signal::SIGCONT);
    listener.stop().assert_code(0);
}

/// All its threads are: each stops when it next would run.
#[cfg(target_os = "linux")]
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut states = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")));
    states.all(|state| state.is_ok_and(|state| state.rsplit(')').next().unwrap().starts_with(" T")))
}

#[test]
fn a_full_backlog_is_no_answer() {
    let place = Place::new();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(place.path("s")).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(place.path("s")).unwrap();
    let (_, ended) = place.check(&["s", "--timeout", "0.2"]);
    // Elsewhere a full backlog refuses.
    if cfg!(target_os = "linux") {
        ended.assert_code(4).assert_said("the backlog is full");
    }
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let place = Place::new();
    let listener = place.listen(&["--allow-uid", "4294967294"]);
    let (_, ended) = place.check(&["s", "--timeout", "50"]);
    ended.assert_code(3).assert_said("not let in: it hangs up");
    listener.stop().assert_code(0);

    // Root may connect to any.
    if !nix::unistd::geteuid().is_root() {
        let _listener = UnixListener::bind(place.path("t")).unwrap();
        fs::set_permissions(place.path("t"), fs::Permissions::from_mode(0o000)).unwrap();
        let (_, ended) = place.check(&["t"]);
        ended
            .assert_code(3)
            .assert_said("not let in: permission denied");
    }
}

#[test]
fn what_is_no_reader_is_told() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", server.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        stream.write_all(b"SSH-2.0-something\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (_, ended) = place.check(&[&address, "--timeout", "50"]);
    ended
        .assert_code(5)
        .assert_said("what answers is no reader");
    server.join().unwrap();
}

#[test]
fn a_check_may_wait_for_the_reader() {
    let place = Place::new();
    let check = place.tool(
        &["check", "s", "--wait", "50", "--timeout", "50"],
        Stdio::null(),
        Stdio::null(),
    );
    let listener = place.listen(&[]);
    check.end().assert_code(0);
    listener.stop().assert_code(0);
}

#[test]
fn what_says_nothing_of_the_reader_is_no_word_that_nobody_is_there() {
    let place = Place::new();
    let (_, ended) = place.check(&["tcp:no-such-host.invalid:7"]);
    ended.assert_code(5);
    if cfg!(target_os = "linux") {
        let listener = place.listen(&[]);
        let full = Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let check = place.tool(&["check", "s"], Stdio::null(), full);
        check.end().assert_code(5).assert_said("cannot print");
        listener.stop().assert_code(0);
    }
}

#[test]
fn what_is_no_socket_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    for (path, words) in [
        (
            "file",
            "nobody listens: this is a regular file, not a socket: give the path",
        ),
        (
            "folder",
            "nobody listens: this is a directory, not a socket",
        ),
        (
            "/dev/null",
            "nobody listens: this is a device or a pipe, not a socket",
        ),
    ] {
        let (_, ended) = place.check(&[path]);
        ended.assert_code(1).assert_said(words);
    }
    let (_, ended) = place.check(&["-"]);
    let words = "- (standard input) is a stream that is open already, and nobody listens there: \
                 give the address";
    ended.assert_code(2).assert_said(words);
}

/// The plugin of the guide, as an operator would save it.
#[test]
fn the_plugin_for_nagios_has_the_codes_of_nagios() {
    let guide = include_str!("../../src/guide/tool.rs");
    let (_, rest) = guide.split_once("//! ```sh\n").unwrap();
    let (lines, _) = rest.split_once("//! ```\n").unwrap();
    let lines = lines.lines().map(|line| line.strip_prefix("//! ").unwrap());
    let plugin: String = lines.flat_map(|line| [line, "\n"]).collect();
    let place = Place::new();
    fs::write(place.path("plugin"), plugin).unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_uds-ipc")).parent().unwrap();
    let found = std::env::var_os("PATH").unwrap();
    let folders = [folder.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&found));
    let path = std::env::join_paths(folders).unwrap();
    let plugin = |arguments: &[&str]| {
        let output = Command::new("sh")
            .arg("plugin")
            .args(arguments)
            .current_dir(&place.0)
            .env("PATH", &path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = plugin(&["s"]);
    assert_eq!(code, Some(2));
    assert!(
        text.starts_with("CRITICAL - /") && text.contains("s: nobody listens: "),
        "{text}"
    );
    let listener = place.listen(&[]);
    let (code, text) = plugin(&["s", "--timeout", "50"]);
    assert_eq!(code, Some(0));
    assert!(
        text.starts_with("OK - /") && text.contains("s: accepts\n"),
        "{text}"
    );
    listener.stop().assert_code(0);
    let listener = place.listen(&["--allow-uid", "4294967294"]);
    let (code, text) = plugin(&["s", "--timeout", "50"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("WARNING - "), "{text}");
    listener.stop().assert_code(0);
    let (code, text) = plugin(&[]);
    assert_eq!(code, Some(3));
    assert!(text.starts_with("UNKNOWN - "), "{text}");
}
