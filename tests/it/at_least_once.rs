//! Delivery at least once, as a peer sees it that reads, answers, stays silent, lies or dies; and
//! with a reader of ours.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::error::FlushError;
use uds_ipc::event::WriterEvent;
use uds_ipc::{
    Delivery, FlushLevel, Handler, Overflow, Peer, Reader, SendError, Writer, WriterBuilder,
};

use crate::support::{
    Child, Collector, Notes, Over, PATIENCE, Place, RawReader, SHORT, Scripted, WatchedThread,
    assert_balanced_by_receipts, finish_with_receipts, let_pass, memory, numbered, send_all, skip,
    wait_until, writer_with,
};

/// A writer that delivers at least once, to a reader that is lost often.
fn keeping(builder: WriterBuilder) -> WriterBuilder {
    let waits = Duration::from_millis(1)..Duration::from_millis(10);
    builder
        .delivery(Delivery::AtLeastOnce)
        .backoff_min(waits.start)
        .backoff_max(waits.end)
}

fn keeping_writer(path: &Path) -> (Writer, Notes<String>) {
    writer_with(path, keeping)
}

fn confirmed(writer: &Writer) -> u64 {
    writer.metrics().confirmed.messages
}

#[track_caller]
fn wait_for_confirmed(writer: &Writer, count: u64) {
    wait_until(&format!("{count} are confirmed"), || {
        confirmed(writer) >= count
    });
    assert_eq!(confirmed(writer), count);
}

/// Messages of the lengths that are kept in different ways: many in a block, and one in a block of
/// its own.
fn of_many_lengths() -> Vec<Vec<u8>> {
    let lens = [5, 200, 40_000, 1, 70_000, 33_000, 127, 128];
    lens.iter()
        .zip(0..)
        .map(|(len, number)| vec![number; *len])
        .collect()
}

/// Ends the shutdown with messages left, which are in the books.
#[track_caller]
fn finish_with_left(writer: &Writer, left: u64) {
    let report = writer.shutdown(SHORT).unwrap();
    assert_eq!(
        (report.left.messages, report.metrics.failed.left),
        (left, report.left)
    );
    assert_eq!(report.metrics.queued.messages, 0);
    assert_balanced_by_receipts(writer);
}

// With a peer that answers.

#[test]
fn each_connection_opens_with_the_word_that_it_delivers_at_least_once() {
    let raw = RawReader::new();
    let (writer, _) = keeping_writer(raw.path());
    writer.try_send("x").unwrap();
    for is_last in [false, true] {
        let mut stream = raw.accept();
        let mut begin = [0; 4];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"\x80\0\x01x");
        if is_last {
            stream.write_all(&[1]).unwrap();
            wait_for_confirmed(&writer, 1);
        }
    }
    finish_with_receipts(&writer);
}

#[test]
fn a_connection_opens_so_also_when_a_keepalive_comes_before_its_first_message() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let (writer, _) = writer_with(&place.socket(), |builder| {
        keeping(builder).keepalive(Duration::from_millis(1))
    });
    let mut stream = raw.accept();
    let mut begin = [0; 4];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"\x80\0\0\0");
    let _ = writer.shutdown(PATIENCE).unwrap();
}

#[test]
fn every_message_is_confirmed_in_the_end_and_none_is_sent_twice() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, events) = keeping_writer(&place.socket());
    send_all(&writer, &numbered(20_000));
    send_all(&writer, &of_many_lengths());
    finish_with_receipts(&writer);
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.confirmed, metrics.sent),
        (metrics.accepted, metrics.accepted)
    );
    assert_eq!((metrics.resent.messages, metrics.connects), (0, 1));
    assert!(!events.has("NoReceipt"), "{:?}", events.all());
    assert_eq!(
        collector.stop(),
        [numbered(20_000), of_many_lengths()].concat()
    );
}

#[test]
fn a_receipt_counts_also_when_it_comes_in_pieces() {
    let raw = RawReader::new();
    let (writer, events) = keeping_writer(raw.path());
    send_all(&writer, &numbered(300));
    let mut peer = raw.meet();
    peer.wait_for_question(300);
    // 100, and the first byte of 200: once the one has come, so has the other.
    peer.say(&[100, 0xc8]);
    wait_for_confirmed(&writer, 100);
    peer.say(&[0x01]);
    wait_for_confirmed(&writer, 200);
    // 300, in more bytes than it needs.
    for byte in [0xac, 0x82, 0x80, 0x00] {
        peer.say(&[byte]);
    }
    finish_with_receipts(&writer);
    assert!(!events.has("Lost"), "{:?}", events.all());
}

