//! What a process does to the objects in it: its signals, its forks, its death.

use std::collections::HashSet;
use std::io::{IoSlice, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SigSet, Signal};
use parking_lot::Mutex;
use signal_hook::consts::{SIGBUS, SIGCHLD, SIGHUP, SIGINT, SIGSEGV, SIGTERM, SIGUSR1};
use uds_ipc::error::{FlushError, ShutdownError};
use uds_ipc::systemd::Service;
use uds_ipc::{Delivery, EncodeError, FlushLevel, Reader, SendError, Writer};

use crate::stage::{
    PATIENCE, Role, in_forked_child, stage, wait_for_cue, wait_until, wait_until_others_sleep,
};

const SIGPIPE: i32 = 13;

const FLUSH_LEVELS: [FlushLevel; 3] = [FlushLevel::Written, FlushLevel::Read, FlushLevel::Handled];

/// A process whose SIGPIPE is at its default, as in a C host, is ended by what std's
/// `write_vectored` does: the measure for the next test.
#[test]
fn a_write_into_a_closed_socket_can_end_a_process() {
    let Some(_) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let role = Role::start(
            "signals_and_forks::a_write_into_a_closed_socket_can_end_a_process",
            place.path(),
        );
        assert_eq!(role.end().signal(), Some(SIGPIPE));
        return;
    };
    sigpipe::reset();
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let _ = (&near).write_vectored(&[IoSlice::new(b"a")]);
}

#[test]
fn a_writer_never_ends_a_process_whose_sigpipe_is_at_its_default() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let role = Role::start(
            "signals_and_forks::a_writer_never_ends_a_process_whose_sigpipe_is_at_its_default",
            place.path(),
        );
        assert!(role.end().success());
        return;
    };
    sigpipe::reset();
    let path = place.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let broken_pipes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&broken_pipes);
    let writer = Writer::builder(&path)
        .backoff_min(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(1))
        .on_event(move |event| {
            if format!("{event:?}").contains("BrokenPipe") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .start()
        .unwrap();
    // Only a write that finds the socket closed would raise the signal: hang up until that has
    // happened.
    wait_until("a write has met a closed socket", || {
        let (stream, _) = listener.accept().unwrap();
        let _ = writer.send_timeout(&vec![0; 30_000], PATIENCE);
        let _ = stream.shutdown(std::net::Shutdown::Read);
        let _ = writer.send_timeout(&vec![0; 30_000], PATIENCE);
        wait_until("the writer has noticed", || {
            !writer.is_connected() || broken_pipes.load(Ordering::Relaxed) > 0
        });
        broken_pipes.load(Ordering::Relaxed) > 0
    });
    let _ = writer.shutdown(Duration::ZERO).unwrap();
}

/// Signals that meet the crate's own threads at every moment, most of all in their waits.
#[test]
fn calls_that_signals_interrupt_go_on() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let role = Role::start(
            "signals_and_forks::calls_that_signals_interrupt_go_on",
            place.path(),
        );
        assert!(role.end().success());
        return;
    };
    signal_hook::flag::register(SIGUSR1, Arc::default()).unwrap();
    // They block it, until somebody lets it through.
    let let_through = || SigSet::from(Signal::SIGUSR1).thread_unblock().unwrap();
    let path = place.join("s");
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let (of_reader, of_writer) = (Arc::clone(&threads), Arc::clone(&threads));
    // Its only thread, which stays.
    let reader = Reader::builder(&path).max_threads(1).bind().unwrap();
    let reader = reader.start(move |_| {
        let_through();
        of_reader.lock().insert(pthread_self());
    });
    let reader = reader.unwrap();
    let writer = Writer::builder(&path).on_event(move |_| {
        let_through();
        of_writer.lock().insert(pthread_self());
    });
    let writer = writer.start().unwrap();
    let (is_over, signals) = (AtomicBool::new(false), AtomicU64::new(0));
    let messages = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                for thread in threads.lock().iter() {
                    pthread_kill(*thread, Signal::SIGUSR1).unwrap();
                    signals.fetch_add(1, Ordering::SeqCst);
                }
                thread::park_timeout(Duration::from_micros(20));
            }
        });
        let mut messages = 0;
        let mut flushed = Ok(());
        while flushed.is_ok() && signals.load(Ordering::SeqCst) < 2_000 {
            for _ in 0..10 {
                writer.try_send("interrupted").unwrap();
            }
            messages += 10;
            flushed = writer.flush(FlushLevel::Handled, PATIENCE).map(drop);
        }
        // While both threads are still there.
        is_over.store(true, Ordering::SeqCst);
        flushed.unwrap();
        messages
    });
    assert_eq!(threads.lock().len(), 2);
    let sent = writer.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((sent.connects, sent.sent.messages), (1, messages));
    let read = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((read.connections, read.received.messages), (1, messages));
}

