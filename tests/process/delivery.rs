//! What arrives when a process is killed, or stopped as planned, under load.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use uds_ipc::metrics::Tally;
use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, Writer, WriterBuilder};

use crate::collector::{address, collect, collect_each, kept_by, received_by, records_of, repeats};
use crate::load::{Load, MESSAGE_LEN, message, number_of, u64_at};
use crate::stage::{PATIENCE, Role, SHORT, moments, part, stage, wait_for_cue, wait_until};

/// How often a reader is ended while its writer goes on sending. One more lives to the end.
const ENDS: usize = 30;

/// A writer that is back soon after its reader.
pub(crate) fn eager(path: &Path) -> WriterBuilder {
    Writer::builder(path)
        .backoff_min(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(5))
}

/// Ends so many readers one after the other by `end`, in the midst of receiving. Returns the last,
/// which runs.
pub(crate) fn outlive_readers(
    ends: usize,
    name: &str,
    place: &Path,
    writer: &Writer,
    mut end: impl FnMut(Role),
) -> Role {
    let mut moments = moments();
    for process in 0..ends {
        let reader = Role::start_part(name, place, &process.to_string());
        let enough = moments.usize(1..2000);
        wait_until("the reader has kept some", || {
            kept_by(place, process) >= enough
        });
        // The file grows batch by batch: to be out of step with that, go by the writer's figure for
        // a while.
        let enough = writer.metrics().sent.messages + moments.u64(0..2000);
        wait_until("the writer has sent some more", || {
            writer.metrics().sent.messages >= enough
        });
        end(reader);
    }
    Role::start_part(name, place, &ends.to_string())
}

#[test]
fn a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts() {
    const NAME: &str =
        "delivery::a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts";
    if let Some(place) = stage() {
        return collect(&place, Duration::MAX);
    }
    let place = tempfile::tempdir().unwrap();
    lose_nothing(ENDS, NAME, place.path(), Role::kill);
}

/// Ends so many readers by `end`, while their writer sends `AtLeastOnce`, and looks that nothing is
/// lost.
#[expect(clippy::print_stdout, reason = "the figure is of interest")]
pub(crate) fn lose_nothing(ends: usize, name: &str, place: &Path, end: impl FnMut(Role)) {
    let writer = eager(&address(place))
        .delivery(Delivery::AtLeastOnce)
        .start()
        .unwrap();
    let writer = Arc::new(writer);
    let load = Load::start(&writer);
    let last = outlive_readers(ends, name, place, &writer, end);
    let sent = load.stop();
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    let report = writer.shutdown(PATIENCE).unwrap();
    assert!(last.end().success());

    let metrics = report.metrics;
    assert_eq!(report.left.messages, 0, "{metrics:#?}");
    assert_eq!(metrics.accepted.messages, sent);
    assert_eq!(
        (metrics.confirmed, metrics.sent),
        (metrics.accepted, metrics.accepted)
    );
    assert_eq!(
        metrics.failed.total().messages + metrics.queued.messages,
        0,
        "{metrics:#?}"
    );
    assert!(
        metrics.connects > ends.try_into().unwrap(),
        "each reader had a connection"
    );
    let repeats = repeats(received_by(place, ends + 1).concat(), 0..sent);
    assert!(
        repeats <= metrics.resent.messages,
        "nothing came twice that was not sent twice"
    );
    println!(
        "{sent} messages, {} sent again, {repeats} came again",
        metrics.resent.messages
    );
}

