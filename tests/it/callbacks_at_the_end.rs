//! Stops from inside that meet each other, and what the user's own values do when they are dropped.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use uds_ipc::event::{ReaderEvent, WriterEvent};
use uds_ipc::{Delivery, Handler, Overflow, Peer, Reader, ReaderReport, SendError, Writer};

use crate::support::acts::{Act, Bomb, Cast, On, panic_quietly, show};
use crate::support::{
    Collector, Gate, Notes, PATIENCE, Place, SHORT, Scripted, connect, frame, returns,
    send_and_close, wait_until,
};

#[test]
fn two_handlers_that_shut_each_others_readers_down_both_end() {
    let place = Place::new();
    let cast = Cast::new();
    let told = Notes::new();
    let start = |own: On, other: On| {
        let (cast, told) = (Arc::clone(&cast), told.clone());
        let path = place.path(&format!("{own:?}"));
        let handler = move |message: &[u8]| {
            // Both are inside before either begins.
            told.add(String::from_utf8_lossy(message).into_owned());
            wait_until("the other handler is called", || told.len() >= 2);
            let victim = cast.reader(other).get().unwrap();
            told.add(format!(
                "{:?}",
                victim.shutdown(SHORT).map(|report| report.cut)
            ));
        };
        Reader::builder(path)
            .bind()
            .unwrap()
            .start(handler)
            .unwrap()
    };
    cast.reader(On::Same).put(start(On::Same, On::Other));
    cast.reader(On::Other).put(start(On::Other, On::Same));
    for on in [On::Same, On::Other] {
        send_and_close(&place.path(&format!("{on:?}")), &frame(b"go"));
    }
    told.wait_for_len(4);
    // Each was held up by the other's handler, until the first of the deadlines let one of them go.
    let ends = &told.all()[2..];
    assert!(
        ends[0] == "Ok(1)" && ["Ok(0)", "Ok(1)"].contains(&&*ends[1]),
        "{ends:?}"
    );
    for on in [On::Same, On::Other] {
        let reader = cast.reader(on).take().unwrap();
        wait_until("its threads end", || reader.metrics().threads == 0);
    }
    assert!(place.files().is_empty());
}

#[test]
fn a_handler_and_an_observer_that_shut_each_other_down_both_end() {
    let place = Place::new();
    let cast = Cast::new();
    let told = Notes::new();
    let (in_handler, in_observer) = (Arc::clone(&cast), Arc::clone(&cast));
    let (notes, also_notes) = (told.clone(), told.clone());
    let handler = move |_: &[u8]| {
        notes.add("handler".to_owned());
        wait_until("the observer is called", || notes.has("observer"));
        let writer = in_handler.writer(On::Same).get().unwrap();
        notes.add(format!(
            "{:?}",
            writer.shutdown(SHORT).map(|report| report.left.messages)
        ));
    };
    let observer = move |event: WriterEvent| {
        if matches!(event, WriterEvent::Connected { .. }) {
            also_notes.add("observer".to_owned());
            wait_until("the handler is called", || also_notes.has("handler"));
            let reader = in_observer.reader(On::Same).get().unwrap();
            also_notes.add(format!(
                "{:?}",
                reader.shutdown(SHORT).map(|report| report.cut)
            ));
        }
    };
    cast.reader(On::Same).put(
        Reader::builder(place.socket())
            .bind()
            .unwrap()
            .start(handler)
            .unwrap(),
    );
    cast.writer(On::Same).put(
        Writer::builder(place.socket())
            .on_event(observer)
            .start()
            .unwrap(),
    );
    // The observer holds the writer up, so somebody else has to call the handler.
    send_and_close(&place.socket(), &frame(b"go"));
    told.wait_for_len(4);
    let reader = cast.reader(On::Same).take().unwrap();
    wait_until("its threads end", || reader.metrics().threads == 0);
    let writer = cast.writer(On::Same).take().unwrap();
    assert_eq!(
        returns("the writer's shutdown", move || writer
            .shutdown(PATIENCE)
            .unwrap()
            .left
            .messages),
        0
    );
    assert!(place.files().is_empty());
}

