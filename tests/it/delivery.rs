//! Delivery at most once: what a broken connection, a slow reader and a planned stop do to the
//! messages.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use uds_ipc::error::FlushError;
use uds_ipc::{FlushLevel, Handler, Peer, Reader, Writer};

use crate::support::{
    Collector, Gate, Notes, PATIENCE, Place, RawReader, SHORT, Scripted, assert_balanced, connect,
    finish, frame, numbered, read_messages, read_to_end, send_and_close, unframe, wait_until,
    writer_with,
};

#[test]
fn a_message_the_kernel_took_in_part_is_sent_again_from_its_start() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| builder.send_buffer_size(4096));
    let message: Vec<_> = (0..1_000_000u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    writer.try_send("before").unwrap();
    writer.try_send(message.clone()).unwrap();
    writer.try_send("after").unwrap();
    let mut stream = raw.accept();
    let mut part = vec![0; 10_000];
    stream.read_exact(&mut part).unwrap();
    drop(stream);
    events.wait_for("Lost");
    let mut stream = raw.accept();
    assert_eq!(read_messages(&mut stream, 2), [message, b"after".to_vec()]);
    finish(&writer);
    assert_eq!(writer.metrics().sent.messages, 3);
}

#[test]
fn nothing_is_lost_twice_or_out_of_order_when_connections_break_between_reads() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        builder
            .send_buffer_size(4096)
            .backoff_min(Duration::from_millis(1))
            .max_queued_messages(100)
    });
    let messages: Vec<_> = numbered(3_000)
        .into_iter()
        .map(|text| [text, vec![b'.'; 700]].concat())
        .collect();
    let sent = messages.clone();
    let sending = thread::spawn(move || {
        for message in &sent {
            writer.send_timeout(message, PATIENCE).unwrap();
        }
        finish(&writer);
    });
    let mut received = Vec::new();
    while received.last() != messages.last() {
        let mut stream = raw.accept();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 50_000];
        while bytes.len() < 200_000 {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            }
        }
        // As a reader that stops does: no more may be sent, and what was is read to its end.
        let _ = stream.shutdown(std::net::Shutdown::Read);
        bytes.extend(read_to_end(&mut stream));
        let (whole, _half) = unframe(&bytes);
        received.extend(whole);
    }
    sending.join().unwrap();
    assert!(
        received == messages,
        "{} of {}",
        received.len(),
        messages.len()
    );
}

#[test]
fn fifty_planned_stops_under_load_lose_and_repeat_nothing() {
    let place = Place::new();
    let (writer, events) = writer_with(&place.socket(), |builder| {
        // No connection here lives for the second that would make the next try an early one.
        let waits = Duration::from_micros(100)..Duration::from_millis(2);
        builder
            .send_buffer_size(16 * 1024)
            .backoff_min(waits.start)
            .backoff_max(waits.end)
    });
    let stop = AtomicBool::new(false);
    let mut received = Vec::new();
    let total = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                writer
                    .send_timeout(format!("message {number}"), PATIENCE)
                    .unwrap();
                number += 1;
            }
            number
        });
        for _ in 0..50 {
            let collector = Collector::start(&place.socket());
            collector.wait_for(100);
            received.extend(collector.stop());
        }
        stop.store(true, Ordering::Relaxed);
        let collector = Collector::start(&place.socket());
        let total = sending.join().unwrap();
        finish(&writer);
        received.extend(collector.stop());
        total
    });
    assert_eq!(events.count(|event| event.contains("unread: true")), 0);
    assert!(
        received == numbered(total),
        "gaps, repeats or disorder in {}",
        received.len()
    );
    assert_eq!(writer.metrics().lost_with_unread, 0);
}

#[test]
fn a_reader_that_closes_idle_connections_loses_and_repeats_nothing() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.idle_timeout(Duration::from_millis(20))
    });
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder
            .backoff_min(Duration::from_millis(1))
            .backoff_max(Duration::from_millis(5))
    });
    let messages = numbered(20);
    for (number, message) in messages.iter().enumerate() {
        writer.send_timeout(message, PATIENCE).unwrap();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        let lost = || events.count(|event| event.starts_with("Lost"));
        // Every other message comes when the connection has just been closed for silence.
        if number % 2 == 0 {
            let before = lost();
            wait_until("the idle connection is closed", || lost() > before);
        }
    }
    finish(&writer);
    assert_eq!(collector.stop(), messages);
    assert!(writer.metrics().connects >= 10);
}

