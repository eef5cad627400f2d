//! The three levels of a flush, with readers that read, answer, block, die or are not there, in
//! either delivery.

use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::error::FlushError;
use uds_ipc::event::WriterEvent;
use uds_ipc::{Delivery, FlushLevel, Flushed, Overflow, SendError, Writer, WriterBuilder};

use crate::support::{
    Collector, Gate, Notes, Over, PATIENCE, Place, RawReader, SHORT, Scripted, assert_balanced,
    assert_balanced_by_receipts, finish, finish_either, finish_with_receipts, let_pass, numbered,
    returns, send_all, skip, wait_until, writer_with,
};

const DELIVERIES: [Delivery; 2] = [Delivery::AtMostOnce, Delivery::AtLeastOnce];

/// Whether the system tells what the peer has read.
const TELLS_READ: bool = cfg!(target_os = "linux");

/// The levels that it knows.
const LEVELS: &[FlushLevel] = if TELLS_READ {
    &[FlushLevel::Written, FlushLevel::Read, FlushLevel::Handled]
} else {
    &[FlushLevel::Written, FlushLevel::Handled]
};

/// Those of them that need the reader.
const BEYOND_WRITTEN: &[FlushLevel] = if TELLS_READ {
    &[FlushLevel::Read, FlushLevel::Handled]
} else {
    &[FlushLevel::Handled]
};

fn writer_of(delivery: Delivery, path: &Path) -> (Writer, Notes<String>) {
    set_writer_of(delivery, path, |builder| builder)
}

/// A reader that does what it is told to, and a writer to it.
fn raw_and_writer(delivery: Delivery) -> (RawReader, Writer, Notes<String>) {
    let raw = RawReader::new();
    let (writer, events) = writer_of(delivery, raw.path());
    (raw, writer, events)
}

fn set_writer_of(
    delivery: Delivery,
    path: &Path,
    set: impl FnOnce(WriterBuilder) -> WriterBuilder,
) -> (Writer, Notes<String>) {
    let waits = Duration::from_millis(1)..Duration::from_millis(10);
    writer_with(path, |builder| {
        set(builder
            .delivery(delivery)
            .backoff_min(waits.start)
            .backoff_max(waits.end))
    })
}

fn is_timeout<T: Copy>(flushed: Result<T, FlushError>, messages: u64) -> bool {
    matches!(flushed, Err(FlushError::Timeout { left, .. }) if left == messages)
}

/// How many losses there were in all when the level was reached.
#[track_caller]
fn reached(flushed: Result<Flushed, FlushError>) -> u64 {
    flushed.expect("the level is reached").losses
}

fn is_lost<T: Copy>(flushed: Result<T, FlushError>, total: u64) -> bool {
    matches!(flushed, Err(FlushError::Lost { losses, .. }) if losses == total)
}

/// Ends without waiting; the books balance all the same.
#[track_caller]
fn stop_either(writer: &Writer, delivery: Delivery) {
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    match delivery {
        Delivery::AtLeastOnce => assert_balanced_by_receipts(writer),
        Delivery::AtMostOnce | _ => assert_balanced(writer),
    }
}

fn lost(events: &Notes<String>) -> usize {
    events.count(|event| event.starts_with("Lost"))
}

#[test]
fn each_level_is_reached_with_a_reader() {
    for delivery in DELIVERIES {
        for level in LEVELS {
            let place = Place::new();
            let collector = Collector::start(&place.socket());
            let (writer, _) = writer_of(delivery, &place.socket());
            for round in 1..=3 {
                send_all(&writer, &numbered(1_000));
                writer.flush(*level, PATIENCE).unwrap();
                assert_eq!(writer.metrics().sent.messages, 1_000 * round);
                if *level == FlushLevel::Handled {
                    assert_eq!(
                        u64::try_from(collector.messages.len()).unwrap(),
                        1_000 * round
                    );
                }
                // What is reached stays reached.
                writer.flush(*level, Duration::ZERO).unwrap();
            }
            finish_either(&writer, delivery);
            assert_eq!(collector.stop().len(), 3_000);
        }
    }
}