#[test]
fn two_observers_that_shut_each_others_writers_down_both_end() {
    let place = Place::new();
    let cast = Cast::new();
    let told = Notes::new();
    for (own, other) in [(On::Same, On::Other), (On::Other, On::Same)] {
        let (in_observer, notes) = (Arc::clone(&cast), told.clone());
        let observer = move |event: WriterEvent| {
            if matches!(event, WriterEvent::Connecting { .. }) {
                in_observer.complete.pass();
                notes.add(String::new());
                wait_until("the other observer is called", || notes.len() >= 2);
                let victim = in_observer.writer(other).get().unwrap();
                notes.add(format!(
                    "{:?}",
                    victim.shutdown(SHORT).map(|report| report.left.messages)
                ));
            }
        };
        cast.writer(own).put(
            Writer::builder(place.socket())
                .on_event(observer)
                .start()
                .unwrap(),
        );
        cast.writer(own)
            .get()
            .unwrap()
            .try_send("nobody reads this")
            .unwrap();
    }
    cast.complete.open();
    told.wait_for_len(4);
    assert_eq!(told.all()[2..], ["Ok(1)", "Ok(1)"]);
    for on in [On::Same, On::Other] {
        let writer = cast.writer(on).take().unwrap();
        let report = returns("the shutdown", move || writer.shutdown(PATIENCE).unwrap());
        assert_eq!(report.metrics.failed.left.messages, 1);
    }
}

/// Blocks in every call that it gets, until the gate opens.
struct Blocks {
    gate: Gate,
    inside: Arc<AtomicUsize>,
}

impl Blocks {
    fn enter(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        self.gate.pass();
    }
}

impl Handler for Blocks {
    type Error = io::Error;

    fn message(&self, _: &[u8], _: &Peer) -> io::Result<()> {
        self.enter();
        Ok(())
    }

    fn opened(&self, peer: &Peer) {
        if peer.connection == 2 {
            self.enter();
        }
    }
}

#[test]
fn a_stop_ends_at_its_deadline_when_every_thread_there_may_be_is_blocked() {
    let place = Place::new();
    let (gate, inside) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let in_check = Blocks {
        gate: gate.clone(),
        inside: Arc::clone(&inside),
    };
    let in_observer = Blocks {
        gate: gate.clone(),
        inside: Arc::clone(&inside),
    };
    let handler = Blocks {
        gate: gate.clone(),
        inside: Arc::clone(&inside),
    };
    let reader = Reader::builder(place.socket())
        .max_threads(4)
        .peer_check(move |peer| {
            if peer.connection == 3 {
                in_check.enter();
            }
            true
        })
        .on_event(move |event: ReaderEvent| {
            if matches!(event, ReaderEvent::Opened { peer, .. } if peer.connection == 4) {
                in_observer.enter();
            }
        })
        .bind()
        .unwrap()
        .start_handler(handler)
        .unwrap();
    // One in the handler, one before it, one in the check, one in the observer.
    let mut peers = Vec::new();
    for count in 1..=4 {
        let mut peer = connect(&place.socket());
        peer.write_all(&frame(b"a")).unwrap();
        wait_until("one more is blocked", || {
            inside.load(Ordering::SeqCst) == count
        });
        peers.push(peer);
    }
    // And one for whom there is no thread.
    peers.push(connect(&place.socket()));
    let reader = Arc::new(reader);
    let stopping = Arc::clone(&reader);
    let report = returns("the shutdown", move || stopping.shutdown(SHORT).unwrap());
    assert_eq!((report.cut, report.metrics.threads), (5, 4));
    assert!(!place.socket().exists());
    gate.open();
    wait_until("its threads end", || reader.metrics().threads == 0);
    assert_eq!(inside.load(Ordering::SeqCst), 4, "nothing more was called");
}

/// Acts when it is dropped.
struct ActsInDrop {
    cast: Arc<Cast>,
    act: Act,
}

impl Drop for ActsInDrop {
    fn drop(&mut self) {
        self.cast.act(self.act);
    }
}

/// Where a reader keeps a value of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeptBy {
    Handler,
    Observer,
    Check,
}

