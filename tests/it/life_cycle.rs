//! Life cycle of the writer: flush, shutdown and drop, in every state, twice, from anywhere.

use std::io::Read;
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uds_ipc::error::{FlushError, ShutdownError};
use uds_ipc::{FlushLevel, SendError, Writer, WriterBuilder};

use crate::shared::LEEWAY;
use crate::support::{
    Collector, Notes, PATIENCE, Place, RawReader, SHORT, assert_balanced, finish, numbered,
    read_messages, returns, unframe, wait_until, writer, writer_with,
};

/// Whether a shutdown has begun: asked without sending anything.
fn is_closing(writer: &Writer) -> bool {
    matches!(writer.try_send(""), Err(SendError::Closed(())))
}

#[test]
fn flush_returns_once_all_before_it_is_written() {
    let raw = RawReader::new();
    let (writer, _) = writer(raw.path());
    for message in numbered(1_000) {
        writer.try_send(message).unwrap();
    }
    let mut stream = raw.accept();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    assert_eq!(writer.metrics().sent.messages, 1_000);
    writer.flush(FlushLevel::Written, Duration::ZERO).unwrap();
    drop(writer);
    assert_eq!(read_messages(&mut stream, 1_000), numbered(1_000));
}

#[test]
fn flush_says_how_many_were_not_there_in_time() {
    let place = Place::new();
    let (writer, _) = writer(&place.socket());
    for message in numbered(7) {
        writer.try_send(message).unwrap();
    }
    assert_eq!(
        writer
            .flush(FlushLevel::Written, SHORT)
            .unwrap_err()
            .to_string(),
        "the time was over, and 7 messages were not there yet"
    );
    assert!(matches!(
        writer.flush(FlushLevel::Written, Duration::ZERO),
        Err(FlushError::Timeout { left: 7, .. })
    ));
    let collector = Collector::start(&place.socket());
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    finish(&writer);
    collector.stop();
}

#[test]
fn a_shutdown_ends_a_flush_that_waits_for_nobody() {
    let place = Place::new();
    let (writer, _) = writer(&place.socket());
    writer.try_send("one").unwrap();
    let writer = Arc::new(writer);
    let flushing = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.flush(FlushLevel::Written, Duration::MAX))
    };
    let _ = writer.shutdown(SHORT).unwrap();
    assert!(matches!(
        flushing.join().unwrap(),
        Err(FlushError::Stopped { left: 1, .. })
    ));
    assert!(matches!(
        writer.flush(FlushLevel::Written, PATIENCE),
        Err(FlushError::Stopped { left: 1, .. })
    ));
}

#[test]
fn a_shutdown_while_the_reader_is_away_reconnects_and_drains() {
    let place = Place::new();
    let (writer, events) = writer(&place.socket());
    for message in numbered(9_000) {
        writer.try_send(message).unwrap();
    }
    events.wait_for("ConnectFailed");
    let writer = Arc::new(writer);
    let stopping = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.shutdown(PATIENCE).unwrap())
    };
    wait_until("the shutdown has begun", || is_closing(&writer));
    let collector = Collector::start(&place.socket());
    assert_eq!(stopping.join().unwrap().left.messages, 0);
    assert_eq!(collector.stop(), numbered(9_000));
    assert_eq!(
        events.count(|event| event.starts_with("ConnectFailed")),
        1,
        "one event a transition"
    );
    assert_balanced(&writer);
}

#[test]
fn a_shutdown_waits_for_a_reader_that_drains_slowly() {
    let raw = RawReader::new();
    let (writer, _) = writer_with(raw.path(), |builder| {
        builder.send_buffer_size(4096).write_timeout(PATIENCE)
    });
    let mut stream = raw.accept();
    let messages: Vec<_> = (0..2_000)
        .map(|number| format!("{number:100}").into_bytes())
        .collect();
    for message in &messages {
        writer.try_send(message).unwrap();
    }
    thread::scope(|scope| {
        let stopping = scope.spawn(|| writer.shutdown(PATIENCE).unwrap());
        let mut bytes = vec![0; 2_000 * 101];
        for (number, part) in bytes.chunks_mut(2_020).enumerate() {
            // Half of it is more than the kernel holds.
            assert!(
                number > 50 || !stopping.is_finished(),
                "it waits after {number} parts"
            );
            thread::park_timeout(Duration::from_millis(1));
            stream.read_exact(part).unwrap();
        }
        assert_eq!(stopping.join().unwrap().left.messages, 0);
        assert_eq!(unframe(&bytes), (messages, Vec::new()));
    });
    assert_balanced(&writer);
}