#[test]
fn a_late_receipt_counts_and_makes_room() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder).write_timeout(SHORT).max_queued_messages(2)
    });
    send_all(&writer, &numbered(2));
    let mut peer = raw.meet();
    peer.wait_for_question(2);
    events.wait_for("NoReceipt");
    assert_eq!(
        writer.try_send("there is no room"),
        Err(SendError::Full(()))
    );
    peer.answer(2);
    writer.send_timeout("there is room", PATIENCE).unwrap();
    peer.wait_for_question(3);
    peer.answer(3);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().confirmed.messages,
            writer.metrics().connects
        ),
        (3, 1)
    );
}

#[test]
fn exactly_what_no_receipt_covers_is_sent_again_in_order() {
    let messages = of_many_lengths();
    for covered in 0..messages.len() {
        let raw = RawReader::new();
        let (writer, _) = keeping_writer(raw.path());
        send_all(&writer, &messages);
        let mut peer = raw.meet();
        peer.wait_for_question(messages.len());
        // The last words of a peer that hangs up count like all others.
        peer.answer(covered);
        drop(peer);
        let mut peer = raw.meet();
        let rest = &messages[covered..];
        peer.wait_for_question(rest.len());
        assert!(
            peer.messages == rest,
            "{} after a receipt for {covered}",
            peer.messages.len()
        );
        peer.answer(rest.len());
        finish_with_receipts(&writer);
        let metrics = writer.metrics();
        assert_eq!(metrics.resent.messages, u64::try_from(rest.len()).unwrap());
        assert_eq!(
            (metrics.sent, metrics.confirmed),
            (metrics.accepted, metrics.accepted)
        );
    }
}

#[test]
fn a_message_that_is_only_half_gone_is_sent_again_whole_behind_the_unconfirmed() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        keeping(builder).send_buffer_size(4096)
    });
    let messages = [numbered(4), vec![vec![7; 1_000_000]], numbered(3)].concat();
    send_all(&writer, &messages);
    let mut peer = raw.meet();
    peer.wait_for_question(4);
    peer.answer(3);
    wait_for_confirmed(&writer, 3);
    drop(peer);
    let mut peer = raw.meet();
    peer.wait_for_question(5);
    assert!(peer.messages == messages[3..]);
    peer.answer(5);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().resent.messages,
            writer.metrics().sent.messages
        ),
        (1, 8)
    );
}

#[test]
fn a_loss_during_the_repeats_repeats_them_once_more_and_the_newer_ones_follow() {
    let raw = RawReader::new();
    let (writer, _) = keeping_writer(raw.path());
    let messages = numbered(9);
    send_all(&writer, &messages[..6]);
    for round in 0..3 {
        let mut peer = raw.meet();
        peer.wait_for_question(6 + round);
        assert_eq!(peer.messages, messages[..6 + round]);
        drop(peer);
        send_all(&writer, &messages[6 + round..7 + round]);
    }
    let mut peer = raw.meet();
    peer.wait_for_question(9);
    assert_eq!(peer.messages, messages);
    peer.answer(9);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().resent.messages,
            writer.metrics().sent.messages
        ),
        (6 + 7 + 8, 9)
    );
}

// With a peer that does not answer.

#[test]
fn a_silent_peer_is_told_of_once_and_its_messages_are_kept() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder).write_timeout(SHORT).max_queued_messages(8)
    });
    send_all(&writer, &numbered(7));
    let mut peer = raw.meet();
    peer.wait_for_question(7);
    events.wait_for("NoReceipt");
    // What is sent and read later is no reason to tell it again.
    writer.try_send("message 7").unwrap();
    peer.wait_for_question(8);
    let_pass(4 * SHORT);
    assert_eq!(
        writer.try_send("there is no room"),
        Err(SendError::Full(()))
    );
    assert!(matches!(
        writer.flush(FlushLevel::Handled, SHORT),
        Err(FlushError::Timeout { left: 8, .. })
    ));
    assert_eq!(writer.metrics().queued.messages, 8);
    finish_with_left(&writer, 8);
    assert_eq!(
        events.count(|event| event.starts_with("NoReceipt")),
        1,
        "{:?}",
        events.all()
    );
    assert!(!events.has("Lost"), "it took every byte");
    peer.read_to_end();
    assert_eq!(peer.messages, numbered(8));
}

