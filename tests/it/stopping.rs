//! The reader's end: planned, cut short, twice, from inside, by a drop; and what is left of it.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::error::ShutdownError;
use uds_ipc::event::ReaderEvent;
use uds_ipc::{Peer, Reader, ReaderReport, WriterBuilder};

use crate::support::{
    Child, Collector, Gate, Notes, Over, PATIENCE, Place, SHORT, Scripted, connect, finish, frame,
    is_closed, numbered, python, returns, send_and_close, skip, wait_until, writer_with,
};

/// Waits until a stop has begun: newcomers are turned away.
#[track_caller]
fn wait_for_stop(path: &Path) {
    wait_until("newcomers are turned away", || {
        UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

/// Stops a reader on a thread of its own, and calls `meanwhile` once the stop has begun.
#[track_caller]
fn stop_and(
    reader: &Reader,
    path: &Path,
    timeout: Duration,
    meanwhile: impl FnOnce(),
) -> ReaderReport {
    thread::scope(|scope| {
        let stop = scope.spawn(|| reader.shutdown(timeout).unwrap());
        wait_for_stop(path);
        meanwhile();
        wait_until("the shutdown returns", || stop.is_finished());
        stop.join().unwrap()
    })
}

#[test]
fn a_planned_stop_handles_all_that_the_kernel_holds() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut peers: Vec<_> = (0..4).map(|_| connect(&place.socket())).collect();
    let mut sent = 0;
    for peer in &mut peers {
        peer.write_all(&frame(b"block")).unwrap();
    }
    reader.wait_for("block", 4);
    // Up to the last byte that fits.
    for peer in &mut peers {
        peer.set_nonblocking(true).unwrap();
        while peer
            .write(&frame(b"in the kernel"))
            .is_ok_and(|len| len == 14)
        {
            sent += 1;
        }
    }
    let report = stop_and(&reader.reader, &place.socket(), PATIENCE, || {
        reader.gate.open();
    });
    assert!(sent > 100, "{sent}");
    assert_eq!(reader.count("in the kernel"), sent);
    assert_eq!(
        (report.cut, report.metrics.open, report.metrics.threads),
        (0, 0, 0)
    );
    assert_eq!(
        report.metrics.received.messages,
        u64::try_from(sent).unwrap() + 4
    );
    for connection in 1..=4 {
        let calls = reader.calls_of(connection);
        assert_eq!(calls.last().unwrap(), "<closed>");
        assert!(
            reader.events.count(|event| {
                event.contains(&format!("connection: {connection},"))
                    && event.contains("cause: Stopped")
            }) == 1
        );
    }
}

#[test]
fn a_planned_stop_serves_those_who_wait_in_the_backlog() {
    for max_connections in [1_024, 40, 1] {
        let place = Place::new();
        let messages = Notes::new();
        let notes = messages.clone();
        let bound = Reader::builder(place.socket())
            .max_connections(max_connections)
            .bind()
            .unwrap();
        let peers: Vec<_> = (0..100)
            .map(|_| {
                let mut peer = connect(&place.socket());
                peer.write_all(&frame(b"in the backlog").repeat(100))
                    .unwrap();
                peer
            })
            .collect();
        let handler = move |message: &[u8]| {
            notes.add(message.to_vec());
            Ok::<(), String>(())
        };
        let reader = bound.start(handler).unwrap();
        let report = returns("the shutdown", move || reader.shutdown(PATIENCE).unwrap());
        assert_eq!(
            (report.cut, report.metrics.connections),
            (0, 100),
            "{max_connections} at once"
        );
        assert_eq!(messages.len(), 10_000);
        drop(peers);
    }
}

#[test]
fn restarts_as_planned_lose_nothing_and_repeat_nothing() {
    const COUNT: usize = 50_000;
    let place = Place::new();
    // Losses follow each other so fast here that it would wait a second after each.
    let eager = |builder: WriterBuilder| builder.backoff_min(SHORT / 10).backoff_max(SHORT / 5);
    let messages = Notes::new();
    let (writers, _): (Vec<_>, Vec<_>) =
        (0..2).map(|_| writer_with(&place.socket(), eager)).unzip();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let senders: Vec<_> = (0_u8..)
            .zip(&writers)
            .map(|(number, writer)| {
                scope.spawn(move || {
                    for message in numbered(COUNT) {
                        writer
                            .send_timeout([&[number], &message[..]].concat(), PATIENCE)
                            .unwrap();
                    }
                    finish(writer);
                })
            })
            .collect();
        scope.spawn(|| {
            let mut restarts = 0;
            while restarts < 10 || !is_over.load(Ordering::SeqCst) {
                let collector = Collector::start(&place.socket());
                // Somebody has to be there, or there is nothing to lose.
                wait_until("something comes", || {
                    collector.messages.len() > 100 || is_over.load(Ordering::SeqCst)
                });
                for message in collector.stop() {
                    messages.add(message);
                }
                restarts += 1;
            }
        });
        let _over = Over(&is_over);
        for sender in senders {
            sender.join().unwrap();
        }
    });
    let messages = messages.all();
    for number in 0..2 {
        let of_one = messages
            .iter()
            .filter(|message| message[0] == number)
            .map(|message| &message[1..]);
        assert!(
            of_one.eq(numbered(COUNT)),
            "writer {number}: all, in order, once"
        );
    }
}

