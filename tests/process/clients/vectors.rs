//! The vectors of the wire format: the crate reads and writes as they say, and so do the clients.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;
use uds_ipc::error::FrameError;
use uds_ipc::{Delivery, FrameCodec, Reader, Writer};

use super::programs::{self, Client, Language, Receiver, Sender};
use crate::stage::{PATIENCE, wait_until};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: Vec<String>,
    frames: Vec<Frames>,
    malformed: Vec<Malformed>,
    receipts: Vec<Receipt>,
    false_receipts: Vec<FalseReceipts>,
    conversations: Vec<Conversation>,
}

/// A stream, and the messages in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frames {
    what: String,
    bytes: Bytes,
    messages: Vec<Bytes>,
    end: End,
    /// A sender of these messages writes just these bytes.
    is_minimal: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum End {
    #[serde(rename = "between frames")]
    BetweenFrames,
    #[serde(rename = "inside a frame")]
    InsideAFrame,
}

/// A stream that a receiver hangs up on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Malformed {
    what: String,
    bytes: Bytes,
    messages: Vec<Bytes>,
    why: Why,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Why {
    #[serde(rename = "too long")]
    TooLong,
    #[serde(rename = "no number")]
    NoNumber,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    bytes: Bytes,
    count: usize,
    word: Word,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Word {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "refuses the next")]
    RefusesTheNext,
    #[serde(rename = "stops")]
    Stops,
}

/// What a receiver says that cannot be true, and how many messages it has confirmed before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FalseReceipts {
    what: String,
    sent: usize,
    bytes: Bytes,
    confirmed: usize,
}

#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase", deny_unknown_fields)]
enum Conversation {
    /// Whoever reads this sends.
    Receiver {
        what: String,
        steps: Vec<Step>,
        stored: Vec<Bytes>,
    },
    /// Whoever reads this receives.
    Sender {
        what: String,
        delivery: HowOften,
        steps: Vec<Step>,
    },
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
enum HowOften {
    #[serde(rename = "at most once")]
    AtMostOnce,
    #[serde(rename = "at least once")]
    AtLeastOnce,
}

#[derive(Deserialize)]
enum Step {
    /// The program of the sender hands a message over.
    #[serde(rename = "hand")]
    Hand(Bytes),
    #[serde(rename = "from sender")]
    FromSender(Bytes),
    /// On a new connection. At least once: with the opening, and a question behind the last, or
    /// more.
    #[serde(rename = "messages from sender")]
    MessagesFromSender(Vec<Bytes>),
    #[serde(rename = "from receiver")]
    FromReceiver(Bytes),
    #[serde(rename = "sender ends")]
    SenderEnds,
    /// What comes before its end is a beginning of this, and not all.
    #[serde(rename = "sender ends inside")]
    SenderEndsInside(Bytes),
    /// So often that it must wait for receipts: there is one when nothing more comes, if the sender
    /// has asked behind the last.
    #[serde(rename = "hand more than fits")]
    HandMoreThanFits(Many),
    /// On each connection the receiver refuses the first message of that length, until there is
    /// another one in its place.
    #[serde(rename = "receiver refuses")]
    ReceiverRefuses(Refused),
    /// By `shutdown`: what it was sent it has still.
    #[serde(rename = "receiver ends receiving")]
    ReceiverEndsReceiving,
    #[serde(rename = "receiver closes")]
    ReceiverCloses,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    message: Bytes,
    times: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    length: usize,
    until: Bytes,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Bytes(Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = Vec::new();
        for token in text.split_whitespace() {
            let (pairs, times) = token.split_once('*').unwrap_or((token, "1"));
            let wrong = |_| format!("{token:?} is none of bytes");
            let times: usize = times.parse().map_err(wrong)?;
            let mut one = Vec::new();
            for at in (0..pairs.len()).step_by(2) {
                let pair = pairs.get(at..at + 2).unwrap_or("odd");
                one.push(u8::from_str_radix(pair, 16).map_err(wrong)?);
            }
            bytes.extend(one.repeat(times));
        }
        Ok(Self(bytes))
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(&programs::vectors()).unwrap()
}

fn bytes_of(messages: &[Bytes]) -> Vec<Vec<u8>> {
    messages.iter().map(|message| message.0.clone()).collect()
}

/// Who sends or receives.
enum Who {
    Crate,
    Client(Client),
}

impl Who {
    fn find(language: Language, name: &str, folder: &Path) -> Option<Self> {
        language.client(name, folder).map(Self::Client)
    }
}

/// A receiver that stores what comes.
enum Receiving {
    Crate(Reader, Arc<Mutex<Vec<Vec<u8>>>>),
    Client(Receiver),
}

impl Receiving {
    fn start(who: &Who, place: &Path) -> Self {
        let path = place.join("s");
        let Who::Client(client) = who else {
            let stored = Arc::new(Mutex::new(Vec::new()));
            let store = Arc::clone(&stored);
            let bound = Reader::builder(&path).bind().unwrap();
            let reader =
                bound.start(move |message: &[u8]| store.lock().unwrap().push(message.to_vec()));
            return Self::Crate(reader.unwrap(), stored);
        };
        Self::Client(Receiver::start(client, &path, &place.join("stored")))
    }