#[test]
fn handled_is_confirmed_where_receipts_are_kept() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer_of(Delivery::AtLeastOnce, &place.socket());
    send_all(&writer, &numbered(1_000));
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(
        (
            writer.metrics().confirmed.messages,
            writer.metrics().queued.messages
        ),
        (1_000, 0)
    );
    finish_with_receipts(&writer);
    collector.stop();
}

#[test]
fn read_waits_until_the_peer_has_taken_the_last_byte() {
    if !TELLS_READ {
        return skip("only Linux tells what was read");
    }
    for delivery in DELIVERIES {
        let (raw, writer, _) = raw_and_writer(delivery);
        send_all(&writer, &numbered(3));
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        let mut peer = raw.meet();
        assert!(is_timeout(writer.flush(FlushLevel::Read, SHORT), 3));
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(FlushLevel::Read, PATIENCE));
            peer.wait_for(3);
            if delivery == Delivery::AtLeastOnce {
                peer.wait_for_question(3);
            }
            flushing.join().unwrap().unwrap();
        });
        stop_either(&writer, delivery);
    }
}

#[test]
fn what_the_peer_has_read_is_not_left() {
    if !TELLS_READ {
        return skip("only Linux tells what was read");
    }
    for delivery in DELIVERIES {
        let (raw, writer, _) = raw_and_writer(delivery);
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        peer.wait_for(3);
        writer.flush(FlushLevel::Read, PATIENCE).unwrap();
        send_all(&writer, &numbered(1));
        let flushed = writer.flush(FlushLevel::Read, SHORT);
        assert!(is_timeout(flushed, 1), "{delivery:?}: {flushed:?}");
        stop_either(&writer, delivery);
    }
}

#[test]
fn what_a_peer_throws_away_when_it_closes_was_not_read() {
    if !TELLS_READ {
        return skip("only Linux tells what was read");
    }
    let raw = RawReader::new();
    let (silence, gate) = (Notes::new(), Gate::new());
    let (writer, _) = set_writer_of(Delivery::AtLeastOnce, raw.path(), |builder| {
        let (silence, gate) = (silence.clone(), gate.clone());
        builder.write_timeout(SHORT).on_event(move |event| {
            if matches!(event, WriterEvent::NoReceipt { .. }) {
                silence.add(());
                gate.pass();
            }
        })
    });
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    // The observer holds the thread up, so that it next looks at the connection when it writes.
    silence.wait_for_len(1);
    thread::scope(|scope| {
        let flushing = scope.spawn(|| writer.flush(FlushLevel::Read, PATIENCE));
        let_pass(SHORT);
        send_all(&writer, &numbered(1));
        // An answer, for which there is still something to hear from it.
        peer.answer(0);
        drop(peer);
        gate.open();
        let mut peer = raw.meet();
        let_pass(SHORT);
        assert!(!flushing.is_finished(), "nobody has read anything");
        peer.wait_for_question(4);
        assert_eq!(reached(flushing.join().unwrap()), 0);
        peer.answer(4);
        finish_with_receipts(&writer);
    });
}

#[test]
fn read_needs_no_receipt_and_asks_for_none() {
    if !TELLS_READ {
        return skip("only Linux tells what was read");
    }
    let (raw, writer, _) = raw_and_writer(Delivery::AtMostOnce);
    send_all(&writer, &numbered(3));
    let mut peer = raw.meet();
    peer.wait_for(3);
    writer.flush(FlushLevel::Read, PATIENCE).unwrap();
    finish(&writer);
    peer.read_to_end();
    assert!(peer.questions.is_empty(), "{:?}", peer.questions);
}

#[test]
fn handled_waits_for_a_handler_that_blocks() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let reader = Scripted::start(&place.socket());
        let (writer, _) = writer_of(delivery, &place.socket());
        writer.try_send("block").unwrap();
        writer.try_send("behind it").unwrap();
        reader.wait_for("block", 1);
        assert!(is_timeout(writer.flush(FlushLevel::Handled, SHORT), 2));
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(FlushLevel::Handled, PATIENCE));
            reader.gate.open();
            flushing.join().unwrap().unwrap();
        });
        assert_eq!(reader.count("behind it"), 1);
        finish_either(&writer, delivery);
    }
}

