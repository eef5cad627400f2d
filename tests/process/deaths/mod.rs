//! What a writer that dies had accepted, arrives: SIGKILL, aborts, ends without a shutdown.

mod at_random;
mod drop_oldest;
mod left_alone;
mod repeats;
mod successors;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};
use uds_ipc::event::ReaderEvent;
use uds_ipc::metrics::Tally;
use uds_ipc::{BoundReader, FlushLevel, Handler, Peer, Reader, ReaderBuilder, Writer};

use crate::stage::{PATIENCE, Role, stage, wait_until};

/// What came, and whether it was recovered.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(String, bool)>>>);

impl Handler for Lines {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let line = String::from_utf8(message.to_vec()).unwrap();
        self.0.lock().push((line, peer.recovered));
        Ok(())
    }
}

/// Ten lines of which all but the first were recovered.
fn ten_lines() -> Vec<(String, bool)> {
    let lines = 0..10;
    let lines = lines.map(|number| (format!("line {number}"), number > 0));
    lines.collect()
}

/// In a role: a writer in whose memory nine lines are left, of which nothing is sent. Its reader
/// has the memory, by the line before.
fn leave_nine_lines(place: &Path) -> Writer {
    let writer = Writer::builder(place.join("s")).crash_proof(true);
    let writer = writer.linger(Duration::from_secs(60)).start().unwrap();
    writer.send_timeout("line 0", PATIENCE).unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    for number in 1..10 {
        writer.try_send(format!("line {number}")).unwrap();
    }
    writer
}

/// In a role: the end without a word.
fn kill_this_process() {
    kill(Pid::this(), Signal::SIGKILL).unwrap();
}

/// What a reader told of what it has recovered.
#[derive(Clone, Default, Debug)]
struct Told(Arc<Mutex<Vec<(Tally, bool)>>>);

impl Told {
    /// Binds the reader, and notes what it tells.
    fn bind(&self, reader: ReaderBuilder) -> BoundReader {
        let told = self.clone();
        let reader = reader.on_event(move |event| {
            if let ReaderEvent::Recovered {
                messages, is_whole, ..
            } = event
            {
                told.0.lock().push((messages, is_whole));
            }
        });
        reader.bind().unwrap()
    }

    /// How many messages, each time; all of what was there.
    #[track_caller]
    fn messages(&self) -> Vec<u64> {
        let told = self.0.lock();
        let messages = told.iter().map(|(messages, is_whole)| {
            assert!(is_whole, "there was more: {told:?}");
            messages.messages
        });
        messages.collect()
    }
}

/// Holds up whoever passes it, until it is opened, or dropped by the test.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opens: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut is_open = self.is_open.lock();
        let hold = |is_open: &mut bool| !*is_open;
        let _ = self.opens.wait_while_for(&mut is_open, hold, PATIENCE);
    }

    fn open(&self) {
        *self.is_open.lock() = true;
        self.opens.notify_all();
    }
}

/// A test that fails opens the gate too: the reader's end waits for its handler.
struct OpensAtEnd(Arc<Gate>);

impl Drop for OpensAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Notes lines, and is held up by the first.
struct Stopped {
    gate: Arc<Gate>,
    lines: Lines,
}

impl Handler for Stopped {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let noted = self.lines.message(message, peer);
        self.gate.pass();
        noted
    }
}

/// A program that logs ten lines, and kills itself.
#[test]
fn ten_lines_before_a_sigkill_arrive() {
    const NAME: &str = "deaths::ten_lines_before_a_sigkill_arrive";
    if let Some(place) = stage() {
        let _writer = leave_nine_lines(&place);
        kill_this_process();
    }
    let place = tempfile::tempdir().unwrap();
    let (lines, told) = (Lines::default(), Told::default());
    let reader = told.bind(Reader::builder(place.path().join("s")));
    let reader = reader.start_handler(lines.clone()).unwrap();
    let role = Role::start(NAME, place.path());
    let _ = role.end();
    wait_until("all lines have come", || lines.0.lock().len() == 10);
    assert_eq!(*lines.0.lock(), ten_lines());
    wait_until("it is told", || told.messages() == [9]);
    assert_eq!(reader.metrics().recovered.messages, 9);
    let _ = reader.shutdown(PATIENCE).unwrap();
}

/// A program that only returns from `main`: its writer is dropped, which waits for a second.
#[test]
fn what_is_left_when_the_last_handle_is_dropped_arrives() {
    const NAME: &str = "deaths::what_is_left_when_the_last_handle_is_dropped_arrives";
    const COUNT: usize = 5_000;
    if let Some(place) = stage() {
        let writer = Writer::builder(place.join("s")).crash_proof(true);
        // On another connection it would be handled beside the first.
        let writer = writer.write_timeout(PATIENCE).start().unwrap();
        for number in 0..COUNT {
            writer.try_send(format!("{number:01000}")).unwrap();
        }
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let _opens = OpensAtEnd(Arc::clone(&gate));
    let told = Told::default();
    let reader = told.bind(Reader::builder(place.path().join("s")));
    let came = Arc::new(Mutex::new(Vec::new()));
    let (noted, passed) = (Arc::clone(&came), Arc::clone(&gate));
    let handler = move |message: &[u8]| {
        passed.pass();
        noted
            .lock()
            .push(String::from_utf8(message.to_vec()).unwrap());
    };
    let reader = reader.start(handler).unwrap();
    let role = Role::start(NAME, place.path());
    assert!(role.end().success());
    gate.open();
    wait_until("all have come", || came.lock().len() >= COUNT);
    let expected: Vec<_> = (0..COUNT).map(|number| format!("{number:01000}")).collect();
    assert!(*came.lock() == expected, "once, and in order");
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(told.messages().len(), 1);
}

/// Fails on one of what was recovered.
#[derive(Clone, Default)]
struct FailsOnOne(Lines, Arc<Mutex<Vec<Peer>>>);

impl Handler for FailsOnOne {
    type Error = &'static str;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let _ = self.0.message(message, peer);
        if peer.recovered && message == b"line 5" {
            return Err("on purpose");
        }
        Ok(())
    }

    fn opened(&self, peer: &Peer) {
        self.1.lock().push(*peer);
    }
}

#[test]
fn what_is_recovered_has_the_dead_ones_credentials_and_an_error_costs_one_message() {
    const NAME: &str =
        "deaths::what_is_recovered_has_the_dead_ones_credentials_and_an_error_costs_one_message";
    if let Some(place) = stage() {
        let _writer = leave_nine_lines(&place);
        kill_this_process();
    }
    let place = tempfile::tempdir().unwrap();
    let handler = FailsOnOne::default();
    let bound = Reader::builder(place.path().join("s")).bind().unwrap();
    let reader = bound.start_handler(handler.clone()).unwrap();
    let _ = Role::start(NAME, place.path()).end();
    wait_until("all have come", || handler.0.0.lock().len() == 10);
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(*handler.0.0.lock(), ten_lines(), "each once");
    assert_eq!((metrics.handler_errors, metrics.recovered.messages), (1, 9));
    let peers = handler.1.lock();
    let [first, second] = &peers[..] else {
        panic!("{peers:?}")
    };
    assert_eq!([first.recovered, second.recovered], [false, true]);
    assert_eq!(first.identity, second.identity);
    assert_ne!(first.connection, second.connection);
}
