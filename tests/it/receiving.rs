//! The reader at work: order, side by side, the handler's faults, who the peer is, what is told.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use uds_ipc::event::ReaderEvent;
use uds_ipc::{Handler, Peer, Reader};

use crate::support::{
    Collector, Gate, Notes, PATIENCE, Place, Scripted, connect, finish, frame, is_closed, let_pass,
    numbered, send_and_close, stranger, wait_until, writer,
};

#[test]
fn messages_of_one_connection_come_in_order_and_one_at_a_time() {
    struct OneAtATime {
        is_inside: [AtomicBool; 8],
        messages: Notes<(u64, Vec<u8>)>,
    }

    impl Handler for OneAtATime {
        type Error = String;

        fn message(&self, message: &[u8], peer: &Peer) -> Result<(), String> {
            let is_inside = &self.is_inside[usize::try_from(peer.connection).unwrap()];
            assert!(
                !is_inside.swap(true, Ordering::SeqCst),
                "two calls at once for {peer}"
            );
            self.messages.add((peer.connection, message.to_vec()));
            is_inside.store(false, Ordering::SeqCst);
            Ok(())
        }
    }

    let place = Place::new();
    let messages = Notes::new();
    let handler = OneAtATime {
        is_inside: Default::default(),
        messages: messages.clone(),
    };
    let reader = Reader::builder(place.socket())
        .bind()
        .unwrap()
        .start_handler(handler)
        .unwrap();
    let (writers, _): (Vec<_>, Vec<_>) = (0..4).map(|_| writer(&place.socket())).unzip();
    thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| {
                for message in numbered(20_000) {
                    writer.send_timeout(message, PATIENCE).unwrap();
                }
                finish(writer);
            });
        }
    });
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(
        (
            report.cut,
            report.metrics.panics,
            report.metrics.received.messages
        ),
        (0, 0, 80_000)
    );
    let messages = messages.all();
    for connection in 1..=4 {
        let of_one = messages.iter().filter(|(number, _)| *number == connection);
        assert!(
            of_one.map(|(_, message)| message).eq(&numbered(20_000)),
            "connection {connection}"
        );
    }
}

#[test]
fn connections_are_handled_side_by_side() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let _peers = [(); 2].map(|()| {
        let mut peer = connect(&place.socket());
        peer.write_all(&frame(b"block")).unwrap();
        peer
    });
    reader.wait_for("block", 2);
    reader.gate.open();
}

#[test]
fn a_blocked_handler_holds_up_its_own_connection_only() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut blocked = connect(&place.socket());
    blocked
        .write_all(&[frame(b"block"), frame(b"after")].concat())
        .unwrap();
    reader.wait_for("block", 1);
    let mut other = connect(&place.socket());
    for count in 1..100 {
        other.write_all(&frame(b"other")).unwrap();
        reader.wait_for("other", count);
    }
    assert_eq!(reader.count("after"), 0, "one at a time");
    reader.gate.open();
    reader.wait_for("after", 1);
}

#[test]
fn more_blocked_handlers_than_processors_do_not_hold_up_others() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let before = connect(&place.socket());
    let mut blocked = Vec::new();
    for _ in 0..100 {
        let mut peer = connect(&place.socket());
        peer.write_all(&frame(b"block")).unwrap();
        blocked.push(peer);
    }
    reader.wait_for("block", 100);
    let mut after = connect(&place.socket());
    after.write_all(&frame(b"other")).unwrap();
    (&before).write_all(&frame(b"other")).unwrap();
    reader.wait_for("other", 2);
    reader.gate.open();
}

#[test]
fn an_endless_sender_does_not_starve_its_neighbours_of_the_only_thread() {
    let place = Place::new();
    let messages = Notes::new();
    let notes = messages.clone();
    let bound = Reader::builder(place.socket())
        .max_threads(1)
        .bind()
        .unwrap();
    let handler = move |message: &[u8]| {
        if message != b"endless" {
            notes.add(message.to_vec());
        }
    };
    let reader = bound.start(handler).unwrap();
    let mut endless = connect(&place.socket());
    let many = frame(b"endless").repeat(20_000);
    let sender = thread::spawn(move || while endless.write_all(&many).is_ok() {});
    let mut other = connect(&place.socket());
    for count in 1..=20 {
        other.write_all(&frame(b"other")).unwrap();
        messages.wait_for_len(count);
    }
    // The end of the reader is the end of the sender.
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    sender.join().unwrap();
}

