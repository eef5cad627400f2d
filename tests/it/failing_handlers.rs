//! What becomes of a message on which the handler fails, and of what came before and behind it, in
//! either mode of delivery; and what a closure may return.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use uds_ipc::{Delivery, Handler, Peer, Reader, WriterBuilder};

use crate::support::acts::panic_quietly;
use crate::support::{
    Gate, Notes, PATIENCE, Place, connect, finish, finish_with_receipts, frame, numbered, receipt,
    send_all, wait_until, writer_with,
};

/// The first frame of a connection that delivers at least once, and a request for a receipt.
const OPENING: &[u8] = &[0x80, 0x00];
const ASK: &[u8] = &[0x00];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Error,
    Panic,
}

/// Fails on messages that begin with `bad`, so many times in all, and at the ends of batches, as
/// often as is set.
struct Failing {
    failure: Failure,
    calls: Notes<String>,
    failures: AtomicUsize,
    bad_ends: AtomicUsize,
    gate: Gate,
}

impl Failing {
    fn fail(&self, left: &AtomicUsize) -> Result<(), &'static str> {
        let count = |left: usize| left.checked_sub(1);
        let is_to_fail = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        match (is_to_fail, self.failure) {
            (Err(_), _) => Ok(()),
            (Ok(_), Failure::Error) => Err("on purpose"),
            (Ok(_), Failure::Panic) => panic_quietly(),
        }
    }
}

impl Handler for Failing {
    type Error = &'static str;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), &'static str> {
        let text = String::from_utf8_lossy(message.get(..12).unwrap_or(message));
        self.calls.add(text.clone().into_owned());
        if text == "wait" {
            self.gate.pass();
        }
        if text.starts_with("bad") {
            self.fail(&self.failures)
        } else {
            Ok(())
        }
    }

    fn batch_end(&self, _: &Peer) -> Result<(), &'static str> {
        self.calls.add("<end>".into());
        self.fail(&self.bad_ends)
    }
}

/// A reader with such a handler.
struct Scene {
    place: Place,
    reader: Reader,
    handler: Arc<Failing>,
    events: Notes<String>,
}

impl Scene {
    fn start(failure: Failure, failures: usize, failing_ends: usize) -> Self {
        let place = Place::new();
        let handler = Arc::new(Failing {
            failure,
            calls: Notes::new(),
            failures: failures.into(),
            bad_ends: failing_ends.into(),
            gate: Gate::new(),
        });
        let events = Notes::new();
        let builder = Reader::builder(place.socket()).on_event(events.observer());
        let reader = builder
            .bind()
            .unwrap()
            .start_handler(Arc::clone(&handler))
            .unwrap();
        Self {
            place,
            reader,
            handler,
            events,
        }
    }

    /// Sends bytes in one piece, which come as one batch; returns what is answered until the reader
    /// hangs up, and what the handler was called with.
    fn send(self, bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let mut stream = connect(&self.place.socket());
        stream.write_all(bytes).unwrap();
        let answer = read_until_closed(&mut stream);
        let _ = self.reader.shutdown(PATIENCE).unwrap();
        (answer, self.handler.calls.all())
    }
}

/// All that comes until the reader has closed, in order or not.
fn read_until_closed(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    // Bytes that the reader has left unread make an error of the end.
    while matches!(stream.read(&mut byte), Ok(1)) {
        bytes.extend_from_slice(&byte);
    }
    bytes
}

fn frames(messages: &[&str]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| frame(message.as_bytes()))
        .collect()
}

fn keeping(builder: WriterBuilder) -> WriterBuilder {
    builder
        .delivery(Delivery::AtLeastOnce)
        .backoff_min(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(10))
}

// At least once, as a peer sees it.

#[test]
fn what_was_stored_before_a_message_that_fails_is_confirmed_and_nothing_behind_it_is_handled() {
    for failure in [Failure::Error, Failure::Panic] {
        for (messages, confirmed, called) in [
            // In the middle of a batch, at its end, and the first of it.
            (
                &["a", "b", "bad", "c"][..],
                &[2][..],
                &["a", "b", "bad"][..],
            ),
            (&["a", "bad"], &[1], &["a", "bad"]),
            (&["bad", "c"], &[], &["bad"]),
            (&["bad"], &[], &["bad"]),
            // Only the first that fails is handled.
            (&["a", "bad 1", "bad 2"], &[1], &["a", "bad 1"]),
        ] {
            let scene = Scene::start(failure, 2, 0);
            let stream = [OPENING, &frames(messages), ASK].concat();
            let (answer, calls) = scene.send(&stream);
            assert_eq!(answer, confirmed, "{failure:?} {messages:?}");
            let called = [called, &["<end>"]].concat();
            assert_eq!(calls, called, "{failure:?} {messages:?}");
        }
    }
}