#[test]
fn silence_is_told_again_after_an_answer_and_on_the_next_connection() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| keeping(builder).write_timeout(SHORT));
    let wait_for_silence = |times| {
        wait_until("the silence is told", || {
            events.count(|event| event.starts_with("NoReceipt")) >= times
        });
    };
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    wait_for_silence(1);
    peer.answer(1);
    wait_for_silence(2);
    drop(peer);
    let mut peer = raw.meet();
    wait_for_silence(3);
    peer.wait_for_question(2);
    peer.answer(2);
    finish_with_receipts(&writer);
}

#[test]
fn the_bounds_count_what_no_receipt_covers() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| keeping(builder).max_queued_bytes(100));
    writer.try_send(&[1; 60]).unwrap();
    writer.try_send(&[2; 40]).unwrap();
    let mut peer = raw.meet();
    peer.wait_for_question(2);
    assert_eq!(writer.try_send(&[3]), Err(SendError::Full(())));
    peer.answer(1);
    wait_for_confirmed(&writer, 1);
    assert_eq!(writer.try_send(&[3; 61]), Err(SendError::Full(())));
    writer.try_send(&[3; 60]).unwrap();
    peer.wait_for_question(3);
    peer.answer(3);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().dropped.full.messages,
            writer.metrics().sent.bytes
        ),
        (2, 160)
    );
}

#[test]
fn a_peer_that_closes_its_sending_side_is_a_silent_one_and_costs_no_work() {
    let raw = RawReader::new();
    let (events, thread) = (Notes::new(), WatchedThread::new());
    let (writer, _) = writer_with(raw.path(), |builder| {
        let (observe, thread) = (events.observer::<WriterEvent>(), thread.clone());
        keeping(builder)
            .write_timeout(SHORT)
            .on_event(move |event| {
                thread.note();
                observe(event);
            })
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    peer.stream.shutdown(Shutdown::Write).unwrap();
    events.wait_for("NoReceipt");
    thread.wait_for_rest();
    let writes = writer.metrics().writes;
    // It goes on reading, so it gets more.
    writer.try_send("message 3").unwrap();
    peer.wait_for_question(4);
    thread.wait_for_rest();
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.writes, metrics.connects, metrics.queued.messages),
        (writes + 1, 1, 4)
    );
    assert_eq!(events.count(|event| event.starts_with("NoReceipt")), 1);
    drop(peer);
    let mut peer = raw.meet();
    peer.wait_for_question(4);
    peer.answer(4);
    finish_with_receipts(&writer);
}

#[test]
fn a_writer_that_waits_for_a_receipt_rests() {
    let raw = RawReader::new();
    let thread = WatchedThread::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        let thread = thread.clone();
        keeping(builder)
            .write_timeout(PATIENCE)
            .on_event(move |_| thread.note())
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    thread.wait_for_rest();
    // It takes nothing more; the writer waits for the last receipts.
    peer.stream.shutdown(Shutdown::Read).unwrap();
    writer.try_send("message 3").unwrap();
    thread.wait_for_rest();
    peer.answer(3);
    let mut peer = raw.meet();
    peer.wait_for_question(1);
    assert_eq!(peer.messages, [b"message 3"]);
    peer.answer(1);
    finish_with_receipts(&writer);
}

// With a peer that lies.