#[test]
fn a_stop_does_not_wait_for_idle_peers_or_halves_of_frames() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut idle = connect(&place.socket());
    let mut half = connect(&place.socket());
    half.write_all(&[frame(b"whole"), frame(b"half")[..3].to_vec()].concat())
        .unwrap();
    reader.wait_for("whole", 1);
    let report = returns("the shutdown", {
        let reader = reader.reader;
        move || reader.shutdown(Duration::MAX).unwrap()
    });
    assert_eq!(
        (
            report.cut,
            report.metrics.open,
            report.metrics.protocol_errors.total()
        ),
        (0, 0, 0)
    );
    assert!(is_closed(&mut idle) && is_closed(&mut half));
    assert_eq!(reader.calls.count(|(_, call)| call == "<closed>"), 2);
    assert_eq!(reader.calls.count(|(_, call)| call.starts_with("half")), 0);
}

#[test]
fn a_stop_does_not_wait_for_an_endless_sender() {
    let place = Place::new();
    let messages = Notes::new();
    let notes = messages.clone();
    let bound = Reader::builder(place.socket()).bind().unwrap();
    let handler = move |message: &[u8]| {
        if notes.len() == 0 {
            notes.add(message.to_vec());
        }
        Ok::<(), String>(())
    };
    let reader = bound.start(handler).unwrap();
    let mut peer = connect(&place.socket());
    let sender =
        thread::spawn(move || while peer.write_all(&frame(b"endless").repeat(1_000)).is_ok() {});
    messages.wait_for_len(1);
    let report = returns("the shutdown", move || {
        reader.shutdown(Duration::MAX).unwrap()
    });
    assert_eq!(report.cut, 0);
    sender.join().unwrap();
}

#[test]
fn a_stop_waits_for_a_busy_handler() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    send_and_close(
        &place.socket(),
        &[frame(b"block"), frame(b"after")].concat(),
    );
    reader.wait_for("block", 1);
    let report = stop_and(&reader.reader, &place.socket(), PATIENCE, || {
        assert_eq!(reader.count("after"), 0);
        reader.gate.open();
    });
    assert_eq!(report.cut, 0);
    assert_eq!(
        reader.calls_of(1),
        ["<opened>", "block", "after", "<batch end>", "<closed>"]
    );
}

#[test]
fn a_handler_that_never_returns_is_left_behind_at_the_deadline() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut blocked = connect(&place.socket());
    blocked
        .write_all(&[frame(b"block"), frame(b"after")].concat())
        .unwrap();
    blocked.write_all(&frame(b"later")).unwrap();
    reader.wait_for("block", 1);
    let report = reader.reader.shutdown(SHORT).unwrap();
    assert_eq!(report.cut, 1);
    assert!(!place.socket().exists());
    assert!(
        is_closed(&mut blocked),
        "it is closed while the handler still has it"
    );
    reader.gate.open();
    wait_until("the thread ends", || reader.reader.metrics().threads == 0);
    assert_eq!(
        reader.calls_of(1),
        ["<opened>", "block"],
        "the shutdown has returned: nothing more is called"
    );
}

#[test]
fn a_stop_that_cuts_leaves_no_connection_open() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.max_threads(1));
    let mut peers = [(); 4].map(|()| connect(&place.socket()));
    reader.wait_for("<opened>", 4);
    for peer in &mut peers {
        peer.write_all(&frame(b"block")).unwrap();
    }
    // One has the only thread, and nobody is left to serve the others.
    reader.wait_for("block", 1);
    assert_eq!(reader.reader.shutdown(SHORT).unwrap().cut, 4);
    for peer in &mut peers {
        assert!(is_closed(peer));
    }
    reader.gate.open();
    wait_until("the thread ends", || reader.reader.metrics().threads == 0);
    assert_eq!(
        (reader.count("block"), reader.reader.metrics().open),
        (1, 0)
    );
}