#[test]
fn a_batch_whose_end_fails_too_is_not_confirmed() {
    for failure in [Failure::Error, Failure::Panic] {
        let scene = Scene::start(failure, 1, 1);
        let events = scene.events.clone();
        let stream = [OPENING, &frames(&["a", "bad", "c"]), ASK].concat();
        let (answer, calls) = scene.send(&stream);
        assert!(answer.is_empty(), "{answer:?}");
        assert_eq!(calls, ["a", "bad", "<end>"]);
        events.wait_for("NotStored");
    }
}

#[test]
fn a_peer_that_breaks_the_rules_is_named_also_when_its_batch_is_not_stored() {
    for (opening, bad_frame, cause) in [
        (OPENING, &[0xff; 10][..], "InvalidPrefix"),
        (&[], &[0xff; 10], "InvalidPrefix"),
        (OPENING, &[0xff, 0xff, 0xff, 0xff, 0x0f], "TooLarge"),
        (&[], &[0xff, 0xff, 0xff, 0xff, 0x0f], "TooLarge"),
    ] {
        let scene = Scene::start(Failure::Error, 0, 1);
        let events = scene.events.clone();
        let _ = scene.send(&[opening, &frames(&["a"]), ASK, bad_frame].concat());
        events.wait_for(cause);
        assert!(!events.has("NotStored"), "{:?}", events.all());
    }
}

#[test]
fn what_was_confirmed_before_is_not_said_again_when_a_message_fails() {
    let scene = Scene::start(Failure::Error, 1, 0);
    let mut stream = connect(&scene.place.socket());
    stream
        .write_all(&[OPENING, &frames(&["a", "b"]), ASK].concat())
        .unwrap();
    // It may come in two batches.
    let mut said = 0;
    while said < 2 {
        said = receipt(&mut stream);
    }
    stream
        .write_all(&[&frames(&["bad", "c"])[..], ASK].concat())
        .unwrap();
    assert!(read_until_closed(&mut stream).is_empty());
    let metrics = scene.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (metrics.received.messages, metrics.handler_errors),
        (3, 1),
        "what failed was received"
    );
}