    /// How many messages it has stored so far.
    fn stored(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Crate(_, stored) => stored.lock().unwrap().clone(),
            Self::Client(receiver) => receiver.stored(),
        }
    }

    fn stop(self) {
        match self {
            Self::Crate(reader, _) => drop(reader.shutdown(PATIENCE).unwrap()),
            Self::Client(receiver) => receiver.stop(),
        }
    }
}

/// A sender to which messages are handed.
enum Sending {
    Crate(Writer),
    Client(Sender),
}

impl Sending {
    fn start(who: &Who, how_often: HowOften, place: &Path) -> Self {
        let path = place.join("s");
        let is_at_least_once = how_often == HowOften::AtLeastOnce;
        let Who::Client(client) = who else {
            let delivery = if is_at_least_once {
                Delivery::AtLeastOnce
            } else {
                Delivery::AtMostOnce
            };
            return Self::Crate(Writer::builder(path).delivery(delivery).start().unwrap());
        };
        Self::Client(Sender::start(client, &path, is_at_least_once))
    }

    fn hand(&mut self, message: &[u8]) {
        match self {
            Self::Crate(writer) => writer.send_timeout(message, PATIENCE).unwrap(),
            Self::Client(sender) => sender.hand(message),
        }
    }

    /// `None` if it is this one.
    fn process(&self) -> Option<Pid> {
        match self {
            Self::Crate(_) => None,
            Self::Client(sender) => Some(sender.process()),
        }
    }

