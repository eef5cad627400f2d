//! The writer's process is killed before and after each of its stores in the arena: what it had
//! accepted arrives, over a real socket, at a real reader.
//!
//! ```text
//! UDS_IPC_DEATHS=1000 cargo test --lib deaths
//! ```
//!
//! That takes every moment, and each a process of its own. Unless so many are asked for, some are
//! taken, other ones each time.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits for a condition, and its patience has an end"
)]

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;

use super::arena::watch;
use super::{Delivery, FlushLevel, Overflow, Writer};
use crate::{Handler, Peer, Reader};

const NAME: &str =
    "writer::deaths::a_death_before_or_after_any_store_loses_nothing_and_repeats_nothing";

/// In a process that is to die: where, by which course, and after how many moments.
const ROLE: &str = "UDS_IPC_ROLE";

/// Only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// From so many deaths on that are asked for, every moment is taken.
const MANY: u64 = 300;

/// Otherwise one of so many.
const STRIDE: u64 = 16;

/// So many of the newest are there for certain where the oldest are dropped.
const NEWEST: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct Course {
    delivery: Delivery,
    overflow: Overflow,
}

const COURSES: [Course; 4] = [
    Course::of(Delivery::AtMostOnce, Overflow::Refuse),
    Course::of(Delivery::AtLeastOnce, Overflow::Refuse),
    Course::of(Delivery::AtMostOnce, Overflow::DropOldest),
    Course::of(Delivery::AtLeastOnce, Overflow::DropOldest),
];

impl Course {
    const fn of(delivery: Delivery, overflow: Overflow) -> Self {
        Self { delivery, overflow }
    }

    fn drops(self) -> bool {
        self.overflow == Overflow::DropOldest
    }

    /// How many messages may wait. At least once, what the kernel has is among them, and stays:
    /// what goes before the first message that it has no room for.
    fn most(self) -> usize {
        match (self.overflow, self.delivery) {
            (Overflow::Refuse, _) => 10_000,
            (Overflow::DropOldest, Delivery::AtMostOnce) => 6,
            (Overflow::DropOldest, Delivery::AtLeastOnce) => 8,
        }
    }
}

/// How long the messages are that a thread sends one after the other. A slot has 128 KiB.
const LENGTHS: [&[usize]; 2] = [
    &[
        20, 100, 300, 130_000, 30, 40_000, 200_000, 50, 90_000, 60_000, 10, 9,
    ],
    &[10, 300, 25, 135_000, 40, 60, 70],
];

/// Each thread sends these twice.
fn message(thread: u8, number: u64) -> Vec<u8> {
    let lengths = LENGTHS[usize::from(thread)];
    let len = lengths[usize::try_from(number).unwrap() % lengths.len()];
    let mut message = vec![thread; 9];
    message[1..].copy_from_slice(&number.to_le_bytes());
    let mut bytes = vec![0; len.max(9) - 9];
    fastrand::Rng::with_seed(number).fill(&mut bytes);
    message.extend(bytes);
    message
}

/// In the process that is to die.
struct Sending<'a> {
    writer: &'a Writer,
    /// How many messages of each thread were accepted, and whether the reader has the memory.
    notes: &'a File,
}

const HAS_MEMORY: u64 = 16;

impl Sending<'_> {
    fn note(&self, at: u64, value: u64) {
        self.notes.write_all_at(&value.to_le_bytes(), at).unwrap();
    }

    /// Sends these, once borrowed and once handed over.
    fn send(&self, thread: u8, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            let message = message(thread, number);
            // What is being written at that moment is not dropped: there may be no room for once.
            wait_until("there is room", || {
                if number % 2 == 0 {
                    self.writer.try_send(&message).is_ok()
                } else {
                    self.writer.try_send(message.clone()).is_ok()
                }
            });
            self.note(8 * u64::from(thread), number + 1);
        }
    }
}

/// Sends what a held up reader does not read, goes on on another connection, and comes to its end
/// if it is not dead by then.
fn play(place: &Path, course: Course, moments: u64) {
    thread::spawn(|| {
        // It does not outlive its test.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::abort();
    });
    let notes = File::create(place.join("accepted")).unwrap();
    let open = place.join("open");
    watch::die_after(moments);
    let copy = Arc::new(Mutex::new(None));
    let (path, kept) = (place.join("s"), Arc::clone(&copy));
    let connect = move |_| {
        let stream = UnixStream::connect(&path)?;
        SockRef::from(&stream).set_send_buffer_size(4096)?;
        *kept.lock() = Some(stream.try_clone()?);
        io::Result::Ok(stream)
    };
    let writer = Writer::with_connector(connect)
        .crash_proof(true)
        .delivery(course.delivery)
        .overflow(course.overflow)
        .backoff_min(Duration::from_millis(1))
        .write_timeout(PATIENCE)
        .max_queued_messages(course.most());
    let writer = writer.start().unwrap();
    let sending = Sending {
        writer: &writer,
        notes: &notes,
    };
    sending.send(0, 0..1);
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    sending.note(HAS_MEMORY, 1);
    let counts = LENGTHS.map(|lengths| u64::try_from(lengths.len()).unwrap());
    for nth in 0..2 {
        thread::scope(|scope| {
            // Which of several threads' messages are dropped is a matter of chance.
            if !course.drops() {
                scope.spawn(|| sending.send(1, counts[1] * nth..counts[1] * (nth + 1)));
            }
            let first = counts[0] * nth;
            sending.send(0, first.max(1)..first + counts[0]);
        });
        File::create(&open).unwrap();
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        if nth == 0 {
            fs::remove_file(&open).unwrap();
            let stream = copy.lock().take().unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }
    wait_until("it has connected again", || writer.metrics().connects == 2);
    drop(copy.lock().take());
    let _ = writer.shutdown(PATIENCE).unwrap();
    File::create(place.join("end")).unwrap();
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::park_timeout(Duration::from_micros(100));
    }
}

