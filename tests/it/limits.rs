//! The reader's bounds: silence and slowness, connections, users, memory, threads, descriptors.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use uds_ipc::error::{BindError, StartError};
use uds_ipc::event::ReaderEvent;
use uds_ipc::{Reader, ReaderBuilder, Writer};

use crate::support::{
    Child, Collector, Gate, Notes, PATIENCE, Place, SHORT, Scripted, assert_rests, connect,
    ended_as, frame, is_closed, let_pass, memory, returns, send_and_close, skip, wait_until,
};

#[expect(clippy::disallowed_methods, reason = "these tests are about time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_silent_peer_is_closed_and_that_is_no_error() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.idle_timeout(SHORT));
    let mut silent = connect(&place.socket());
    assert!(is_closed(&mut silent));
    let mut silent_later = connect(&place.socket());
    // It may be slow enough to be closed before.
    let _ = silent_later.write_all(&frame(b"a"));
    assert!(is_closed(&mut silent_later));
    reader.wait_for("<closed>", 2);
    wait_until("both are told", || {
        reader.events.count(|event| event.contains("cause: Idle")) == 2
    });
    let metrics = reader.reader.metrics();
    assert_eq!(
        (
            metrics.protocol_errors.total(),
            metrics.handler_errors,
            metrics.open
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_peer_that_sends_empty_frames_is_not_silent() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    // More than a socket's buffer: once all is written the reader has read some of it.
    let frames = vec![0; 1_000_000];
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.idle_timeout(TIMEOUT));
    let is_kept = || {
        let start = now();
        let (mut peer, mut last) = (connect(&place.socket()), start);
        while start.elapsed() < 4 * TIMEOUT {
            let before = now();
            if peer.write_all(&frames).is_err() {
                // The reader read something after `last`.
                assert!(last.elapsed() >= TIMEOUT, "closed though it was not silent");
                return false;
            }
            last = before;
            thread::park_timeout(TIMEOUT / 10);
        }
        reader.events.wait_for("cause: Idle");
        true
    };
    // Where this thread was held up for too long nothing is shown.
    assert!((0..50).any(|_| is_kept()), "this machine is too slow");
    let metrics = reader.reader.metrics();
    assert_eq!(
        (metrics.protocol_errors.total(), metrics.received.messages),
        (0, 0)
    );
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_too_slow() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder
            .idle_timeout(SHORT)
            .min_receive_rate(u64::MAX)
            .max_message_len(usize::MAX)
            .max_partial_bytes(usize::MAX)
    });
    let path = place.socket();
    let bytes = returns("a slow sender", move || {
        let mut peer = connect(&path);
        let mut bytes = 0;
        if peer.write_all(&[0xff, 0xff, 0xff, 0xff, 0x7f]).is_ok() {
            while peer.write_all(b"x").is_ok() {
                bytes += 1;
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        bytes
    });
    collector.events.wait_for("cause: TooSlow");
    let metrics = collector.reader.metrics();
    assert_eq!(
        (
            metrics.protocol_errors.too_slow,
            metrics.protocol_errors.total()
        ),
        (1, 1),
        "{bytes} bytes"
    );
    assert!(collector.stop().is_empty());
}

#[test]
fn a_frame_that_stops_inside_its_length_or_payload_is_too_slow() {
    let place = Place::new();
    let events = Notes::new();
    let builder = Reader::builder(place.socket()).idle_timeout(SHORT);
    let bound = builder
        .on_event(events.observer::<ReaderEvent>())
        .bind()
        .unwrap();
    // They wait in the backlog with what they have sent: none can be taken for silent.
    let halves = [&[0x80][..], &[0x80; 9], &[5], &[5, b'x'], &[1, b'a', 0x80]];
    let mut peers = halves.map(|half| {
        let mut peer = connect(&place.socket());
        peer.write_all(half).unwrap();
        peer
    });
    let reader = bound.start(|_| ()).unwrap();
    assert!(peers.iter_mut().all(is_closed));
    wait_until("all is told", || {
        events.count(|event| event.starts_with("Closed")) == 5
    });
    assert_eq!(events.count(|event| event.contains("cause: TooSlow")), 5);
    let errors = reader.metrics().protocol_errors;
    assert_eq!((errors.too_slow, errors.total()), (5, 5));
}

#[test]
fn a_long_message_that_comes_slowly_but_steadily_lives() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let place = Place::new();
    let messages = Notes::new();
    let (notes, events) = (messages.clone(), Notes::new());
    let builder = Reader::builder(place.socket())
        .idle_timeout(TIMEOUT)
        .min_receive_rate(1);
    let bound = builder
        .on_event(events.observer::<ReaderEvent>())
        .bind()
        .unwrap();
    let (message, pieces) = (vec![7; 100_000], 3);
    let stream = frame(&message);
    let mut peer = connect(&place.socket());
    let mut rest = stream.chunks(stream.len().div_ceil(pieces));
    // It waits in the backlog, so that its first piece is there with it.
    peer.write_all(rest.next().unwrap()).unwrap();
    let handler = move |message: &[u8]| {
        notes.add(message.to_vec());
    };
    let reader = bound.start(handler).unwrap();
    for piece in rest {
        // The timeout goes by, as a silent neighbour shows.
        assert!(is_closed(&mut connect(&place.socket())));
        peer.write_all(piece).unwrap();
    }
    messages.wait_for_len(1);
    assert_eq!(messages.all(), [message]);
    assert_eq!(reader.metrics().protocol_errors.total(), 0);
    assert_eq!(
        events.count(|event| event.contains("cause: Idle")),
        pieces - 1
    );
}