#[test]
fn opened_comes_before_the_first_message_and_closed_after_the_last() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    send_and_close(&place.socket(), &[frame(b"a"), frame(b"b")].concat());
    reader.wait_for("<closed>", 1);
    assert_eq!(
        reader.calls_of(1),
        ["<opened>", "a", "b", "<batch end>", "<closed>"]
    );
    send_and_close(&place.socket(), &frame(b"c")[..1]);
    reader.wait_for("<closed>", 2);
    let silent = connect(&place.socket());
    reader.wait_for("<opened>", 3);
    drop(silent);
    reader.wait_for("<closed>", 3);
    for connection in [2, 3] {
        assert_eq!(reader.calls_of(connection), ["<opened>", "<closed>"]);
    }
    assert_eq!(
        reader
            .reader
            .shutdown(PATIENCE)
            .unwrap()
            .metrics
            .connections,
        3
    );
}

#[test]
fn a_batch_ends_after_its_messages_and_there_is_none_without() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut peer = connect(&place.socket());
    for _ in 0..100 {
        // No message: an empty frame, and half of one.
        peer.write_all(&[0]).unwrap();
        peer.write_all(&frame(b"message")[..4]).unwrap();
        peer.write_all(&frame(b"message")[4..]).unwrap();
    }
    peer.write_all(&frame(b"message").repeat(100_000)).unwrap();
    drop(peer);
    reader.wait_for("<closed>", 1);
    let calls = reader.calls_of(1);
    assert_eq!(
        calls.iter().filter(|call| *call == "message").count(),
        100_100
    );
    for pair in calls.windows(2) {
        let is_good = match pair[1].as_str() {
            "<batch end>" => pair[0] == "message",
            "<closed>" => pair[0] == "<batch end>",
            _ => true,
        };
        assert!(is_good, "{pair:?}");
    }
}

#[test]
fn a_handlers_errors_are_counted_and_told_once_an_episode() {
    let place = Place::new();
    let reader = Scripted::start_with(&place.socket(), |builder| {
        builder.idle_timeout(Duration::MAX)
    });
    let mut peer = connect(&place.socket());
    // One write is one read.
    peer.write_all(&[frame(b"fail 1"), frame(b"a"), frame(b"fail 2").repeat(9)].concat())
        .unwrap();
    reader.wait_for("<batch end>", 1);
    let mut other = connect(&place.socket());
    other.write_all(&frame(b"fail other")).unwrap();
    reader.wait_for("<batch end>", 2);
    reader.events.wait_for("the handler says fail other");
    reader.events.wait_for("the handler says fail 1");
    let_pass(Duration::from_millis(1_100));
    peer.write_all(&[frame(b"fail 3").repeat(2), frame(b"b")].concat())
        .unwrap();
    reader.events.wait_for("the handler says fail 3");
    reader.wait_for("b", 1);
    let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((metrics.handler_errors, metrics.panics), (13, 0));
    assert_eq!(
        metrics.received.messages, 15,
        "what failed was received as well"
    );
    assert_eq!(
        reader
            .events
            .count(|event| event.starts_with("HandlerFailed")),
        3
    );
    assert_eq!(metrics.protocol_errors.total(), 0);
}

#[test]
fn a_handlers_panics_are_survived_counted_and_told_once_an_episode() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let mut peer = connect(&place.socket());
    let long = [b"panic ".to_vec(), vec![b'x'; 1_000_000]].concat();
    peer.write_all(&[frame(b"panic 1"), frame(b"a"), frame(b"panic 2").repeat(9)].concat())
        .unwrap();
    reader.wait_for("<batch end>", 1);
    reader.events.wait_for("the handler says panic 1");
    let mut other = connect(&place.socket());
    other
        .write_all(&[frame(&long), frame(b"b")].concat())
        .unwrap();
    reader.wait_for("b", 1);
    peer.write_all(&frame(b"c")).unwrap();
    reader.wait_for("c", 1);
    let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((metrics.handler_errors, metrics.panics), (0, 11));
    assert_eq!(
        reader
            .events
            .count(|event| event.starts_with("HandlerPanicked")),
        2
    );
    assert_eq!(
        reader
            .calls_of(1)
            .iter()
            .filter(|call| *call == "panic 2")
            .count(),
        9
    );
}