/// Stops a reader that keeps what acts when it is dropped; says how the stop went.
fn stop_one_that_keeps(act: Act, by: KeptBy, timeout: Duration) -> (ReaderReport, Arc<Cast>) {
    let place = Place::new();
    let cast = Cast::new();
    let keep = |place: KeptBy| {
        (place == by).then(|| ActsInDrop {
            cast: Arc::clone(&cast),
            act,
        })
    };
    let (in_check, in_observer, in_handler) = (
        keep(KeptBy::Check),
        keep(KeptBy::Observer),
        keep(KeptBy::Handler),
    );
    let bound = Reader::builder(place.socket())
        .peer_check(move |_| {
            let _ = &in_check;
            true
        })
        .on_event(move |_: ReaderEvent| {
            let _ = &in_observer;
        })
        .bind()
        .unwrap();
    let handler = move |_: &[u8]| {
        let _ = &in_handler;
    };
    cast.reader(On::Same).put(bound.start(handler).unwrap());
    let other = Scripted::start(&place.path("other"));
    cast.reader(On::Other).put(other.reader);
    cast.writer(On::Other)
        .put(Writer::start(place.path("other")).unwrap());
    cast.complete.open();
    send_and_close(&place.socket(), &frame(b"a"));
    let reader = cast.reader(On::Same).get().unwrap();
    wait_until("its only peer has come and gone", || {
        reader.metrics().received.messages == 1 && reader.metrics().open == 0
    });
    let stopping = Arc::clone(&reader);
    let report = returns("the shutdown", move || stopping.shutdown(timeout).unwrap());
    assert_eq!((report.cut, report.metrics.received.messages), (0, 1));
    assert!(!place.socket().exists());
    cast.gate.open();
    wait_until("its threads end", || reader.metrics().threads == 0);
    wait_until("it has acted", || cast.outcomes.len() == 1);
    (report, cast)
}

#[test]
fn what_a_reader_keeps_may_do_anything_when_it_is_dropped_at_the_end() {
    for by in [KeptBy::Handler, KeptBy::Observer, KeptBy::Check] {
        for act in [Act::Panic, Act::PanicOnAndOn] {
            let (report, _) = stop_one_that_keeps(act, by, PATIENCE);
            assert_eq!(
                (report.metrics.threads, report.metrics.panics),
                (0, 1),
                "{by:?} {act:?}"
            );
        }
        let (report, _) = stop_one_that_keeps(Act::Block, by, SHORT);
        assert_eq!(
            report.metrics.threads, 1,
            "{by:?}: it is left behind at the deadline"
        );
        for (act, wanted) in [
            (Act::ShutDownReader(On::Same), "Err(InCallback)"),
            (Act::ShutDownReader(On::Other), "Ok(0)"),
            (Act::ShutDownWriter(On::Other), "Ok(0)"),
            (Act::DropReader(On::Other), "the last dropped"),
            (Act::DropWriter(On::Other), "the last dropped"),
            (Act::TrySend(On::Other), "Ok(())"),
            (Act::Flush(On::Other), "Ok(()), Ok(())"),
        ] {
            let (report, cast) = stop_one_that_keeps(act, by, PATIENCE);
            assert_eq!(cast.outcomes.all(), [wanted], "{by:?} {act:?}");
            assert_eq!(
                (report.metrics.threads, report.metrics.panics),
                (0, 0),
                "{by:?} {act:?}"
            );
        }
    }
}

#[test]
fn a_reader_that_its_own_callbacks_keep_is_let_go_by_its_shutdown() {
    let place = Place::new();
    let cast = Cast::new();
    let alive = Arc::downgrade(&cast);
    let (in_observer, in_check, in_handler) =
        (Arc::clone(&cast), Arc::clone(&cast), Arc::clone(&cast));
    let bound = Reader::builder(place.socket())
        .on_event(move |_: ReaderEvent| drop(in_observer.reader(On::Same).get()))
        .peer_check(move |_| in_check.reader(On::Other).get().is_none())
        .bind()
        .unwrap();
    let handler = move |_: &[u8]| {
        drop(in_handler.reader(On::Same).get());
    };
    cast.reader(On::Same).put(bound.start(handler).unwrap());
    let _ = cast
        .reader(On::Same)
        .get()
        .unwrap()
        .shutdown(PATIENCE)
        .unwrap();
    drop(cast);
    assert!(alive.upgrade().is_none());
}

/// An error that panics when it is dropped.
struct Explosive(#[expect(dead_code, reason = "it only is dropped")] Bomb);

impl fmt::Debug for Explosive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explosive")
    }
}

impl fmt::Display for Explosive {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_quietly()
    }
}

impl std::error::Error for Explosive {}

/// Fails at everything.
struct Fails(Notes<Vec<u8>>);