#[test]
fn a_false_receipt_ends_the_connection_and_the_rest_is_sent_again() {
    for (lie, told) in [
        (&[4][..], "BadReceipt(TooHigh { count: 4, written: 3 })"),
        (
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            "BadReceipt(TooHigh",
        ),
        (&[0], "BadReceipt(Fell { count: 0, before: 1 })"),
        (&[1; 1025], "BadReceipt(Repeated { repeats: 1025 })"),
        (&[0x80; 10], "BadReceipt(Invalid)"),
        (
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            "BadReceipt(Invalid)",
        ),
    ] {
        let raw = RawReader::new();
        let (writer, events) = keeping_writer(raw.path());
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        peer.wait_for_question(3);
        peer.answer(1);
        wait_for_confirmed(&writer, 1);
        peer.say(lie);
        events.wait_for(told);
        peer.read_to_end();
        let mut peer = raw.meet();
        peer.wait_for_question(2);
        assert_eq!(peer.messages, numbered(3)[1..]);
        peer.answer(2);
        finish_with_receipts(&writer);
        assert_eq!(
            (writer.metrics().connects, writer.metrics().resent.messages),
            (2, 2)
        );
        assert_eq!(
            events.count(|event| event.starts_with("Lost")),
            1,
            "{:?}",
            events.all()
        );
    }
}

#[test]
fn no_message_is_given_up_because_its_reader_lies() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder).send_buffer_size(4096)
    });
    writer.try_send("before").unwrap();
    writer.try_send(vec![1; 1_000_000]).unwrap();
    for round in 1..=5 {
        let mut peer = raw.meet();
        peer.wait_for_question(1);
        peer.wait_for_a_part();
        peer.answer(9);
        wait_until("the lie is found out", || {
            events.count(|event| event.contains("TooHigh")) >= round
        });
    }
    let mut peer = raw.meet();
    peer.wait_for_question(2);
    peer.answer(2);
    finish_with_receipts(&writer);
    assert_eq!(writer.metrics().failed.given_up.messages, 0);
}

// With a peer that goes away.

#[test]
fn what_a_peer_covers_after_it_has_closed_its_receiving_side_is_not_sent_again() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder).write_timeout(PATIENCE)
    });
    send_all(&writer, &numbered(5));
    let mut peer = raw.meet();
    peer.wait_for_question(5);
    peer.stream.shutdown(Shutdown::Read).unwrap();
    // The kernel refuses this one; for the sake of the others the writer still listens.
    writer.try_send("message 5").unwrap();
    peer.answer(2);
    wait_for_confirmed(&writer, 2);
    assert!(!events.has("Lost"), "{:?}", events.all());
    peer.answer(4);
    wait_for_confirmed(&writer, 4);
    drop(peer);
    let mut peer = raw.meet();
    peer.wait_for_question(2);
    assert_eq!(peer.messages, numbered(6)[4..]);
    peer.answer(2);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().resent.messages,
            writer.metrics().sent.messages
        ),
        (1, 6)
    );
}

#[test]
fn a_full_peer_that_owes_a_receipt_is_waited_for_one_write_timeout() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| keeping(builder).write_timeout(SHORT));
    send_all(&writer, &numbered(2));
    let mut silent = raw.meet();
    silent.wait_for_question(2);
    silent.stream.shutdown(Shutdown::Read).unwrap();
    writer.try_send("message 2").unwrap();
    events.wait_for("Lost");
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    assert_eq!(peer.messages, numbered(3));
    peer.answer(3);
    finish_with_receipts(&writer);
}

#[test]
fn a_question_that_a_stopping_peer_refuses_does_not_lose_its_last_receipts() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        keeping(builder)
            .write_timeout(PATIENCE)
            .keepalive(Duration::from_millis(5))
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    peer.stream.shutdown(Shutdown::Read).unwrap();
    // Meanwhile the writer wants to keep the connection alive.
    let_pass(SHORT);
    peer.answer(3);
    wait_for_confirmed(&writer, 3);
    drop(peer);
    raw.meet().wait_for_question(0);
    finish_with_receipts(&writer);
    assert_eq!(writer.metrics().resent.messages, 0);
}

#[test]
fn a_planned_stop_of_the_reader_repeats_nothing() {
    let place = Place::new();
    let (writer, events) = keeping_writer(&place.socket());
    let mut received = Vec::new();
    for round in 0..20 {
        let collector = Collector::start(&place.socket());
        send_all(&writer, &numbered(100));
        collector.wait_for(round);
        received.extend(collector.stop());
    }
    let collector = Collector::start(&place.socket());
    finish_with_receipts(&writer);
    received.extend(collector.stop());
    assert!(
        received == vec![numbered(100); 20].concat(),
        "{} messages",
        received.len()
    );
    assert_eq!(writer.metrics().resent.messages, 0);
    assert!(!events.has("unread: true"));
}