#[test]
fn each_level_is_reached_while_another_thread_goes_on_sending() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let reader = Scripted::start(&place.socket());
        let (writer, _) = writer_of(delivery, &place.socket());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    writer.send_timeout("of the stream", PATIENCE).unwrap();
                }
            });
            let _over = Over(&over);
            reader.wait_for("of the stream", 1_000);
            for round in 0..10 {
                for level in LEVELS {
                    let mine = format!("mine {round} {level:?}");
                    writer.send_timeout(&mine, PATIENCE).unwrap();
                    writer.flush(*level, PATIENCE).unwrap();
                    assert!(*level != FlushLevel::Handled || reader.count(&mine) == 1);
                }
            }
        });
        finish_either(&writer, delivery);
    }
}

#[test]
fn a_peer_that_never_answers_is_waited_for_until_the_time_is_over() {
    for delivery in DELIVERIES {
        let raw = RawReader::new();
        let (writer, events) =
            set_writer_of(delivery, raw.path(), |builder| builder.write_timeout(SHORT));
        send_all(&writer, &numbered(5));
        let mut peer = raw.meet();
        peer.wait_for(5);
        for _ in 0..3 {
            assert!(is_timeout(writer.flush(FlushLevel::Handled, SHORT), 5));
        }
        peer.wait_for_question(5);
        peer.stream.shutdown(Shutdown::Write).unwrap();
        assert!(
            is_timeout(writer.flush(FlushLevel::Handled, SHORT), 5),
            "and one that cannot answer"
        );
        writer.flush(FlushLevel::Written, Duration::ZERO).unwrap();
        assert_eq!(lost(&events), 0, "{:?}", events.all());
        stop_either(&writer, delivery);
    }
}

#[test]
fn a_late_answer_is_for_the_next_flush() {
    for delivery in DELIVERIES {
        let (raw, writer, _) = raw_and_writer(delivery);
        send_all(&writer, &numbered(5));
        let mut peer = raw.meet();
        peer.wait_for(5);
        assert!(is_timeout(writer.flush(FlushLevel::Handled, SHORT), 5));
        peer.wait_for_question(5);
        peer.answer(3);
        wait_until("two are left", || {
            is_timeout(writer.flush(FlushLevel::Handled, Duration::ZERO), 2)
        });
        peer.answer(5);
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        finish_either(&writer, delivery);
    }
}

#[test]
fn without_receipts_each_flush_counts_the_losses_before_it() {
    for level in BEYOND_WRITTEN {
        let (raw, writer, events) = raw_and_writer(Delivery::AtMostOnce);
        for round in 1..=2 {
            send_all(&writer, &numbered(3));
            let peer = raw.meet();
            writer.flush(FlushLevel::Written, PATIENCE).unwrap();
            // It leaves them unread and unanswered.
            drop(peer);
            wait_until("the loss is told", || {
                u64::try_from(lost(&events)).unwrap() == round
            });
            for _ in 0..2 {
                let losses = reached(writer.flush(*level, PATIENCE));
                assert_eq!(losses, round, "{level:?}");
            }
            assert_eq!(reached(writer.flush(FlushLevel::Written, PATIENCE)), 0);
        }
        // The next connection is as good as any.
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        peer.wait_for(3);
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(*level, PATIENCE));
            if *level == FlushLevel::Handled {
                peer.wait_for_question(3);
                peer.answer(3);
            }
            assert_eq!(reached(flushing.join().unwrap()), 2);
        });
        finish(&writer);
    }
}

#[test]
fn without_receipts_a_loss_during_the_flush_is_told() {
    for level in BEYOND_WRITTEN {
        let (raw, writer, _) = raw_and_writer(Delivery::AtMostOnce);
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(*level, PATIENCE));
            if *level == FlushLevel::Handled {
                peer.wait_for_question(3);
                peer.answer(2);
            }
            drop(peer);
            let flushed = flushing.join().unwrap();
            // Nothing shows that a call for what is read has begun: then the loss came before it.
            let may_be_late = *level == FlushLevel::Read && flushed.is_ok();
            assert!(may_be_late || is_lost(flushed, 1), "{level:?}: {flushed:?}");
        });
        let losses = reached(writer.flush(*level, Duration::ZERO));
        assert_eq!(losses, 1, "{level:?}");
        finish(&writer);
    }
}

