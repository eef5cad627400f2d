//! What the tests share: a socket path each, raw peers, a collecting reader, recorded events, and
//! patience.

pub(crate) mod acts;

use std::env;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use crate::patience::{PATIENCE, wait_until};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use uds_ipc::{
    Delivery, Handler, Peer, Reader, ReaderBuilder, ReaderEvent, Tally, Writer, WriterBuilder,
    WriterEvent, WriterMetrics,
};

/// A timeout that a test means to see the end of.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// A folder of its own for each test, gone with it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("uds")
                .tempdir()
                .expect("a temporary folder"),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("s")
    }

    /// What lies in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = self.0.path().read_dir().expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Runs `act` on a thread of its own, and fails if that does not return in time.
#[track_caller]
pub(crate) fn returns<T: Send + 'static>(
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::spawn(act);
    wait_until(&format!("{what} returns"), || thread.is_finished());
    thread.join().expect("no panic")
}

/// A number as it stands on the wire.
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A message as it stands on the wire.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = varint(message.len());
    frame.extend_from_slice(message);
    frame
}

/// The messages in a stream of frames, and the half frame at its end.
pub(crate) fn unframe(mut stream: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut messages = Vec::new();
    loop {
        let mut len = 0;
        let Some(last) = stream.iter().position(|byte| byte & 0x80 == 0) else {
            break;
        };
        for (at, byte) in stream[..=last].iter().enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * at);
        }
        if stream.len() < last + 1 + len {
            break;
        }
        messages.push(stream[last + 1..last + 1 + len].to_vec());
        stream = &stream[last + 1 + len..];
    }
    (messages, stream.to_vec())
}

/// A reader as plain as can be, that does what a test tells it to.
pub(crate) struct RawReader {
    listener: UnixListener,
}

impl RawReader {
    pub(crate) fn bind(path: &Path) -> Self {
        Self {
            listener: UnixListener::bind(path).expect("a listener"),
        }
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> UnixStream {
        self.listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        wait_until("somebody connects", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Likewise, and takes the frames apart that come on it.
    pub(crate) fn meet(&self) -> RawPeer {
        RawPeer {
            stream: self.accept(),
            rest: Vec::new(),
            messages: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// Hangs up on whoever waits, without a look.
    pub(crate) fn turn_away(&self) {
        self.listener.set_nonblocking(true).unwrap();
        drop(self.listener.accept());
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_err()
    }
}

/// The reader's end of one connection: takes its frames apart, and answers questions only with what
/// a test tells it to.
pub(crate) struct RawPeer {
    pub(crate) stream: UnixStream,
    /// The beginning of a frame.
    rest: Vec<u8>,
    pub(crate) messages: Vec<Vec<u8>>,
    /// How many messages stood before each empty frame.
    pub(crate) questions: Vec<usize>,
}

impl RawPeer {
    /// Takes what is there, or waits for it; false at the end of the stream.
    fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let len = match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return false,
            read => read.expect("bytes, or an end"),
        };
        self.rest.extend_from_slice(&buffer[..len]);
        let (frames, rest) = unframe(&self.rest);
        self.rest = rest;
        for frame in frames {
            if frame.is_empty() {
                self.questions.push(self.messages.len());
            } else {
                self.messages.push(frame);
            }
        }
        true
    }

    #[track_caller]
    fn read_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let count = self.messages.len();
            assert!(
                self.read(),
                "the stream ended after {count} messages, not when {what}"
            );
        }
    }

    /// Reads until there are `count` messages.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, count: usize) {
        self.read_until(&format!("there were {count}"), |peer| {
            peer.messages.len() >= count
        });
    }

    /// Reads until a question stands behind `count` messages.
    #[track_caller]
    pub(crate) fn wait_for_question(&mut self, count: usize) {
        self.read_until(&format!("asked after {count}"), |peer| {
            peer.questions.last().is_some_and(|before| *before >= count)
        });
    }

    /// Reads until `count` questions were asked.
    #[track_caller]
    pub(crate) fn wait_for_questions(&mut self, count: usize) {
        self.read_until(&format!("asked {count} times"), |peer| {
            peer.questions.len() >= count
        });
    }