#[test]
fn a_planned_stop_of_a_reader_that_falls_behind_repeats_no_more_than_a_block() {
    // When the reader stops, some block has come in part and without its question: no receipt can
    // cover that.
    for send_buffer_size in [212_992, 4096] {
        let place = Place::new();
        let reader = Scripted::start(&place.socket());
        let (writer, _) = writer_with(&place.socket(), |builder| {
            keeping(builder)
                .write_timeout(PATIENCE)
                .send_buffer_size(send_buffer_size)
        });
        writer.try_send("block").unwrap();
        reader.wait_for("block", 1);
        // Far more than the kernel holds.
        let messages: Vec<_> = numbered(8_000)
            .into_iter()
            .map(|text| [text, vec![b'.'; 500]].concat())
            .collect();
        send_all(&writer, &messages);
        let received = thread::scope(|scope| {
            let stopping = scope.spawn(|| reader.reader.shutdown(PATIENCE).unwrap());
            wait_until("it stops", || UnixStream::connect(place.socket()).is_err());
            reader.gate.open();
            assert_eq!(stopping.join().unwrap().cut, 0);
            reader.reader.metrics().received.messages
        });
        assert!(received < 8_000, "it stopped in the middle");
        let collector = Collector::start(&place.socket());
        finish_with_receipts(&writer);
        let rest = collector.stop();
        let resent = writer.metrics().resent.messages;
        assert!(
            resent * 500 <= 128 * 1024,
            "{resent} with a buffer of {send_buffer_size}"
        );
        assert_eq!(
            received + u64::try_from(rest.len()).unwrap(),
            8_001 + resent,
            "each once but those"
        );
    }
}

#[test]
fn a_reader_that_is_killed_again_and_again_loses_nothing() {
    const NAME: &str = "at_least_once::a_reader_that_is_killed_again_and_again_loses_nothing";
    if let Some(path) = Child::path() {
        // What is in the file was handled: a kill does not take it away, but may leave half a line.
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path.with_extension("log"))
            .unwrap();
        let handle = move |message: &[u8]| (&log).write_all(&[b"\n", message, b"\n"].concat());
        let reader = Reader::builder(&path)
            .bind()
            .unwrap()
            .start(handle)
            .unwrap();
        Child::wait_for_end();
        let _ = reader.shutdown(PATIENCE).unwrap();
        return;
    }
    let place = Place::new();
    let log = place.socket().with_extension("log");
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    let (writer, _) = keeping_writer(&place.socket());
    let over = AtomicBool::new(false);
    let total = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                writer
                    .send_timeout(format!("message {number}"), PATIENCE)
                    .unwrap();
                number += 1;
            }
            number
        });
        let sending_ends = Over(&over);
        for _ in 0..4 {
            let mut child = Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
            let before = logged().len();
            wait_until("some have come", || logged().len() > before + 1000);
            child.kill();
        }
        let child = Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
        drop(sending_ends);
        let total = sending.join().unwrap();
        finish_with_receipts(&writer);
        child.finish();
        total
    });
    let text = logged();
    let came: BTreeSet<_> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    assert!(numbered(total).iter().all(|message| came.contains(message)));
}

#[test]
fn a_reader_that_hangs_up_without_a_receipt_is_waited_for_longer_each_time() {
    let raw = RawReader::new();
    let waits = Notes::new();
    let notes = waits.clone();
    let (writer, _) = writer_with(raw.path(), |builder| {
        let builder = keeping(builder)
            .backoff_min(Duration::from_millis(25))
            .backoff_max(Duration::from_secs(1));
        builder.on_event(move |event| {
            if let WriterEvent::Lost { retry_in, .. } = event {
                notes.add(retry_in.unwrap());
            }
        })
    });
    send_all(&writer, &numbered(20));
    // Six waits stay below the longest, where one that is drawn may be shorter than that before it.
    for round in 1..=6 {
        let mut peer = raw.meet();
        peer.wait_for_a_beginning();
        // An answer that covers nothing proves nothing.
        peer.answer(0);
        drop(peer);
        waits.wait_for_len(round);
    }
    let grown = waits.all();
    assert!(grown.is_sorted_by(|one, next| one < next), "{grown:?}");
    // A receipt makes the next try an early one.
    let mut peer = raw.meet();
    peer.wait_for(1);
    peer.answer(1);
    wait_until("it is confirmed", || confirmed(&writer) == 1);
    drop(peer);
    waits.wait_for_len(7);
    assert_eq!(waits.all()[6], Duration::from_millis(20));
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    assert_balanced_by_receipts(&writer);
}