#[test]
fn those_in_the_backlog_at_the_deadline_are_reported_as_cut() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.max_connections(1));
    let mut blocked = connect(&place.socket());
    blocked.write_all(&frame(b"block")).unwrap();
    reader.wait_for("block", 1);
    // All of it was sent, as far as the peer knows.
    send_and_close(&place.socket(), &frame(b"in the backlog"));
    let report = reader.reader.shutdown(SHORT).unwrap();
    reader.gate.open();
    assert_eq!((report.cut, reader.count("in the backlog")), (2, 0));
}

#[test]
fn callbacks_other_than_the_handler_do_not_hold_up_a_stop_beyond_its_deadline() {
    let place = Place::new();
    let gate = Gate::new();
    let is_inside = Arc::new(AtomicBool::new(false));
    let (at_gate, inside) = (gate.clone(), Arc::clone(&is_inside));
    let observer = move |_: ReaderEvent| {
        inside.store(true, Ordering::SeqCst);
        at_gate.pass();
    };
    let collector = Collector::start_with(&place.socket(), |builder| builder.on_event(observer));
    let mut peer = connect(&place.socket());
    wait_until("the observer is at work", || {
        is_inside.load(Ordering::SeqCst)
    });
    let report = collector.reader.shutdown(SHORT).unwrap();
    assert_eq!(report.cut, 1);
    assert!(is_closed(&mut peer));
    gate.open();
    wait_until("the thread ends", || {
        collector.reader.metrics().threads == 0
    });
}

#[test]
fn shutdowns_again_and_from_four_threads_all_tell_the_same_end() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    send_and_close(
        &place.socket(),
        &[frame(b"block"), frame(b"after")].concat(),
    );
    reader.wait_for("block", 1);
    let reports = thread::scope(|scope| {
        let stops = [(); 4].map(|()| scope.spawn(|| reader.reader.shutdown(PATIENCE).unwrap()));
        wait_for_stop(&place.socket());
        reader.gate.open();
        stops.map(|stop| stop.join().unwrap())
    });
    for report in reports
        .into_iter()
        .chain([reader.reader.shutdown(Duration::ZERO).unwrap()])
    {
        assert_eq!((report.cut, report.metrics), (0, reports[0].metrics));
    }
    assert_eq!(reader.count("after"), 1);
}

#[test]
fn a_second_shutdown_can_bring_the_end_nearer_but_not_put_it_off() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    send_and_close(&place.socket(), &frame(b"block"));
    reader.wait_for("block", 1);
    thread::scope(|scope| {
        let first = scope.spawn(|| reader.reader.shutdown(Duration::MAX).unwrap());
        wait_for_stop(&place.socket());
        let second = scope.spawn(|| reader.reader.shutdown(SHORT).unwrap());
        let third = scope.spawn(|| reader.reader.shutdown(Duration::MAX).unwrap());
        let cuts = [first, second, third].map(|stop| {
            wait_until("the shutdown returns", || stop.is_finished());
            stop.join().unwrap().cut
        });
        // Whoever looked whether the stop had begun may be among them.
        assert!(cuts[0] >= 1 && cuts == [cuts[0]; 3], "{cuts:?}");
    });
    reader.gate.open();
}

/// A reader at hand for its own callbacks, and what its shutdown told them.
struct FromInside {
    reader: Arc<OnceLock<Reader>>,
    told: Notes<ShutdownError>,
}

impl FromInside {
    fn new() -> Self {
        Self {
            reader: Arc::new(OnceLock::new()),
            told: Notes::new(),
        }
    }

    fn try_to_stop(&self) -> impl Fn() + Send + Sync + 'static {
        let (reader, told) = (Arc::clone(&self.reader), self.told.clone());
        move || {
            wait_until("the reader is there", || reader.get().is_some());
            told.add(reader.get().unwrap().shutdown(PATIENCE).unwrap_err());
        }
    }
}