#[test]
fn a_shutdown_keeps_its_timeout_whatever_the_reader_does() {
    let place = Place::new();
    // Nobody; one that never accepts; one that never reads.
    let never_accepts = RawReader::bind(&place.path("never accepts"));
    let never_reads = RawReader::bind(&place.path("never reads"));
    for name in ["nobody", "never accepts", "never reads"] {
        let (writer, _) = writer_with(&place.path(name), |builder| {
            builder
                .send_buffer_size(4096)
                .write_timeout(PATIENCE)
                .connect_timeout(PATIENCE)
        });
        let stream = (name == "never reads").then(|| never_reads.accept());
        for _ in 0..100 {
            writer.try_send(vec![1; 100_000]).unwrap();
        }
        let (report, took) = returns(name, move || {
            let start = Instant::now();
            (writer.shutdown(SHORT).unwrap(), start.elapsed())
        });
        assert!(
            (SHORT..SHORT + LEEWAY).contains(&took),
            "{name}: it took {took:?}"
        );
        assert!(report.left.messages > 90, "{name}: {report:?}");
        assert_eq!(report.metrics.failed.left, report.left);
        drop(stream);
    }
    drop(never_accepts);
}

#[test]
fn shutdowns_from_several_threads_and_again_all_tell_the_same_end() {
    let place = Place::new();
    let (writer, events) = writer(&place.socket());
    for message in numbered(50) {
        writer.try_send(message).unwrap();
    }
    let reports: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| writer.shutdown(SHORT).unwrap().left))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        reports.iter().all(|left| left.messages == 50),
        "{reports:?}"
    );
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 50);
    assert_eq!(events.count(|event| event.starts_with("Stopped")), 1);
}

#[test]
fn a_second_shutdown_can_bring_the_end_nearer() {
    let place = Place::new();
    let (writer, _) = writer(&place.socket());
    writer.try_send("one").unwrap();
    let writer = Arc::new(writer);
    let patient = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.shutdown(Duration::MAX).unwrap())
    };
    wait_until("the first has begun", || is_closing(&writer));
    assert_eq!(writer.shutdown(SHORT).unwrap().left.messages, 1);
    assert_eq!(
        returns("the patient one", move || patient.join().unwrap())
            .left
            .messages,
        1
    );
}

#[test]
fn a_writer_without_work_stops_at_once_and_leaves_no_thread() {
    let raw = RawReader::new();
    let (writer, events) = writer(raw.path());
    let mut stream = raw.accept();
    events.wait_for("Connected");
    let report = returns("a shutdown with nothing to do", move || {
        writer.shutdown(Duration::MAX).unwrap()
    });
    assert!(!report.metrics.connected);
    assert!(crate::support::is_closed(&mut stream));
    // The observer is gone, and so is the thread that held it.
    assert!(events.has("Stopped"));
}

#[test]
fn a_drop_sends_what_is_queued() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    for _ in 0..20 {
        let (writer, _) = writer(&place.socket());
        writer.try_send("last words").unwrap();
    }
    assert_eq!(collector.stop().len(), 20);
}

#[test]
fn a_drop_during_a_panic_is_short_and_silent() {
    let place = Place::new();
    let socket = place.socket();
    let dropping = thread::spawn(move || {
        let writer = Writer::start(socket).unwrap();
        writer.try_send("nobody reads this").unwrap();
        panic::resume_unwind(Box::new("on purpose"));
    });
    wait_until("the drop returns", || dropping.is_finished());
    assert_eq!(
        dropping.join().unwrap_err().downcast_ref(),
        Some(&"on purpose")
    );
}