#[test]
fn a_connection_is_told_before_its_loss_even_when_the_peer_hangs_up_at_once() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        let wait = Duration::from_micros(1);
        keeping(builder).backoff_min(wait).backoff_max(wait)
    });
    wait_until("it has connected often", || {
        // As soon as can be: the first question is to find nobody there.
        (0..10).for_each(|_| raw.turn_away());
        writer.metrics().connects > 100
    });
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    let told = events.all();
    let links = told
        .iter()
        .filter(|event| event.starts_with("Connected") || event.starts_with("Lost"));
    for (at, event) in links.enumerate() {
        assert_eq!(
            event.starts_with("Connected"),
            at % 2 == 0,
            "event {at} is {event}"
        );
    }
}

#[test]
fn a_question_that_was_not_read_is_no_message_unread() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder).keepalive(Duration::from_millis(5))
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    peer.answer(3);
    wait_for_confirmed(&writer, 3);
    // Now questions come that only keep the connection alive.
    let_pass(SHORT);
    drop(peer);
    events.wait_for("Lost");
    assert!(events.has("unread: false"), "{:?}", events.all());
    assert_eq!(writer.metrics().lost_with_unread, 0);
    finish_with_receipts(&writer);
}

// With a reader that will not have a message, or cannot keep it.

/// Sends messages of which the reader will not have one, and says how often the others came.
fn refuse_for_ever(len: usize, before: usize) {
    let place = Place::new();
    let (writer, events) = keeping_writer(&place.socket());
    let (good, bad) = (numbered(before + 5), vec![9; len]);
    send_all(&writer, &good[..before]);
    writer.try_send(bad).unwrap();
    send_all(&writer, &good[before..]);
    // All of them go to a first reader together, which tells nothing.
    let raw = RawReader::bind(&place.socket());
    raw.meet().wait_for_a_beginning();
    drop(raw);
    fs::remove_file(place.socket()).unwrap();
    let collector = Collector::start_with(&place.socket(), |builder| builder.max_message_len(1000));
    events.wait_for("GivenUp");
    finish_with_receipts(&writer);
    let metrics = writer.metrics();
    assert_eq!(
        (
            metrics.failed.given_up.messages,
            metrics.failed.given_up.bytes
        ),
        (1, len.try_into().unwrap())
    );
    assert_eq!(events.count(|event| event.starts_with("GivenUp")), 1);
    assert_eq!(
        metrics.confirmed.messages,
        u64::try_from(good.len()).unwrap()
    );
    let refusals = collector.reader.metrics().protocol_errors.too_large;
    assert_eq!(refusals, 1, "the reader says which message it refuses");
    let came: BTreeSet<_> = collector.stop().into_iter().collect();
    assert_eq!(came, good.into_iter().collect());
}

#[test]
fn a_small_message_that_the_reader_refuses_for_ever_is_given_up() {
    refuse_for_ever(1001, 0);
}

#[test]
fn a_small_message_that_is_always_refused_is_given_up_behind_others() {
    refuse_for_ever(1001, 5);
}

#[test]
fn a_large_message_that_the_reader_refuses_for_ever_is_given_up() {
    refuse_for_ever(3_000_000, 0);
}

#[test]
fn a_large_message_that_is_always_refused_is_given_up_behind_others() {
    refuse_for_ever(3_000_000, 5);
}

/// Keeps a batch only when the end of it is well, which the first few are not.
struct Store {
    /// What came on which connection since the last end of a batch.
    batches: Mutex<HashMap<u64, Vec<Vec<u8>>>>,
    kept: Notes<Vec<u8>>,
    failures_left: AtomicUsize,
}

impl Handler for Store {
    type Error = &'static str;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        self.batches
            .lock()
            .entry(peer.connection)
            .or_default()
            .push(message.to_vec());
        Ok(())
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), Self::Error> {
        let batch = self.batches.lock().remove(&peer.connection);
        let count_down = |left: usize| left.checked_sub(1);
        if self
            .failures_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down)
            .is_ok()
        {
            return Err("the disk is full");
        }
        batch
            .into_iter()
            .flatten()
            .for_each(|message| self.kept.add(message));
        Ok(())
    }
}

