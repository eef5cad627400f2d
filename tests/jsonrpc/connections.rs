//! The connections of the example `jsonrpc`: what one client does holds up no other, and each limit
//! has an end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::{TempDir, tempdir};

use super::dispatch::RpcError;
use super::server::{Limits, serve};
use crate::patience::PATIENCE;
use crate::wait_until;

/// Short enough for a test, where it is to pass.
const SHORT: Duration = Duration::from_millis(50);

const CALL: &str = r#"{"jsonrpc":"2.0","method":"number","id":1}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","result":17,"id":1}"#;
const PARSE_ERROR: &str =
    r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;

fn method(method: &str, _: Option<&RawValue>) -> Result<Value, RpcError> {
    match method {
        "number" => Ok(17.into()),
        "long" => Ok("x".repeat(100_000).into()),
        _ => Err(RpcError::MethodNotFound),
    }
}

/// Limits that a test does not run into, unless it changes one.
fn limits() -> Limits {
    Limits {
        patience: PATIENCE,
        idle_timeout: PATIENCE,
        ..Limits::default()
    }
}

/// A server on a thread, which ends with this object.
struct Server {
    path: PathBuf,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Server {
    fn start(limits: Limits) -> Self {
        let folder = tempdir().expect("a folder");
        let path = folder.path().join("node.ipc");
        let listener = UnixListener::bind(&path).expect("a listener");
        let (stop, stopped) = UnixStream::pair().expect("a pair");
        let thread = thread::spawn(move || {
            serve(&listener, &stopped, &limits, &method).expect("it can wait");
        });
        Self {
            path,
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }

    fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.path).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Client(BufReader::new(stream))
    }

    /// Waits until it has ended.
    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0
            .get_mut()
            .write_all(text.as_ref())
            .expect("it takes that");
    }

    /// A line, or an empty one at the end of the stream.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        if !line.is_empty() {
            assert_eq!(line.pop(), Some('\n'), "{line}");
        }
        line
    }

    fn asserts(&mut self, text: &str, answer: &str) {
        self.send(text);
        assert_eq!(self.line(), answer, "{text}");
    }

    /// Whether that is answered so, rather than with something else or the end of the connection.
    fn is_answered(&mut self, text: &str, answer: &str) -> bool {
        // What came before the end can be read after it.
        let _ = self.0.get_mut().write_all(text.as_bytes());
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line.trim_end() == answer
    }

    fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            // It was closed with something unread.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn limit_exceeded(what: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","error":{{"code":-32005,"message":"Limit exceeded: {what}"}},"id":null}}"#
    )
}

#[test]
fn calls_come_in_any_pieces_and_each_answer_is_a_line() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.asserts(CALL, ANSWER);
    client.asserts(&format!("\n \t{CALL}\r\n"), ANSWER);
    for byte in CALL.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.line(), ANSWER);
    client.send(CALL.repeat(1000));
    for _ in 0..1000 {
        assert_eq!(client.line(), ANSWER);
    }
    // Notifications, also a batch of them, are followed by the answer to what is behind them.
    let notification = r#"{"jsonrpc":"2.0","method":"number"}"#;
    client.asserts(
        &format!("{notification}[{notification},{notification}]{CALL}"),
        ANSWER,
    );
    client.asserts(
        &format!("[{CALL},{notification},{CALL}]"),
        &format!("[{ANSWER},{ANSWER}]"),
    );
    // What is no request is no fault of the stream, and a number ends with what is behind it.
    let invalid =
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}"#;
    client.asserts("17 ", invalid);
    client.asserts("[]", invalid);
    client.asserts(CALL, ANSWER);
    // The end of a client's half is no end of the answers.
    client.send(format!("{CALL}17"));
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!([client.line(), client.line()], [ANSWER, invalid]);
    assert!(client.has_ended());
}