#[test]
fn a_shutdown_from_inside_a_callback_is_an_error_not_a_deadlock() {
    let place = Place::new();
    let inside = FromInside::new();
    let (in_observer, in_check, in_handler) = (
        inside.try_to_stop(),
        inside.try_to_stop(),
        inside.try_to_stop(),
    );
    let builder = Reader::builder(place.socket()).on_event(move |_: ReaderEvent| in_observer());
    let builder = builder.peer_check(move |_: &Peer| {
        in_check();
        true
    });
    let handler = move |_: &[u8]| {
        in_handler();
        Ok::<(), String>(())
    };
    inside
        .reader
        .set(builder.bind().unwrap().start(handler).unwrap())
        .unwrap();
    send_and_close(&place.socket(), &frame(b"a"));
    // The check, opened, the message, closed.
    inside.told.wait_for_len(4);
    assert_eq!(inside.told.all(), [ShutdownError::InCallback; 4]);
    let reader = inside.reader.get().unwrap();
    assert_eq!(reader.shutdown(PATIENCE).unwrap().metrics.panics, 0);
    assert_eq!(
        Arc::strong_count(&inside.reader),
        1,
        "a reader that has stopped keeps nobody's callbacks"
    );
}

#[test]
fn one_reader_may_stop_another_from_inside_its_handler() {
    let place = Place::new();
    let (one, other) = (place.path("one"), place.path("other"));
    let stopped = Notes::new();
    let notes = stopped.clone();
    let victim = Scripted::start(&other);
    let handler = move |_: &[u8]| {
        notes.add(victim.reader.shutdown(PATIENCE).map(|report| report.cut));
        Ok::<(), String>(())
    };
    let _reader = Reader::builder(&one)
        .bind()
        .unwrap()
        .start(handler)
        .unwrap();
    send_and_close(&one, &frame(b"a"));
    stopped.wait_for_len(1);
    assert_eq!(stopped.all(), [Ok(0)]);
    assert!(!other.exists());
}

#[test]
fn the_last_reference_may_be_dropped_inside_the_handler() {
    let place = Place::new();
    let holder = Arc::new(Mutex::new(None::<Reader>));
    let (in_handler, dropped) = (Arc::clone(&holder), Notes::new());
    let notes = dropped.clone();
    let handler = move |_: &[u8]| {
        drop(in_handler.lock().take());
        notes.add(());
        Ok::<(), String>(())
    };
    let alive = Arc::downgrade(&holder);
    let bound = Reader::builder(place.socket()).bind().unwrap();
    let mut guard = holder.lock();
    *guard = Some(bound.start(handler).unwrap());
    drop(guard);
    drop(holder);
    send_and_close(&place.socket(), &frame(b"a"));
    dropped.wait_for_len(1);
    wait_until("its file is removed", || !place.socket().exists());
    wait_until("its handler is dropped", || alive.upgrade().is_none());
}

#[test]
fn a_drop_handles_what_was_sent_and_removes_the_file() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut peer = connect(&place.socket());
    peer.write_all(&frame(b"a").repeat(1_000)).unwrap();
    drop(collector.reader);
    assert_eq!(collector.messages.len(), 1_000);
    assert!(!place.socket().exists());
    assert!(is_closed(&mut peer));
}

#[test]
fn a_drop_does_not_wait_for_a_handler_that_never_returns() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut blocked = connect(&place.socket());
    blocked.write_all(&frame(b"block")).unwrap();
    reader.wait_for("block", 1);
    let Scripted { reader, gate, .. } = reader;
    returns("the drop", move || drop(reader));
    assert!(is_closed(&mut blocked));
    gate.open();
}

#[test]
fn a_drop_during_a_panic_is_quiet() {
    let place = Place::new();
    let path = place.socket();
    let panicked = thread::spawn(move || {
        let _reader = Collector::start(&path);
        panic!("with a reader at hand");
    });
    assert!(panicked.join().is_err());
    assert!(!place.socket().exists());
}

#[test]
fn after_a_stop_no_thread_is_left_and_the_handler_is_dropped() {
    for _ in 0..50 {
        let place = Place::new();
        let kept = Arc::new(());
        let (in_handler, bound) = (
            Arc::clone(&kept),
            Reader::builder(place.socket()).bind().unwrap(),
        );
        let handler = move |_: &[u8]| {
            let _ = &in_handler;
            Ok::<(), String>(())
        };
        let reader = bound.start(handler).unwrap();
        let _peers = [(); 5].map(|()| connect(&place.socket()));
        let reports = thread::scope(|scope| {
            let stops = [(); 2].map(|()| {
                scope.spawn(|| {
                    let report = reader.shutdown(PATIENCE).unwrap();
                    (report.metrics.threads, Arc::strong_count(&kept))
                })
            });
            stops.map(|stop| stop.join().unwrap())
        });
        assert_eq!(reports, [(0, 1); 2]);
    }
}