    /// Reads the first bytes of a message.
    #[track_caller]
    pub(crate) fn wait_for_a_beginning(&mut self) {
        self.read_until("a message began", |peer| {
            !(peer.rest.is_empty() && peer.messages.is_empty())
        });
    }

    /// Reads until it has more of a message than the prefix of a long one.
    #[track_caller]
    pub(crate) fn wait_for_a_piece(&mut self) {
        self.read_until("a piece of a message was there", |peer| {
            peer.rest.len() > 10
        });
    }

    /// Reads until it has a part of a message.
    #[track_caller]
    pub(crate) fn wait_for_a_part(&mut self) {
        self.read_until("half a message was there", |peer| !peer.rest.is_empty());
    }

    pub(crate) fn read_to_end(&mut self) {
        while self.read() {}
    }

    /// Gives a receipt for the first `count` messages.
    #[track_caller]
    pub(crate) fn answer(&mut self, count: usize) {
        self.say(&varint(count));
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the writer is there");
    }
}

/// Reads whole messages from a raw connection until there are `count`.
pub(crate) fn read_messages(stream: &mut UnixStream, count: usize) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (messages, _) = unframe(&bytes);
        if messages.len() >= count {
            return messages;
        }
        let len = stream.read(&mut buffer).expect("more bytes");
        assert!(
            len > 0,
            "the stream ended after {} of {count} messages",
            messages.len()
        );
        bytes.extend_from_slice(&buffer[..len]);
    }
}

/// Everything up to the end of a raw connection.
pub(crate) fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset says that the other side left something unread, and ends the stream as well.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Connects to a reader of ours, as plain as can be.
pub(crate) fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, and ends the stream.
pub(crate) fn send_and_close(path: &Path, bytes: &[u8]) {
    connect(path).write_all(bytes).expect("the reader takes it");
}

/// Whether the other side has ended the connection. Waits for it.
#[track_caller]
pub(crate) fn is_closed(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(len) => len == 0,
        // Such as a reset; but not that nothing has come.
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// The next receipt.
#[track_caller]
pub(crate) fn receipt(stream: &mut impl Read) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a receipt");
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    number
}

/// What handlers and observers note down.
#[derive(Clone)]
pub(crate) struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone + Send + 'static> Notes<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn add(&self, note: T) {
        self.0.lock().push(note);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().clone()
    }

    pub(crate) fn count(&self, is_meant: impl Fn(&T) -> bool) -> usize {
        self.0.lock().iter().filter(|note| is_meant(note)).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    #[track_caller]
    pub(crate) fn wait_for_len(&self, len: usize) {
        wait_until(&format!("there are {len} notes"), || self.len() >= len);
    }
}

impl Notes<String> {
    /// An observer for a writer or reader, that notes each event as its debug text.
    pub(crate) fn observer<E: Debug>(&self) -> impl Fn(&E) + Send + Sync + 'static {
        let notes = self.clone();
        move |event| notes.add(format!("{event:?}"))
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.count(|note| note.contains(text)) > 0
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.has(text) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain for {text:?} in {:#?}",
                self.all()
            );
            thread::park_timeout(Duration::from_micros(200));
        }
    }
}

/// A reader that keeps its messages and events.
pub(crate) struct Collector {
    pub(crate) reader: Reader,
    pub(crate) messages: Notes<Vec<u8>>,
    pub(crate) events: Notes<String>,
}

impl Collector {
    pub(crate) fn start(path: &Path) -> Self {
        Self::start_with(path, |builder| builder)
    }

