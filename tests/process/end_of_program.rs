//! What a program that ends leaves behind: its writer lies where nothing drops it.

use std::fs;
use std::panic;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::{Delivery, Reader, Writer};

use crate::stage::{PATIENCE, Role, part, stage, wait_until};

const LINES: usize = 1_000;

/// Starts a role that logs and ends, and a reader only when it has logged all: what has come when
/// the role has ended.
fn logged(test: &str, part: &str) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let mut role = Role::start_part(&format!("end_of_program::{test}"), place.path(), part);
    wait_until("it has logged", || place.path().join("logged").exists());
    if part == "nothing" {
        wait_until("it has ended", || role.has_ended());
    }
    let came = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&came);
    let bound = Reader::builder(place.path().join("s")).bind().unwrap();
    let reader =
        bound.start(move |line| kept.lock().push(String::from_utf8_lossy(line).into_owned()));
    wait_until("it has ended", || role.has_ended());
    let _ = reader.unwrap().shutdown(PATIENCE).unwrap();
    Arc::try_unwrap(came).unwrap().into_inner()
}

/// A writer of which a clone is never dropped.
fn log(place: &Path, delivery: Delivery) -> Writer {
    let builder = Writer::builder(place.join("s")).delivery(delivery);
    let writer = builder.start().unwrap();
    let lines = writer.clone();
    let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false);
    let subscriber = subscriber.with_writer(move || lines.lines()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for number in 0..LINES {
        tracing::info!(number);
    }
    writer
}

fn note_logged(place: &Path) {
    fs::write(place.join("logged"), "").unwrap();
}

#[test]
fn a_guard_sends_what_a_global_subscriber_would_keep() {
    let Some(place) = stage() else {
        let test = "a_guard_sends_what_a_global_subscriber_would_keep";
        assert_eq!(logged(test, "guard").len(), LINES);
        assert_eq!(
            logged(test, "nothing").len(),
            0,
            "all of it is lost without"
        );
        return;
    };
    let writer = log(&place, Delivery::AtMostOnce);
    let _guard = (part() == "guard").then(|| writer.shutdown_guard(PATIENCE));
    drop(writer);
    note_logged(&place);
}

#[test]
fn the_last_words_of_a_program_that_panics_arrive() {
    let test = "the_last_words_of_a_program_that_panics_arrive";
    let Some(place) = stage() else {
        for delivery in ["at most once", "at least once"] {
            let lines = logged(test, delivery);
            // A panic is shown in two lines.
            assert_eq!(lines.len(), LINES + 2);
            assert!(lines[LINES + 1].contains("the last words"), "{lines:?}");
        }
        return;
    };
    let delivery = if part() == "at least once" {
        Delivery::AtLeastOnce
    } else {
        Delivery::AtMostOnce
    };
    let writer = log(&place, delivery);
    let to_mark = place.clone();
    panic::set_hook(Box::new(move |info| {
        tracing::error!("{info}");
        note_logged(&to_mark);
    }));
    writer.flush_on_panic(PATIENCE);
    // As with `panic = "abort"`: nothing is dropped.
    let _ = thread::spawn(|| panic!("the last words")).join();
    process::abort();
}

/// A panic must not wait for a writer that is gone, nor for one on whose own thread it is.
#[test]
fn a_panic_waits_for_nobody_who_cannot_help() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "end_of_program::a_panic_waits_for_nobody_who_cannot_help";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let gone = Writer::start(place.join("gone")).unwrap();
    gone.try_send("never written").unwrap();
    gone.flush_on_panic(Duration::MAX);
    let _ = gone.shutdown(Duration::ZERO).unwrap();
    drop(gone);
    let builder = Writer::builder(place.join("s"));
    let writer = builder
        .on_event(|_| panic!("in an observer"))
        .start()
        .unwrap();
    writer.flush_on_panic(Duration::MAX);
    wait_until("it has panicked", || writer.metrics().observer_panics > 0);
    let _ = thread::spawn(|| panic!("nothing is queued")).join();
    let _ = writer.shutdown(Duration::ZERO).unwrap();
}