#[test]
fn once_all_threads_have_left_a_stop_starts_none() {
    for _ in 0..20 {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        send_and_close(&place.socket(), &frame(b"a"));
        collector.wait_for(1);
        thread::scope(|scope| {
            let stop = scope.spawn(|| collector.reader.shutdown(PATIENCE).unwrap());
            let mut last = 1;
            while !stop.is_finished() {
                let threads = collector.reader.metrics().threads;
                assert!(
                    last > 0 || threads == 0,
                    "one was started after all had left"
                );
                last = threads;
            }
        });
    }
}

#[test]
fn a_stop_is_no_trouble_with_accepting() {
    for _ in 0..100 {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let metrics = collector.reader.shutdown(PATIENCE).unwrap().metrics;
        assert_eq!(metrics.accept_pauses, 0, "{:#?}", collector.events.all());
    }
}

#[test]
fn a_stop_does_not_need_its_path() {
    let acts: [fn(&Place); 4] = [
        |place| fs::remove_file(place.socket()).unwrap(),
        |place| fs::rename(place.socket(), place.path("elsewhere")).unwrap(),
        |place| {
            fs::remove_file(place.socket()).unwrap();
            fs::write(place.socket(), "something else").unwrap();
        },
        |place| {
            fs::remove_file(place.socket()).unwrap();
            fs::create_dir(place.socket()).unwrap();
        },
    ];
    for act in acts {
        let place = Place::new();
        let reader = Scripted::start(&place.socket());
        let mut idle = connect(&place.socket());
        reader.wait_for("<opened>", 1);
        act(&place);
        let files = place.files();
        let reader = reader.reader;
        let report = returns("the shutdown", move || reader.shutdown(PATIENCE).unwrap());
        assert_eq!((report.cut, report.metrics.open), (0, 0));
        assert!(is_closed(&mut idle));
        assert_eq!(place.files(), files, "what lies there is not touched");
    }
}

#[test]
fn a_stop_does_not_connect_to_whoever_took_its_path() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    fs::remove_file(place.socket()).unwrap();
    let successor = UnixListener::bind(place.socket()).unwrap();
    assert_eq!(reader.reader.shutdown(PATIENCE).unwrap().cut, 0);
    successor.set_nonblocking(true).unwrap();
    assert_eq!(
        successor.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "nobody came"
    );
    assert!(place.socket().exists());
}

#[test]
fn a_lock_that_another_process_holds_does_not_hold_up_a_stop() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let program = "
import fcntl, sys
lock = open(sys.argv[1] + '.lock', 'w')
fcntl.flock(lock, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
";
    let Some(holder) = python(program, &[place.socket().as_os_str()]) else {
        return;
    };
    holder.lines.wait_for("locked");
    let reader = reader.reader;
    assert_eq!(
        returns("the shutdown", move || reader.shutdown(PATIENCE).unwrap()).cut,
        0
    );
    assert!(
        place.socket().exists(),
        "better left behind than a successor's removed"
    );
    holder.finish();
}

#[test]
fn a_pipe_in_the_place_of_the_lock_does_not_hold_up_a_stop() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    if !Command::new("mkfifo")
        .arg(place.path("s.lock"))
        .status()
        .is_ok_and(|status| status.success())
    {
        skip("no mkfifo");
        return;
    }
    let reader = reader.reader;
    assert_eq!(
        returns("the shutdown", move || reader.shutdown(PATIENCE).unwrap()).cut,
        0
    );
    assert!(
        place.files().contains(&"s.lock".to_owned()),
        "it is not ours to remove"
    );
}

#[test]
fn a_reader_can_follow_at_once_on_the_same_address() {
    let place = Place::new();
    let mut addresses = vec![place.socket().into_os_string()];
    if cfg!(target_os = "linux") {
        addresses.push(format!("@{}", place.socket().display()).into());
    }
    for address in addresses {
        for _ in 0..50 {
            let collector = Collector::start(Path::new(&address));
            let events = collector.events.clone();
            collector.stop();
            assert!(!events.has("Displaced"));
        }
    }
    assert!(place.files().is_empty());
}

#[test]
fn nothing_of_a_handler_in_a_child_process_is_needed_to_stop_its_parent() {
    // A child that was started while the reader ran, and outlives it, holds nothing of it open.
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut peer = connect(&place.socket());
    peer.write_all(&frame(b"a")).unwrap();
    collector.wait_for(1);
    let child = Child::start(&mut Command::new("cat")).unwrap();
    collector.stop();
    assert!(is_closed(&mut peer));
    assert!(UnixStream::connect(place.socket()).is_err());
    child.finish();
}