    pub(crate) fn start_with(
        path: &Path,
        set: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
    ) -> Self {
        let (messages, events) = (Notes::new(), Notes::new());
        let builder = Reader::builder(path).on_event(events.observer::<ReaderEvent>());
        let notes = messages.clone();
        let bound = set(builder).bind().expect("a socket");
        let reader = bound
            .start(move |message| {
                notes.add(message.to_vec());
                Ok::<(), io::Error>(())
            })
            .expect("a reader");
        Self {
            reader,
            messages,
            events,
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        self.messages.wait_for_len(count);
        self.messages.all()
    }

    /// Stops as planned, and returns what came in all.
    #[track_caller]
    pub(crate) fn stop(self) -> Vec<Vec<u8>> {
        let report = self.reader.shutdown(PATIENCE).expect("not in a callback");
        assert_eq!(report.cut, 0, "every connection was read to its end");
        assert_eq!(report.metrics.open, 0);
        assert_eq!(
            usize::try_from(report.metrics.received.messages).unwrap(),
            self.messages.len()
        );
        self.messages.all()
    }
}

/// A writer that notes its events.
pub(crate) fn writer(path: &Path) -> (Writer, Notes<String>) {
    writer_with(path, |builder| builder)
}

pub(crate) fn writer_with(
    path: &Path,
    set: impl FnOnce(WriterBuilder) -> WriterBuilder,
) -> (Writer, Notes<String>) {
    let events = Notes::new();
    let builder = Writer::builder(path).on_event(events.observer::<WriterEvent>());
    (set(builder).start().expect("a writer"), events)
}

/// Sends messages, and waits for room where there is none.
#[track_caller]
pub(crate) fn send_all(writer: &Writer, messages: &[Vec<u8>]) {
    for message in messages {
        writer.send_timeout(message, PATIENCE).unwrap();
    }
}

/// The equation that must hold at rest: every message that was accepted has ended one way, or
/// waits.
#[track_caller]
pub(crate) fn assert_balanced(writer: &Writer) {
    assert_sum(&writer.metrics(), |metrics| metrics.sent);
}

/// Likewise with delivery at least once, where only a receipt ends a message well.
#[track_caller]
pub(crate) fn assert_balanced_by_receipts(writer: &Writer) {
    assert_sum(&writer.metrics(), |metrics| metrics.confirmed);
}

#[track_caller]
fn assert_sum(metrics: &WriterMetrics, ended_well: impl Fn(&WriterMetrics) -> Tally) {
    let ended = ended_well(metrics) + metrics.dropped.oldest + metrics.failed.total();
    assert_eq!(metrics.accepted, ended + metrics.queued, "{metrics:#?}");
}

/// Shuts a writer down and checks that everything went out.
#[track_caller]
pub(crate) fn finish(writer: &Writer) {
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.left.messages, 0, "{:#?}", report.metrics);
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced(writer);
}

/// Likewise, and that receipts cover it.
#[track_caller]
pub(crate) fn finish_with_receipts(writer: &Writer) {
    let report = writer.shutdown(PATIENCE).expect("not in a callback");
    assert_eq!(report.left.messages, 0, "{:#?}", report.metrics);
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced_by_receipts(writer);
}

/// Likewise, as the delivery has it.
#[track_caller]
pub(crate) fn finish_either(writer: &Writer, delivery: Delivery) {
    match delivery {
        Delivery::AtLeastOnce => finish_with_receipts(writer),
        Delivery::AtMostOnce | _ => finish(writer),
    }
}

/// The thread that a writer's observer runs on, to see whether it rests. Only Linux tells.
#[derive(Clone)]
pub(crate) struct WatchedThread(Notes<PathBuf>);

impl WatchedThread {
    pub(crate) fn new() -> Self {
        Self(Notes::new())
    }

    /// To be called on the thread.
    pub(crate) fn note(&self) {
        let _ = fs::read_link("/proc/thread-self").map(|thread| self.0.add(thread));
    }

    /// Waits until the thread does not run at all for a while.
    #[track_caller]
    pub(crate) fn wait_for_rest(&self) {
        let Some(thread) = self.0.all().pop() else {
            return skip("no /proc/thread-self");
        };
        let file = Path::new("/proc").join(thread).join("schedstat");
        let has_run = || fs::read_to_string(&file).ok();
        if has_run().is_none() {
            return skip("no schedstat");
        }
        wait_until("the thread rests", || {
            let before = has_run();
            let_pass(SHORT);
            has_run() == before
        });
    }
}

/// Numbered messages, to see gaps, repeats and order.
pub(crate) fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("message {number}").into_bytes())
        .collect()
}

/// Holds up those who come to it, until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    /// Waits until it is open. Not for ever, so that a failure ends.
    pub(crate) fn pass(&self) {
        let (is_open, opened) = &*self.0;
        let mut is_open = is_open.lock();
        opened.wait_while_for(&mut is_open, |is_open| !*is_open, 2 * PATIENCE);
    }

    pub(crate) fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock() = true;
        opened.notify_all();
    }
}

