//! Peers that are none of this crate, and those that lie. They write by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use prost::Message;
use uds_ipc::FrameCodec;
use uds_ipc::calls::{Caller, Responder};

use super::{
    LONG, PATIENCE, Place, answer, assert_lost_for_a_fault, caller, responder, stop, wait_until,
};

/// Written once more from `calls.proto`, as a stranger would.
#[derive(Clone, PartialEq, Message)]
struct TheirCall {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
    #[prost(uint64, tag = "3")]
    timeout_ms: u64,
    #[prost(bool, tag = "4")]
    cancel: bool,
    #[prost(string, tag = "5")]
    method: String,
    /// Something that comes with a later version.
    #[prost(string, tag = "99")]
    unknown: String,
}

#[derive(Clone, PartialEq, Message)]
struct TheirReply {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
    #[prost(string, tag = "3")]
    error: String,
    #[prost(bool, tag = "4")]
    more: bool,
    #[prost(int32, tag = "5")]
    cause: i32,
    #[prost(string, tag = "99")]
    unknown: String,
}

fn frame(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameCodec::default()
        .append(&message.encode_to_vec(), &mut bytes)
        .unwrap();
    bytes
}

/// The frame of a call.
pub(super) fn call(id: u64, method: &str) -> Vec<u8> {
    frame(&TheirCall {
        id,
        method: method.to_owned(),
        unknown: "of a later version".to_owned(),
        ..TheirCall::default()
    })
}

pub(super) fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn messages<M: Message + Default>(stream: &mut UnixStream, count: usize) -> Vec<M> {
    let (mut bytes, mut messages) = (Vec::new(), Vec::new());
    while messages.len() < count {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.extend(byte);
        if let Some(message) = FrameCodec::default().take(&mut &bytes[..]).unwrap() {
            messages.push(M::decode(message).unwrap());
            bytes.clear();
        }
    }
    messages
}

/// The ids of the next answers.
pub(super) fn answers(stream: &mut UnixStream, count: usize) -> Vec<u64> {
    let replies: Vec<TheirReply> = messages(stream, count);
    replies.iter().map(|reply| reply.id).collect()
}

/// The ids and methods of the next calls.
pub(super) fn calls(stream: &mut UnixStream, count: usize) -> Vec<(u64, String)> {
    let calls: Vec<TheirCall> = messages(stream, count);
    calls
        .into_iter()
        .map(|call| (call.id, call.method))
        .collect()
}

fn ends(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    // Reset, where something that we sent was left unread.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_client_that_knows_only_the_proto_file_is_answered() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let mut stream = connect(&place.socket());
    stream.write_all(&call(3, "echo")).unwrap();
    stream.write_all(&call(9, "fail")).unwrap();
    let mut replies: Vec<TheirReply> = messages(&mut stream, 2);
    replies.sort_by_key(|reply| reply.id);
    assert_eq!((replies[0].id, replies[0].error.as_str()), (3, ""));
    assert_eq!((replies[1].id, replies[1].error.as_str()), (9, "as asked"));
    stop(responder);
}

#[test]
fn a_peer_that_sends_no_call_loses_its_connection_and_nobody_else_does() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    let used_twice = [call(1, "drop"), call(1, "drop")].concat();
    let lies: [&[u8]; 6] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x80\x80\x80\x10",
        b"\x02\xff\xff",
        // A method that is no text.
        b"\x05\x08\x01\x2a\x01\xff",
        &used_twice,
        &call(1 << 63, "echo"),
    ];
    for (number, lie) in lies.iter().enumerate() {
        let mut stream = connect(&place.socket());
        stream.write_all(lie).unwrap();
        wait_until("it is found out", || responder.figures().malformed > number);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(caller.call("echo", "x", PATIENCE).unwrap(), b"x");
    }
    assert_eq!(caller.figures().connects, 1);
    stop(responder);
}

#[test]
fn half_a_call_that_takes_too_long_costs_its_connection() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .frame_timeout(Duration::from_millis(50))
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let mut idle = connect(&place.socket());
    let mut half = connect(&place.socket());
    half.write_all(&call(1, "echo")[..5]).unwrap();
    ends(&mut half);
    wait_until("it is forgotten", || responder.connections().len() == 1);
    // Who is silent between two calls may be so.
    idle.write_all(&call(1, "echo")).unwrap();
    assert_eq!(answers(&mut idle, 1), [1]);
    stop(responder);
}