#[test]
fn a_message_that_planned_stops_cut_again_and_again_is_kept() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        keeping(builder)
            .send_buffer_size(4096)
            .backoff_min(Duration::from_millis(1))
            .write_timeout(PATIENCE)
    });
    writer.try_send(vec![1; 1_000_000]).unwrap();
    // All behind one listener, as of a socket of systemd's.
    for _ in 0..5 {
        let mut peer = raw.meet();
        peer.wait_for_a_piece();
        peer.stream.shutdown(Shutdown::Read).unwrap();
        peer.read_to_end();
        assert!(peer.messages.is_empty());
    }
    let mut peer = raw.meet();
    peer.wait_for_question(1);
    peer.answer(1);
    finish_with_receipts(&writer);
    assert!(peer.messages == [vec![1; 1_000_000]] && !events.has("GivenUp"));
}

#[test]
fn a_batch_comes_again_until_it_is_stored() {
    let place = Place::new();
    let kept = Notes::new();
    let failures_left = AtomicUsize::new(4);
    let store = Store {
        batches: Mutex::default(),
        kept: kept.clone(),
        failures_left,
    };
    let reader = Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start_handler(store)
        .unwrap();
    let (writer, events) = keeping_writer(&place.socket());
    send_all(&writer, &numbered(500));
    finish_with_receipts(&writer);
    let kept: BTreeSet<_> = kept.all().into_iter().collect();
    assert_eq!(kept, numbered(500).into_iter().collect());
    let metrics = writer.metrics();
    assert_eq!(
        (metrics.confirmed.messages, metrics.failed.total().messages),
        (500, 0)
    );
    assert!(metrics.resent.messages > 0 && events.has("Lost"));
    assert_eq!(reader.shutdown(PATIENCE).unwrap().metrics.handler_errors, 4);
}

#[test]
fn a_handler_slower_than_the_write_timeout_confirms_in_the_end() {
    let place = Place::new();
    let came = Notes::new();
    let notes = came.clone();
    let reader = Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start(move |message| {
            // What one read brings takes it several write timeouts.
            thread::park_timeout(Duration::from_millis(1));
            notes.add(message.to_vec());
        });
    let reader = reader.unwrap();
    let (writer, _) = writer_with(&place.socket(), |builder| {
        keeping(builder).write_timeout(SHORT)
    });
    let messages: Vec<_> = numbered(1_000)
        .into_iter()
        .map(|text| [text, vec![b'.'; 1_000]].concat())
        .collect();
    send_all(&writer, &messages);
    finish_with_receipts(&writer);
    let came: BTreeSet<_> = came.all().into_iter().collect();
    assert_eq!(came.len(), messages.len());
    drop(reader);
}

#[test]
fn what_waits_for_a_receipt_costs_little_more_than_its_bytes() {
    const NAME: &str = "at_least_once::what_waits_for_a_receipt_costs_little_more_than_its_bytes";
    const COUNT: usize = 1_200;
    if let Some(path) = Child::path() {
        let raw = RawReader::bind(&path);
        let (writer, _) = writer_with(&path, |builder| keeping(builder).write_timeout(PATIENCE));
        let mut peer = raw.meet();
        let reading = thread::spawn(move || {
            peer.wait_for_question(COUNT);
            // If it hung up, all of it would go out again.
            peer
        });
        Child::say("ready");
        for _ in 0..COUNT {
            writer.try_send("twenty bytes of text").unwrap();
            // Each is written by itself.
            writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        }
        let _peer = reading.join().unwrap();
        Child::say("written");
        Child::wait_for_end();
        finish_with_left(&writer, COUNT.try_into().unwrap());
        return;
    }
    if !cfg!(target_os = "linux") {
        return skip("only Linux tells the memory of a process like this");
    }
    let place = Place::new();
    let child = Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
    child.lines.wait_for("ready");
    // Not the pages of the program itself, which come in when they first run.
    let before = memory(child.id(), "RssAnon");
    child.lines.wait_for("written");
    let grown = memory(child.id(), "RssAnon").saturating_sub(before);
    // A message and its question are 22 bytes; the peer keeps a copy. In a block of its own each
    // would cost 4 KiB. The allocator has its share, whatever the number of messages.
    assert!(grown < COUNT, "{COUNT} messages cost {grown} KiB");
    child.finish();
}