/// Sends a message that the reader refuses, between two others. Returns how often the reader had to
/// refuse it.
fn refusals(prepare: impl FnOnce(&Writer)) -> u64 {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| builder.max_message_len(1000));
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder
            .send_buffer_size(4096)
            .backoff_min(Duration::from_millis(1))
    });
    writer.try_send("before").unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    collector.wait_for(1);
    prepare(&writer);
    // Far more than the kernel holds, so that the reader hangs up in the middle of it.
    writer.try_send(vec![1; 1_000_000]).unwrap();
    writer.try_send("after").unwrap();
    events.wait_for("GivenUp");
    finish(&writer);
    let given_up = writer.metrics().failed.given_up;
    assert_eq!((given_up.messages, given_up.bytes), (1, 1_000_000));
    let refusals = collector.reader.metrics().protocol_errors.too_large;
    assert_eq!(collector.stop(), [b"before".to_vec(), b"after".to_vec()]);
    assert_eq!(events.count(|event| event.starts_with("GivenUp")), 1);
    refusals
}

#[test]
fn a_message_that_the_reader_refuses_is_given_up_after_three_probes() {
    assert_eq!(refusals(|_| {}), 1 + 3, "cut by chance, then probed");
}

#[test]
fn a_reader_that_was_asked_says_which_message_it_refuses() {
    let refusals = refusals(|writer| {
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    });
    assert_eq!(refusals, 1);
}

#[test]
fn planned_stops_that_cut_a_message_again_and_again_do_not_count_against_it() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        builder
            .send_buffer_size(4096)
            .backoff_min(Duration::from_millis(1))
            .write_timeout(PATIENCE)
    });
    writer.try_send(vec![1; 1_000_000]).unwrap();
    for _ in 0..5 {
        let mut peer = raw.meet();
        peer.wait_for_a_piece();
        // As a reader that stops does: it takes no more, and leaves nothing unread.
        peer.stream.shutdown(std::net::Shutdown::Read).unwrap();
        peer.read_to_end();
        assert!(peer.messages.is_empty());
    }
    let mut peer = raw.meet();
    peer.wait_for(1);
    assert_eq!(peer.messages, [vec![1; 1_000_000]]);
    finish(&writer);
    assert!(!events.has("GivenUp"));
}

#[test]
fn a_writer_whose_peer_died_with_bytes_unread_says_so() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| builder);
    writer.try_send("never read").unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    drop(raw.accept());
    if cfg!(target_os = "linux") {
        events.wait_for("unread: true");
        assert_eq!(writer.metrics().lost_with_unread, 1);
    }
    let mut stream = raw.accept();
    writer.try_send("read").unwrap();
    assert_eq!(read_messages(&mut stream, 1), [b"read"]);
    finish(&writer);
    assert_eq!(
        writer.metrics().sent.messages,
        2,
        "sent is not read: the kernel had taken both"
    );
}

#[test]
fn a_slow_message_of_four_mebibytes_gets_through() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        builder
            .send_buffer_size(4096)
            .write_timeout(Duration::from_secs(1))
    });
    let message = vec![3; 4 * 1024 * 1024];
    writer.try_send(message.clone()).unwrap();
    let mut stream = raw.accept();
    let mut bytes = vec![0; frame(&message).len()];
    for part in bytes.chunks_mut(300_000) {
        // Each pause is shorter than the write timeout, all of them together are longer.
        thread::park_timeout(Duration::from_millis(100));
        stream.read_exact(part).unwrap();
    }
    assert!(bytes == frame(&message));
    assert_eq!(
        events.count(|event| event.starts_with("Lost")),
        0,
        "{:?}",
        events.all()
    );
    finish(&writer);
}

#[test]
fn a_reader_that_reads_steadily_but_never_empties_its_buffer_is_no_dead_reader() {
    let raw = RawReader::new();
    // With the default buffer Linux says that there is room only when three quarters of it are
    // free.
    let (writer, events) = writer_with(raw.path(), |builder| {
        builder.write_timeout(Duration::from_secs(1))
    });
    let message = vec![3; 2_000_000];
    writer.try_send(message.clone()).unwrap();
    let mut stream = raw.accept();
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 * 1024];
    for _ in 0..60 {
        thread::park_timeout(Duration::from_millis(25));
        let len = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..len]);
    }
    assert_eq!(
        events.count(|event| event.starts_with("Lost")),
        0,
        "{:?}",
        events.all()
    );
    while bytes.len() < frame(&message).len() {
        let len = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..len]);
    }
    finish(&writer);
    assert_eq!(writer.metrics().connects, 1);
}