#[test]
fn an_error_and_a_panic_in_one_batch_are_both_told() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    send_and_close(
        &place.socket(),
        &[frame(b"fail"), frame(b"panic"), frame(b"a")].concat(),
    );
    reader.wait_for("<closed>", 1);
    reader.events.wait_for("HandlerFailed");
    reader.events.wait_for("HandlerPanicked");
    assert_eq!(reader.count("a"), 1);
}

#[test]
fn faults_of_the_handlers_other_calls_are_survived_counted_and_told() {
    struct Faulty(Notes<Vec<u8>>);

    impl Handler for Faulty {
        type Error = &'static str;

        fn message(&self, message: &[u8], _: &Peer) -> Result<(), &'static str> {
            self.0.add(message.to_vec());
            Ok(())
        }

        fn batch_end(&self, peer: &Peer) -> Result<(), &'static str> {
            assert!(peer.connection == 1, "panic in batch_end");
            Err("error in batch_end")
        }

        fn opened(&self, peer: &Peer) {
            assert!(peer.connection == 1, "panic in opened");
        }

        fn closed(&self, peer: &Peer) {
            assert!(peer.connection == 1, "panic in closed");
        }
    }

    let place = Place::new();
    let (messages, events) = (Notes::new(), Notes::new());
    let builder = Reader::builder(place.socket()).on_event(events.observer::<ReaderEvent>());
    let reader = builder
        .bind()
        .unwrap()
        .start_handler(Faulty(messages.clone()))
        .unwrap();
    for count in 1..=2 {
        send_and_close(&place.socket(), &frame(b"a"));
        messages.wait_for_len(count);
        events.wait_for("EndOfStream");
    }
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (
            metrics.handler_errors,
            metrics.panics,
            metrics.received.messages
        ),
        (1, 3, 2)
    );
    for told in [
        "error in batch_end",
        "panic in batch_end",
        "panic in opened",
        "panic in closed",
    ] {
        assert_eq!(events.count(|event| event.contains(told)), 1, "{told}");
    }
}

#[test]
fn an_observer_that_panics_is_survived_and_counted() {
    let place = Place::new();
    let panicking = |_: ReaderEvent| panic!("the observer panics");
    let collector = Collector::start_with(&place.socket(), |builder| builder.on_event(panicking));
    send_and_close(&place.socket(), &frame(b"a"));
    send_and_close(&place.socket(), &[0x80]);
    collector.wait_for(1);
    let metrics = collector.reader.shutdown(PATIENCE).unwrap().metrics;
    // Opened and closed, twice: none of them told of itself.
    assert_eq!((metrics.panics, metrics.received.messages), (4, 1));
}

#[test]
fn an_observer_that_blocks_holds_up_one_connection_only() {
    let place = Place::new();
    let (gate, inside) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (at_gate, counter) = (gate.clone(), Arc::clone(&inside));
    let observer = move |event: ReaderEvent| {
        if let ReaderEvent::Opened { peer, .. } = event {
            if peer.connection == 1 {
                counter.fetch_add(1, Ordering::SeqCst);
                at_gate.pass();
            }
        }
    };
    let collector = Collector::start_with(&place.socket(), |builder| builder.on_event(observer));
    let mut first = connect(&place.socket());
    first.write_all(&frame(b"first")).unwrap();
    send_and_close(&place.socket(), &frame(b"second"));
    let messages = collector.wait_for(1);
    assert_eq!(messages, [b"second"]);
    gate.open();
    collector.wait_for(2);
    assert_eq!(inside.load(Ordering::SeqCst), 1);
    collector.stop();
}

/// How a peer of this process is shown in an event.
fn credentials(uid: u32, gid: u32, pid: u32) -> String {
    if cfg!(target_os = "linux") {
        format!("Credentials {{ uid: {uid}, gid: {gid}, pid: Some({pid}) }}")
    } else {
        format!("Credentials {{ uid: {uid}, gid: {gid}, pid: None }}")
    }
}

#[test]
fn the_peers_identity_is_known() {
    let place = Place::new();
    let folder = fs::metadata(place.path(".")).unwrap();
    let reader = Scripted::start_with(&place.socket(), |builder| builder.socket_mode(0o666));
    send_and_close(&place.socket(), &frame(b"a"));
    reader
        .events
        .wait_for("Opened { peer: Peer { connection: 1");
    reader
        .events
        .wait_for(&credentials(folder.uid(), folder.gid(), process::id()));
    let Some(stranger) = stranger(&place, place.socket().as_os_str()) else {
        return;
    };
    reader
        .events
        .wait_for("Opened { peer: Peer { connection: 2");
    reader
        .events
        .wait_for(&credentials(4_242, 4_343, stranger.id()));
    reader.wait_for("a", 2);
    stranger.finish();
}