/// A program that blocks a signal to wait for it, after the writer was started, must not lose it to
/// a thread that does not block it.
#[cfg(target_os = "linux")]
#[test]
fn signals_are_left_to_the_programs_own_threads() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "signals_and_forks::signals_are_left_to_the_programs_own_threads";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let path = place.join("s");
    let before = SigSet::thread_get_mask().unwrap();
    let bound = Reader::builder(&path).bind().unwrap();
    let reader = bound.start(|_| ()).unwrap();
    let writer = Writer::start(&path).unwrap();
    assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    writer.try_send("one").unwrap();
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    let mut names = HashSet::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let status = std::fs::read_to_string(thread.join("status")).unwrap();
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let name = field("Name:");
        if !name.starts_with("uds-ipc") {
            continue;
        }
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        let is_blocked = |number: i32| blocked >> (number - 1) & 1 == 1;
        for signal in [SIGHUP, SIGINT, SIGTERM, SIGCHLD] {
            assert!(is_blocked(signal), "{name} takes {signal}");
        }
        for signal in [SIGSEGV, SIGBUS] {
            assert!(!is_blocked(signal), "{name} would hide its own {signal}");
        }
        names.insert(name);
    }
    assert!(names.len() >= 3, "writer, supervisor, worker: {names:?}");
    let _ = writer.shutdown(PATIENCE).unwrap();
    let _ = reader.shutdown(PATIENCE).unwrap();
}

/// Their numbers are given to whatever is opened next: nothing of the crate may have them.
#[cfg(target_os = "linux")]
#[test]
fn what_a_daemon_without_standard_streams_prints_is_in_no_stream() {
    const MESSAGES: u64 = 2_000;
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name =
            "signals_and_forks::what_a_daemon_without_standard_streams_prints_is_in_no_stream";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    for stream in 0..3 {
        nix::unistd::close(stream).unwrap();
    }
    let path = place.join("s");
    let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&good), Arc::clone(&bad));
    let bound = Reader::builder(&path).bind().unwrap();
    let reader = bound.start(move |message| {
        let is_good = message == b"message";
        let count = if is_good { &counts.0 } else { &counts.1 };
        count.fetch_add(1, Ordering::Relaxed);
    });
    let reader = reader.unwrap();
    // One that stays, and many that come and go.
    let writer = Writer::start(&path).unwrap();
    for _ in 0..20 {
        let brief = Writer::start(&path).unwrap();
        for _ in 0..MESSAGES / 40 {
            for writer in [&writer, &brief] {
                writer.try_send("message").unwrap();
                // Not by the macros, whose output a test keeps.
                let _ = std::io::stdout().write_all(b"printed\n");
                let _ = std::io::stderr().write_all(b"printed\n");
            }
        }
        brief.flush(FlushLevel::Handled, PATIENCE).unwrap();
        for number in 0..3 {
            let file = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
            assert_eq!(file, Path::new("/dev/null"), "{number}");
        }
        assert_eq!(brief.shutdown(PATIENCE).unwrap().metrics.connects, 1);
    }
    assert_eq!(writer.shutdown(PATIENCE).unwrap().metrics.connects, 1);
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(
        (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed)),
        (MESSAGES, 0)
    );
}

/// A child made by fork has both objects and none of their threads.
#[test]
fn a_forked_child_neither_sends_nor_removes_the_socket() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let role = Role::start(
            "signals_and_forks::a_forked_child_neither_sends_nor_removes_the_socket",
            place.path(),
        );
        assert!(role.end().success());
        return;
    };
    let path = place.join("s");
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let reader = Reader::builder(&path)
        .bind()
        .unwrap()
        .start(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
    let writer = Writer::start(&path).unwrap();
    writer.try_send("before").unwrap();
    wait_until("the first message is there", || {
        received.load(Ordering::Relaxed) == 1
    });
    let mut both = Some((writer, reader));
    let is_left_alone = in_forked_child(|| {
        // A copy of the parent's, which has its own.
        let (writer, reader) = both.take().unwrap();
        let accepted = writer.try_send("from the child") == Err(SendError::InForkedChild(()))
            && matches!(writer.shutdown(PATIENCE), Err(ShutdownError::InForkedChild))
            && matches!(reader.shutdown(PATIENCE), Err(ShutdownError::InForkedChild));
        drop(writer);
        drop(reader);
        accepted && path.exists()
    });
    assert!(is_left_alone, "the child's drops left the socket alone");
    let (writer, reader) = both.unwrap();
    writer.try_send("after").unwrap();
    let report = writer.shutdown(PATIENCE).unwrap();
    assert_eq!(report.left.messages, 0);
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(report.metrics.received.messages, 2);
    assert!(!path.exists());
}