impl Handler for Fails {
    type Error = Explosive;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), Explosive> {
        self.0.add(message.to_vec());
        Err(Explosive(Bomb(2)))
    }

    fn batch_end(&self, _: &Peer) -> Result<(), Explosive> {
        Err(Explosive(Bomb(2)))
    }
}

#[test]
fn a_handlers_error_that_panics_itself_costs_nothing_else() {
    let place = Place::new();
    let (messages, events) = (Notes::new(), Notes::new());
    let notes = events.clone();
    let bound = Reader::builder(place.socket())
        .max_threads(1)
        .on_event(move |event: ReaderEvent| {
            notes.add(format!("{event:?}"));
            drop(event.to_string());
        })
        .bind()
        .unwrap();
    let reader = bound.start_handler(Fails(messages.clone())).unwrap();
    let mut peer = connect(&place.socket());
    for count in 1..=3 {
        // The second and third are no news any more, and there are two in a batch.
        peer.write_all(&frame(b"a").repeat(2)).unwrap();
        messages.wait_for_len(2 * count);
    }
    drop(peer);
    events.wait_for("EndOfStream");
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (metrics.received.messages, metrics.connections, metrics.open),
        (6, 1, 0)
    );
    assert!(metrics.handler_errors > 6, "those of the batches too");
}

/// A buffer of the user's that acts when it is given up, and is long enough not to be copied.
struct ActsWhenGivenUp {
    bytes: Vec<u8>,
    _acts: ActsInDrop,
}

impl AsRef<[u8]> for ActsWhenGivenUp {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ActsWhenGivenUp {
    fn message(cast: &Arc<Cast>, act: Act) -> Bytes {
        let acts = ActsInDrop {
            cast: Arc::clone(cast),
            act,
        };
        Bytes::from_owner(Self {
            bytes: vec![7; 100_000],
            _acts: acts,
        })
    }
}

/// The ways of a buffer out of the queue.
#[derive(Clone, Copy, Debug)]
enum GivenUp {
    Sent,
    Confirmed,
    DroppedToMakeRoom,
    /// Three connections ended in it.
    Refused,
    LeftAtTheEnd,
}

/// Has a writer give a buffer up, which does `act` then; says what that came to.
fn give_up(way: GivenUp, act: Act) -> String {
    let place = Place::new();
    let cast = Cast::new();
    let builder = Writer::builder(place.socket())
        .backoff_min(Duration::from_millis(1))
        .max_queued_messages(4);
    let builder = match way {
        GivenUp::Confirmed => builder.delivery(Delivery::AtLeastOnce),
        GivenUp::DroppedToMakeRoom => builder.overflow(Overflow::DropOldest),
        GivenUp::Sent | GivenUp::Refused | GivenUp::LeftAtTheEnd => builder,
    };
    let max_len = if matches!(way, GivenUp::Refused) {
        1_000
    } else {
        1_000_000
    };
    let start = |path: &Path| {
        let bound = Reader::builder(path)
            .max_message_len(max_len)
            .bind()
            .unwrap();
        bound.start(|_| ()).unwrap()
    };
    cast.writer(On::Same).put(builder.start().unwrap());
    cast.reader(On::Other).put(start(&place.path("other")));
    cast.writer(On::Other)
        .put(Writer::start(place.path("other")).unwrap());
    cast.complete.open();
    let writer = cast.writer(On::Same).get().unwrap();
    writer
        .try_send(ActsWhenGivenUp::message(&cast, act))
        .unwrap();
    match way {
        GivenUp::Sent | GivenUp::Confirmed | GivenUp::Refused => {
            cast.reader(On::Same).put(start(&place.socket()));
        }
        GivenUp::DroppedToMakeRoom => (0..4).for_each(|_| writer.try_send("newer").unwrap()),
        GivenUp::LeftAtTheEnd => {
            let stopping = Arc::clone(&writer);
            let _ = returns("the shutdown", move || {
                stopping.shutdown(Duration::ZERO).unwrap()
            });
        }
    }
    wait_until("it has acted", || cast.outcomes.len() == 1);
    // It still sends to whom there is, or ends in time.
    drop(cast.reader(On::Same).take());
    if matches!(way, GivenUp::LeftAtTheEnd) {
        assert_eq!(writer.try_send("after"), Err(SendError::Closed(())));
    } else {
        cast.reader(On::Same).put(start(&place.socket()));
        // What is being written at this moment makes no room.
        writer.send_timeout("after", PATIENCE).unwrap();
    }
    let report = returns("the shutdown", move || writer.shutdown(PATIENCE).unwrap());
    assert_eq!(
        report.left.messages,
        u64::from(matches!(way, GivenUp::LeftAtTheEnd))
    );
    for on in [On::Same, On::Other] {
        drop((cast.writer(on).take(), cast.reader(on).take()));
    }
    cast.outcomes.all().remove(0)
}

#[test]
#[cfg_attr(
    crash_proof_by_default,
    ignore = "what is handed over is copied, and given up at once"
)]
fn a_buffer_may_do_anything_when_the_writer_gives_it_up() {
    for way in [
        GivenUp::Sent,
        GivenUp::Confirmed,
        GivenUp::DroppedToMakeRoom,
        GivenUp::Refused,
        GivenUp::LeftAtTheEnd,
    ] {
        // It is no thread of the writer's that drops to make room, but a sender's.
        let is_inside = !matches!(way, GivenUp::DroppedToMakeRoom);
        let is_closed = matches!(way, GivenUp::LeftAtTheEnd);
        let sent = if is_closed {
            "Err(Closed(..))"
        } else {
            "Ok(())"
        };
        for act in [
            Act::Panic,
            Act::PanicOnAndOn,
            Act::TrySend(On::Other),
            Act::ShutDownWriter(On::Other),
        ] {
            show(&format!("{way:?} {act:?}"));
            give_up(way, act);
        }
        for act in [
            Act::TrySend(On::Same),
            Act::SendTimeout(On::Same),
            Act::SendWith(On::Same),
        ] {
            show(&format!("{way:?} {act:?}"));
            assert_eq!(give_up(way, act), sent);
        }
        if is_inside {
            show(&format!("{way:?} and shuts down"));
            assert_eq!(
                give_up(way, Act::Flush(On::Same)),
                format!("{sent}, Err(InCallback)")
            );
            assert_eq!(
                give_up(way, Act::ShutDownWriter(On::Same)),
                "Err(InCallback)"
            );
        }
    }
}

