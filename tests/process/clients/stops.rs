//! Either end stops as planned, while the other sends at most once or waits for receipts: nothing
//! is lost, and at most once nothing comes twice. Elsewhere than on Linux the kernel throws away
//! what was queued.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use uds_ipc::{Delivery, FlushLevel, Reader};

use super::programs::{Language, Receiver, Sender, line, number_of_line, stored_in};
use crate::collector::{address, play_over_tcp, repeats};
use crate::delivery::eager;
use crate::load::Load;
use crate::stage::{PATIENCE, moments, wait_until};

/// How often an end stops. One more stops at the end.
const STOPS: usize = 6;

/// A client sends, while readers of the crate stop as planned. Returns what came, and how many
/// lines there were.
fn readers_stop(
    language: Language,
    is_at_least_once: bool,
    place: &Path,
) -> Option<(Vec<u64>, u64)> {
    let client = language.client("send", place)?;
    let path = address(place);
    let mut sender = Some(Sender::start(&client, &path, is_at_least_once).feed(0));
    let received = Arc::new(Mutex::new(Vec::new()));
    let mut moments = moments();
    let mut count = 0;
    for stop in 0..=STOPS {
        let before = received.lock().unwrap().len();
        let store = Arc::clone(&received);
        let bound = Reader::builder(&path).bind().unwrap();
        let reader = bound.start(move |message: &[u8]| {
            store
                .lock()
                .unwrap()
                .push(number_of_line(message).expect("a whole line"));
        });
        let reader = reader.unwrap();
        let enough = before + moments.usize(1..2000);
        wait_until("some have come", || {
            received.lock().unwrap().len() >= enough
        });
        if let Some(sender) = sender.take_if(|_| stop == STOPS) {
            count = sender.end();
        }
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    }
    let received = received.lock().unwrap().clone();
    Some((received, count))
}

#[test]
fn readers_that_stop_lose_nothing_that_clients_send() {
    for language in [Language::Python, Language::C] {
        for is_at_least_once in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let Some((received, count)) = readers_stop(language, is_at_least_once, place.path())
            else {
                continue;
            };
            if is_at_least_once {
                repeats(received, 0..count);
            } else {
                assert!(received.into_iter().eq(0..count), "each once, in order");
            }
        }
    }
}

/// It heeds the word that the reader stops.
#[test]
fn over_tcp_readers_that_stop_lose_nothing_that_python_sends_and_get_nothing_twice() {
    let place = tempfile::tempdir().unwrap();
    play_over_tcp(place.path());
    if let Some((received, count)) = readers_stop(Language::Python, true, place.path()) {
        assert!(received.into_iter().eq(0..count), "each once, in order");
    }
}

/// A writer of the crate sends, while clients that receive stop as planned.
fn clients_stop(language: Language, delivery: Delivery) {
    let place = tempfile::tempdir().unwrap();
    let Some(client) = language.client("receive", place.path()) else {
        return;
    };
    let path = place.path().join("s");
    let writer = Arc::new(eager(&path).delivery(delivery).start().unwrap());
    let mut load = Some(Load::start_with(&writer, line));
    let mut moments = moments();
    let (mut stored, mut count) = (Vec::new(), 0);
    for stop in 0..=STOPS {
        let output = place.path().join(format!("stored by {stop}"));
        let receiver = Receiver::start(&client, &path, &output);
        let enough = moments.u64(1..200_000);
        wait_until("it has stored some", || receiver.stored_len() >= enough);
        if let Some(load) = load.take_if(|_| stop == STOPS) {
            count = load.stop();
            writer.flush(FlushLevel::Written, PATIENCE).unwrap();
            assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
        }
        receiver.stop();
        stored.extend(stored_in(&output));
    }
    let numbers = stored
        .iter()
        .map(|line| number_of_line(line).expect("a whole line"));
    if delivery == Delivery::AtLeastOnce {
        repeats(numbers.collect(), 0..count);
    } else {
        assert!(numbers.eq(0..count), "each once, in order");
    }
}

#[test]
fn clients_that_stop_lose_nothing_that_the_writer_sends() {
    for language in [Language::Python, Language::C] {
        for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
            clients_stop(language, delivery);
        }
    }
}

/// More than a client accepts at once: the others wait in its backlog.
#[test]
fn clients_that_stop_lose_nothing_of_those_who_wait_to_be_accepted() {
    for language in [Language::Python, Language::C] {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("receive", place.path()) else {
            continue;
        };
        let path = place.path().join("s");
        let output = place.path().join("stored");
        let receiver = Receiver::start(&client, &path, &output);
        let senders: Vec<_> = (100..200)
            .map(|number| {
                let mut sender = UnixStream::connect(&path).unwrap();
                write!(sender, "\x03{number}").unwrap();
                sender
            })
            .collect();
        wait_until("all that it accepts have their place", || {
            receiver.stored().len() >= 64
        });
        receiver.stop();
        drop(senders);
        let mut stored = stored_in(&output);
        stored.sort();
        let wanted = (100..200).map(|number| number.to_string().into_bytes());
        assert!(stored.into_iter().eq(wanted), "{language:?}");
    }
}

/// The signal comes while a client waits for room to write what it has received.
#[test]
fn clients_that_are_told_to_stop_while_they_write_write_it_all() {
    for language in [Language::Python, Language::C] {
        let place = tempfile::tempdir().unwrap();
        let Some(client) = language.client("receive", place.path()) else {
            continue;
        };
        let path = place.path().join("s");
        let pipe = place.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let read_end = options.open(&pipe).unwrap();
        let write_end = OpenOptions::new().write(true).open(&pipe).unwrap();
        let for_it = write_end.try_clone().unwrap().into();
        let mut receiver = Receiver::start_writing(&client, &path, &pipe, for_it);
        let mut sender = UnixStream::connect(&path).unwrap();
        let message = vec![b'x'; 100_000];
        sender
            .write_all(&[&[0xa0, 0x8d, 0x06][..], &message].concat())
            .unwrap();
        wait_until("the pipe is full", || {
            let mut ends = [PollFd::new(write_end.as_fd(), PollFlags::POLLOUT)];
            poll(&mut ends, PollTimeout::ZERO).unwrap() == 0
        });
        receiver.ask_to_stop();
        drop((sender, write_end));
        fcntl(&read_end, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let mut written = Vec::new();
        (&read_end).read_to_end(&mut written).unwrap();
        receiver.wait_for_end();
        assert_eq!(written.len(), message.len() + 1, "{language:?}");
        assert!(written == [&message[..], b"\n"].concat(), "{language:?}");
    }
}