#[test]
fn a_long_message_that_fails_is_not_confirmed_either() {
    for failure in [Failure::Error, Failure::Panic] {
        let scene = Scene::start(failure, 1, 0);
        let mut stream = connect(&scene.place.socket());
        let long = [b"bad".to_vec(), vec![b'x'; 1 << 20]].concat();
        stream
            .write_all(&[OPENING, &frame(b"a"), &frame(&long)].concat())
            .unwrap();
        // The last of what comes: the first was asked for by the opening.
        let answer = read_until_closed(&mut stream);
        assert_eq!(answer.last(), Some(&1), "{failure:?} {answer:?}");
        scene.events.wait_for("NotStored");
        let _ = scene.reader.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn a_stop_ends_also_where_the_last_messages_fail() {
    let scene = Scene::start(Failure::Error, 1, 0);
    let mut stream = connect(&scene.place.socket());
    stream
        .write_all(&[OPENING, &frames(&["wait"])].concat())
        .unwrap();
    wait_until("the handler has it", || scene.handler.calls.len() == 1);
    stream.write_all(&frames(&["a", "bad", "c"])).unwrap();
    thread::scope(|scope| {
        let stop = scope.spawn(|| scene.reader.shutdown(PATIENCE).unwrap());
        wait_until("nobody is let in any more", || {
            UnixStream::connect(scene.place.socket()).is_err()
        });
        scene.handler.gate.open();
        assert_eq!(stop.join().unwrap().cut, 0);
    });
    assert!(!scene.handler.calls.all().contains(&"c".to_owned()));
    assert_eq!(read_until_closed(&mut stream).last(), Some(&2));
}

// At least once, with a writer.

#[test]
fn a_message_that_fails_comes_again_until_it_is_dealt_with() {
    for failure in [Failure::Error, Failure::Panic] {
        let scene = Scene::start(failure, 3, 0);
        let (writer, _) = writer_with(&scene.place.socket(), keeping);
        send_all(&writer, &numbered(100));
        writer.try_send("bad").unwrap();
        send_all(&writer, &numbered(100));
        finish_with_receipts(&writer);
        let calls = scene.handler.calls.all();
        assert_eq!(calls.iter().filter(|call| *call == "bad").count(), 4);
        let mut came = calls;
        came.retain(|call| call != "<end>");
        came.dedup();
        let wanted = [numbered(100), vec![b"bad".to_vec()], numbered(100)].concat();
        assert_eq!(
            came.len(),
            wanted.len(),
            "nothing else came twice: {came:?}"
        );
        assert!(
            came.iter()
                .zip(&wanted)
                .all(|(came, wanted)| came.as_bytes() == wanted)
        );
        let metrics = scene.reader.shutdown(PATIENCE).unwrap().metrics;
        let failures = match failure {
            Failure::Error => metrics.handler_errors,
            Failure::Panic => metrics.panics,
        };
        assert_eq!((failures, metrics.connections), (3, 4));
        scene.events.wait_for("NotStored");
    }
}

#[test]
fn a_message_that_fails_on_each_connection_is_sent_again_with_backoff() {
    const HOUR: Duration = Duration::from_secs(3600);
    let scene = Scene::start(Failure::Error, usize::MAX, 0);
    let (writer, events) = writer_with(&scene.place.socket(), |builder| {
        keeping(builder).backoff_min(HOUR).backoff_max(HOUR)
    });
    send_all(&writer, &numbered(10));
    writer.try_send("bad").unwrap();
    // Soon after the first, which brought receipts; then not before the backoff is over.
    events.wait_for("retry_in: Some(3600s)");
    assert_eq!(writer.metrics().confirmed.messages, 10);
    let report = writer.shutdown(Duration::ZERO).unwrap();
    assert_eq!(report.left.messages, 1);
    let _ = scene.reader.shutdown(PATIENCE).unwrap();
}

// At most once.

#[test]
fn with_at_most_once_an_error_or_a_panic_costs_that_message_only() {
    for failure in [Failure::Error, Failure::Panic] {
        let scene = Scene::start(failure, usize::MAX, 0);
        let (writer, _) = writer_with(&scene.place.socket(), |builder| builder);
        for message in ["bad", "fine"].repeat(50) {
            writer.try_send(message).unwrap();
        }
        finish(&writer);
        let metrics = scene.reader.shutdown(PATIENCE).unwrap().metrics;
        assert_eq!((metrics.received.messages, metrics.connections), (100, 1));
        assert_eq!(metrics.handler_errors + metrics.panics, 50);
        let calls = scene.handler.calls.all();
        assert_eq!(calls.iter().filter(|call| *call == "fine").count(), 50);
    }
}

// What a closure may return.

fn note(message: &[u8]) {
    assert!(!message.is_empty());
}

fn check(message: &[u8]) -> Result<(), io::Error> {
    match message {
        b"bad" => Err(io::ErrorKind::InvalidData.into()),
        _ => Ok(()),
    }
}

#[test]
fn closures_and_functions_return_nothing_or_a_result() {
    let place = Place::new();
    let file = File::create(place.path("log")).unwrap();
    let bound = |name: &str| Reader::builder(place.path(name)).bind().unwrap();
    let readers = [
        bound("a").start(|_| ()).unwrap(),
        bound("b").start(|message| note(&message[..1])).unwrap(),
        bound("c").start(note).unwrap(),
        bound("d").start(check).unwrap(),
        bound("e")
            .start(move |message| (&file).write_all(message))
            .unwrap(),
        bound("f").start(|message: &[u8]| check(message)).unwrap(),
        bound("g")
            .start(|_: &[u8]| -> Result<(), Infallible> { Ok(()) })
            .unwrap(),
        bound("h").start(|_| Err("always")).unwrap(),
        bound("i")
            .start(|message| {
                if message.is_empty() {
                    return;
                }
                note(message);
            })
            .unwrap(),
        bound("j")
            .start(|message| {
                check(message)?;
                String::from_utf8(message.to_vec())?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            })
            .unwrap(),
    ];
    for (name, failures) in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
        .iter()
        .zip([0, 0, 0, 1, 0, 1, 0, 2, 0, 1])
    {
        let reader = &readers[usize::from(name.as_bytes()[0] - b'a')];
        let mut stream = connect(&place.path(name));
        stream.write_all(&frames(&["good", "bad"])).unwrap();
        wait_until("both have come", || reader.metrics().received.messages == 2);
        wait_until("failures are counted", || {
            reader.metrics().handler_errors == failures
        });
    }
    for reader in readers {
        let _ = reader.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn a_handler_that_fails_for_a_while_costs_no_long_message_behind() {
    let scene = Scene::start(Failure::Error, 8, 0);
    let (writer, events) = writer_with(&scene.place.socket(), keeping);
    let long = vec![b'x'; 1 << 20];
    writer.try_send("bad, until the disk has room").unwrap();
    writer.try_send(&long).unwrap();
    finish_with_receipts(&writer);
    // Each connection ended somewhere in the long message, for the sake of the one before it.
    assert!(!events.has("GivenUp"), "{:?}", events.all());
    assert_eq!(writer.metrics().confirmed.messages, 2);
    assert_eq!(scene.handler.failures.load(Ordering::SeqCst), 0);
    let _ = scene.reader.shutdown(PATIENCE).unwrap();
}