/// A process that does not outlive whoever holds this.
struct Role(Child);

impl Role {
    fn start(role: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]);
        command
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("it has ended", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The handler: it takes messages while the file `open` is there, and once the writer has ended.
struct Witness {
    open: PathBuf,
    has_ended: AtomicBool,
    came: Mutex<Vec<Came>>,
}

struct Came {
    thread: u8,
    number: u64,
    peer: Peer,
}

impl fmt::Debug for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (thread, number) = (self.thread, self.number);
        let is_recovered = if self.peer.recovered {
            ", recovered"
        } else {
            ""
        };
        write!(
            f,
            "{number} of {thread} by {}{is_recovered}",
            self.peer.connection
        )
    }
}

impl Handler for Witness {
    type Error = Infallible;

    fn message(&self, bytes: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let (thread, number) = (bytes[0], bytes[1..9].try_into().unwrap());
        let number = u64::from_le_bytes(number);
        assert!(bytes == message(thread, number), "wrong bytes");
        self.came.lock().push(Came {
            thread,
            number,
            peer: *peer,
        });
        wait_until("it goes on", || {
            self.has_ended.load(Ordering::Relaxed) || self.open.exists()
        });
        Ok(())
    }
}

impl Witness {
    fn of(&self, thread: u8) -> Vec<u64> {
        let came = self.came.lock();
        let came = came.iter().filter(|came| came.thread == thread);
        came.map(|came| came.number).collect()
    }

    /// Why it is not as it must be, where so many messages were accepted, and so many of them must
    /// be there.
    fn fault(&self, thread: u8, accepted: u64, owed: u64, course: Course) -> Option<&'static str> {
        let came = self.of(thread);
        let next = came.last().map_or(0, |last| last + 1);
        let dropped = if course.drops() {
            owed.saturating_sub(NEWEST)
        } else {
            0
        };
        if !came.is_sorted_by(|one, next| one < next) {
            Some("in another order, or twice")
        } else if next > accepted + 1 {
            Some("nobody sent that")
        } else if (dropped..next.max(owed)).any(|number| !came.contains(&number)) {
            Some("one is missing")
        } else {
            None
        }
    }
}

/// One death; false if the course came to its end before.
fn die(index: usize, moments: u64) -> bool {
    let course = COURSES[index];
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let witness = Arc::new(Witness {
        open: place.join("open"),
        has_ended: AtomicBool::new(false),
        came: Mutex::default(),
    });
    let reader = Reader::builder(place.join("s")).bind().unwrap();
    let reader = reader.start_handler(Arc::clone(&witness)).unwrap();
    let mut role = Role::start(&format!("{index} {moments} {}", place.display()));
    let status = role.wait_for_end();
    witness.has_ended.store(true, Ordering::Relaxed);
    let is_dead = status.signal() == Some(9);
    assert!(is_dead || status.success(), "{status}");
    assert_eq!(!is_dead, place.join("end").exists(), "{status}");
    let notes = fs::read(place.join("accepted")).unwrap_or_default();
    let note = |at: u64| {
        let note = notes.get(usize::try_from(at).unwrap()..);
        let note = note.and_then(<[u8]>::first_chunk);
        note.map_or(0, |note| u64::from_le_bytes(*note))
    };
    let accepted = [note(0), note(8)];
    // Before the reader has the memory all may be lost.
    let owed = accepted.map(|accepted| accepted * note(HAS_MEMORY));
    let fault = || {
        let accepted = (0..).zip(accepted.into_iter().zip(owed));
        let mut faults = accepted
            .filter_map(|(thread, (accepted, owed))| witness.fault(thread, accepted, owed, course));
        faults.next()
    };
    let start = Instant::now();
    while fault().is_some() && start.elapsed() < PATIENCE {
        thread::park_timeout(Duration::from_micros(200));
    }
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert!(
        fault().is_none() && metrics.panics == 0,
        "{:?}: {accepted:?} were accepted, {:?}, {metrics:?}",
        fault(),
        witness.came.lock()
    );
    is_dead
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are of interest")]
fn a_death_before_or_after_any_store_loses_nothing_and_repeats_nothing() {
    if let Ok(role) = env::var(ROLE) {
        let mut role = role.splitn(3, ' ');
        let mut part = || role.next().unwrap();
        let (course, moments) = (part().parse::<usize>().unwrap(), part().parse().unwrap());
        return play(Path::new(part()), COURSES[course], moments);
    }
    if env::var_os("UDS_IPC_EMULATED").is_some() {
        println!("skipped: what is emulated cannot start itself");
        return;
    }
    let deaths = env::var("UDS_IPC_DEATHS").map(|deaths| deaths.parse().expect("a number"));
    let stride = if deaths.is_ok_and(|deaths: u64| deaths >= MANY) {
        1
    } else {
        STRIDE
    };
    // Two at a time.
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for (index, course) in COURSES.iter().enumerate().skip(2 * half).take(2) {
                    let mut moments = fastrand::u64(1..=stride);
                    while catch_unwind(|| die(index, moments)).unwrap_or_else(|fault| {
                        println!("{course:?} at {moments}");
                        resume_unwind(fault)
                    }) {
                        moments += stride;
                    }
                    println!("{course:?}: less than {moments} moments");
                }
            });
        }
    });
}
