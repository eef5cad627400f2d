//! Either end is killed in the midst of what it does. At least once: nothing is lost. At most once:
//! nothing comes twice. Always: in order, and never half a message.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uds_ipc::{Delivery, FlushLevel, Reader, Writer};

use super::programs::{Language, Receiver, Sender, line, number_of_line, stored_in};
use crate::collector::{assert_good, collect_each_with, keep_with, kept_by, received_by, repeats};
use crate::delivery::eager;
use crate::load::Load;
use crate::stage::{PATIENCE, Role, moments, part, stage, wait_for_cue, wait_until};

/// How often an end is killed. One more lives to the end.
const KILLS: usize = 6;

/// Fails unless the numbers that each process received are one run, which may begin anywhere.
#[track_caller]
fn assert_are_runs(received: &[Vec<u64>]) {
    for numbers in received {
        let follows = |pair: &[u64]| pair[0] + 1 == pair[1];
        assert!(numbers.windows(2).all(follows), "a gap, or out of order");
    }
}

/// A role: a reader of the crate that stores each message before it confirms it.
fn collect(place: &Path) {
    let reader = keep_with(
        place,
        part().parse().unwrap(),
        Duration::MAX,
        number_of_line,
    );
    wait_for_cue();
    assert_good(&reader.shutdown(PATIENCE).unwrap());
}

/// A client sends, while readers of the crate are killed. Returns what each of them got, and how
/// many lines there were.
fn send_to_readers(
    name: &str,
    language: Language,
    is_at_least_once: bool,
) -> Option<(Vec<Vec<u64>>, u64)> {
    let place = tempfile::tempdir().unwrap();
    let client = language.client("send", place.path())?;
    let sender = Sender::start(&client, &place.path().join("s"), is_at_least_once).feed(0);
    let mut moments = moments();
    for process in 0..KILLS {
        let reader = Role::start_part(name, place.path(), &process.to_string());
        let enough = moments.usize(1..2000);
        wait_until("the reader has kept some", || {
            kept_by(place.path(), process) >= enough
        });
        reader.kill();
    }
    let last = Role::start_part(name, place.path(), &KILLS.to_string());
    wait_until("the last reader has kept some", || {
        kept_by(place.path(), KILLS) > 0
    });
    let count = sender.end();
    assert!(last.end().success());
    Some((received_by(place.path(), KILLS + 1), count))
}

fn send_at_least_once(name: &str, language: Language) {
    if let Some(place) = stage() {
        return collect(&place);
    }
    if let Some((received, count)) = send_to_readers(name, language, true) {
        repeats(received.concat(), 0..count);
    }
}

fn send_at_most_once(name: &str, language: Language) {
    if let Some(place) = stage() {
        return collect_each_with(&place, number_of_line);
    }
    if let Some((received, count)) = send_to_readers(name, language, false) {
        assert_are_runs(&received);
        let all = received.concat();
        assert!(all.is_sorted_by(|one, next| one < next), "nothing twice");
        assert_eq!(all.last(), Some(&(count - 1)));
    }
}

#[test]
fn python_sends_at_least_once_to_readers_that_are_killed() {
    const NAME: &str = "clients::deaths::python_sends_at_least_once_to_readers_that_are_killed";
    send_at_least_once(NAME, Language::Python);
}

#[test]
fn c_sends_at_least_once_to_readers_that_are_killed() {
    const NAME: &str = "clients::deaths::c_sends_at_least_once_to_readers_that_are_killed";
    send_at_least_once(NAME, Language::C);
}

#[test]
fn python_sends_at_most_once_to_readers_that_are_killed() {
    const NAME: &str = "clients::deaths::python_sends_at_most_once_to_readers_that_are_killed";
    send_at_most_once(NAME, Language::Python);
}

#[test]
fn c_sends_at_most_once_to_readers_that_are_killed() {
    const NAME: &str = "clients::deaths::c_sends_at_most_once_to_readers_that_are_killed";
    send_at_most_once(NAME, Language::C);
}

/// Clients are killed while they send to a reader of the crate, which lives.
fn killed_senders(language: Language, is_at_least_once: bool) {
    let place = tempfile::tempdir().unwrap();
    let Some(client) = language.client("send", place.path()) else {
        return;
    };
    let path = place.path().join("s");
    let received = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&received);
    let reader = Reader::builder(&path)
        .bind()
        .unwrap()
        .start(move |message: &[u8]| {
            store.lock().unwrap().push(number_of_line(message));
        });
    let reader = reader.unwrap();
    let mut moments = moments();
    let mut first = 0;
    for _ in 0..KILLS {
        let before = received.lock().unwrap().len();
        let sender = Sender::start(&client, &path, is_at_least_once).feed(first);
        let enough = before + moments.usize(1..2000);
        wait_until("some have come", || {
            received.lock().unwrap().len() >= enough
        });
        let next = sender.kill();
        wait_until("its connection is over", || reader.metrics().open == 0);
        let numbers = received.lock().unwrap()[before..].to_vec();
        let wanted: Vec<_> = (first..).map(Some).take(numbers.len()).collect();
        assert!(numbers == wanted, "what came is not what was sent first");
        // What was handed over and did not come is lost with its sender.
        first = next + 1;
    }
    assert_good(&reader.shutdown(PATIENCE).unwrap());
}

