//! A reader in a process of its own: what it has received lies in a file before a receipt says so,
//! and survives its death.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use uds_ipc::{Handler, Peer, Reader, ReaderReport};

use crate::load::{number_of, u64_at};
use crate::stage::{PATIENCE, part, wait_for_cue};

/// See [`record`].
const RECORD_LEN: usize = 24;

thread_local! {
    /// The records of the batch, which comes from one thread.
    static BATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Finds the number of a message; `None` where that is not as it was sent.
type NumberOf = fn(&[u8]) -> Option<u64>;

/// Of one message: its connection, its number, whether it was whole.
fn record(number: Option<u64>, peer: &Peer) -> Vec<u8> {
    let values = [
        peer.connection,
        number.unwrap_or(0),
        u64::from(number.is_some()),
    ];
    values.map(u64::to_le_bytes).concat()
}

struct Keeper {
    file: File,
    number_of: NumberOf,
    /// How long a batch takes on its way to the file, and from there to its receipt: a death is to
    /// come in between.
    lag: Duration,
}

impl Handler for Keeper {
    type Error = io::Error;

    fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        let number = (self.number_of)(message);
        BATCH.with_borrow_mut(|batch| batch.extend(record(number, peer)));
        Ok(())
    }

    fn batch_end(&self, _: &Peer) -> io::Result<()> {
        BATCH.with_borrow_mut(|batch| {
            thread::park_timeout(self.lag);
            let kept = (&self.file).write_all(batch);
            batch.clear();
            thread::park_timeout(self.lag);
            kept
        })
    }
}

/// Stores each message by itself, so that what was handled is in the file.
struct KeeperOfEach(File, NumberOf);

impl Handler for KeeperOfEach {
    type Error = io::Error;

    fn message(&self, message: &[u8], peer: &Peer) -> io::Result<()> {
        (&self.0).write_all(&record((self.1)(message), peer))
    }
}

/// Where a test plays over TCP: a port of which no other process is given, and which is free now.
pub(crate) fn play_over_tcp(place: &Path) {
    // Below those that the kernel gives out.
    let mut ports = fastrand::Rng::new();
    let bound = (0..1000)
        .map(|_| format!("tcp:127.0.0.1:{}", ports.u16(10_000..30_000)))
        .find(|address| Reader::builder(address).bind().is_ok());
    fs::write(place.join("address"), bound.unwrap()).unwrap();
}

/// Where the readers of a test are: at its path, unless it plays elsewhere.
pub(crate) fn address(place: &Path) -> PathBuf {
    fs::read_to_string(place.join("address")).map_or_else(|_| place.join("s"), PathBuf::from)
}

/// Where process number `process` keeps its records. Each has a file of its own, since a death may
/// tear the last record.
pub(crate) fn file_of(place: &Path, process: usize) -> PathBuf {
    place.join(format!("records of {process}"))
}

/// How many messages process number `process` has kept so far.
pub(crate) fn kept_by(place: &Path, process: usize) -> usize {
    fs::metadata(file_of(place, process))
        .map_or(0, |file| usize::try_from(file.len()).unwrap() / RECORD_LEN)
}

/// The role: receives until the cue, then stops as planned. Its part is the number of the process.
pub(crate) fn collect(place: &Path, idle_timeout: Duration) {
    let reader = keep(place, part().parse().unwrap(), idle_timeout);
    wait_for_cue();
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_good(&report);
}

/// Likewise, but each message is stored by itself.
pub(crate) fn collect_each(place: &Path) {
    collect_each_with(place, number_of);
}

/// Likewise, messages that have their numbers elsewhere.
pub(crate) fn collect_each_with(place: &Path, number_of: NumberOf) {
    let keeper = KeeperOfEach(new_file(place, part().parse().unwrap()), number_of);
    let bound = Reader::builder(address(place)).bind().unwrap();
    let reader = bound.start_handler(keeper).unwrap();
    wait_for_cue();
    assert_good(&reader.shutdown(PATIENCE).unwrap());
}

fn new_file(place: &Path, process: usize) -> File {
    File::options()
        .create_new(true)
        .append(true)
        .open(file_of(place, process))
        .unwrap()
}

/// Receives as process number `process`; every other one is slow to store.
pub(crate) fn keep(place: &Path, process: usize, idle_timeout: Duration) -> Reader {
    keep_with(place, process, idle_timeout, number_of)
}

/// Likewise, messages that have their numbers elsewhere.
pub(crate) fn keep_with(
    place: &Path,
    process: usize,
    idle_timeout: Duration,
    number_of: NumberOf,
) -> Reader {
    let file = new_file(place, process);
    let lag = if process % 2 == 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(1)
    };
    let bound = Reader::builder(address(place))
        .idle_timeout(idle_timeout)
        .bind()
        .unwrap();
    bound
        .start_handler(Keeper {
            file,
            number_of,
            lag,
        })
        .unwrap()
}

/// Nothing went wrong.
pub(crate) fn assert_good(report: &ReaderReport) {
    assert_eq!(
        (
            report.cut,
            report.metrics.handler_errors,
            report.metrics.protocol_errors.total()
        ),
        (0, 0, 0)
    );
}

/// The numbers that each process received, in the order in which it did.
#[track_caller]
pub(crate) fn received_by(place: &Path, processes: usize) -> Vec<Vec<u64>> {
    (0..processes)
        .map(|process| records_of(place, process))
        .collect()
}

/// The numbers that one process received, in the order in which it did. Fails where a message was
/// not whole, or not in order on its connection.
#[track_caller]
pub(crate) fn records_of(place: &Path, process: usize) -> Vec<u64> {
    let mut last_of = HashMap::new();
    let records = fs::read(file_of(place, process)).unwrap();
    let records = records.chunks_exact(RECORD_LEN).map(|record| {
        let (connection, number) = (u64_at(record, 0), u64_at(record, 8));
        assert_eq!(
            u64_at(record, 16),
            1,
            "process {process} got a message that is not whole"
        );
        let last = last_of.insert(connection, number);
        assert!(
            last < Some(number),
            "process {process}, connection {connection}: {number} after {last:?}"
        );
        number
    });
    records.collect()
}

/// Fails unless just the `expected` numbers came, each at least once; says how many came again.
#[track_caller]
pub(crate) fn repeats(mut received: Vec<u64>, expected: Range<u64>) -> u64 {
    let all = received.len();
    received.sort_unstable();
    received.dedup();
    let repeats = all - received.len();
    let mut received = received.into_iter();
    for number in expected {
        assert_eq!(received.next(), Some(number), "what was sent has come");
    }
    assert_eq!(received.next(), None, "nothing has come that was not sent");
    repeats.try_into().unwrap()
}