#[test]
fn others_cannot_connect_unless_the_mode_lets_them() {
    let place = Place::new();
    let reader = Scripted::start(&place.socket());
    let Some(stranger) = stranger(&place, place.socket().as_os_str()) else {
        return;
    };
    stranger.lines.wait_for("kept out");
    stranger.finish();
    assert_eq!(
        reader
            .reader
            .shutdown(PATIENCE)
            .unwrap()
            .metrics
            .connections,
        0
    );
}

#[test]
fn a_refused_peer_is_closed_before_a_byte_of_it_is_read() {
    let place = Place::new();
    let check = |peer: &Peer| peer.connection == 2;
    let reader = Scripted::start_with(&place.socket(), |builder| builder.peer_check(check));
    let mut refused = connect(&place.socket());
    // The reader may hang up before.
    let _ = refused.write_all(&frame(b"refused"));
    assert!(is_closed(&mut refused));
    reader.events.wait_for("cause: Check");
    let mut other = connect(&place.socket());
    other.write_all(&frame(b"let in")).unwrap();
    reader.wait_for("let in", 1);
    let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (
            metrics.refused_peers,
            metrics.panics,
            metrics.received.messages
        ),
        (1, 0, 1)
    );
    assert!(
        reader.calls_of(1).is_empty(),
        "the handler knows nothing of it"
    );
    assert_eq!(
        reader
            .events
            .count(|event| event.contains("connection: 1,")),
        1,
        "neither opened nor closed"
    );
}

#[test]
fn a_check_that_panics_refuses() {
    let place = Place::new();
    let check = |_: &Peer| -> bool { panic!("the check panics") };
    let reader = Scripted::start_with(&place.socket(), |builder| builder.peer_check(check));
    for _ in 0..3 {
        let mut refused = connect(&place.socket());
        let _ = refused.write_all(&frame(b"refused"));
        assert!(is_closed(&mut refused));
    }
    let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (metrics.refused_peers, metrics.panics, metrics.open),
        (3, 3, 0)
    );
    assert_eq!(reader.calls.len(), 0);
}

#[test]
fn a_check_that_blocks_holds_up_one_peer_only() {
    let place = Place::new();
    let gate = Gate::new();
    let at_gate = gate.clone();
    let check = move |peer: &Peer| {
        if peer.connection == 1 {
            at_gate.pass();
        }
        true
    };
    let reader = Scripted::start_with(&place.socket(), |builder| builder.peer_check(check));
    let mut first = connect(&place.socket());
    first.write_all(&frame(b"first")).unwrap();
    send_and_close(&place.socket(), &frame(b"second"));
    reader.wait_for("second", 1);
    assert_eq!(reader.count("first"), 0);
    gate.open();
    reader.wait_for("first", 1);
}

/// Does `act` to the file of a reader's socket: the reader must notice, once, and go on with whom
/// it has.
#[track_caller]
fn is_told_of(act: impl FnOnce(&Path, &Place)) {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let mut peer = connect(&place.socket());
    peer.write_all(&frame(b"a")).unwrap();
    collector.wait_for(1);
    act(&place.socket(), &place);
    if cfg!(target_os = "linux") {
        collector.events.wait_for("Displaced");
    }
    peer.write_all(&frame(b"b")).unwrap();
    collector.wait_for(2);
    drop(peer);
    let events = collector.events.clone();
    assert_eq!(collector.stop(), [b"a", b"b"]);
    assert!(events.count(|event| event.starts_with("Displaced")) <= 1);
}

#[test]
fn a_socket_file_that_is_unlinked_is_told() {
    is_told_of(|socket, _| fs::remove_file(socket).unwrap());
}

#[test]
fn a_socket_file_that_is_renamed_is_told() {
    is_told_of(|socket, place| fs::rename(socket, place.path("elsewhere")).unwrap());
}

#[test]
fn a_socket_file_that_is_replaced_is_told() {
    is_told_of(|socket, place| {
        let _successor = UnixListener::bind(place.path("successor")).unwrap();
        fs::rename(place.path("successor"), socket).unwrap();
    });
}

#[test]
fn a_socket_file_that_is_linked_and_chmodded_first_is_told_when_it_is_gone() {
    is_told_of(|socket, place| {
        fs::hard_link(socket, place.path("link")).unwrap();
        fs::set_permissions(socket, fs::Permissions::from_mode(0o640)).unwrap();
        fs::remove_file(socket).unwrap();
    });
}