#[test]
fn without_receipts_a_false_one_ends_the_connection_and_repeats_nothing() {
    for (lie, told) in [
        (&[9][..], "BadReceipt(TooHigh { count: 9, written: 3 })"),
        (&[0], "BadReceipt(Fell { count: 0, before: 1 })"),
        (&[0x80; 10], "BadReceipt(Invalid)"),
    ] {
        let (raw, writer, events) = raw_and_writer(Delivery::AtMostOnce);
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(FlushLevel::Handled, PATIENCE));
            peer.wait_for_question(3);
            peer.answer(1);
            peer.say(lie);
            assert!(is_lost(flushing.join().unwrap(), 1), "{told}");
        });
        events.wait_for(told);
        peer.read_to_end();
        assert_eq!(peer.messages, numbered(3));
        writer.try_send("message 3").unwrap();
        let mut peer = raw.meet();
        peer.wait_for(1);
        finish(&writer);
        peer.read_to_end();
        assert_eq!(peer.messages, [b"message 3"]);
        let metrics = writer.metrics();
        assert_eq!(
            (
                metrics.connects,
                metrics.sent.messages,
                metrics.resent.messages
            ),
            (2, 4, 0)
        );
        assert_eq!(lost(&events), 1, "{:?}", events.all());
    }
}

#[test]
fn a_loss_of_what_is_sent_again_whole_is_no_failure() {
    for level in BEYOND_WRITTEN {
        let raw = RawReader::new();
        let (writer, events) = set_writer_of(Delivery::AtMostOnce, raw.path(), |builder| {
            builder.send_buffer_size(4096)
        });
        let message = vec![7; 1_000_000];
        writer.try_send(message.clone()).unwrap();
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(*level, PATIENCE));
            let mut peer = raw.meet();
            peer.wait_for_a_part();
            peer.stream.shutdown(Shutdown::Read).unwrap();
            peer.read_to_end();
            drop(peer);
            wait_until("the loss is told", || lost(&events) == 1);
            let mut peer = raw.meet();
            peer.wait_for(1);
            assert!(peer.messages[0] == message);
            if *level == FlushLevel::Handled {
                peer.wait_for_question(1);
                peer.answer(1);
            }
            assert_eq!(reached(flushing.join().unwrap()), 0, "{level:?}");
        });
        finish(&writer);
    }
}

#[test]
fn with_receipts_a_loss_is_made_good_on_the_next_connection() {
    for level in BEYOND_WRITTEN {
        let (raw, writer, _) = raw_and_writer(Delivery::AtLeastOnce);
        send_all(&writer, &numbered(3));
        let peer = raw.meet();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(*level, PATIENCE));
            drop(peer);
            let mut peer = raw.meet();
            peer.wait_for_question(3);
            assert_eq!(peer.messages, numbered(3));
            if *level == FlushLevel::Handled {
                peer.answer(3);
            }
            assert_eq!(reached(flushing.join().unwrap()), 0, "{level:?}");
            peer.answer(3);
            finish_with_receipts(&writer);
        });
    }
}

#[test]
fn a_reader_that_stops_as_planned_makes_no_flush_fail() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let reader = Scripted::start(&place.socket());
        let (writer, _) = set_writer_of(delivery, &place.socket(), |builder| {
            builder.write_timeout(PATIENCE)
        });
        send_all(&writer, &[b"block".to_vec(), b"behind it".to_vec()]);
        reader.wait_for("block", 1);
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        let writes = writer.metrics().writes;
        thread::scope(|scope| {
            let flushing = scope.spawn(|| writer.flush(FlushLevel::Handled, PATIENCE));
            // At most once it asks only now, which must come before the stop.
            let has_asked =
                || delivery == Delivery::AtLeastOnce || writer.metrics().writes > writes;
            wait_until("it has asked", has_asked);
            let stopping = scope.spawn(|| reader.reader.shutdown(PATIENCE).unwrap());
            wait_until("it stops", || {
                std::os::unix::net::UnixStream::connect(place.socket()).is_err()
            });
            reader.gate.open();
            assert_eq!(stopping.join().unwrap().cut, 0);
            assert_eq!(reached(flushing.join().unwrap()), 0, "{delivery:?}");
        });
        assert_eq!(reader.count("behind it"), 1);
        finish_either(&writer, delivery);
    }
}