    /// All must be gone, or confirmed.
    #[track_caller]
    fn end(self) {
        match self {
            Self::Crate(writer) => {
                assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
            }
            Self::Client(sender) => sender.end(),
        }
    }
}

/// The other end of whoever sends.
struct Listener(UnixListener);

impl Listener {
    fn bind(place: &Path) -> Self {
        let listener = UnixListener::bind(place.join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn accept(&self) -> UnixStream {
        let mut accepted = None;
        wait_until("it connects", || {
            accepted = self.0.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        patient(stream)
    }
}

fn patient(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn connect(place: &Path) -> UnixStream {
    patient(UnixStream::connect(place.join("s")).unwrap())
}

/// All that comes until the other end has closed. Bytes that it has left unread make an error of
/// that.
fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    assert!(
        read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
        "it does not close"
    );
    bytes
}

fn read(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = stream.read_exact(&mut bytes);
    assert!(read.is_ok(), "{read:?} instead of {len} bytes");
    bytes
}

/// The messages in a stream, and whether it ends with a question.
fn unframe(stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let codec = FrameCodec::default();
    let (mut messages, mut asks, mut rest) = (Vec::new(), false, stream);
    while let Some(message) = codec.take(&mut rest).unwrap() {
        asks = message.is_empty();
        if !asks {
            messages.push(message.to_vec());
        }
    }
    (messages, asks && rest.is_empty())
}

/// Reads `count` messages of a connection; at least once to the question behind the last.
fn read_messages(stream: &mut UnixStream, how_often: HowOften, count: usize) -> Vec<Vec<u8>> {
    let is_at_least_once = how_often == HowOften::AtLeastOnce;
    let mut bytes = Vec::new();
    loop {
        let (messages, asks) = unframe(&bytes);
        if messages.len() >= count && (asks || !is_at_least_once) {
            let opens = bytes.starts_with(&[0x80, 0x00]);
            assert_eq!(opens, is_at_least_once, "it does not open so");
            return messages;
        }
        let mut piece = vec![0; 64 * 1024];
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "it ended too early");
        bytes.extend_from_slice(&piece[..len]);
    }
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    let numbers = 1..=count;
    numbers
        .map(|number| number.to_string().into_bytes())
        .collect()
}

fn varint(number: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    FrameCodec::default()
        .append(&vec![0; number], &mut frame)
        .unwrap();
    frame.truncate(frame.len() - number);
    frame
}

#[test]
fn the_codec_agrees_with_the_vectors() {
    let codec = FrameCodec::default();
    for frames in vectors().frames {
        let (mut messages, mut rest) = (Vec::new(), &frames.bytes.0[..]);
        while let Some(message) = codec.take(&mut rest).unwrap() {
            messages.extend((!message.is_empty()).then(|| message.to_vec()));
        }
        assert!(messages == bytes_of(&frames.messages), "{}", frames.what);
        let is_whole = frames.end == End::BetweenFrames;
        assert_eq!(rest.is_empty(), is_whole, "{}", frames.what);
        let mut stream = Vec::new();
        for message in &messages {
            codec.append(message, &mut stream).unwrap();
        }
        assert_eq!(
            stream == frames.bytes.0,
            frames.is_minimal,
            "{}",
            frames.what
        );
    }
    for malformed in vectors().malformed {
        let (mut messages, mut rest) = (Vec::new(), &malformed.bytes.0[..]);
        let why = loop {
            match codec.take(&mut rest) {
                Ok(message) => messages.push(message.expect("it is malformed").to_vec()),
                Err(FrameError::TooLong { .. }) => break Why::TooLong,
                Err(_) => break Why::NoNumber,
            }
        };
        assert_eq!(
            messages,
            bytes_of(&malformed.messages),
            "{}",
            malformed.what
        );
        assert_eq!(why, malformed.why, "{}", malformed.what);
    }
}

#[test]
fn what_nobody_knows_in_the_vectors_is_told() {
    let known: Value = serde_json::from_str(&programs::vectors()).unwrap();
    assert!(Vectors::deserialize(&known).is_ok());
    let conversations = known["conversations"].as_array().unwrap();
    let first = |role| {
        let index = conversations.iter().position(|it| it["role"] == role);
        format!("/conversations/{}", index.unwrap())
    };
    let (receiver, sender) = (first("receiver"), first("sender"));
    for place in [
        "",
        "/frames/0",
        "/malformed/0",
        "/receipts/0",
        "/false_receipts/0",
        &receiver,
        &sender,
    ] {
        let mut more = known.clone();
        more.pointer_mut(place).unwrap()["new"] = Value::from("entry");
        assert!(Vectors::deserialize(&more).is_err(), "{place}");
    }
    let mut more = known.clone();
    more["conversations"][0]["steps"][0] = Value::from("somebody sleeps");
    assert!(Vectors::deserialize(&more).is_err());
}

/// All frames, and conversations.
fn receives(who: &Who) {
    let place = tempfile::tempdir().unwrap();
    let receiving = Receiving::start(who, place.path());
    let vectors = vectors();
    let mut wanted = Vec::new();
    let mut check = |what, bytes: &Bytes, messages, ends: bool| {
        let mut stream = connect(place.path());
        // It may hang up before the end of what is malformed.
        let _ = stream.write_all(&bytes.0);
        if ends {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let _ = read_to_end(&mut stream);
        wanted.extend(bytes_of(messages));
        assert!(receiving.stored() == wanted, "{what}");
    };
    for bad in &vectors.malformed {
        check(&bad.what, &bad.bytes, &bad.messages, false);
    }
    for frames in &vectors.frames {
        check(&frames.what, &frames.bytes, &frames.messages, true);
    }
    if let Receiving::Crate(reader, _) = &receiving {
        let errors = reader.metrics().protocol_errors;
        let count = |why| {
            vectors
                .malformed
                .iter()
                .filter(|bad| bad.why == why)
                .count()
        };
        let is_half = |frames: &&Frames| frames.end == End::InsideAFrame;
        let halves = vectors.frames.iter().filter(is_half).count();
        let counts = [Why::TooLong, Why::NoNumber].map(count);
        let wanted = [counts[0], counts[1], halves].map(|count| u64::try_from(count).unwrap());
        let found = [errors.too_large, errors.invalid_prefix, errors.truncated];
        assert_eq!(found, wanted);
    }
    receiving.stop();
    for conversation in vectors.conversations {
        if let Conversation::Receiver {
            what,
            steps,
            stored,
        } = conversation
        {
            converse_with_receiver(who, &what, steps, &stored);
        }
    }
}

fn converse_with_receiver(who: &Who, what: &str, steps: Vec<Step>, stored: &[Bytes]) {
    let place = tempfile::tempdir().unwrap();
    let receiving = Receiving::start(who, place.path());
    let mut stream = connect(place.path());
    for step in steps {
        match step {
            Step::FromSender(bytes) => stream.write_all(&bytes.0).unwrap(),
            Step::SenderEnds => stream.shutdown(Shutdown::Write).unwrap(),
            Step::ReceiverCloses => {
                let more = read_to_end(&mut stream);
                assert!(more.is_empty(), "{what}: {more:x?}");
            }
            Step::FromReceiver(bytes) => {
                read_receipts(&mut stream, &bytes.0, what);
                let is_stored = receiving.stored().len() >= count_in(&bytes.0);
                assert!(is_stored, "{what}: a receipt for what is not stored");
            }
            Step::Hand(_)
            | Step::MessagesFromSender(_)
            | Step::ReceiverEndsReceiving
            | Step::SenderEndsInside(_)
            | Step::HandMoreThanFits(_)
            | Step::ReceiverRefuses(_) => {
                assert_eq!(what, "", "this is for a sender");
            }
        }
    }
    assert_eq!(receiving.stored(), bytes_of(stored), "{what}");
    receiving.stop();
}

/// The number in a receipt.
fn count_in(receipt: &[u8]) -> usize {
    let groups = receipt.iter().rev().map(|byte| usize::from(byte & 0x7f));
    groups.fold(0, |number, group| number << 7 | group)
}

/// A receiver may answer each question by itself: what counts is its last word.
fn read_receipts(stream: &mut UnixStream, last: &[u8], what: &str) {
    loop {
        let mut receipt = Vec::new();
        while receipt.last().is_none_or(|byte| *byte >= 0x80) {
            receipt.extend(read(stream, 1));
        }
        if receipt == last {
            return;
        }
        let is_padded = receipt.len() > 1 && receipt.ends_with(&[0]);
        assert!(
            !is_padded && receipt.len() <= last.len(),
            "{what}: {receipt:x?}"
        );
    }
}

/// All frames that a sender writes, receipts and conversations.
fn sends(who: &Who) {
    let place = tempfile::tempdir().unwrap();
    let vectors = vectors();
    let minimal = vectors.frames.iter().filter(|frames| frames.is_minimal);
    let minimal: Vec<_> = minimal.collect();
    let listener = Listener::bind(place.path());
    let mut sending = Sending::start(who, HowOften::AtMostOnce, place.path());
    let mut stream = listener.accept();
    let received = thread::spawn(move || read_to_end(&mut stream));
    for message in minimal.iter().flat_map(|frames| &frames.messages) {
        sending.hand(&message.0);
    }
    sending.end();
    let wanted: Vec<_> = minimal
        .iter()
        .flat_map(|frames| &frames.bytes.0)
        .copied()
        .collect();
    assert!(received.join().unwrap() == wanted, "other bytes came");

    for Receipt { bytes, count, word } in vectors.receipts {
        let what = format!("{:x?}", bytes.0);
        let gone = count + usize::from(word == Word::RefusesTheNext);
        hears(who, &what, count + 3, gone, |stream| {
            stream.write_all(&bytes.0).unwrap();
            if word == Word::Stops {
                assert!(read_to_end(stream).is_empty(), "{what}: it goes on");
            }
        });
    }
    for FalseReceipts {
        what,
        sent,
        bytes,
        confirmed,
    } in vectors.false_receipts
    {
        hears(who, &what, sent, confirmed, |stream| {
            stream.write_all(&bytes.0).unwrap();
            let _ = read_to_end(stream);
        });
    }
    for conversation in vectors.conversations {
        if let Conversation::Sender {
            what,
            delivery,
            steps,
        } = conversation
        {
            converse_with_sender(who, &what, delivery, steps);
        }
    }
}

/// Sends so many messages, of which the first are `gone` when a connection ends on which the
/// receiver has said something.
fn hears(who: &Who, what: &str, sent: usize, gone: usize, say: impl FnOnce(&mut UnixStream)) {
    let place = tempfile::tempdir().unwrap();
    let listener = Listener::bind(place.path());
    let mut sending = Sending::start(who, HowOften::AtLeastOnce, place.path());
    let messages = numbered(sent);
    for message in &messages {
        sending.hand(message);
    }
    let mut stream = listener.accept();
    assert_eq!(
        read_messages(&mut stream, HowOften::AtLeastOnce, sent),
        messages,
        "{what}"
    );
    say(&mut stream);
    drop(stream);
    let mut stream = listener.accept();
    let again = read_messages(&mut stream, HowOften::AtLeastOnce, sent - gone);
    assert_eq!(again, &messages[gone..], "{what}");
    stream.write_all(&varint(sent - gone)).unwrap();
    sending.end();
}

fn converse_with_sender(who: &Who, what: &str, how_often: HowOften, steps: Vec<Step>) {
    let is_for_linux = |step: &Step| matches!(step, Step::ReceiverEndsReceiving);
    if !cfg!(target_os = "linux") && steps.iter().any(is_for_linux) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let listener = Listener::bind(place.path());
    let mut sending = Sending::start(who, how_often, place.path());
    let mut stream = None;
    for step in steps {
        if let Step::Hand(message) = step {
            sending.hand(&message.0);
            continue;
        }
        let mut current = stream.get_or_insert_with(|| listener.accept());
        match step {
            Step::FromSender(bytes) => {
                assert!(read(current, bytes.0.len()) == bytes.0, "{what}");
            }
            Step::MessagesFromSender(messages) => {
                let wanted = bytes_of(&messages);
                let found = read_messages(current, how_often, wanted.len());
                assert!(found == wanted, "{what}");
            }
            Step::FromReceiver(bytes) => current.write_all(&bytes.0).unwrap(),
            Step::SenderEnds => assert!(read_to_end(current).is_empty(), "{what}"),
            Step::SenderEndsInside(bytes) => {
                let rest = read_to_end(current);
                let is_part = rest.len() < bytes.0.len() && bytes.0.starts_with(&rest);
                assert!(is_part, "{what}");
            }
            Step::HandMoreThanFits(Many { message, times }) => thread::scope(|scope| {
                let (end, bytes) = (EndOnPanic(sending.process()), &message.0);
                scope.spawn(move || {
                    let _end = end;
                    answer_when_it_waits(current, bytes, times, what);
                });
                for _ in 0..times {
                    sending.hand(&message.0);
                }
            }),
            Step::ReceiverRefuses(Refused { length, until }) => {
                let mut refusals = 0;
                while refuses(current, length, &until.0, what) {
                    refusals += 1;
                    assert!(refusals < MOST_REFUSALS, "{what}: it comes again and again");
                    drop(stream.take());
                    current = stream.insert(listener.accept());
                }
            }
            Step::ReceiverEndsReceiving => current.shutdown(Shutdown::Read).unwrap(),
            Step::ReceiverCloses => stream = None,
            Step::Hand(_) => {}
        }
    }
    sending.end();
    if let Some(mut stream) = stream {
        let more = read_to_end(&mut stream);
        assert!(more.is_empty(), "{what}: {more:x?}");
    }
}

/// Kills a sender when the thread that answers it fails: nobody can hand it anything more then, and
/// whoever tries would wait for ever.
struct EndOnPanic(Option<Pid>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if let (true, Some(process)) = (thread::panicking(), self.0) {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}

/// How often a sender may come with a message that was refused.
const MOST_REFUSALS: usize = 10;

/// How long nothing must have come from a sender that waits. Were it too short, the sender would
/// only have its receipts earlier.
const QUIET: Duration = Duration::from_millis(50);

/// Confirms what has come only when nothing more comes, until there are so many of the message.
fn answer_when_it_waits(stream: &mut UnixStream, message: &[u8], times: usize, what: &str) {
    let codec = FrameCodec::default();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut count, mut asks, mut last) = (0, false, Instant::now());
    stream.set_read_timeout(Some(QUIET)).unwrap();
    loop {
        match stream.read(&mut piece) {
            Ok(len) => {
                assert!(len > 0, "{what}: it ended after {count}");
                bytes.extend_from_slice(&piece[..len]);
                let mut rest = &bytes[..];
                while let Some(frame) = codec.take(&mut rest).unwrap() {
                    asks = frame.is_empty();
                    assert!(asks || frame == message, "{what}");
                    count += usize::from(!asks);
                }
                asks &= rest.is_empty();
                bytes = rest.to_vec();
                last = Instant::now();
            }
            Err(_) if asks => {
                stream.write_all(&varint(count)).unwrap();
                asks = false;
                if count == times {
                    break;
                }
            }
            Err(_) => assert!(
                last.elapsed() < PATIENCE,
                "{what}: it waits after {count}, and has not asked"
            ),
        }
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Reads the first message of a connection. Hangs up on one of that length, and says so before if
/// it was asked.
fn refuses(stream: &mut UnixStream, length: usize, until: &[u8], what: &str) -> bool {
    let refused = varint(length);
    let (mut prefix, mut asked) = (Vec::new(), false);
    loop {
        prefix.extend(read(stream, 1));
        match prefix.as_slice() {
            [0] => {
                asked = true;
                prefix.clear();
                stream.write_all(&[0]).unwrap();
            }
            prefix if prefix == refused => {
                if asked {
                    stream.write_all(&[0x80, 0]).unwrap();
                }
                return true;
            }
            [.., last] if *last >= 0x80 => {}
            prefix => {
                assert_eq!(prefix, varint(until.len()), "{what}");
                assert_eq!(read(stream, until.len()), until, "{what}");
                return false;
            }
        }
    }
}

#[test]
fn the_reader_agrees_with_the_vectors() {
    receives(&Who::Crate);
}

#[test]
fn the_writer_agrees_with_the_vectors() {
    sends(&Who::Crate);
}

/// Both clients of a language.
fn both(language: Language) {
    let folder = tempfile::tempdir().unwrap();
    let find = |name| Who::find(language, name, folder.path());
    let (Some(sender), Some(receiver)) = (find("send"), find("receive")) else {
        return;
    };
    sends(&sender);
    receives(&receiver);
}

#[test]
fn the_clients_in_python_agree_with_the_vectors() {
    both(Language::Python);
}

#[test]
fn the_clients_in_c_agree_with_the_vectors() {
    both(Language::C);
}

#[test]
fn the_clients_in_c_do_nothing_undefined() {
    both(Language::CheckedC);
}

/// A receiver that stops, and then neither says nor closes anything, is given up.
#[test]
fn clients_do_not_wait_for_ever_for_a_receiver_that_hangs_when_it_stops() {
    let first = b"\x80\x00\x01a\x00";
    for language in [Language::Python, Language::C] {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("send", place.path()) else {
            continue;
        };
        let listener = Listener::bind(place.path());
        let mut sender = Sender::start(&client, &place.path().join("s"), true);
        sender.hand(b"a");
        let mut hangs = listener.accept();
        assert_eq!(read(&mut hangs, 5), first);
        hangs.write_all(b"\x80\x80\x00").unwrap();
        let mut next = listener.accept();
        assert_eq!(read(&mut next, 5), first);
        next.write_all(b"\x01").unwrap();
        sender.end();
    }
}