#[test]
fn a_frame_has_the_time_of_the_bytes_that_came_whatever_it_announced() {
    const ANNOUNCED: usize = 10 * 1024 * 1024;
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.idle_timeout(SHORT).min_receive_rate(1_000)
    });
    // Made before, since a peer that is silent meanwhile is closed for that.
    let stream = frame(&vec![0; ANNOUNCED]);
    let prefix_len = stream.len() - ANNOUNCED;
    let start = now();
    let mut peer = connect(&place.socket());
    peer.write_all(&stream[..prefix_len + 1_000]).unwrap();
    // By the length that was announced it would take three hours.
    assert!(is_closed(&mut peer));
    assert!(
        start.elapsed() >= SHORT + Duration::from_secs(1),
        "closed after {:?} already",
        start.elapsed()
    );
    collector.events.wait_for("cause: TooSlow");
}

#[test]
fn timeouts_without_end_are_never() {
    let place = Place::new();
    let set = |builder: ReaderBuilder| {
        let builder = builder
            .max_message_len(usize::MAX)
            .max_partial_bytes(usize::MAX);
        builder.idle_timeout(Duration::MAX).min_receive_rate(1)
    };
    let reader = Scripted::start_with(&place.socket(), set);
    let mut half = connect(&place.socket());
    half.write_all(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])
        .unwrap();
    half.write_all(b"x").unwrap();
    let mut other = connect(&place.socket());
    other.write_all(&frame(b"a")).unwrap();
    reader.wait_for("a", 1);
    assert_eq!(reader.reader.shutdown(Duration::MAX).unwrap().cut, 0);
}