#[test]
fn a_drop_at_the_end_of_a_thread_that_keeps_it_in_a_local_works() {
    thread_local! {
        static WRITER: Mutex<Option<Writer>> = const { Mutex::new(None) };
    }
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let socket = place.socket();
    thread::spawn(move || {
        let writer = Writer::start(socket).unwrap();
        writer.try_send("from a thread's local").unwrap();
        WRITER.with(|place| *place.lock() = Some(writer));
    })
    .join()
    .unwrap();
    assert_eq!(collector.stop().len(), 1);
}

/// What the observer is to use, once it is there.
type Later = Arc<Mutex<Option<Arc<Writer>>>>;

fn writer_in_its_observer(
    place: &Place,
    set: impl FnOnce(WriterBuilder) -> WriterBuilder,
    act: impl Fn(&Writer) + Send + Sync + 'static,
) -> Arc<Writer> {
    let later = Later::default();
    let inside = Arc::clone(&later);
    let (writer, _) = writer_with(&place.socket(), |builder| {
        set(builder.on_event(move |_| {
            let writer = inside.lock().clone();
            if let Some(writer) = writer {
                act(&writer);
            }
        }))
    });
    let writer = Arc::new(writer);
    *later.lock() = Some(Arc::clone(&writer));
    // From here on only the test holds it for good.
    writer
}

#[test]
fn calls_from_inside_the_observer_are_errors_not_deadlocks() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let results = Notes::new();
    let notes = results.clone();
    let writer = writer_in_its_observer(
        &place,
        |builder| builder.max_queued_messages(1),
        move |writer| {
            let sent = writer.try_send("from inside").is_ok();
            // With the queue full it would wait for the thread that it runs on.
            let waited = writer.send_timeout("from inside", Duration::MAX).is_ok();
            notes.add((
                sent,
                waited,
                writer.flush(FlushLevel::Written, PATIENCE),
                writer.shutdown(PATIENCE).map(|_| ()),
            ));
        },
    );
    drop(raw.accept());
    results.wait_for_len(1);
    let (_, _, flushed, stopped) = results.all()[0];
    assert_eq!(
        (flushed, stopped),
        (Err(FlushError::InCallback), Err(ShutdownError::InCallback))
    );
    let _ = returns("a shutdown from outside", move || writer.shutdown(SHORT));
}

#[test]
fn a_panicking_observer_is_survived_and_counted() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let writer = Writer::builder(place.socket())
        .on_event(|_| panic::resume_unwind(Box::new("on purpose")))
        .start()
        .unwrap();
    writer.try_send("one").unwrap();
    finish(&writer);
    assert_eq!(collector.stop().len(), 1);
    assert_eq!(
        writer.metrics().observer_panics,
        3 + u64::from(cfg!(crash_proof_by_default)),
        "connecting, connected, stopped; or that nothing can outlive both ends"
    );
}

#[test]
fn an_observer_that_never_returns_does_not_hold_up_shutdown_beyond_its_timeout() {
    let place = Place::new();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let waiting = Arc::clone(&gate);
    let reached = Notes::new();
    let notes = reached.clone();
    let writer = Writer::builder(place.socket())
        .on_event(move |_| {
            notes.add(());
            drop(waiting.lock());
        })
        .start()
        .unwrap();
    writer.try_send("one").unwrap();
    reached.wait_for_len(1);
    let report = thread::scope(|scope| {
        scope
            .spawn(|| writer.shutdown(SHORT).unwrap())
            .join()
            .unwrap()
    });
    assert_eq!(report.left.messages, 1);
    assert_balanced(&writer);
    drop(closed);
    drop(writer);
}

/// Something of the user's that takes its time to go.
struct SlowToDrop(Arc<Mutex<()>>);

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        drop(self.0.lock());
    }
}