/// The kernel's buffer is full each time, at the same message: that is not to blame.
#[test]
fn a_reader_killed_each_time_before_it_reads_costs_no_message() {
    const NAME: &str = "delivery::a_reader_killed_each_time_before_it_reads_costs_no_message";
    const KILLS: usize = 6;
    if let Some(place) = stage() {
        if part() == KILLS.to_string() {
            return collect(&place, Duration::MAX);
        }
        let _bound = Reader::builder(place.join("s")).bind().unwrap();
        return wait_for_cue();
    }
    let place = tempfile::tempdir().unwrap();
    let writer = eager(&place.path().join("s"))
        .delivery(Delivery::AtLeastOnce)
        .write_timeout(PATIENCE);
    let writer = writer.start().unwrap();
    for number in 0..10_000 {
        writer.try_send(&message(number)).unwrap();
    }
    for process in 0..KILLS {
        let before = writer.metrics();
        let reader = Role::start_part(NAME, place.path(), &process.to_string());
        wait_until("the writer is connected", || {
            writer.metrics().connects > before.connects
        });
        // There is no room for all of them, so that this takes until the kernel's buffer is full.
        assert!(writer.flush(FlushLevel::Written, 2 * SHORT).is_err());
        reader.kill();
        wait_until("the writer has noticed", || !writer.is_connected());
    }
    let last = Role::start_part(NAME, place.path(), &KILLS.to_string());
    let report = writer.shutdown(PATIENCE).unwrap();
    assert!(last.end().success());
    assert_eq!(
        (report.metrics.confirmed, report.left.messages),
        (report.metrics.accepted, 0),
        "{report:#?}"
    );
}

/// Where its kernel's buffer is full, and where it is not. Elsewhere nobody counts the connections
/// whose reader left something unread.
#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "the figure is of interest")]
fn a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts() {
    const NAME: &str =
        "delivery::a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts";
    const KILLS: usize = 10;
    if let Some(place) = stage() {
        return collect_each(&place);
    }
    let place = tempfile::tempdir().unwrap();
    let writer = eager(&place.path().join("s"))
        .write_timeout(PATIENCE)
        .start()
        .unwrap();
    let writer = Arc::new(writer);
    let load = Load::start(&writer);
    let mut lost_before = Vec::new();
    let last = outlive_readers(KILLS, NAME, place.path(), &writer, |reader| {
        if lost_before.len() % 2 == 0 {
            reader.freeze();
            wait_until("the kernel takes no more", || {
                let before = writer.metrics().sent;
                writer.flush(FlushLevel::Written, SHORT).is_err() && writer.metrics().sent == before
            });
        }
        lost_before.push(writer.metrics().lost_with_unread);
        reader.kill();
    });
    wait_until("the last reader has kept some", || {
        kept_by(place.path(), KILLS) > 0
    });
    lost_before.push(writer.metrics().lost_with_unread);
    let sent = load.stop();
    let report = writer.shutdown(PATIENCE).unwrap();
    assert!(last.end().success());

    let metrics = report.metrics;
    assert_eq!(
        (report.left.messages, metrics.accepted.messages),
        (0, sent),
        "{metrics:#?}"
    );
    assert_eq!(
        (metrics.sent, metrics.resent.messages),
        (metrics.accepted, 0),
        "{metrics:#?}"
    );
    assert_eq!(
        (metrics.dropped.total(), metrics.failed.total()),
        (Tally::default(), Tally::default())
    );
    assert_eq!(metrics.queued, Tally::default());

    // The page on delivery says so much of a socket's buffer, and of what a reader has read.
    let frame_len = u64::try_from(1 + MESSAGE_LEN).unwrap();
    let (socket_holds, reader_holds) = (462_848 / frame_len, 262_144 / frame_len + 1);
    let received = received_by(place.path(), KILLS + 1);
    assert!(
        received
            .iter()
            .flatten()
            .is_sorted_by(|one, next| one < next),
        "nothing twice, all in order"
    );
    let mut next = 0;
    for (process, numbers) in received.iter().enumerate() {
        let (first, last) = (*numbers.first().unwrap(), *numbers.last().unwrap());
        assert_eq!(
            last - first + 1,
            u64::try_from(numbers.len()).unwrap(),
            "reader {process} lived: no gap"
        );
        let (missing, unread) = match process.checked_sub(1) {
            None => (first, 0),
            Some(kill) => (first - next, lost_before[process] - lost_before[kill]),
        };
        println!(
            "before reader {process} {missing} messages were lost, {unread} connections with some unread"
        );
        let at_most = if process == 0 {
            0
        } else {
            reader_holds + unread * socket_holds
        };
        assert!(
            missing <= at_most,
            "{missing} are lost, {unread} connections were with some unread"
        );
        // Those of which that was made certain.
        assert!(
            process % 2 == 0 || unread > 0,
            "kill {process} was noticed and counted"
        );
        next = last + 1;
    }
    assert_eq!(next, sent, "the last reader has all that follows");
}

