//! What nobody takes over: the queue of a writer that was shut down, of one that lives, and of one
//! in the reader's own process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::event::{CrashProofError, WriterEvent};
use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

use super::{Gate, Lines, OpensAtEnd, Stopped, Told};
use crate::stage::{PATIENCE, Role, part, stage, wait_until};

#[test]
fn what_a_shutdown_left_is_nobodys() {
    const NAME: &str = "deaths::left_alone::what_a_shutdown_left_is_nobodys";
    if let Some(place) = stage() {
        let delivery = if part() == "once" {
            Delivery::AtMostOnce
        } else {
            Delivery::AtLeastOnce
        };
        let writer = Writer::builder(place.join("s")).crash_proof(true);
        let writer = writer.delivery(delivery).start().unwrap();
        writer.try_send("line 0").unwrap();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        // More than the kernel takes.
        for number in 1..2_000 {
            writer
                .try_send(format!("line {number} {:1000}", ""))
                .unwrap();
        }
        let report = writer.shutdown(Duration::ZERO).unwrap();
        assert!(report.left.messages > 0);
        // What was sent need not be read to be there.
        let sent = report.metrics.sent.messages;
        fs::write(place.join("sent"), sent.to_string()).unwrap();
        return;
    }
    for part in ["once", "again"] {
        let place = tempfile::tempdir().unwrap();
        let (gate, told) = (Arc::new(Gate::default()), Told::default());
        let lines = Lines::default();
        let stopped = Stopped {
            gate: Arc::clone(&gate),
            lines: lines.clone(),
        };
        let reader = told.bind(Reader::builder(place.path().join("s")));
        let reader = reader.start_handler(stopped).unwrap();
        let opens_at_end = OpensAtEnd(gate);
        let role = Role::start_part(NAME, place.path(), part);
        wait_until("the first line has come", || !lines.0.lock().is_empty());
        assert!(role.end().success());
        let sent = fs::read_to_string(place.path().join("sent")).unwrap();
        drop(opens_at_end);
        let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
        assert_eq!(
            metrics.received.messages,
            sent.parse::<u64>().unwrap(),
            "{part}"
        );
        let lines = lines.0.lock();
        for (number, (line, recovered)) in lines.iter().enumerate() {
            assert!(line.starts_with(&format!("line {number}")) && !recovered);
        }
        assert_eq!((told.messages(), metrics.recovered.messages), (vec![], 0));
    }
}

/// The memory that a writer in this process passes, as its descriptor is called.
fn passed_memory() -> Option<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let mut paths = descriptors.map(|entry| entry.unwrap().path());
    paths.find(|path| {
        fs::read_link(path).is_ok_and(|file| file.to_string_lossy().starts_with("/memfd:uds-ipc"))
    })
}

/// Sends a line after each time that the reader has hung up, while something closes its memory
/// again and again: with that ends the lock that says that it lives.
fn live_without_a_lock(place: &Path) {
    let writer = Writer::builder(place.join("s")).crash_proof(true);
    let writer = writer.delivery(Delivery::AtLeastOnce).start().unwrap();
    let (memory, is_over) = (passed_memory().unwrap(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(File::open(&memory).unwrap());
                thread::park_timeout(Duration::from_micros(100));
            }
        });
        for number in 0..60 {
            writer.try_send(format!("line {number}")).unwrap();
            let connects = writer.metrics().connects;
            wait_until("it was hung up on", || writer.metrics().connects > connects);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
}

/// A process that closes any descriptor of its memory has no lock until it takes that again: that
/// alone says nothing.
#[test]
fn a_writer_that_lives_is_left_alone_whatever_its_process_closes() {
    const NAME: &str =
        "deaths::left_alone::a_writer_that_lives_is_left_alone_whatever_its_process_closes";
    if let Some(place) = stage() {
        return live_without_a_lock(&place);
    }
    let place = tempfile::tempdir().unwrap();
    let (lines, told) = (Lines::default(), Told::default());
    let reader = Reader::builder(place.path().join("s"));
    let reader = told.bind(reader.idle_timeout(Duration::from_millis(5)));
    let reader = reader.start_handler(lines.clone()).unwrap();
    let mut role = Role::start(NAME, place.path());
    wait_until("it has ended", || role.has_ended());
    assert!(role.end().success());
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert!(metrics.connections >= 60, "{metrics:#?}");
    let expected: Vec<_> = (0..60)
        .map(|number| (format!("line {number}"), false))
        .collect();
    assert_eq!(*lines.0.lock(), expected);
    assert_eq!((told.messages(), metrics.recovered.messages), (vec![], 0));
}

/// It ends with its reader.
#[test]
fn a_writer_in_the_readers_own_process_passes_nothing_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (lines, told) = (Lines::default(), Told::default());
    let reader = Reader::builder(place.path().join("s"));
    let reader = told.bind(reader.idle_timeout(Duration::from_millis(5)));
    let reader = reader.start_handler(lines.clone()).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let writer = Writer::builder(place.path().join("s"))
        .crash_proof(true)
        .on_event(move |event| {
            if let WriterEvent::NotCrashProof { cause, .. } = event {
                kept.lock().push(cause);
            }
        });
    let writer = writer.start().unwrap();
    for number in 0..20 {
        writer.try_send(format!("line {number}")).unwrap();
        writer.try_send(vec![b' '; 300_000]).unwrap();
        // Not by a flush: a connection may end meanwhile.
        wait_until("both have come", || {
            lines.0.lock().len() == 2 * (number + 1)
        });
        let connects = writer.metrics().connects;
        wait_until("it was hung up on", || writer.metrics().connects > connects);
    }
    let report = writer.shutdown(PATIENCE).unwrap();
    assert_eq!(
        (report.left.messages, report.metrics.sent.messages),
        (0, 40)
    );
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    let (received, repeated) = (metrics.received.messages, metrics.repeated);
    assert_eq!((received, repeated, metrics.recovered.messages), (40, 0, 0));
    assert_eq!(lines.0.lock().len(), 40);
    assert_eq!(*events.lock(), [CrashProofError::OwnProcess], "told once");
    assert_eq!(told.messages(), Vec::<u64>::new());
}