#[test]
fn above_the_connection_limit_more_wait_and_are_served_when_one_ends() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.max_connections(2));
    let mut peers: Vec<_> = (0..6)
        .map(|number| {
            let mut peer = connect(&place.socket());
            peer.write_all(&frame(format!("message {number}").as_bytes()))
                .unwrap();
            peer
        })
        .collect();
    for number in 0..6 {
        // Those who came first are served first.
        reader.wait_for(&format!("message {number}"), 1);
        let open = reader.count("<opened>") - reader.count("<closed>");
        assert!(open <= 2, "{open} at once");
        if number > 0 {
            drop(peers.remove(0));
        }
    }
    drop(peers);
    reader.wait_for("<closed>", 6);
    let metrics = reader.reader.metrics();
    assert_eq!(
        (
            metrics.connections,
            metrics.refused_peers,
            metrics.accept_pauses
        ),
        (6, 0, 0)
    );
    let (mut open, mut most) = (0, 0);
    for (_, call) in reader.calls.all() {
        match call.as_str() {
            "<opened>" => open += 1,
            "<closed>" => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!(most, 2);
}

#[test]
fn above_its_limit_a_user_is_refused_until_one_of_its_connections_ends() {
    let place = Place::new();
    let set = |builder: ReaderBuilder| builder.max_connections_per_user(2);
    let reader = Scripted::start_with(&place.socket(), set);
    let peers = [(); 2].map(|()| connect(&place.socket()));
    reader.wait_for("<opened>", 2);
    let mut third = connect(&place.socket());
    let _ = third.write_all(&frame(b"refused"));
    assert!(is_closed(&mut third));
    reader.events.wait_for("cause: TooManyOfUser { limit: 2 }");
    drop(peers);
    reader.wait_for("<closed>", 2);
    wait_until("they are gone", || reader.reader.metrics().open == 0);
    let mut fourth = connect(&place.socket());
    fourth.write_all(&frame(b"let in")).unwrap();
    reader.wait_for("let in", 1);
    assert_eq!(reader.count("refused"), 0);
    let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (
            metrics.refused_peers,
            metrics.connections,
            metrics.received.messages
        ),
        (1, 3, 1)
    );
}

#[test]
fn where_others_may_connect_one_user_has_half_of_the_connections() {
    for (mode, share) in [(0o600, 4), (0o660, 2), (0o666, 2)] {
        let place = Place::new();
        let set = |builder: ReaderBuilder| builder.max_connections(4).socket_mode(mode);
        let reader = Scripted::start_with(&place.socket(), set);
        let _peers: Vec<_> = (0..share).map(|_| connect(&place.socket())).collect();
        reader.wait_for("<opened>", share);
        let mut above = connect(&place.socket());
        if share < 4 {
            assert!(is_closed(&mut above));
            reader.events.wait_for("cause: TooManyOfUser { limit: 2 }");
        }
        assert_eq!(
            reader.reader.metrics().refused_peers,
            u64::from(share < 4),
            "mode {mode:o}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn half_messages_never_hold_much_more_than_they_may() {
    const NAME: &str = "limits::half_messages_never_hold_much_more_than_they_may";
    const PEERS: usize = 20;
    const LIMIT: usize = 4 << 20;
    if let Some(path) = Child::path() {
        let set = |builder: ReaderBuilder| {
            builder
                .max_message_len(LIMIT)
                .max_partial_bytes(LIMIT)
                .idle_timeout(Duration::MAX)
        };
        let reader = Scripted::start_with(&path, set);
        send_and_close(&path, &frame(b"before"));
        reader.wait_for("before", 1);
        Child::say("ready");
        // There is room for one.
        wait_until("they are closed", || {
            reader
                .events
                .count(|event| event.contains("cause: NoMemory"))
                >= PEERS - 1
        });
        Child::say("they are closed");
        reader.wait_for("after", 1);
        // The one that was kept ends in the middle.
        let errors = reader.reader.metrics().protocol_errors;
        assert!(
            errors.truncated <= 1 && errors.total() == errors.truncated,
            "{errors:?}"
        );
        Child::wait_for_end();
        return;
    }
    let place = Place::new();
    let child = Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
    child.lines.wait_for("ready");
    let before = memory(child.id(), "VmHWM");
    let stream = frame(&vec![0; LIMIT]);
    let peers: Vec<_> = thread::scope(|scope| {
        let nearly_all = || {
            let mut peer = connect(&place.socket());
            // The reader may close it in the middle.
            let _ = peer.write_all(&stream[..stream.len() - 1]);
            peer
        };
        let peers: Vec<_> = (0..PEERS).map(|_| scope.spawn(nearly_all)).collect();
        peers.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    child.lines.wait_for("they are closed");
    let grown = memory(child.id(), "VmHWM").saturating_sub(before);
    // What the threads read into comes on top. Without the bound it would be 80 MiB.
    assert!(grown < 24 * 1024, "{grown} KiB");
    drop(peers);
    send_and_close(&place.socket(), &frame(b"after"));
    child.finish();
}

#[test]
fn at_the_bound_of_memory_the_slowest_is_closed_and_the_others_go_on() {
    const LIMIT: usize = 1 << 20;
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        // With one thread they have their turns in the order in which they come: the slow one is
        // known before the quick one.
        builder
            .max_message_len(LIMIT)
            .max_partial_bytes(LIMIT)
            .max_threads(1)
    });
    let message = vec![7; LIMIT * 3 / 4];
    let stream = frame(&message);
    // It holds more than half, and brings no more.
    let mut slow = connect(&place.socket());
    slow.write_all(&[&frame(b"a"), &stream[..stream.len() - 1]].concat())
        .unwrap();
    collector.wait_for(1);
    let mut quick = connect(&place.socket());
    quick.write_all(&stream).unwrap();
    assert!(collector.wait_for(2)[1] == message, "the message is whole");
    assert!(is_closed(&mut slow));
    collector.events.wait_for("peer: Peer { connection: 1");
    collector.events.wait_for("cause: NoMemory");
    assert_eq!(
        collector.events.count(|event| event.contains("NoMemory")),
        1
    );
    quick.write_all(&frame(b"b")).unwrap();
    collector.wait_for(3);
    collector.stop();
}

#[test]
fn a_message_of_just_as_much_memory_as_there_may_be_arrives() {
    const LIMIT: usize = 1 << 20;
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.max_message_len(LIMIT).max_partial_bytes(LIMIT)
    });
    let message = vec![7; LIMIT];
    let mut peer = connect(&place.socket());
    let written = peer.write_all(&frame(&message));
    assert!(
        written.is_ok() && !is_closed_meanwhile(&collector),
        "{:#?}",
        collector.events.all()
    );
    assert!(collector.wait_for(1)[0] == message, "the message is whole");
    collector.stop();
}