/// Elsewhere the kernel throws away what was queued when a reader stops.
#[test]
#[cfg(target_os = "linux")]
fn a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing() {
    const NAME: &str =
        "delivery::a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing";
    if let Some(place) = stage() {
        return collect(&place, Duration::MAX);
    }
    let place = tempfile::tempdir().unwrap();
    let writer = Arc::new(eager(&place.path().join("s")).start().unwrap());
    let load = Load::start(&writer);
    let last = outlive_readers(ENDS, NAME, place.path(), &writer, |reader| {
        assert!(reader.end().success());
    });
    let sent = load.stop();
    let report = writer.shutdown(PATIENCE).unwrap();
    // It reads what the kernel still holds before it ends.
    assert!(last.end().success());

    let metrics = report.metrics;
    assert_eq!(report.left.messages, 0, "{metrics:#?}");
    assert_eq!(
        (metrics.accepted.messages, metrics.sent),
        (sent, metrics.accepted)
    );
    assert_eq!(
        metrics.failed.total().messages + metrics.queued.messages,
        0,
        "{metrics:#?}"
    );
    assert_eq!((metrics.resent.messages, metrics.lost_with_unread), (0, 0));
    assert!(
        metrics.connects > ENDS.try_into().unwrap(),
        "each reader had a connection"
    );
    let received = received_by(place.path(), ENDS + 1);
    assert_eq!(repeats(received.concat(), 0..sent), 0);
    // A reader has handled everything when it ends, and only then the next one starts.
    let ranges = received
        .iter()
        .map(|numbers| (numbers.iter().min(), numbers.iter().max()));
    let ranges: Vec<_> = ranges.filter(|(first, _)| first.is_some()).collect();
    assert!(
        ranges.is_sorted_by(|(_, last), (first, _)| last < first),
        "{ranges:?}"
    );
}

/// The messages of each connection, by number; those that are not whole; how many connections have
/// ended.
#[derive(Default)]
struct Witness {
    numbers: Mutex<Vec<(u64, u64)>>,
    broken: AtomicU64,
    closed: AtomicU64,
    /// Nothing is handled meanwhile, so that the kernel's buffer fills up.
    is_held_up: AtomicBool,
}

impl Handler for Witness {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        wait_until("the handler may go on", || {
            !self.is_held_up.load(Ordering::Relaxed)
        });
        match number_of(message) {
            Some(number) => self.numbers.lock().unwrap().push((peer.connection, number)),
            None => drop(self.broken.fetch_add(1, Ordering::Relaxed)),
        }
        Ok(())
    }

    fn closed(&self, _: &Peer) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// What waits in a writer's queue when the kernel takes no more.
const FULL: u64 = 10_000;

/// Sends without end, and notes the figures of what it has sent and what waits where its death
/// leaves them.
pub(crate) fn send_and_publish(place: &Path) {
    let delivery = if part().ends_with("once") {
        Delivery::AtMostOnce
    } else {
        Delivery::AtLeastOnce
    };
    let published = File::create(place.join(part())).unwrap();
    // It is to have a single connection, whatever holds it up.
    let writer = eager(&address(place))
        .delivery(delivery)
        .write_timeout(PATIENCE)
        // What survives its process is shown in `deaths`.
        .crash_proof(false)
        .start()
        .unwrap();
    let writer = Arc::new(writer);
    let _load = Load::start(&writer);
    let cue = thread::spawn(wait_for_cue);
    while !cue.is_finished() {
        let metrics = writer.metrics();
        let figures = [metrics.sent.messages, metrics.queued.messages]
            .map(u64::to_le_bytes)
            .concat();
        published.write_all_at(&figures, 0).unwrap();
        thread::park_timeout(Duration::from_micros(20));
    }
}

#[test]
fn a_killed_writer_has_sent_what_it_counted() {
    const NAME: &str = "delivery::a_killed_writer_has_sent_what_it_counted";
    if let Some(place) = stage() {
        return send_and_publish(&place);
    }
    let place = tempfile::tempdir().unwrap();
    outlive_writers(NAME, place.path(), ["again", "once"]);
}