#[test]
fn a_message_that_was_dropped_to_make_room_is_not_waited_for() {
    for delivery in DELIVERIES {
        for level in LEVELS {
            let place = Place::new();
            let (writer, _) = set_writer_of(delivery, &place.socket(), |builder| {
                builder
                    .max_queued_messages(2)
                    .overflow(Overflow::DropOldest)
            });
            send_all(&writer, &numbered(2));
            thread::scope(|scope| {
                let flushing = scope.spawn(|| writer.flush(*level, PATIENCE));
                // Both are gone; those in their place are not meant by the first flush, if that
                // came first.
                send_all(&writer, &numbered(2));
                let collector = Collector::start(&place.socket());
                assert_eq!(reached(flushing.join().unwrap()), 0);
                assert_eq!(reached(writer.flush(*level, PATIENCE)), 0);
                finish_either(&writer, delivery);
                assert_eq!(collector.stop(), numbered(2));
            });
        }
    }
}

#[test]
fn a_message_that_was_given_up_is_not_waited_for() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let collector =
            Collector::start_with(&place.socket(), |builder| builder.max_message_len(1000));
        let (writer, events) = writer_of(delivery, &place.socket());
        writer.try_send(vec![1; 1_000_000]).unwrap();
        assert_eq!(reached(writer.flush(FlushLevel::Handled, PATIENCE)), 0);
        events.wait_for("GivenUp");
        finish_either(&writer, delivery);
        assert!(collector.stop().is_empty());
    }
}

#[test]
fn before_any_connection_nothing_is_reached() {
    for delivery in DELIVERIES {
        for level in LEVELS {
            let place = Place::new();
            let (writer, _) = writer_of(delivery, &place.socket());
            send_all(&writer, &numbered(7));
            assert!(is_timeout(writer.flush(*level, SHORT), 7), "{level:?}");
            assert!(
                is_timeout(writer.flush(*level, Duration::ZERO), 7),
                "{level:?}"
            );
            let collector = Collector::start(&place.socket());
            writer.flush(*level, PATIENCE).unwrap();
            finish_either(&writer, delivery);
            assert_eq!(collector.stop(), numbered(7));
        }
    }
}

#[test]
fn a_writer_with_nothing_to_send_is_flushed_at_once() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let (writer, events) = writer_of(delivery, &place.socket());
        let flush_all = |when: &str| {
            for level in LEVELS {
                let losses = reached(writer.flush(*level, Duration::ZERO));
                assert_eq!(losses, 0, "{level:?} {when}");
            }
        };
        flush_all("before the first connection");
        let raw = RawReader::bind(&place.socket());
        let peer = raw.meet();
        events.wait_for("Connected");
        flush_all("with a connection");
        drop(peer);
        events.wait_for("Lost");
        flush_all("when the peer is gone");
        drop(raw);
        std::fs::remove_file(place.socket()).unwrap();
        let collector = Collector::start(&place.socket());
        send_all(&writer, &numbered(10));
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        flush_all("when all is handled");
        let losses = lost(&events);
        assert_eq!(collector.stop(), numbered(10));
        wait_until("the loss is told", || lost(&events) > losses);
        flush_all("when the reader has stopped");
        finish_either(&writer, delivery);
        flush_all("after the shutdown");
    }
}