#[test]
fn what_a_callback_holds_does_not_hold_up_shutdown_when_dropped() {
    let place = Place::new();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let (held, also_held) = (SlowToDrop(Arc::clone(&gate)), SlowToDrop(Arc::clone(&gate)));
    let reader = uds_ipc::Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start(move |_| {
            let _ = &held;
        })
        .unwrap();
    let writer = Writer::builder(place.socket())
        .on_event(move |_| {
            let _ = &also_held;
        })
        .start()
        .unwrap();
    writer.try_send("one").unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    let writer = Arc::new(writer);
    let reader = Arc::new(reader);
    let (stopping, also_stopping) = (Arc::clone(&writer), Arc::clone(&reader));
    assert_eq!(
        returns("the writer's shutdown", move || stopping
            .shutdown(SHORT)
            .unwrap()
            .left
            .messages),
        0
    );
    returns("the reader's shutdown", move || {
        also_stopping.shutdown(SHORT).map(drop)
    })
    .unwrap();
    assert_eq!(reader.metrics().received.messages, 1);
    drop(closed);
}

#[test]
fn the_last_reference_may_be_dropped_inside_the_observer() {
    let raw = RawReader::new();
    let later = Later::default();
    let inside = Arc::clone(&later);
    let dropped = Notes::new();
    let notes = dropped.clone();
    let (writer, _) = writer_with(raw.path(), |builder| {
        builder.on_event(move |event| {
            if matches!(event, uds_ipc::event::WriterEvent::Lost { .. }) {
                drop(inside.lock().take());
                notes.add(());
            }
        })
    });
    writer.try_send("one").unwrap();
    *later.lock() = Some(Arc::new(writer));
    let mut first = raw.accept();
    read_messages(&mut first, 1);
    drop(first);
    dropped.wait_for_len(1);
    // The thread ends by itself, and its connection with it.
    wait_until("nobody connects any more", || raw.nobody_waits());
}

#[test]
fn a_send_that_races_with_a_shutdown_is_in_the_books_either_way() {
    let place = Place::new();
    for _ in 0..50 {
        let raw = RawReader::bind(&place.socket());
        let (writer, _) = writer(&place.socket());
        let mut stream = raw.accept();
        let reading = thread::spawn(move || crate::support::read_to_end(&mut stream));
        let (accepted, refused) = thread::scope(|scope| {
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut accepted = 0;
                        while accepted < 50_000 && writer.send_timeout("racing", PATIENCE).is_ok() {
                            accepted += 1;
                        }
                        accepted
                    })
                })
                .collect();
            writer.flush(FlushLevel::Written, PATIENCE).unwrap();
            let report = writer.shutdown(PATIENCE).unwrap();
            let accepted: u64 = senders
                .into_iter()
                .map(|sender| sender.join().unwrap())
                .sum();
            (accepted, report.left.messages)
        });
        assert_eq!(refused, 0);
        assert_eq!(writer.metrics().sent.messages, accepted);
        let (received, half) = unframe(&reading.join().unwrap());
        assert!(half.is_empty());
        assert_eq!(u64::try_from(received.len()).unwrap(), accepted);
        assert_balanced(&writer);
        std::fs::remove_file(place.socket()).unwrap();
    }
}

#[test]
fn clones_are_one_writer_and_the_last_one_dropped_drains() {
    let place = Place::new();
    let (one, _) = writer(&place.socket());
    let other = one.clone();
    one.try_send("of one").unwrap();
    drop(one);
    other.try_send("of the other").unwrap();
    assert_eq!(other.metrics().accepted.messages, 2);
    let collector = Collector::start(&place.socket());
    drop(other);
    assert_eq!(
        collector.stop(),
        [b"of one".to_vec(), b"of the other".to_vec()]
    );
}

#[test]
fn the_writers_thread_has_the_name_that_was_set() {
    let place = Place::new();
    let names = Notes::new();
    let seen = names.clone();
    let writer = Writer::builder(place.socket())
        .thread_name("of a test")
        .on_event(move |_| seen.add(thread::current().name().map(str::to_owned)))
        .start()
        .unwrap();
    names.wait_for_len(1);
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    assert_eq!(names.all()[0].as_deref(), Some("of a test"));
    let error = Writer::builder(place.socket()).thread_name("\0").start();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("thread_name"), "{error}");
}