#[test]
fn a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        builder.send_buffer_size(4096).write_timeout(SHORT)
    });
    let message = vec![5; 200_000];
    writer.try_send(message.clone()).unwrap();
    let mut stalled = Vec::new();
    for round in 1..=5 {
        // More often than it would take to give the message up, if our own timeout counted against
        // it.
        stalled.push(raw.accept());
        wait_until("the writer loses patience", || {
            events.count(|event| event.contains("WriteTimeout")) >= round
        });
    }
    let mut stream = raw.accept();
    assert_eq!(read_messages(&mut stream, 1), [message]);
    finish(&writer);
    for mut stream in stalled {
        let (whole, _) = unframe(&read_to_end(&mut stream));
        assert!(whole.is_empty(), "a half message is never completed");
    }
}

#[test]
fn a_handler_slower_than_the_write_timeout_gets_each_message_once() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder.send_buffer_size(4096).write_timeout(SHORT)
    });
    writer.try_send("block").unwrap();
    reader.wait_for("block", 1);
    // More than the reader takes at a time, and the kernel holds.
    let messages: Vec<_> = (0..2_000).map(|number| format!("{number:500}")).collect();
    for message in &messages {
        writer.try_send(message).unwrap();
    }
    events.wait_for("WriteTimeout");
    // The rest is handled beside what is held up.
    reader.wait_for(&messages[1_999], 1);
    finish(&writer);
    reader.gate.open();
    let report = reader.reader.shutdown(PATIENCE).unwrap();
    assert_eq!(
        (report.cut, report.metrics.received.messages),
        (0, 2_001),
        "{report:#?}"
    );

    let mut all = Vec::new();
    for connection in 1..=report.metrics.connections {
        let mut of_it = reader.calls_of(connection);
        of_it.retain(|call| messages.contains(call));
        assert!(of_it.is_sorted(), "connection {connection} is in order");
        all.extend(of_it);
    }
    all.sort();
    assert!(all == messages, "each came once");
    assert!(report.metrics.connections > 1);
}

#[test]
fn a_half_frame_of_a_writer_that_died_is_never_delivered() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    send_and_close(&place.socket(), &frame(&[1; 1000])[..500]);
    collector.events.wait_for("Truncated");
    assert_eq!(collector.reader.metrics().protocol_errors.truncated, 1);
    assert!(collector.stop().is_empty());
}

#[test]
fn what_was_left_at_the_end_is_counted_as_failed() {
    let place = Place::new();
    let writer = Writer::start(place.socket()).unwrap();
    for message in numbered(100) {
        writer.try_send(message).unwrap();
    }
    let report = writer.shutdown(SHORT).unwrap();
    assert_eq!(
        (report.left.messages, report.metrics.failed.left),
        (100, report.left)
    );
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced(&writer);
}

/// Cannot store one batch, and says so once the gate is open.
struct FailsOnce {
    stored: Notes<Vec<u8>>,
    at_gate: Notes<()>,
    gate: Gate,
}

impl Handler for FailsOnce {
    type Error = &'static str;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Self::Error> {
        self.stored.add(message.to_vec());
        Ok(())
    }

    fn batch_end(&self, _: &Peer) -> Result<(), Self::Error> {
        if !self.stored.all().contains(&b"fail".to_vec()) || self.at_gate.len() > 0 {
            return Ok(());
        }
        self.at_gate.add(());
        self.gate.pass();
        Err("on purpose")
    }
}

/// A reader that cannot store the batch with `fail` in it, and what is known of it.
struct FailingOnce {
    reader: Reader,
    stored: Notes<Vec<u8>>,
    at_gate: Notes<()>,
    gate: Gate,
    events: Notes<String>,
}

impl FailingOnce {
    fn start(place: &Place) -> Self {
        let (stored, at_gate, gate, events) =
            (Notes::new(), Notes::new(), Gate::new(), Notes::new());
        let handler = FailsOnce {
            stored: stored.clone(),
            at_gate: at_gate.clone(),
            gate: gate.clone(),
        };
        let builder = Reader::builder(place.socket()).on_event(events.observer());
        let reader = builder.bind().unwrap().start_handler(handler).unwrap();
        Self {
            reader,
            stored,
            at_gate,
            gate,
            events,
        }
    }
}

