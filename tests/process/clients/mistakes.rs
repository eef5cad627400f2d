//! What the clients do where they were started wrongly, or where something is in their way.

use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use nix::sys::socket::{Backlog, listen};

use super::programs::Language;

const BOTH: [Language; 2] = [Language::Python, Language::C];

#[test]
fn clients_that_receive_take_no_file_and_no_living_socket_away() {
    for language in BOTH {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("receive", place.path()) else {
            continue;
        };
        let file = place.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(client.run(&file, Stdio::null()), Some(1), "{language:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"precious", "{language:?}");

        // A backlog that is full: it must not be waited for. Elsewhere the kernel says that nobody
        // listens.
        if !cfg!(target_os = "linux") {
            continue;
        }
        let path = place.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert_eq!(client.run(&path, Stdio::null()), Some(1), "{language:?}");
        assert!(path.exists(), "{language:?}");
    }
}

#[test]
fn clients_that_cannot_read_what_they_are_to_send_say_so() {
    for language in BOTH {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("send", place.path()) else {
            continue;
        };
        let path = place.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        // A folder.
        let input = File::open(place.path()).unwrap();
        assert_eq!(client.run(&path, input.into()), Some(1), "{language:?}");
    }
}

#[test]
fn python_tries_no_malformed_address_again() {
    let place = tempfile::tempdir().unwrap();
    let long = "x".repeat(200);
    for name in ["send", "receive"] {
        let Some(client) = Language::Python.client(name, place.path()) else {
            return;
        };
        for address in [
            "tcp:host",
            "tcp:host:port",
            "tcp:host:65536",
            "unix:",
            &long,
        ] {
            let code = client.run(Path::new(address), Stdio::null());
            assert_eq!(code, Some(1), "{name} {address}");
        }
    }
}