// Beside other settings.

#[test]
fn the_oldest_that_the_peer_does_not_have_are_dropped_to_make_room() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let (writer, _) = writer_with(&place.socket(), |builder| {
        let builder = keeping(builder)
            .send_buffer_size(4096)
            .write_timeout(PATIENCE);
        builder
            .max_queued_messages(8)
            .overflow(Overflow::DropOldest)
    });
    let messages = numbered(20);
    send_all(&writer, &messages[..4]);
    let mut peer = raw.meet();
    peer.wait_for_question(4);
    // It has a part of this one, and the socket is full of it.
    let large = vec![7; 1_000_000];
    writer.try_send(large.clone()).unwrap();
    peer.wait_for_a_part();
    // Three fit, and each of the rest takes the place of one of these. What is being written at the
    // moment stays, so it may take a while.
    send_all(&writer, &messages[4..20]);
    assert_eq!(writer.metrics().dropped.oldest.messages, 13);
    assert_balanced_by_receipts(&writer);
    // What the peer had before is kept, and comes again when it is lost.
    drop(peer);
    let mut peer = raw.meet();
    peer.wait_for_question(8);
    let (kept, newest) = peer.messages.split_at(5);
    assert!(kept == [&messages[..4], &[large]].concat());
    assert!(newest.is_sorted_by_key(|message| messages.iter().position(|other| other == message)));
    assert_eq!((newest.len(), newest.last()), (3, messages.last()));
    peer.answer(8);
    finish_with_receipts(&writer);
    assert_eq!(
        (
            writer.metrics().confirmed.messages,
            writer.metrics().dropped.oldest.messages
        ),
        (8, 13)
    );
}

#[test]
fn nothing_is_dropped_to_make_room_when_the_peer_has_it_all() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        keeping(builder)
            .max_queued_messages(3)
            .overflow(Overflow::DropOldest)
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for_question(3);
    assert_eq!(
        writer.try_send("there is no room"),
        Err(SendError::Full(()))
    );
    let metrics = writer.metrics();
    assert_eq!(
        (
            metrics.dropped.oldest.messages,
            metrics.dropped.full.messages
        ),
        (0, 1)
    );
    peer.answer(3);
    finish_with_receipts(&writer);
}

#[test]
fn an_idle_connection_is_kept_alive_in_either_delivery() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let raw = RawReader::new();
        let (writer, events) = writer_with(raw.path(), |builder| {
            builder
                .delivery(delivery)
                .keepalive(Duration::from_millis(1))
                .write_timeout(PATIENCE)
        });
        let mut peer = raw.meet();
        // It may answer, or not.
        peer.wait_for_questions(5);
        peer.answer(0);
        writer.try_send("one").unwrap();
        peer.wait_for_question(1);
        let asked = peer.questions.len();
        peer.wait_for_questions(asked + 5);
        peer.answer(1);
        peer.answer(1);
        let asked = peer.questions.len();
        peer.wait_for_questions(asked + 5);
        let report = writer.shutdown(PATIENCE).unwrap();
        let confirmed = u64::from(delivery == Delivery::AtLeastOnce);
        assert_eq!(
            (report.left.messages, report.metrics.confirmed.messages),
            (0, confirmed)
        );
        assert_eq!(
            (report.metrics.sent.messages, report.metrics.connects),
            (1, 1)
        );
        assert!(!events.has("Lost"), "{:?}", events.all());
    }
}

#[test]
fn many_writers_and_threads_have_all_their_messages_confirmed() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let writers: Vec<_> = (0..3)
        .map(|_| Arc::new(keeping_writer(&place.socket()).0))
        .collect();
    thread::scope(|scope| {
        for writer in &writers {
            for _ in 0..2 {
                scope.spawn(|| {
                    send_all(writer, &numbered(2_000));
                    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
                });
            }
        }
    });
    for writer in &writers {
        finish_with_receipts(writer);
        assert_eq!(confirmed(writer), 4_000);
    }
    assert_eq!(collector.stop().len(), 12_000);
}
