//! A writer that drops the oldest messages for new ones, and dies: the newest are there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;
use uds_ipc::{Delivery, FlushLevel, Handler, Overflow, Peer, Reader, Writer};

use super::{Gate, OpensAtEnd, Told, kill_this_process};
use crate::load::u64_at;
use crate::stage::{PATIENCE, Role, part, stage, wait_for_cue, wait_until};

const QUEUED: u64 = 500;

/// The most that is written at once.
const MOST_WRITTEN: usize = 512 * 1024;

/// How many messages each thread sends at least.
const MANY: u64 = 4_000;

/// Which thread and number a message has, of which each is as long as it says.
fn message(thread: u64, number: u64) -> Vec<u8> {
    let mut message = (thread << 56 | number).to_le_bytes().to_vec();
    let len = fastrand::Rng::with_seed(number).usize(8..2_000);
    message.resize(len, number.to_le_bytes()[0]);
    message
}

fn name_of(message_bytes: &[u8]) -> (u64, u64) {
    let name = u64_at(message_bytes, 0);
    let (thread, number) = (name >> 56, name & ((1 << 56) - 1));
    assert_eq!(message_bytes, message(thread, number), "wrong bytes");
    (thread, number)
}

/// Notes what comes, and is held up by the first message.
struct Stopped {
    gate: Arc<Gate>,
    came: Arc<Mutex<Vec<Came>>>,
}

#[derive(Clone, Copy)]
struct Came {
    thread: u64,
    number: u64,
    len: usize,
    recovered: bool,
}

impl Handler for Stopped {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let (thread, number) = name_of(message);
        self.came.lock().push(Came {
            thread,
            number,
            len: message.len(),
            recovered: peer.recovered,
        });
        self.gate.pass();
        Ok(())
    }
}

/// The role: all its threads send many messages, and then it dies in the midst of more.
fn send_and_die(place: &Path, threads: u64, delivery: Delivery) {
    let notes = File::create(place.join("accepted")).unwrap();
    let writer = Writer::builder(place.join("s"))
        .crash_proof(true)
        .delivery(delivery)
        .overflow(Overflow::DropOldest)
        .max_queued_messages(usize::try_from(QUEUED).unwrap())
        .write_timeout(PATIENCE)
        .start()
        .unwrap();
    writer.try_send(message(0, 0)).unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    thread::spawn(|| {
        wait_for_cue();
        kill_this_process();
    });
    let (busy, mut moments) = (AtomicU64::new(threads), fastrand::Rng::new());
    let more = moments.u64(..2_000);
    thread::scope(|scope| {
        for of in 0..threads {
            let (writer, notes, busy) = (&writer, &notes, &busy);
            scope.spawn(move || {
                for number in u64::from(of == 0).. {
                    // What is being written at that moment stays: there may be no room for once.
                    while writer.try_send(message(of, number)).is_err() {
                        thread::yield_now();
                    }
                    notes
                        .write_all_at(&(number + 1).to_le_bytes(), 8 * of)
                        .unwrap();
                    if number == MANY {
                        busy.fetch_sub(1, Ordering::Relaxed);
                    }
                    if of == 0 && number > MANY + more && busy.load(Ordering::Relaxed) == 0 {
                        kill_this_process();
                    }
                }
            });
        }
    });
}

#[test]
fn of_a_queue_that_drops_the_oldest_the_newest_arrive() {
    const NAME: &str = "deaths::drop_oldest::of_a_queue_that_drops_the_oldest_the_newest_arrive";
    if let Some(place) = stage() {
        let part = part();
        let (threads, delivery) = part.split_once(' ').unwrap();
        let delivery = if delivery == "once" {
            Delivery::AtMostOnce
        } else {
            Delivery::AtLeastOnce
        };
        return send_and_die(&place, threads.parse().unwrap(), delivery);
    }
    for threads in [1, 4] {
        for delivery in ["once", "again"] {
            for _ in 0..4 {
                look_at_one(NAME, threads, delivery);
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are of interest")]
fn look_at_one(name: &str, threads: u64, delivery: &str) {
    let place = tempfile::tempdir().unwrap();
    let (gate, told) = (Arc::new(Gate::default()), Told::default());
    let came = Arc::default();
    let stopped = Stopped {
        gate: Arc::clone(&gate),
        came: Arc::clone(&came),
    };
    let reader = told.bind(Reader::builder(place.path().join("s")));
    let reader = reader.start_handler(stopped).unwrap();
    let opens_at_end = OpensAtEnd(gate);
    let mut role = Role::start_part(name, place.path(), &format!("{threads} {delivery}"));
    wait_until("it has ended", || role.has_ended());
    let _ = role.end();
    drop(opens_at_end);
    let accepted = fs::read(place.path().join("accepted")).unwrap();
    let accepted: Vec<_> = (0..threads)
        .map(|thread| u64_at(&accepted, usize::try_from(8 * thread).unwrap()))
        .collect();
    wait_until("it is told", || !told.0.lock().is_empty());
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(
        (told.messages(), metrics.panics),
        (vec![metrics.recovered.messages], 0)
    );
    let (mut newest, mut others) = (0, 0);
    for (thread, accepted) in (0..).zip(&accepted) {
        let came = came.lock();
        let came: Vec<_> = came.iter().filter(|came| came.thread == thread).collect();
        let numbers = came.iter().map(|came| came.number);
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "in order, and once"
        );
        // From the last backwards, without a gap. Of a thread there may be none: the others may
        // have sent so much since then.
        let mut next = came.last().map_or(0, |last| last.number + 1);
        assert!(threads > 1 || next >= *accepted, "the last is there");
        assert!(next <= accepted + 1, "nobody sent that");
        let has_newest = next >= *accepted;
        for came in came.iter().rev().filter(|came| came.recovered) {
            if has_newest && came.number + 1 == next {
                next -= 1;
                newest += 1;
            } else {
                others += came.len;
            }
        }
    }
    println!(
        "{threads} threads, {delivery}: {accepted:?} accepted, {} recovered, the newest {newest} whole, {others} bytes of others",
        metrics.recovered.messages
    );
    // At least once, what the kernel has counts until a receipt covers it, and stays.
    let recovered = metrics.recovered.messages;
    let by_socket = metrics.received.messages - recovered;
    let waiting = if delivery == "once" { 0 } else { by_socket };
    assert!(
        recovered + threads + waiting >= QUEUED,
        "{recovered} recovered"
    );
    // Only what is being written at that very moment stays.
    assert!(
        others <= MOST_WRITTEN,
        "{others} bytes are not of the newest"
    );
}