/// A batch that is out is the parent's to confirm, also where the child has a copy of it.
#[test]
fn a_forked_child_that_drops_a_batch_says_nothing_to_the_writer() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let role = Role::start(
            "signals_and_forks::a_forked_child_that_drops_a_batch_says_nothing_to_the_writer",
            place.path(),
        );
        assert!(role.end().success());
        return;
    };
    let path = place.join("s");
    let (reader, batches) = Reader::builder(&path)
        .bind()
        .unwrap()
        .start_batches()
        .unwrap();
    let writer = Writer::builder(&path).delivery(Delivery::AtLeastOnce);
    let writer = writer.start().unwrap();
    writer.try_send("message").unwrap();
    let mut out = batches.recv();
    let mut all = Some(batches);
    let returns = in_forked_child(|| {
        drop(out.take());
        let batches = all.take().unwrap();
        batches.try_recv().is_none() && batches.recv().is_none()
    });
    assert!(returns);
    out.unwrap().done();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((metrics.connections, metrics.handler_errors), (1, 0));
}

/// At the moment of a fork any lock may be held by a thread that the child has not.
#[test]
fn every_call_in_a_forked_child_returns_at_once_whatever_the_parents_threads_hold() {
    // Ten thousand in all, in processes that each end well within their time.
    const PARENTS: usize = 20;
    const FORKS: usize = 500;
    let Some(place) = stage() else {
        let name = "signals_and_forks::every_call_in_a_forked_child_returns_at_once_whatever_the_parents_threads_hold";
        for _ in 0..PARENTS {
            let place = tempfile::tempdir().unwrap();
            assert!(Role::start(name, place.path()).end().success());
        }
        return;
    };
    let path = place.join("s");
    let bound = Reader::builder(&path).bind().unwrap();
    let service = Service::start([bound.start(|_| ()).unwrap()]);
    let reader = &service.readers()[0];
    // Little memory: what the senders write to, each fork has them copy.
    let writer = Writer::builder(&path).max_queued_bytes(200_000);
    let writer = writer.start().unwrap();
    writer.try_send("this thread has a lane").unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = writer.send_timeout(&[1; 100], PATIENCE);
                    let _ = writer.send_timeout(vec![1; 20_000], PATIENCE);
                }
            });
        }
        let every_call_returns = || {
            let large = vec![1; 20_000];
            let encode = |buffer: &mut Vec<u8>| buffer.push(1);
            let forked = SendError::InForkedChild(());
            writer.try_send("a") == Err(forked)
                && writer.try_send("") == Err(forked)
                && writer.try_send(large.clone()) == Err(SendError::InForkedChild(large.clone()))
                && writer.send_timeout(&large, PATIENCE) == Err(forked)
                && writer.send_timeout_with(encode, PATIENCE) == Err(EncodeError::Send(forked))
                && FLUSH_LEVELS
                    .iter()
                    .all(|level| writer.flush(*level, PATIENCE) == Err(FlushError::InForkedChild))
                && writer.clone().shutdown(PATIENCE) == Err(ShutdownError::InForkedChild)
                && reader.shutdown(PATIENCE) == Err(ShutdownError::InForkedChild)
                && service.shutdown(PATIENCE) == Err(ShutdownError::InForkedChild)
                && service.reload(|| writer.metrics().accepted.messages > 0)
                && format!("{service:?} {writer:?}").contains("accepted")
        };
        let well = (0..FORKS)
            .take_while(|_| in_forked_child(every_call_returns))
            .count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(well, FORKS, "so many children came back");
    });
    let sent = writer.shutdown(PATIENCE).unwrap().metrics;
    let read = service.shutdown(PATIENCE).unwrap();
    assert_eq!(sent.accepted.messages, read[0].metrics.received.messages);
    assert_eq!(sent.dropped.total().messages, 0);
}