/// After `before`, a batch fails, and many messages follow it.
fn send_behind_a_failure(place: &Place, before: impl FnOnce(&Writer) -> FailingOnce) {
    let (writer, _) = writer_with(&place.socket(), |builder| builder);
    let there = before(&writer);
    let first = there.stored.len();
    writer.try_send("fail").unwrap();
    there.at_gate.wait_for_len(1);
    for message in numbered(2_000) {
        writer.try_send(message).unwrap();
    }
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    there.gate.open();
    // Whether it was lost before the call or during it, it is told, and not waited for.
    let flushed = writer.flush(FlushLevel::Handled, PATIENCE);
    let is_told = match flushed {
        Ok(flushed) => flushed.losses == 1,
        Err(error) => matches!(error, FlushError::Lost { losses: 1, .. }),
    };
    assert!(is_told, "{flushed:?}");
    there.events.wait_for("NotStored");
    finish(&writer);
    let _ = there.reader.shutdown(PATIENCE).unwrap();
    assert_eq!(there.stored.all()[first + 1..], numbered(2_000));
    assert_eq!(writer.metrics().lost_with_unread, 0);
}

#[test]
fn a_batch_that_is_not_stored_costs_nothing_behind_it() {
    let place = Place::new();
    send_behind_a_failure(&place, |writer| {
        let there = FailingOnce::start(&place);
        writer.try_send("first").unwrap();
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        there
    });
}

#[test]
fn a_question_that_nothing_was_sent_before_does_not_promise_to_send_again() {
    let place = Place::new();
    send_behind_a_failure(&place, |writer| {
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        let there = FailingOnce::start(&place);
        wait_until("they have met", || there.reader.metrics().open == 1);
        there
    });
}

#[test]
fn only_behind_the_opening_of_delivery_at_least_once_a_failed_batch_ends_all() {
    for (opening, follows) in [
        (&[0x80, 0x00][..], false),
        (&[0x00], true),
        (&[0x80, 0x80, 0x00], true),
        (&[0x00, 0x80, 0x00], true),
    ] {
        let place = Place::new();
        let there = FailingOnce::start(&place);
        let mut stream = connect(&place.socket());
        stream
            .write_all(&[opening, &frame(b"fail")].concat())
            .unwrap();
        there.at_gate.wait_for_len(1);
        stream.write_all(&frame(b"what follows")).unwrap();
        there.gate.open();
        there.events.wait_for("NotStored");
        let stored = there.stored.all();
        assert_eq!(
            stored.contains(&b"what follows".to_vec()),
            follows,
            "{opening:?}"
        );
        let _ = there.reader.shutdown(PATIENCE).unwrap();
    }
}

/// A connection that asks again and again and reads no answer, until there is no room for more, and
/// then sends what cannot be stored.
fn ask_and_read_nothing(place: &Place, there: &FailingOnce) -> UnixStream {
    let mut stream = connect(&place.socket());
    for count in 1..=150 {
        stream
            .write_all(&[&frame(b"message")[..], &[0]].concat())
            .unwrap();
        wait_until("it has come", || {
            there.reader.metrics().received.messages == count
        });
    }
    stream.write_all(&frame(b"fail")).unwrap();
    stream
}

#[test]
fn a_silent_peer_is_closed_though_its_receipts_lie_unread() {
    let place = Place::new();
    let there = FailingOnce::start(&place);
    there.gate.open();
    let _stream = ask_and_read_nothing(&place, &there);
    there.events.wait_for("NotStored");
    assert_eq!(there.reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn a_stop_in_the_middle_of_a_batch_that_is_not_stored_waits_for_no_silent_peer() {
    let place = Place::new();
    let there = FailingOnce::start(&place);
    let _stream = ask_and_read_nothing(&place, &there);
    there.at_gate.wait_for_len(1);
    thread::scope(|scope| {
        let stop = scope.spawn(|| there.reader.shutdown(PATIENCE).unwrap());
        wait_until("nobody is let in any more", || {
            UnixStream::connect(place.socket()).is_err()
        });
        there.gate.open();
        assert_eq!(stop.join().unwrap().cut, 0);
    });
}

#[test]
fn a_batch_that_was_not_stored_is_the_cause_though_the_peer_has_closed() {
    for rest in [&[][..], &[5, b'h', b'a', b'l', b'f']] {
        let place = Place::new();
        let there = FailingOnce::start(&place);
        there.gate.open();
        send_and_close(&place.socket(), &[&frame(b"fail")[..], &[0], rest].concat());
        there.events.wait_for("NotStored");
        let metrics = there.reader.shutdown(PATIENCE).unwrap().metrics;
        assert_eq!(metrics.protocol_errors.total(), 0);
    }
}