#[test]
fn a_time_is_over_also_where_there_is_always_something_to_do() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .frame_timeout(Duration::from_millis(50))
        .max_threads(2)
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let caller = caller(&place.socket());
                while !is_over.load(Ordering::Relaxed) {
                    caller.call_batch([("echo", ""); 8], PATIENCE);
                }
            });
        }
        wait_until("they call", || responder.connections().len() == 2);
        let mut half = connect(&place.socket());
        half.write_all(&call(1, "echo")[..5]).unwrap();
        let mut rest = Vec::new();
        let end = half.read_to_end(&mut rest);
        is_over.store(true, Ordering::Relaxed);
        end.unwrap();
    });
    stop(responder);
}

#[test]
fn who_reads_no_refusals_and_calls_on_loses_the_connection() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .max_call_len(1000)
        .max_bytes_in_flight(1_000)
        .write_timeout(LONG)
        .allow(|_, _| false)
        .bind()
        .unwrap()
        .start(|_, _| ())
        .unwrap();
    let mut stream = connect(&place.socket());
    let calls: Vec<_> = (1..=5_000).flat_map(|id| call(id, "m")).collect();
    // Far more refusals than its socket takes: until it is not read from any more, or closed.
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let _ = stream.write_all(&calls);
    wait_until("it is found out", || responder.figures().malformed == 1);
    wait_until("it is closed", || responder.connections().is_empty());
    stop(responder);
}

#[test]
fn half_calls_hold_no_more_than_all_calls_may() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .max_call_len(10_000)
        .max_bytes_in_flight(10_000)
        .max_bytes_held(30_000)
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let mut halves: Vec<_> = (0..4).map(|_| connect(&place.socket())).collect();
    for half in &mut halves {
        // A length of 10,000, and most of it.
        half.write_all(b"\x90\x4e").unwrap();
        let _ = half.write_all(&[0x12; 9_000]);
    }
    wait_until("one is closed", || responder.connections().len() == 3);
    drop(halves);
    wait_until("all are gone", || responder.connections().is_empty());
    assert!(
        caller(&place.socket())
            .call("echo", [0; 9_000], PATIENCE)
            .is_ok()
    );
    stop(responder);
}

#[test]
fn a_peer_that_reads_no_answers_is_not_read_from_and_loses_its_connection() {
    let place = Place::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    let responder = Responder::builder(place.socket())
        .write_timeout(Duration::from_millis(200))
        .max_call_len(1000)
        .max_bytes_in_flight(1_000)
        .bind()
        .unwrap()
        .start(move |_, reply| {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(reply.send(vec![0; 100_000]));
        })
        .unwrap();
    let mut stream = connect(&place.socket());
    // One after the other: each is a read of its own.
    for id in 1..=100 {
        if stream.write_all(&call(id, "m")).is_err() {
            break;
        }
    }
    wait_until("some are handled", || handled.load(Ordering::SeqCst) > 0);
    wait_until("it is closed", || responder.connections().is_empty());
    wait_until("no handler waits for it", || {
        responder.figures().in_hand == 0
    });
    stop(responder);
}

#[test]
fn an_answer_to_no_call_costs_the_connection_and_answers_nothing() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let caller = caller(&place.socket());
    let (sender, results) = mpsc::channel();
    let waiting = caller.clone();
    thread::spawn(move || sender.send(waiting.call("m", "", LONG)).unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(calls(&mut stream, 1)[0].0, 1);
    let lie = TheirReply {
        id: 2,
        body: b"a lie".to_vec(),
        ..TheirReply::default()
    };
    stream.write_all(&frame(&lie)).unwrap();
    let error = results.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_lost_for_a_fault(&error);
}

#[test]
fn a_second_answer_to_the_same_call_goes_nowhere() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let caller = Caller::new(place.socket()).unwrap();
    let waiting = caller.clone();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for id in 1..=2 {
            assert_eq!(calls(&mut stream, 1)[0].0, id);
            let reply = |body: &str| {
                frame(&TheirReply {
                    id,
                    body: body.as_bytes().to_vec(),
                    unknown: "of a later version".to_owned(),
                    ..TheirReply::default()
                })
            };
            stream
                .write_all(&[reply("first"), reply("second")].concat())
                .unwrap();
        }
        stream
    });
    for _ in 0..2 {
        assert_eq!(waiting.call("m", "", PATIENCE).unwrap(), b"first");
    }
    assert!(caller.figures().late >= 1);
    drop(served.join().unwrap());
}