/// A child may have a writer and a reader of its own.
#[test]
fn a_forked_child_can_start_anew() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "signals_and_forks::a_forked_child_can_start_anew";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let old = Writer::start(place.join("nobody")).unwrap();
    old.try_send("this thread has a lane").unwrap();
    let path = place.join("s");
    wait_until_others_sleep();
    assert!(in_forked_child(|| {
        let reader = Reader::builder(&path).bind().unwrap().start(|_| ());
        let (reader, writer) = (reader.unwrap(), Writer::start(&path).unwrap());
        let sent = (0..100).all(|_| writer.try_send("from the child").is_ok());
        let refused = old.try_send("from the child") == Err(SendError::InForkedChild(()));
        let flushed = writer.flush(FlushLevel::Handled, PATIENCE).is_ok();
        let _ = writer.shutdown(PATIENCE).unwrap();
        let read = reader.shutdown(PATIENCE).unwrap().metrics.received.messages;
        // A child of the child has neither of both.
        let grandchild = in_forked_child(|| {
            [&old, &writer].iter().all(|writer| {
                writer.try_send("from its child") == Err(SendError::InForkedChild(()))
            })
        });
        sent && refused && flushed && read == 100 && grandchild
    }));
    assert_eq!(old.shutdown(Duration::ZERO).unwrap().left.messages, 1);
}

/// The threads of a child lie in the memory of those that it does not have, and go by the same
/// names in the C library.
#[test]
#[expect(clippy::exit, reason = "a forked child must not go on as a test")]
fn a_forked_child_that_drops_both_keeps_its_own_threads() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "signals_and_forks::a_forked_child_that_drops_both_keeps_its_own_threads";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let path = place.join("s");
    let reader = Reader::builder(&path)
        .bind()
        .unwrap()
        .start(|_| ())
        .unwrap();
    let writer = Writer::start(&path).unwrap();
    wait_until_others_sleep();
    match fork::fork().unwrap() {
        fork::Fork::Child => {
            let over = Arc::new(Barrier::new(9));
            let own: Vec<_> = (0..8)
                .map(|_| {
                    let over = Arc::clone(&over);
                    thread::spawn(move || over.wait())
                })
                .collect();
            drop(writer);
            drop(reader);
            over.wait();
            // To join a thread that was detached panics.
            let joined = own
                .into_iter()
                .all(|thread| catch_unwind(AssertUnwindSafe(|| thread.join())).is_ok());
            std::process::exit(i32::from(!joined));
        }
        fork::Fork::Parent(child) => {
            let mut status = None;
            wait_until("the child has ended", || {
                status = fork::waitpid_nohang(child).unwrap();
                status.is_some()
            });
            assert_eq!(status, Some(0), "its threads could be joined");
        }
    }
}

/// A reader that dies may lose its connections before its listening socket: a writer that is back
/// at once must not write into that.
#[test]
fn a_reader_killed_while_idle_costs_nothing_and_is_not_said_to() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let name = "signals_and_forks::a_reader_killed_while_idle_costs_nothing_and_is_not_said_to";
        let reader = Role::start(name, place.path());
        wait_until("the reader is there", || path.exists());
        let writer = Writer::start(&path).unwrap();
        wait_until("the first message is handled", || {
            let _ = writer.try_send("one");
            place.path().join("handled").exists()
        });
        writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        // Only a connection that has lasted a second is made again at once.
        thread::park_timeout(Duration::from_millis(1100));
        wait_until("everything is handled", || {
            std::fs::metadata(place.path().join("handled"))
                .unwrap()
                .len()
                == writer.metrics().sent.messages
        });
        reader.kill();
        wait_until("the loss is noticed", || !writer.is_connected());
        writer.try_send("for the next reader").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let next = Reader::builder(&path)
            .bind()
            .unwrap()
            .start(move |message| tell.send(message.to_vec()))
            .unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"for the next reader");
        let report = writer.shutdown(PATIENCE).unwrap();
        assert_eq!(
            (report.left.messages, report.metrics.lost_with_unread),
            (0, 0)
        );
        let _ = next.shutdown(PATIENCE).unwrap();
        return;
    };
    let handled = std::sync::Mutex::new(std::fs::File::create(place.join("being made")).unwrap());
    let reader = Reader::builder(place.join("s"))
        .bind()
        .unwrap()
        .start(move |_| {
            handled.lock().unwrap().write_all(b".")?;
            let (from, to) = (place.join("being made"), place.join("handled"));
            if from.exists() {
                std::fs::rename(from, to)
            } else {
                Ok(())
            }
        })
        .unwrap();
    // It is killed before.
    wait_for_cue();
    drop(reader);
}