#[test]
fn what_is_no_json_is_answered_and_ends_the_connection() {
    let server = Server::start(limits());
    for wrong in [
        "{]",
        "GET / HTTP/1.1\r\n",
        "[1,]",
        "truefalse\n",
        r#"{"a":1}}"#,
    ] {
        let mut client = server.connect();
        client.asserts(CALL, ANSWER);
        client.send(format!("{wrong}{CALL}"));
        let mut line = client.line();
        if wrong.ends_with("}}") {
            assert!(line.contains("-32600"), "{line}");
            line = client.line();
        }
        assert_eq!(line, PARSE_ERROR, "{wrong}");
        assert!(client.has_ended(), "{wrong}");
    }
    // Half a value is none.
    let mut client = server.connect();
    client.send(&CALL[1..2]);
    let mut half = server.connect();
    half.send(&CALL[..10]);
    for mut client in [client, half] {
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.line(), PARSE_ERROR);
        assert!(client.has_ended());
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_answered_and_ends_the_connection() {
    let server = Server::start(Limits {
        max_len: 1000,
        max_depth: 5,
        max_batch_len: 3,
        ..limits()
    });
    // Far more than the socket has room for: the answer is there to be read after all is written.
    let long = format!("[{}]", " ".repeat(4_000_000));
    let long_text = format!("\"{}\"", "x".repeat(999));
    for (value, limit) in [
        (&*long, "a value of more than 1000 bytes"),
        (&*long_text, "a value of more than 1000 bytes"),
        (&*"[".repeat(4_000_000), "a value of more than 5 levels"),
        ("[[[[[[]]]]]]", "a value of more than 5 levels"),
    ] {
        let mut client = server.connect();
        client.asserts(CALL, ANSWER);
        client.asserts(value, &limit_exceeded(limit));
        assert!(client.has_ended(), "{limit}");
    }
    // A batch that is too long is a whole value: the stream goes on.
    let mut client = server.connect();
    client.asserts("[1,2,3,4]", &limit_exceeded("a batch of more than 3 calls"));
    client.asserts(CALL, ANSWER);
}

#[test]
fn clients_that_are_silent_or_slow_or_read_nothing_hold_up_nobody() {
    let server = Server::start(limits());
    let silent = server.connect();
    let mut slow = server.connect();
    slow.send(&CALL[..10]);
    let mut mute = server.connect();
    let long = CALL.replace("number", "long");
    // Answers of 20 MB: the socket has no room for them.
    mute.send(long.repeat(200));
    for _ in 0..10 {
        server.connect().asserts(CALL, ANSWER);
    }
    slow.asserts(&CALL[10..], ANSWER);
    // It gets all of them when it reads at last.
    for _ in 0..200 {
        assert!(mute.line().len() > 100_000);
    }
    drop(silent);
}

#[test]
fn one_connection_too_many_is_told_so_and_a_place_becomes_free() {
    let server = Server::start(Limits {
        max_connections: 2,
        ..limits()
    });
    let [mut first, mut second] = [server.connect(), server.connect()];
    first.asserts(CALL, ANSWER);
    second.asserts(CALL, ANSWER);
    let mut third = server.connect();
    assert_eq!(third.line(), limit_exceeded("more than 2 connections"));
    assert!(third.has_ended());
    first.asserts(CALL, ANSWER);
    drop(second);
    wait_until("a place is free", || {
        server.connect().is_answered(CALL, ANSWER)
    });
    first.asserts(CALL, ANSWER);
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    let server = Server::start(Limits {
        max_connections: 1,
        patience: SHORT,
        ..limits()
    });
    let mut mute = server.connect();
    let long = CALL.replace("number", "long");
    // Its own sending ends when the server has no patience left.
    let error = loop {
        if let Err(error) = mute.0.get_mut().write_all(long.as_bytes()) {
            break error;
        }
    };
    let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(expected.contains(&error.kind()), "{error}");
    wait_until("its place is free", || {
        server.connect().is_answered(CALL, ANSWER)
    });
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_is_given_up() {
    // In a value, and after the last word.
    for sent in ["\"", "]"] {
        let server = Server::start(Limits {
            max_connections: 1,
            patience: SHORT,
            ..limits()
        });
        let mut slow = server.connect();
        slow.send(sent);
        wait_until("it is closed", || slow.0.get_mut().write_all(b"x").is_err());
        wait_until("its place is free", || {
            server.connect().is_answered(CALL, ANSWER)
        });
    }
}

/// A test that is held up for longer than such a time tries again.
#[test]
fn half_a_value_and_an_idle_connection_have_each_their_own_time() {
    let server = Server::start(Limits {
        patience: SHORT,
        ..limits()
    });
    wait_until("half a value has ended, an idle connection goes on", || {
        let mut idle = server.connect();
        let before = idle.is_answered(CALL, ANSWER);
        // One after the other, so that it is idle for longer than any of them had.
        for _ in 0..3 {
            let mut half = server.connect();
            half.send(&CALL[..10]);
            assert!(half.has_ended());
        }
        before && idle.is_answered(CALL, ANSWER)
    });

    let server = Server::start(Limits {
        idle_timeout: SHORT,
        ..limits()
    });
    wait_until("an idle connection has ended, half a value goes on", || {
        let mut half = server.connect();
        let has_begun = half.0.get_mut().write_all(&CALL.as_bytes()[..10]).is_ok();
        assert!(server.connect().has_ended());
        has_begun && half.is_answered(&CALL[10..], ANSWER)
    });
}

#[test]
fn a_stop_answers_what_has_arrived_and_ends_all_connections() {
    let mut server = Server::start(limits());
    let mut silent = server.connect();
    let mut half = server.connect();
    half.asserts(CALL, ANSWER);
    half.send(&CALL[..10]);
    let mut busy = server.connect();
    busy.asserts(CALL, ANSWER);
    busy.send(CALL.repeat(100));
    server.stop();
    // Elsewhere the end of a stream comes before what lay in it.
    if cfg!(target_os = "linux") {
        for _ in 0..100 {
            assert_eq!(busy.line(), ANSWER);
        }
        assert_eq!(half.line(), PARSE_ERROR);
    }
    for client in [&mut silent, &mut busy, &mut half] {
        let mut rest = Vec::new();
        let ended = client.0.read_to_end(&mut rest);
        assert!(ended.is_ok_and(|len| len == 0) || cfg!(not(target_os = "linux")));
    }
    assert!(UnixStream::connect(&server.path).is_err());
}