/// Waits until the first message is here, or its connection is closed instead.
fn is_closed_meanwhile(collector: &Collector) -> bool {
    wait_until("something happens", || {
        collector.messages.len() == 1 || collector.events.has("Closed")
    });
    collector.messages.len() == 0
}

#[test]
fn there_are_no_more_threads_than_there_may_be_and_they_go_back() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.max_threads(3));
    let peers: Vec<_> = (0..10)
        .map(|_| {
            let mut peer = connect(&place.socket());
            peer.write_all(&frame(b"block")).unwrap();
            peer
        })
        .collect();
    reader.wait_for("block", 3);
    assert_eq!(reader.reader.metrics().threads, 3);
    // As soon as it could the watch would have added another.
    let_pass(Duration::from_millis(100));
    assert_eq!(reader.count("block"), 3, "no thread is left for a fourth");
    assert_eq!(reader.reader.metrics().threads, 3);
    reader.gate.open();
    reader.wait_for("block", 10);
    drop(peers);
    wait_until("the surplus is gone", || {
        reader.reader.metrics().threads == 1
    });
    send_and_close(&place.socket(), &frame(b"a"));
    reader.wait_for("a", 1);
}

#[test]
fn a_stop_while_all_threads_are_blocked_serves_who_waits_later() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.max_threads(1));
    let mut blocked = connect(&place.socket());
    blocked
        .write_all(&[frame(b"block"), frame(b"a")].concat())
        .unwrap();
    reader.wait_for("block", 1);
    for _ in 0..5 {
        send_and_close(&place.socket(), &frame(b"a"));
    }
    thread::scope(|scope| {
        let stop = scope.spawn(|| reader.reader.shutdown(PATIENCE).unwrap());
        wait_until("newcomers are turned away", || {
            let refused = UnixStream::connect(place.socket());
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
        reader.gate.open();
        assert_eq!(stop.join().unwrap().cut, 0);
    });
    assert_eq!(reader.count("a"), 6);
}

#[test]
fn at_the_file_limit_the_reader_serves_on_and_accepts_again_as_soon_as_it_can() {
    const NAME: &str =
        "limits::at_the_file_limit_the_reader_serves_on_and_accepts_again_as_soon_as_it_can";
    if let Some(path) = Child::path() {
        let observer = |event: ReaderEvent| {
            if let ReaderEvent::AcceptPaused { error, .. } = event {
                Child::say(&format!("paused: {error}"));
            } else if let ReaderEvent::AcceptResumed { .. } = event {
                Child::say("resumed");
            }
        };
        let reader = Reader::builder(path).on_event(observer).bind().unwrap();
        let handler = |message: &[u8]| {
            Child::say(&format!("got {}", String::from_utf8_lossy(message)));
        };
        let reader = reader.start(handler).unwrap();
        Child::say("ready");
        Child::wait_for_end();
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
        return;
    }
    let place = Place::new();
    let child = Child::start(&mut Child::test(NAME, &place.socket(), "ulimit -n 40")).unwrap();
    child.lines.wait_for("ready");
    let mut peers: Vec<_> = (0..60)
        .map(|number| {
            let mut peer = connect(&place.socket());
            peer.write_all(&frame(format!("first {number}.").as_bytes()))
                .unwrap();
            peer
        })
        .collect();
    child.lines.wait_for("paused: Too many open files");
    peers[0].write_all(&frame(b"served on")).unwrap();
    child.lines.wait_for("got served on");
    assert!(!child.lines.has("got first 59."));
    // It tries again and again, now and then, and says nothing more of it.
    assert_rests(child.id());
    assert_eq!(
        child.lines.count(|line| line.starts_with("paused")),
        1,
        "told once an episode"
    );
    peers.drain(..50);
    child.lines.wait_for("got first 59.");
    child.lines.wait_for("resumed");
    for number in 0..60 {
        child.lines.wait_for(&format!("got first {number}."));
    }
    // Whoever comes next shows that accepting goes on, where nobody has yet.
    let mut last = connect(&place.socket());
    last.write_all(&frame(b"last")).unwrap();
    child.lines.wait_for("got last");
    wait_until("each pause has its end", || {
        child.lines.count(|line| line.starts_with("paused"))
            == child.lines.count(|line| line == "resumed")
    });
    drop(peers);
    child.finish();
}

/// Threads that do nothing; each ends when its sender is dropped.
type Idlers = Vec<(mpsc::Sender<()>, thread::JoinHandle<()>)>;

/// Takes all the threads that this user may have.
fn take_all_threads() -> Idlers {
    let mut taken = Vec::new();
    loop {
        let (sender, receiver) = mpsc::channel::<()>();
        assert!(taken.len() < 100, "there is no limit");
        match thread::Builder::new().spawn(move || {
            let _ = receiver.recv();
        }) {
            Ok(thread) => taken.push((sender, thread)),
            Err(_) => return taken,
        }
    }
}

/// Ends some of them.
fn give_back(taken: &mut Idlers, count: usize) {
    for (sender, thread) in taken.split_off(taken.len() - count) {
        drop(sender);
        thread.join().unwrap();
    }
}

#[test]
fn without_threads_a_start_fails_and_a_running_reader_serves_on() {
    const NAME: &str = "limits::without_threads_a_start_fails_and_a_running_reader_serves_on";
    if let Some(path) = Child::path() {
        let mut taken = take_all_threads();
        assert!(matches!(
            Writer::start(&path),
            Err(StartError::System { .. })
        ));
        // It needs two: without any, and with one only.
        for _ in 0..2 {
            let bound = Reader::builder(&path).bind().unwrap();
            assert!(matches!(
                bound.start(|_| ()),
                Err(StartError::System { .. })
            ));
            assert!(!path.exists());
            give_back(&mut taken, 1);
        }
        let (messages, gate, events) = (Notes::new(), Gate::new(), Notes::new());
        // The thread of the last try has to end, for which nobody waits.
        let mut started = None;
        wait_until("it starts", || {
            let (notes, at_gate) = (messages.clone(), gate.clone());
            let builder = Reader::builder(&path).on_event(events.observer::<ReaderEvent>());
            let handler = move |message: &[u8]| {
                notes.add(message.to_vec());
                match message {
                    b"slow" => thread::park_timeout(SHORT),
                    b"block" => at_gate.pass(),
                    _ => {}
                }
            };
            started = builder.bind().unwrap().start(handler).ok();
            started.is_some()
        });
        let reader = started.unwrap();
        taken.extend(take_all_threads());
        let mut peers = [(); 2].map(|()| connect(&path));
        for peer in &mut peers {
            peer.write_all(&frame(b"slow").repeat(4)).unwrap();
        }
        messages.wait_for_len(8);
        events.wait_for("ThreadFailed");
        give_back(&mut taken, 10);
        peers[0].write_all(&frame(b"block")).unwrap();
        messages.wait_for_len(9);
        peers[1].write_all(&frame(b"beside it")).unwrap();
        messages.wait_for_len(10);
        gate.open();
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
        assert_eq!(
            events.count(|event| event.starts_with("ThreadFailed")),
            1,
            "told once an episode"
        );
        let threads = taken.len();
        give_back(&mut taken, threads);
        Child::say("good");
        return;
    }
    let place = Place::new();
    if fs::metadata(place.path(".")).unwrap().uid() != 0 {
        return skip("only root can be somebody else");
    }
    // A user whose threads are no others than these.
    let user = 100_000 + process::id();
    chown(place.path("."), Some(user), Some(user)).unwrap();
    let mut command = Child::test(
        NAME,
        &place.socket(),
        "ulimit -u 40 2>/dev/null || ulimit -p 40",
    );
    let Some(child) = ended_as(user, &mut command) else {
        return;
    };
    child.lines.wait_for("good");
}

#[test]
fn bounds_of_nothing_are_refused() {
    fn is_refused(setting: &str, set: impl FnOnce(ReaderBuilder) -> ReaderBuilder) {
        let place = Place::new();
        let error = set(Reader::builder(place.socket())).bind().unwrap_err();
        assert!(
            matches!(&error, BindError::Setting(error) if error.setting == setting),
            "{error:?}"
        );
        assert!(error.to_string().contains(setting), "{error}");
        assert!(place.files().is_empty());
    }

    is_refused("max_message_len", |builder| builder.max_message_len(0));
    is_refused("min_receive_rate", |builder| builder.min_receive_rate(0));
    is_refused("max_connections", |builder| builder.max_connections(0));
    is_refused("max_connections_per_user", |builder| {
        builder.max_connections_per_user(0)
    });
    is_refused("max_partial_bytes", |builder| builder.max_partial_bytes(0));
    is_refused("max_threads", |builder| builder.max_threads(0));
    is_refused("idle_timeout", |builder| {
        builder.idle_timeout(Duration::ZERO)
    });
    is_refused("socket_mode", |builder| builder.socket_mode(0o1000));
}

#[test]
fn bounds_without_end_cost_nothing() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| {
        let builder = builder
            .max_message_len(usize::MAX)
            .max_partial_bytes(usize::MAX)
            .max_threads(usize::MAX);
        builder
            .max_connections(usize::MAX)
            .max_connections_per_user(usize::MAX)
            .min_receive_rate(u64::MAX)
    });
    send_and_close(&place.socket(), &frame(b"a"));
    reader.wait_for("a", 1);
}
