//! Thousands of connections at once: what the idle ones cost, and that each of the busy ones has
//! its share. How fast all that is tells `cargo bench --bench scale`.

use std::convert::Infallible;
use std::io::Write;
use std::iter;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uds_ipc::{Handler, Peer, Reader};

use crate::support::{
    Child, PATIENCE, Place, connect, frame, may_open, memory, send_and_close, wait_until,
};

/// Counts the messages of each connection.
struct Counts(Vec<AtomicU64>);

impl Counts {
    fn all(&self) -> Vec<u64> {
        self.0
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

impl Handler for Counts {
    type Error = Infallible;

    fn message(&self, _: &[u8], peer: &Peer) -> Result<(), Infallible> {
        // They are numbered from 1.
        let at = usize::try_from(peer.connection).unwrap() - 1;
        self.0[at].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn start(place: &Place, connections: usize, max_threads: usize) -> (Reader, Arc<Counts>) {
    let handler = Arc::new(Counts(
        iter::repeat_with(AtomicU64::default)
            .take(connections)
            .collect(),
    ));
    let builder = Reader::builder(place.socket())
        .max_connections(connections)
        .idle_timeout(Duration::MAX);
    let bound = builder.max_threads(max_threads).bind().unwrap();
    (bound.start_handler(Arc::clone(&handler)).unwrap(), handler)
}

/// Runs the test `name` in a process of its own, which may have as many descriptors as a process
/// may.
fn run_with_descriptors(name: &str) {
    let place = Place::new();
    let child = Child::start(&mut Child::test(
        name,
        &place.socket(),
        "ulimit -n $(ulimit -Hn)",
    ))
    .unwrap();
    child.lines.wait_for("done");
    child.finish();
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_connection_costs_less_than_two_kib_and_no_thread() {
    // Less than what two ends of each may be on any system: 4,096.
    const IDLE: usize = 1_900;
    if !may_open(4_000) {
        return;
    }
    if Child::path().is_none() {
        return run_with_descriptors(
            "scale::an_idle_connection_costs_less_than_two_kib_and_no_thread",
        );
    }
    let place = Place::new();
    let (reader, _) = start(&place, 2 * IDLE, 64);
    // The reader's threads and buffers, and the vectors of this test, are there before anything is
    // measured.
    let warm: Vec<_> = (0..50).map(|_| connect(&place.socket())).collect();
    send_and_close(&place.socket(), &frame(&vec![7; 300_000]).repeat(4));
    wait_until("all is read", || reader.metrics().received.messages == 4);
    drop(warm);
    wait_until("all is closed", || reader.metrics().open == 0);
    let mut idle = Vec::with_capacity(IDLE);
    let before = memory(process::id(), "RssAnon");
    idle.extend(iter::repeat_with(|| connect(&place.socket())).take(IDLE));
    wait_until("all are connected", || {
        reader.metrics().open == u64::try_from(IDLE).unwrap()
    });
    let grown = memory(process::id(), "RssAnon").saturating_sub(before);
    assert!(grown < 2 * IDLE, "{grown} KiB for {IDLE} connections");
    // Those that were needed to accept so many at once leave when there is nothing to do.
    wait_until("one thread is left", || reader.metrics().threads == 1);
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    Child::say("done");
}

#[test]
fn of_a_thousand_busy_connections_each_has_its_share() {
    const BUSY: usize = 1_000;
    /// Several times what a turn brings, and so many times what fits into a socket.
    const LEAST: u64 = 600;
    if !may_open(2_100) {
        return;
    }
    if Child::path().is_none() {
        return run_with_descriptors("scale::of_a_thousand_busy_connections_each_has_its_share");
    }
    let place = Place::new();
    // With two threads the system could let one wait while the other goes on.
    let (reader, counts) = start(&place, BUSY, 1);
    let frames = frame(&[7; 4_000]).repeat(16);
    let mut streams: Vec<(UnixStream, usize)> =
        (0..BUSY).map(|_| (connect(&place.socket()), 0)).collect();
    for (stream, _) in &streams {
        stream.set_nonblocking(true).unwrap();
    }
    while counts.all().into_iter().min() < Some(LEAST) {
        for (stream, sent) in &mut streams {
            // What does not fit goes out in the next round.
            *sent += stream.write(&frames[*sent % frames.len()..]).unwrap_or(0);
        }
    }
    let counts = counts.all();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*most <= 3 * least, "from {least} to {most}");
    drop(streams);
    let _ = reader.shutdown(PATIENCE).unwrap();
    Child::say("done");
}