#[test]
fn clients_that_are_killed_have_sent_a_run_of_messages_to_the_reader() {
    for language in [Language::Python, Language::C] {
        for is_at_least_once in [false, true] {
            killed_senders(language, is_at_least_once);
        }
    }
}

/// A writer of the crate sends, while clients that receive are killed. Returns what each of them
/// stored, and how many lines there were.
fn send_to_receivers(language: Language, delivery: Delivery) -> Option<(Vec<Vec<u64>>, u64)> {
    let place = tempfile::tempdir().unwrap();
    let client = language.client("receive", place.path())?;
    let path = place.path().join("s");
    let writer = eager(&path).delivery(delivery).start().unwrap();
    let writer = Arc::new(writer);
    let load = Load::start_with(&writer, line);
    let mut moments = moments();
    let start = |process: usize| {
        let output = place.path().join(format!("stored by {process}"));
        Receiver::start(&client, &path, &output)
    };
    for process in 0..KILLS {
        let receiver = start(process);
        let enough = moments.u64(1..200_000);
        wait_until("it has stored some", || receiver.stored_len() >= enough);
        receiver.kill();
    }
    let last = start(KILLS);
    wait_until("the last has stored some", || last.stored_len() > 0);
    let count = load.stop();
    let level = if delivery == Delivery::AtLeastOnce {
        FlushLevel::Handled
    } else {
        FlushLevel::Written
    };
    writer.flush(level, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    last.stop();
    let outputs = (0..=KILLS).map(|process| place.path().join(format!("stored by {process}")));
    Some((outputs.map(|output| numbers_in(&output)).collect(), count))
}

#[track_caller]
fn numbers_in(output: &Path) -> Vec<u64> {
    let lines = stored_in(output);
    let numbers = lines.iter().map(|line| number_of_line(line));
    numbers
        .map(|number| number.expect("a whole line"))
        .collect()
}

fn receive_at_least_once(language: Language) {
    if let Some((stored, count)) = send_to_receivers(language, Delivery::AtLeastOnce) {
        assert_are_runs(&stored);
        repeats(stored.concat(), 0..count);
    }
}

fn receive_at_most_once(language: Language) {
    if let Some((stored, count)) = send_to_receivers(language, Delivery::AtMostOnce) {
        assert_are_runs(&stored);
        let all = stored.concat();
        assert!(all.is_sorted_by(|one, next| one < next), "nothing twice");
        assert_eq!(all.last(), Some(&(count - 1)));
    }
}

#[test]
fn python_is_killed_and_loses_nothing_that_the_writer_sends_at_least_once() {
    receive_at_least_once(Language::Python);
}

#[test]
fn c_is_killed_and_loses_nothing_that_the_writer_sends_at_least_once() {
    receive_at_least_once(Language::C);
}

#[test]
fn python_is_killed_and_gets_nothing_twice_that_the_writer_sends_at_most_once() {
    receive_at_most_once(Language::Python);
}

#[test]
fn c_is_killed_and_gets_nothing_twice_that_the_writer_sends_at_most_once() {
    receive_at_most_once(Language::C);
}

/// Where the lines of a writer begin.
fn first_line_of(process: usize) -> u64 {
    1_000_000_000 * u64::try_from(process).unwrap()
}

/// A role: a writer that sends until it is killed.
fn send_for_ever(place: &Path) {
    let delivery = if place.join("at least once").exists() {
        Delivery::AtLeastOnce
    } else {
        Delivery::AtMostOnce
    };
    let writer = Writer::builder(place.join("s"))
        .delivery(delivery)
        .start()
        .unwrap();
    let first = first_line_of(part().parse().unwrap());
    for number in first.. {
        writer.send_timeout(line(number), PATIENCE).unwrap();
    }
}

/// Writers of the crate are killed while a client receives, which lives.
fn killed_writers(name: &str, language: Language) {
    if let Some(place) = stage() {
        return send_for_ever(&place);
    }
    for delivery in ["at most once", "at least once"] {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("receive", place.path()) else {
            return;
        };
        std::fs::write(place.path().join(delivery), "").unwrap();
        let output = place.path().join("stored");
        let receiver = Receiver::start(&client, &place.path().join("s"), &output);
        let mut moments = moments();
        for process in 0..KILLS {
            let before = receiver.stored_len();
            let writer = Role::start_part(name, place.path(), &process.to_string());
            let enough = before + moments.u64(1..200_000);
            wait_until("some have come", || receiver.stored_len() >= enough);
            writer.kill();
        }
        receiver.stop();
        // What the dead had sent may be read beside what the next one sends.
        let numbers = numbers_in(&output);
        for process in 0..KILLS {
            let all = first_line_of(process)..first_line_of(process + 1);
            let of_one: Vec<_> = numbers
                .iter()
                .filter(|number| all.contains(number))
                .collect();
            let wanted = all.clone().take(of_one.len());
            assert!(
                of_one.into_iter().copied().eq(wanted),
                "{delivery}: {process}"
            );
        }
    }
}

#[test]
fn writers_that_are_killed_have_sent_a_run_of_messages_to_python() {
    const NAME: &str =
        "clients::deaths::writers_that_are_killed_have_sent_a_run_of_messages_to_python";
    killed_writers(NAME, Language::Python);
}

#[test]
fn writers_that_are_killed_have_sent_a_run_of_messages_to_c() {
    const NAME: &str = "clients::deaths::writers_that_are_killed_have_sent_a_run_of_messages_to_c";
    killed_writers(NAME, Language::C);
}