#[test]
fn a_reader_may_be_dropped_at_the_end_of_a_thread_that_keeps_it_in_a_local() {
    thread_local! {
        static READER: Mutex<Option<Reader>> = const { Mutex::new(None) };
    }
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    send_and_close(&place.socket(), &frame(b"a"));
    let (reader, messages) = (collector.reader, collector.messages);
    returns("the thread", move || {
        READER.with(|kept| *kept.lock() = Some(reader));
    });
    assert_eq!(messages.all(), [b"a"]);
    assert!(place.files().is_empty());
}

/// What a handler keeps in its threads is dropped when these end, after the handler.
#[test]
fn a_thread_local_of_a_handler_may_call_the_reader_when_dropped() {
    thread_local! {
        static KEPT: Mutex<Option<ActsInDrop>> = const { Mutex::new(None) };
    }
    for (act, wanted) in [
        (Act::ShutDownReader(On::Same), "Err(InCallback)"),
        (Act::ShutDownReader(On::Other), "Ok(0)"),
        (Act::DropReader(On::Other), "the last dropped"),
        (Act::TrySend(On::Same), "Ok(())"),
    ] {
        let place = Place::new();
        let cast = Cast::new();
        let in_handler = Arc::clone(&cast);
        let handler = move |_: &[u8]| {
            KEPT.with(|kept| {
                *kept.lock() = Some(ActsInDrop {
                    cast: Arc::clone(&in_handler),
                    act,
                });
            });
        };
        cast.reader(On::Same).put(
            Reader::builder(place.socket())
                .bind()
                .unwrap()
                .start(handler)
                .unwrap(),
        );
        cast.reader(On::Other)
            .put(Collector::start(&place.path("other")).reader);
        cast.writer(On::Same)
            .put(Writer::start(place.path("other")).unwrap());
        cast.complete.open();
        send_and_close(&place.socket(), &frame(b"a"));
        let reader = cast.reader(On::Same).get().unwrap();
        assert_eq!(
            returns("the shutdown", move || reader
                .shutdown(PATIENCE)
                .unwrap()
                .cut),
            0
        );
        cast.outcomes.wait_for_len(1);
        assert_eq!(cast.outcomes.all(), [wanted]);
        for on in [On::Same, On::Other] {
            drop((cast.writer(on).take(), cast.reader(on).take()));
        }
    }
}