#[test]
fn a_shutdown_ends_a_flush_and_says_what_was_left() {
    for delivery in DELIVERIES {
        for level in LEVELS {
            let place = Place::new();
            let (writer, _) = writer_of(delivery, &place.socket());
            send_all(&writer, &numbered(3));
            thread::scope(|scope| {
                let flushing = scope.spawn(|| writer.flush(*level, Duration::MAX));
                let report = writer.shutdown(SHORT).unwrap();
                assert_eq!(report.left.messages, 3);
                assert!(
                    matches!(
                        flushing.join().unwrap(),
                        Err(FlushError::Stopped { left: 3, .. })
                    ),
                    "{level:?}"
                );
            });
            stop_either(&writer, delivery);
        }
    }
}

#[test]
fn a_shutdown_that_waits_for_the_receipts_lets_a_flush_reach_its_end() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let (writer, _) = writer_of(Delivery::AtLeastOnce, &place.socket());
    send_all(&writer, &[b"block".to_vec(), b"behind it".to_vec()]);
    reader.wait_for("block", 1);
    thread::scope(|scope| {
        let flushing: Vec<_> = LEVELS
            .iter()
            .map(|level| scope.spawn(|| writer.flush(*level, PATIENCE)))
            .collect();
        let stopping = scope.spawn(|| writer.shutdown(PATIENCE).unwrap());
        wait_until("the shutdown has begun", || {
            matches!(writer.try_send(""), Err(SendError::Closed(())))
        });
        reader.gate.open();
        assert_eq!(stopping.join().unwrap().left.messages, 0);
        for flushing in flushing {
            assert_eq!(reached(flushing.join().unwrap()), 0);
        }
    });
    assert_balanced_by_receipts(&writer);
}

#[test]
fn flush_inside_the_observer_is_an_error_at_every_level() {
    let place = Place::new();
    let later = Arc::new(Mutex::new(None::<Arc<Writer>>));
    let (inside, results) = (Arc::clone(&later), Notes::new());
    let notes = results.clone();
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.on_event(move |_| {
            let writer = inside.lock().clone();
            if let Some(writer) = writer {
                for level in LEVELS {
                    notes.add(writer.flush(*level, PATIENCE));
                }
            }
        })
    });
    *later.lock() = Some(Arc::new(writer));
    let raw = RawReader::bind(&place.socket());
    drop(raw.meet());
    results.wait_for_len(LEVELS.len());
    assert!(
        results
            .all()
            .iter()
            .all(|result| *result == Err(FlushError::InCallback)),
        "{:?}",
        results.all()
    );
    let writer = later.lock().take().unwrap();
    let _ = returns("a shutdown from outside", move || writer.shutdown(SHORT));
}

#[test]
fn flushes_of_several_threads_at_several_levels_all_return() {
    for delivery in DELIVERIES {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let (writer, _) = writer_of(delivery, &place.socket());
        thread::scope(|scope| {
            for level in LEVELS.iter().chain(LEVELS) {
                let (writer, collector) = (&writer, &collector);
                scope.spawn(move || {
                    for round in 0..50 {
                        let mine = format!("{:?} {round}", thread::current().id()).into_bytes();
                        writer.send_timeout(&mine, PATIENCE).unwrap();
                        writer.flush(*level, PATIENCE).unwrap();
                        let has_come = || collector.messages.count(|message| *message == mine) == 1;
                        assert!(*level != FlushLevel::Handled || has_come());
                    }
                });
            }
        });
        finish_either(&writer, delivery);
        assert_eq!(collector.stop().len(), 2 * 50 * LEVELS.len());
    }
}

#[test]
fn flushes_of_several_threads_all_hear_of_a_loss_that_they_waited_through() {
    for level in BEYOND_WRITTEN {
        let (raw, writer, _) = raw_and_writer(Delivery::AtMostOnce);
        send_all(&writer, &numbered(3));
        let mut peer = raw.meet();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        thread::scope(|scope| {
            let patient = scope.spawn(|| writer.flush(*level, PATIENCE));
            let hasty: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| writer.flush(*level, SHORT)))
                .collect();
            for flushing in hasty {
                assert!(is_timeout(flushing.join().unwrap(), 3));
            }
            if *level == FlushLevel::Handled {
                peer.wait_for_question(3);
            }
            drop(peer);
            let flushed = patient.join().unwrap();
            let may_be_late = *level == FlushLevel::Read && flushed.is_ok();
            assert!(may_be_late || is_lost(flushed, 1), "{level:?}: {flushed:?}");
        });
        finish(&writer);
    }
}

