//! The example `jsonrpc` as a process: its socket, its end, and clients that others wrote.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::patience::PATIENCE;
use crate::{Running, assert_no_file_in, example, python_with};

fn start(socket: &Path, chain: &str) -> Running {
    let running = Running::start(example("jsonrpc").arg(socket).arg(chain));
    running.wait_for("listening at ");
    running
}

fn assert_serves(socket: &Path, chain: &str) {
    let mut stream = BufReader::new(UnixStream::connect(socket).expect("it listens"));
    stream
        .get_ref()
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket");
    let call = br#"{"jsonrpc":"2.0","method":"net_version","id":0}"#;
    stream.get_mut().write_all(call).expect("it takes that");
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"result\":\"{chain}\",\"id\":0}}\n");
    assert_eq!(line, answer);
}

#[test]
fn its_socket_is_its_users_own_and_goes_with_it() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("node.ipc");
    for signal in ["TERM", "INT"] {
        let running = start(&socket, "1");
        let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_serves(&socket, "1");
        // One that says nothing does not hold up the end.
        let _silent = UnixStream::connect(&socket).unwrap();
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_no_file_in(folder.path());
    }
}

#[test]
fn it_takes_over_what_a_dead_one_left_and_nothing_from_a_live_one() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("node.ipc");
    drop(UnixListener::bind(&socket).unwrap());
    let running = start(&socket, "1");
    assert_serves(&socket, "1");
    let second = Running::start(example("jsonrpc").arg(&socket).arg("2")).end();
    assert_eq!(second.code, Some(1), "{second:?}");
    assert_serves(&socket, "1");

    // A socket that took the place of its own is not its to remove.
    fs::remove_file(&socket).unwrap();
    let third = start(&socket, "3");
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
    assert_serves(&socket, "3");
    third.signal("TERM");
    assert_eq!(third.end().code, Some(0));
    assert_no_file_in(folder.path());
}

#[test]
fn it_says_what_it_needs() {
    let ended = Running::start(&mut example("jsonrpc")).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.errors.contains("usage: jsonrpc SOCKET [CHAIN]"),
        "{ended:?}"
    );
    let folder = tempdir().unwrap();
    let socket = folder.path().join("node.ipc");
    let ended = Running::start(example("jsonrpc").arg(&socket).arg("main")).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("a number"), "{ended:?}");
    assert_no_file_in(folder.path());
}

/// `UDS_IPC_WEB3` names a Python that has web3.py.
#[test]
fn web3_py_is_served_by_both_of_its_providers() {
    let Some(python) = python_with("UDS_IPC_WEB3", "from web3 import AsyncIPCProvider") else {
        return;
    };
    let folder = tempdir().unwrap();
    let socket = folder.path().join("node.ipc");
    let running = start(&socket, "4242");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/jsonrpc/client.py");
    let mut command = Command::new(python);
    let ended = Running::start(command.arg(client).arg(&socket).current_dir(folder.path())).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("sync block "))
        .collect();
    let version = format!("version uds-ipc/v{}/", env!("CARGO_PKG_VERSION"));
    assert!(
        lines[1].starts_with(&format!("sync {version}")),
        "{ended:?}"
    );
    assert!(
        lines[6].starts_with(&format!("async {version}")),
        "{ended:?}"
    );
    let error = "error {'code': -32601, 'message': 'Method not found'}";
    assert_eq!(
        [&lines[..1], &lines[2..6], &lines[7..]].concat(),
        [
            "sync connected True",
            "sync chain 4242 4242",
            "sync batch 400 {4242}",
            &format!("sync {error}"),
            "async connected True",
            "async chain 4242 4242",
            "async at once 100 {4242}",
            "async batch 200 {4242}",
            &format!("async {error}"),
        ],
        "{ended:?}"
    );
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
}