/// Does `act` to the folder above a reader's socket: the reader must notice, once.
#[track_caller]
fn is_told_of_a_folder(act: impl FnOnce(&Place)) {
    let place = Place::new();
    fs::create_dir_all(place.path("above/folder")).unwrap();
    symlink("above/folder", place.path("link")).unwrap();
    let collector = Collector::start(&place.path("link/s"));
    // What happens beside it does not matter.
    fs::write(place.path("above/folder/file"), "").unwrap();
    fs::rename(place.path("above/folder/file"), place.path("file")).unwrap();
    let mut peer = connect(&place.path("link/s"));
    peer.write_all(&frame(b"a")).unwrap();
    collector.wait_for(1);
    assert!(!collector.events.has("Displaced"));
    act(&place);
    if cfg!(target_os = "linux") {
        collector.events.wait_for("Displaced");
    }
    peer.write_all(&frame(b"b")).unwrap();
    collector.wait_for(2);
    let events = collector.events.clone();
    assert_eq!(collector.stop(), [b"a", b"b"]);
    assert!(events.count(|event| event.starts_with("Displaced")) <= 1);
}

#[test]
fn a_folder_of_a_socket_that_is_renamed_is_told() {
    is_told_of_a_folder(|place| {
        fs::rename(place.path("above/folder"), place.path("above/elsewhere")).unwrap();
    });
}

#[test]
fn a_folder_further_up_that_is_renamed_and_made_anew_is_told() {
    is_told_of_a_folder(|place| {
        fs::rename(place.path("above"), place.path("elsewhere")).unwrap();
        fs::create_dir_all(place.path("above/folder")).unwrap();
    });
}

#[test]
fn a_link_on_the_way_to_a_socket_that_leads_elsewhere_is_told() {
    is_told_of_a_folder(|place| {
        fs::create_dir(place.path("another")).unwrap();
        symlink("another", place.path("new link")).unwrap();
        fs::rename(place.path("new link"), place.path("link")).unwrap();
    });
}

#[test]
fn a_folder_that_is_renamed_and_back_at_once_is_no_trouble_for_a_stop() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    let collector = Collector::start(&place.path("folder/s"));
    for _ in 0..20 {
        fs::rename(place.path("folder"), place.path("elsewhere")).unwrap();
        fs::rename(place.path("elsewhere"), place.path("folder")).unwrap();
    }
    drop(connect(&place.path("folder/s")));
    collector.stop();
    assert!(!place.path("folder/s").exists());
}

#[test]
fn a_socket_file_that_is_gone_before_the_start_is_told() {
    for is_replaced in [false, true] {
        let place = Place::new();
        let events = Notes::new();
        let builder = Reader::builder(place.socket()).on_event(events.observer::<ReaderEvent>());
        let bound = builder.bind().unwrap();
        fs::remove_file(place.socket()).unwrap();
        let _successor = is_replaced.then(|| UnixListener::bind(place.socket()).unwrap());
        let reader = bound.start(|_| ()).unwrap();
        events.wait_for("Displaced");
        let _ = reader.shutdown(PATIENCE).unwrap();
        let told = events.all();
        let told = told.iter().filter(|event| event.contains("Displaced"));
        assert_eq!(told.count(), 1);
    }
}

#[test]
fn the_readers_threads_have_the_name_that_was_set() {
    let place = Place::new();
    let names = Notes::new();
    let seen = names.clone();
    let bound = Reader::builder(place.socket())
        .thread_name("of a test")
        .bind()
        .unwrap();
    let reader = bound
        .start(move |_| seen.add(thread::current().name().map(str::to_owned)))
        .unwrap();
    connect(&place.socket()).write_all(&frame(b"a")).unwrap();
    names.wait_for_len(1);
    // Only Linux tells the names of all threads, and cuts them. A thread names itself once it runs.
    if cfg!(target_os = "linux") {
        wait_until("the supervisor has its name", || {
            let mut of_process = fs::read_dir("/proc/self/task").unwrap();
            of_process.any(|thread| {
                let name = fs::read_to_string(thread.unwrap().path().join("comm"));
                name.is_ok_and(|name| name.trim_end() == "of a test-super")
            })
        });
    }
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(names.all()[0].as_deref(), Some("of a test"));
    let error = Reader::builder(place.socket()).thread_name("\0").bind();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("thread_name"), "{error}");
}