// The level of a shutdown.

fn writer_that_ends_at(level: FlushLevel, path: &Path) -> (Writer, Notes<String>) {
    set_writer_of(Delivery::AtMostOnce, path, |builder| {
        builder.shutdown_level(level)
    })
}

#[test]
fn a_shutdown_waits_for_the_level_that_the_writer_was_built_with() {
    for level in LEVELS {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let (writer, _) = writer_that_ends_at(*level, &place.socket());
        send_all(&writer, &numbered(1_000));
        let report = writer.shutdown(PATIENCE).unwrap();
        assert_eq!(
            (report.reached(), report.left.messages),
            (Ok(()), 0),
            "{level:?}"
        );
        if *level == FlushLevel::Handled {
            assert_eq!(collector.messages.len(), 1_000);
        }
        assert!(matches!(
            writer.try_send("late"),
            Err(SendError::Closed(()))
        ));
        assert_eq!(
            writer.shutdown(Duration::ZERO).unwrap().reached(),
            Ok(()),
            "a second call says the same"
        );
        assert_balanced(&writer);
        collector.stop();
    }
}

#[test]
fn a_shutdown_says_what_is_not_known_to_have_reached_its_level() {
    for level in BEYOND_WRITTEN {
        let raw = RawReader::new();
        let (writer, _) = writer_that_ends_at(*level, raw.path());
        send_all(&writer, &numbered(3));
        let peer = raw.accept();
        let report = writer.shutdown(SHORT).unwrap();
        assert!(
            is_timeout(report.reached(), 3),
            "{level:?}: nobody has read them: {report:?}"
        );
        assert_eq!(
            (report.left.messages, report.metrics.sent.messages),
            (0, 3),
            "all were sent"
        );
        drop(peer);

        let (writer, events) = writer_that_ends_at(*level, raw.path());
        send_all(&writer, &numbered(3));
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        drop(raw.accept());
        events.wait_for("Lost");
        let report = writer.shutdown(PATIENCE).unwrap();
        assert!(is_lost(report.reached(), 1), "{level:?}");
        assert_eq!(report.left.messages, 0);
        assert_eq!(
            writer.shutdown(PATIENCE).unwrap().reached(),
            report.reached(),
            "all calls hear the same"
        );
        assert_balanced(&writer);
    }
}

#[test]
fn a_shutdown_that_has_messages_left_did_not_reach_its_level() {
    for level in LEVELS {
        let place = Place::new();
        let (writer, _) = writer_that_ends_at(*level, &place.socket());
        send_all(&writer, &numbered(3));
        let report = writer.shutdown(SHORT).unwrap();
        assert_eq!(report.left.messages, 3);
        assert!(
            matches!(report.reached(), Err(FlushError::Stopped { left: 3, .. })),
            "{level:?}: {report:?}"
        );
    }
}

#[test]
fn an_impatient_second_shutdown_ends_a_first_one_that_waits_for_its_level() {
    for level in BEYOND_WRITTEN {
        let raw = RawReader::new();
        let (writer, _) = writer_that_ends_at(*level, raw.path());
        send_all(&writer, &numbered(3));
        let _peer = raw.accept();
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| writer.shutdown(Duration::MAX).unwrap());
            wait_until("the first call refuses messages", || {
                matches!(writer.try_send(""), Err(SendError::Closed(())))
            });
            let _ = writer.shutdown(Duration::ZERO).unwrap();
            let report = first.join().unwrap();
            assert_eq!(
                (report.left.messages, report.reached().is_err()),
                (0, true),
                "{level:?}"
            );
        });
    }
}

#[test]
fn a_level_that_the_system_does_not_tell_is_an_error_at_the_start() {
    let place = Place::new();
    let started = Writer::builder(place.socket())
        .shutdown_level(FlushLevel::Read)
        .start();
    assert_eq!(started.is_ok(), TELLS_READ);
}