/// What a handler was called with: the connection's number, and the message, `<opened>`, `<batch
/// end>` or `<closed>`.
pub(crate) type Call = (u64, String);

/// A handler that notes its calls and does what a message begins with: `block` (at the gate),
/// `fail` or `panic`.
pub(crate) struct Script {
    pub(crate) calls: Notes<Call>,
    pub(crate) gate: Gate,
}

impl Handler for Script {
    type Error = String;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), String> {
        let text = String::from_utf8_lossy(message).into_owned();
        self.calls.add((peer.connection, text.clone()));
        if text.starts_with("block") {
            self.gate.pass();
        }
        assert!(!text.starts_with("panic"), "the handler says {text}");
        if text.starts_with("fail") {
            Err(format!("the handler says {text}"))
        } else {
            Ok(())
        }
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), String> {
        self.calls.add((peer.connection, "<batch end>".into()));
        Ok(())
    }

    fn opened(&self, peer: &Peer) {
        self.calls.add((peer.connection, "<opened>".into()));
    }

    fn closed(&self, peer: &Peer) {
        self.calls.add((peer.connection, "<closed>".into()));
    }
}

/// A reader with a [`Script`].
pub(crate) struct Scripted {
    pub(crate) reader: Reader,
    pub(crate) calls: Notes<Call>,
    pub(crate) gate: Gate,
    pub(crate) events: Notes<String>,
}

impl Scripted {
    pub(crate) fn start(path: &Path) -> Self {
        Self::start_with(path, |builder| builder)
    }

    pub(crate) fn start_with(
        path: &Path,
        set: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
    ) -> Self {
        let (calls, gate, events) = (Notes::new(), Gate::new(), Notes::new());
        let builder = set(Reader::builder(path).on_event(events.observer::<ReaderEvent>()));
        let handler = Script {
            calls: calls.clone(),
            gate: gate.clone(),
        };
        let reader = builder
            .bind()
            .expect("a socket")
            .start_handler(handler)
            .expect("a reader");
        Self {
            reader,
            calls,
            gate,
            events,
        }
    }

    /// How often the handler was called with that message, on any connection.
    pub(crate) fn count(&self, message: &str) -> usize {
        self.calls.count(|(_, call)| call == message)
    }

    /// Waits until the handler has been called with that message `count` times.
    #[track_caller]
    pub(crate) fn wait_for(&self, message: &str, count: usize) {
        wait_until(&format!("{message:?} has come {count} times"), || {
            self.count(message) >= count
        });
    }

    /// What came on one connection, in order.
    pub(crate) fn calls_of(&self, connection: u64) -> Vec<String> {
        let calls = self.calls.all().into_iter();
        calls
            .filter(|(number, _)| *number == connection)
            .map(|(_, call)| call)
            .collect()
    }
}

/// Says why a test is not run here.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A process that ends with the test: its standard input is closed then, and it is killed.
pub(crate) struct Child {
    process: process::Child,
    pub(crate) lines: Notes<String>,
}

/// Tells a process that was started by [`Child::test`] where its socket is to be.
const CHILD_PATH: &str = "UDS_IPC_TEST_PATH";

impl Child {
    /// Starts a process, and notes the lines that it prints.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = Notes::new();
        let (notes, output) = (lines.clone(), process.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| notes.add(line));
        });
        Ok(Self { process, lines })
    }

    /// How to run the test `name` again, in a process of its own, where [`Child::path`] is `path`.
    /// `setup` is done first, by a shell.
    pub(crate) fn test(name: &str, path: &Path, setup: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{setup}\nexec \"$0\" \"$@\""));
        command.arg(env::current_exe().expect("a path"));
        command
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD_PATH, path);
        command
    }

    /// In a process that was started by [`Child::test`]: where its socket is to be.
    pub(crate) fn path() -> Option<PathBuf> {
        env::var_os(CHILD_PATH).map(PathBuf::from)
    }

    /// In such a process: tells the test that started it.
    pub(crate) fn say(line: &str) {
        // After the test's name, which stands there without an end of line.
        writeln!(io::stdout(), "\n{line}").expect("somebody listens");
    }

    /// In such a process: waits until the test that started it has ended or calls
    /// [`Child::finish`].
    pub(crate) fn wait_for_end() {
        let _ = io::stdin().read_to_end(&mut Vec::new());
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it as hard as can be.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("a process");
    }

    /// Writes a line to its standard input.
    pub(crate) fn go_on(&mut self) {
        self.process
            .stdin
            .as_mut()
            .expect("it is piped")
            .write_all(b"go on\n")
            .expect("it listens");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a process").is_some()
    }

    /// Closes its standard input, and waits for its good end.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        drop(self.process.stdin.take());
        let mut status = None;
        wait_until("the process ends", || {
            status = self.process.try_wait().expect("a process");
            status.is_some()
        });
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?} after {:#?}",
            self.lines.all()
        );
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A figure of a process in KiB, as Linux tells it.
pub(crate) fn memory(process: u32, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(figure))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a Python program, for what the standard library of Rust has no call for. `None`, said
/// aloud, where there is no Python.
pub(crate) fn python(program: &str, args: &[&OsStr]) -> Option<Child> {
    let child = Child::start(Command::new("python3").arg("-c").arg(program).args(args));
    child
        .inspect_err(|error| skip(&format!("no python3: {error}")))
        .ok()
}

