//! What a peer costs that takes connections and never reads, or reads and never answers.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uds_ipc::error::FlushError;
use uds_ipc::event::WriterEvent;
use uds_ipc::{Delivery, FlushLevel, SendError, Writer};

use crate::load::{MESSAGE_LEN, message, number_of};
use crate::shared::LEEWAY;
use crate::stage::{PATIENCE, Role, SHORT, part, stage, wait_until};

/// What the queue may hold: the bound in bytes is the one that is reached.
const QUEUE_SIZE: u64 = 8 * 1024 * 1024;
const PRODUCERS: u64 = 2;
/// Of each producer: many times what the queue holds.
const CALLS: u64 = 250_000;
/// What memory may grow by besides the queue: prefixes, blocks that are not full or are kept for
/// the next messages, what the allocator cannot use, threads.
const FAIR_SHARE: u64 = 4 * 1024 * 1024;

/// The most memory that this process has held so far, without the pages of the program itself,
/// which come in when they first run.
fn most_memory() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let figure = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    };
    Some(figure("VmHWM:") - figure("RssFile:"))
}

/// How often this thread has gone to sleep so far. Only Linux tells.
fn sleeps() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .unwrap();
    Some(line.trim().parse().unwrap())
}

/// Offers one message; says whether it was taken.
fn offer(writer: &Writer, number: u64) -> bool {
    match writer.try_send(&message(number)) {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error, SendError::Full(())), "{error}");
            false
        }
    }
}

/// Offers far more than is taken, over several connections that are given up.
fn offer_too_much(place: &Path) {
    let delivery = if part() == "once" {
        Delivery::AtMostOnce
    } else {
        Delivery::AtLeastOnce
    };
    let before = most_memory();
    let writer = Writer::builder(place.join("s"))
        .delivery(delivery)
        .max_queued_bytes(QUEUE_SIZE.try_into().unwrap())
        .max_queued_messages(usize::MAX)
        .write_timeout(SHORT)
        .backoff_max(SHORT)
        .start()
        .unwrap();
    let produce = || {
        let before = sleeps();
        let taken = (0..CALLS).filter(|number| offer(&writer, *number)).count();
        if let Some((before, after)) = before.zip(sleeps()) {
            // Each call that waits for the peer would sleep; a few do so while somebody else has
            // the queue.
            assert!(
                after - before <= CALLS / 20,
                "slept {} times in {CALLS} calls",
                after - before
            );
        }
        taken
    };
    let taken: usize = thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(produce)).collect();
        producers
            .into_iter()
            .map(|producer| producer.join().expect("each call returned"))
            .sum()
    });
    let (mut calls, mut taken) = (PRODUCERS * CALLS, u64::try_from(taken).unwrap());
    wait_until("connections were given up", || {
        taken += u64::from(offer(&writer, calls));
        calls += 1;
        writer.metrics().connects > 3
    });
    let start = Instant::now();
    let report = writer.shutdown(SHORT).unwrap();
    let took = start.elapsed();
    assert!(
        (SHORT..SHORT + LEEWAY).contains(&took),
        "the shutdown took {took:?}"
    );
    let after = most_memory();

    let (metrics, left) = (report.metrics, report.left);
    assert_eq!(
        (metrics.accepted.messages, metrics.dropped.full.messages),
        (taken, calls - taken)
    );
    assert_eq!(
        (metrics.dropped.total(), metrics.failed.total()),
        (metrics.dropped.full, left),
        "{metrics:#?}"
    );
    assert_eq!(
        (metrics.queued.messages, metrics.confirmed.messages),
        (0, 0)
    );
    if delivery == Delivery::AtLeastOnce {
        assert_eq!(left, metrics.accepted, "what was written is left too");
    } else {
        assert_eq!(left.messages + metrics.sent.messages, taken);
    }
    assert!(
        left.bytes > QUEUE_SIZE / 2,
        "the queue was full: {metrics:#?}"
    );
    if let (Some(before), Some(after)) = (before, after) {
        let grown = after - before;
        assert!(
            grown <= QUEUE_SIZE + FAIR_SHARE,
            "memory has grown by {grown} bytes"
        );
    }
}

#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_no_time() {
    const NAME: &str = "mute_peers::a_peer_that_never_reads_costs_bounded_memory_and_no_time";
    if let Some(place) = stage() {
        return offer_too_much(&place);
    }
    for part in ["once", "again"] {
        let place = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut writer = Role::start_part(NAME, place.path(), part);
        let mut connections = Vec::new();
        wait_until("the writer has ended", || {
            connections.extend(listener.accept());
            writer.has_ended()
        });
        assert!(writer.end().success(), "delivery {part}");
        assert!(!connections.is_empty());
    }
}

#[test]
fn a_message_is_refused_without_a_wait() {
    let place = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(place.path().join("s")).unwrap();
    let writer = Writer::builder(place.path().join("s"));
    let writer = writer
        .max_queued_messages(1000)
        .write_timeout(Duration::MAX)
        .start()
        .unwrap();
    let _mute = listener.accept().unwrap();
    wait_until("queue and socket are full", || {
        (0..1000).all(|number| !offer(&writer, number))
    });
    let before = sleeps();
    let taken = (0..CALLS).filter(|number| offer(&writer, *number)).count();
    // There may have been room left in the socket, and none who saw to it.
    assert!(taken < 10_000, "{taken} messages were taken");
    if let Some((before, after)) = before.zip(sleeps()) {
        // Now and then the thread looks whether there is room, and has the queue for that long.
        assert!(
            after - before < 50,
            "slept {} times in {CALLS} calls",
            after - before
        );
    }
}

#[test]
fn a_peer_that_reads_and_never_answers_leaves_everything_counted() {
    const COUNT: u64 = 1000;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let writer = Writer::builder(&path)
        .delivery(Delivery::AtLeastOnce)
        .write_timeout(SHORT)
        .on_event(move |event| {
            if matches!(event, WriterEvent::NoReceipt { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .start()
        .unwrap();
    for number in 0..COUNT {
        writer.try_send(&message(number)).unwrap();
    }
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut prefix = [0];
    let mut bytes = [0; MESSAGE_LEN];
    let mut came = 0;
    while came < COUNT {
        stream.read_exact(&mut prefix).unwrap();
        // The opening is a zero in two bytes, and an empty frame asks for a receipt.
        if prefix != [0x80] && prefix != [0] {
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(
                (usize::from(prefix[0]), number_of(&bytes)),
                (MESSAGE_LEN, Some(came))
            );
            came += 1;
        }
    }
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    let flushed = writer.flush(FlushLevel::Handled, SHORT);
    assert!(
        matches!(flushed, Err(FlushError::Timeout { left: COUNT, .. })),
        "{flushed:?}"
    );
    wait_until("the silence is told", || told.load(Ordering::Relaxed) > 0);
    let report = writer.shutdown(SHORT).unwrap();

    let metrics = report.metrics;
    assert_eq!(
        (report.left, metrics.failed.total()),
        (metrics.accepted, metrics.accepted),
        "{metrics:#?}"
    );
    assert_eq!(
        (metrics.accepted.messages, metrics.sent),
        (COUNT, metrics.accepted)
    );
    assert_eq!(
        (
            metrics.confirmed.messages,
            metrics.queued.messages,
            metrics.connects
        ),
        (0, 0, 1)
    );
    assert_eq!(told.load(Ordering::Relaxed), 1, "once for a connection");
}