/// Kills writers, one after the other of these deliveries, and looks that all arrives that each has
/// counted as sent.
#[expect(clippy::print_stdout, reason = "the figure is of interest")]
pub(crate) fn outlive_writers(name: &str, place: &Path, deliveries: [&str; 2]) {
    let witness = Arc::new(Witness::default());
    let bound = Reader::builder(address(place)).bind().unwrap();
    let reader = bound.start_handler(Arc::clone(&witness)).unwrap();
    let mut moments = moments();
    let mut counted = Vec::new();
    for kill in 1..=16 {
        // A reader that is held up makes writes end inside a message.
        let is_held_up = kill % 4 < 2;
        witness.is_held_up.store(is_held_up, Ordering::Relaxed);
        let delivery = deliveries[usize::from(kill % 2 == 0)];
        let part = format!("{kill} {delivery}");
        let writer = Role::start_part(name, place, &part);
        let published = || {
            let figures = fs::read(place.join(&part)).unwrap_or_default();
            if figures.is_empty() {
                (0, 0)
            } else {
                (u64_at(&figures, 0), u64_at(&figures, 8))
            }
        };
        let (enough, waiting) = if is_held_up {
            (1, FULL)
        } else {
            (moments.u64(1..20_000), 0)
        };
        wait_until("the writer has sent some", || {
            let (sent, queued) = published();
            sent >= enough && queued >= waiting
        });
        writer.kill();
        counted.push(published().0);
        witness.is_held_up.store(false, Ordering::Relaxed);
        wait_until("the connection has ended", || {
            witness.closed.load(Ordering::Relaxed) == kill
        });
    }
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!((metrics.connections, metrics.panics), (16, 0));
    let half = metrics.protocol_errors.truncated;
    assert_eq!(metrics.protocol_errors.total(), half, "{metrics:#?}");
    assert_eq!(
        witness.broken.load(Ordering::Relaxed),
        0,
        "no half message is delivered"
    );

    let numbers = witness.numbers.lock().unwrap();
    let mut arrived = 0;
    for (counted, connection) in counted.into_iter().zip(1..) {
        let of_it = numbers
            .iter()
            .filter(|(of, _)| *of == connection)
            .map(|(_, number)| *number);
        let mut came = 0;
        for number in of_it {
            assert_eq!(number, came, "all in order, none twice");
            came += 1;
        }
        assert!(
            came >= counted,
            "connection {connection}: {counted} counted as sent, {came} came"
        );
        arrived += came;
    }
    println!("{arrived} messages of 16 killed writers, {half} halves discarded");
}

/// What a machine that loses power leaves, as far as a process can show it: nothing of what was in
/// memory.
#[test]
fn both_ends_killed_at_once_keep_what_was_confirmed() {
    const NAME: &str = "delivery::both_ends_killed_at_once_keep_what_was_confirmed";
    if let Some(place) = stage() {
        if part() != "writer" {
            return collect(&place, Duration::MAX);
        }
        let published = File::create(place.join("confirmed")).unwrap();
        let writer = Arc::new(
            eager(&place.join("s"))
                .delivery(Delivery::AtLeastOnce)
                .start()
                .unwrap(),
        );
        let _load = Load::start(&writer);
        let cue = thread::spawn(wait_for_cue);
        while !cue.is_finished() {
            let confirmed = writer.metrics().confirmed.messages;
            published.write_all_at(&confirmed.to_le_bytes(), 0).unwrap();
        }
        return;
    }
    let mut moments = moments();
    for round in 0..8 {
        let place = tempfile::tempdir().unwrap();
        let reader = Role::start_part(NAME, place.path(), &round.to_string());
        let writer = Role::start_part(NAME, place.path(), "writer");
        let confirmed = || {
            let figure = fs::read(place.path().join("confirmed")).unwrap_or_default();
            if figure.is_empty() {
                0
            } else {
                u64_at(&figure, 0)
            }
        };
        let enough = moments.u64(1..20_000);
        wait_until("some are confirmed", || confirmed() >= enough);
        let (first, second) = if moments.bool() {
            (reader, writer)
        } else {
            (writer, reader)
        };
        first.kill();
        second.kill();
        let mut kept = records_of(place.path(), round);
        kept.sort_unstable();
        kept.dedup();
        let confirmed = confirmed();
        let is_kept = (0..confirmed).eq(kept.into_iter().take_while(|number| *number < confirmed));
        assert!(
            is_kept,
            "{confirmed} messages were confirmed, and are not all in the file"
        );
    }
}