/// That a process hardly runs for a while, though others may keep this one waiting.
#[track_caller]
pub(crate) fn assert_rests(process: u32) {
    let (start, before) = (Instant::now(), cpu_time(process));
    let_pass(Duration::from_millis(500));
    let used = cpu_time(process)
        .zip(before)
        .map(|(now, before)| now.saturating_sub(before));
    let time = start.elapsed();
    assert!(
        used.is_none_or(|used| used <= time / 4),
        "it was at work for {used:?} of {time:?}"
    );
}

/// The time for which a process has been at work so far, in hundredths of a second. Only Linux
/// tells.
fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the program's name, which may have anything in it: for itself, and in the kernel.
    let fields = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    Some(10 * Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()))
}

/// Sends one message of one byte, and says what became of it.
const ONE_MESSAGE: &str = "
import socket, sys
print('up', flush=True)
peer = socket.socket(socket.AF_UNIX)
address = sys.argv[1]
try:
    peer.connect('\\0' + address[1:] if address[0] == '@' else address)
    peer.send(b'\\x01a')
    print('sent', flush=True)
except PermissionError:
    print('kept out', flush=True)
except ConnectionError:
    print('hung up on', flush=True)
sys.stdin.read()
";

/// A process of another user, uid 4242 and gid 4343, that sends one message to `address`, where
/// that can be.
pub(crate) fn stranger(place: &Place, address: &OsStr) -> Option<Child> {
    // A folder that we make has our effective user.
    if fs::metadata(place.path(".")).unwrap().uid() != 0 {
        skip("only root can be somebody else");
        return None;
    }
    fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("python3");
    command
        .arg("-c")
        .arg(ONE_MESSAGE)
        .arg(address)
        .uid(4_242)
        .gid(4_343);
    let child = Child::start(command.stderr(Stdio::null()));
    let is_up = |child: &mut Child| {
        wait_until("Python is up", || {
            child.lines.has("up") || child.has_ended()
        });
        child.lines.has("up")
    };
    let child = child
        .ok()
        .and_then(|mut child| is_up(&mut child).then_some(child));
    if child.is_none() {
        skip("no python3 for another user");
    }
    child
}

/// Runs a process of another user to its end. `None`, said aloud, where that cannot be.
pub(crate) fn ended_as(user: u32, command: &mut Command) -> Option<Child> {
    let child = Child::start(command.uid(user).gid(user));
    let cannot = "this program cannot be run by another user";
    let mut child = child
        .inspect_err(|error| skip(&format!("{cannot}: {error}")))
        .ok()?;
    wait_until("it ends", || child.has_ended());
    if child.lines.len() == 0 {
        skip(cannot);
        return None;
    }
    Some(child)
}

/// Lets `time` go by, as a silent connection of some other reader sees it.
#[track_caller]
pub(crate) fn let_pass(time: Duration) {
    let place = Place::new();
    let clock = Collector::start_with(&place.socket(), |builder| builder.idle_timeout(time));
    let silent = connect(&place.socket());
    clock.events.wait_for("cause: Idle");
    drop(silent);
}

/// Says that something is over, also where a failure is what ends it: others wait for that.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
