//! Deaths at random moments, in all ways in which a process can end, under load: nothing that was
//! accepted is lost, twice, out of order, or with wrong bytes.
//!
//! Each death follows from its seed. `UDS_IPC_DEATHS` is how many there are, and `UDS_IPC_SEED` the
//! seed of the first; without a number it is the only one.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
use parking_lot::Mutex;
use uds_ipc::{Delivery, FlushLevel, Handler, Peer, Reader, Writer, WriterBuilder};

use super::{Gate, OpensAtEnd, Told, kill_this_process};
use crate::load::u64_at;
use crate::stage::{PATIENCE, Role, SEED, moments, part, stage, wait_for_cue, wait_until};

const MOST_THREADS: usize = 4;

/// Unless set.
const DEATHS: u64 = 60;

/// At a time: each has several busy threads.
const SIDE_BY_SIDE: usize = 2;

/// How long a sender waits for room before it looks whether it is to die instead.
const FULL: Duration = Duration::from_millis(20);

/// Who ends the writer, and when.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The test, so long after the first message has arrived.
    Killed(Duration),
    /// It does so itself, when a thread has sent so many messages, or finds no room.
    Ends(End, u64),
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Abort,
    Fault,
    Exit,
    ExitAtOnce,
    Return,
    /// A panic in a thread that has nothing to do with the writer, where none is caught.
    #[cfg(panic = "abort")]
    PanicElsewhere,
}

const ENDS: &[End] = &[
    End::Kill,
    End::Abort,
    End::Fault,
    End::Exit,
    End::ExitAtOnce,
    End::Return,
    #[cfg(panic = "abort")]
    End::PanicElsewhere,
];

/// What the reader's handler does.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Quick,
    /// It takes its time for one message of so many.
    Slow(u64),
    /// From so many messages on it waits for the writer's death.
    Stops(u64),
}

/// What one death is like.
#[derive(Clone, Debug)]
struct Plan {
    threads: usize,
    longest: usize,
    delivery: Delivery,
    most_messages: usize,
    most_bytes: usize,
    send_buffer: Option<usize>,
    pace: Pace,
    /// The reader closes connections that are silent for so long, and the senders pause.
    idle_timeout: Option<Duration>,
    death: Death,
    moments: fastrand::Rng,
}

impl Plan {
    /// What is worth most is spread over seeds that follow each other, the rest is left to chance.
    fn of(seed: u64) -> Self {
        let mut moments = fastrand::Rng::with_seed(seed);
        let longest = [8, 200, 20 * 1024, 200 * 1024][at(seed / 2, 4)];
        let is_idle = moments.u8(..4) == 0;
        // What comes in bursts is to leave no half message when a connection is closed for silence:
        // the reader gives up on that.
        let longest = if is_idle { longest.min(200) } else { longest };
        let is_small = !is_idle && moments.bool();
        let death = if seed % 2 == 0 {
            Death::Killed(Duration::from_micros(moments.u64(2_000..60_000)))
        } else {
            let most = if longest > 1000 { 1 << 8 } else { 1 << 14 };
            let after = often_few(&mut moments, most);
            Death::Ends(ENDS[at(seed / 8, ENDS.len())], after)
        };
        Self {
            threads: if moments.bool() { 1 } else { MOST_THREADS },
            longest,
            delivery: if moments.bool() {
                Delivery::AtMostOnce
            } else {
                Delivery::AtLeastOnce
            },
            most_messages: if is_small {
                moments.usize(1..40)
            } else {
                10_000
            },
            most_bytes: if is_small {
                longest * moments.usize(1..6)
            } else {
                64 * 1024 * 1024
            },
            send_buffer: (!is_idle && moments.bool()).then(|| moments.usize(2_000..64_000)),
            pace: match moments.u8(..3) {
                0 => Pace::Quick,
                1 => Pace::Slow(moments.u64(8..200)),
                _ => Pace::Stops(often_few(&mut moments, 2_000)),
            },
            idle_timeout: is_idle.then(|| Duration::from_micros(moments.u64(1_000..15_000))),
            death,
            moments,
        }
    }

    fn writer(&self, path: &Path) -> WriterBuilder {
        Writer::builder(path)
            .crash_proof(true)
            .delivery(self.delivery)
            .max_queued_messages(self.most_messages)
            .max_queued_bytes(self.most_bytes)
            .send_buffer_size(self.send_buffer)
            .backoff_min(Duration::from_millis(1))
            .backoff_max(Duration::from_millis(5))
            // A reader that is slow is not to be taken for dead.
            .write_timeout(PATIENCE)
    }
}

/// At least one, and rather few than many.
fn often_few(moments: &mut fastrand::Rng, most: u64) -> u64 {
    let most = moments.u64(2..most);
    moments.u64(1..most)
}

fn at(number: u64, of: usize) -> usize {
    usize::try_from(number).unwrap() % of
}

/// What all messages are parts of.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; 256 * 1024];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
});

/// Which message it is, and the bytes that follow: their number too follows from that.
fn contents(longest: usize, thread: usize, number: u64) -> ([u8; 8], &'static [u8]) {
    let name = u64::try_from(thread).unwrap() << 56 | number;
    let mut chance = fastrand::Rng::with_seed(name);
    // Many short ones between long ones.
    let longest = if chance.bool() {
        longest
    } else {
        longest.min(200)
    };
    let (len, from) = (chance.usize(0..=longest - 8), chance.usize(..40_000));
    (name.to_le_bytes(), &BYTES[from..from + len])
}

/// In a role: sends until the end, and notes how many messages were accepted where its death leaves
/// that.
fn send(
    writer: &Writer,
    plan: &Plan,
    thread: usize,
    note: &File,
    mut next: u64,
    end: impl Fn(End),
) {
    let mut moments = plan.moments.clone();
    for _ in 0..=thread {
        moments = moments.fork();
    }
    loop {
        let (name, rest) = contents(plan.longest, thread, next);
        let message = [&name, rest].concat();
        let is_full = |is_full: bool| assert!(is_full, "it takes messages");
        let sent = match next % 3 {
            0 => writer
                .send_timeout(&message, FULL)
                .map_err(|error| is_full(error.is_full())),
            1 => writer
                .send_timeout(message, FULL)
                .map_err(|error| is_full(error.is_full())),
            _ => {
                let message = Bytes::from(message);
                writer
                    .send_timeout(message, FULL)
                    .map_err(|error| is_full(error.is_full()))
            }
        };
        if sent.is_ok() {
            next += 1;
            note.write_all_at(&next.to_le_bytes(), 0).unwrap();
        }
        if let Death::Ends(how, after) = plan.death {
            if thread == 0 && (next > after || sent.is_err()) {
                end(how);
            }
        }
        if let (Some(timeout), 0) = (plan.idle_timeout, moments.u8(..32)) {
            thread::park_timeout(timeout.mul_f64(2.0 * moments.f64()));
        }
    }
}

fn note_path(place: &Path, thread: usize) -> PathBuf {
    place.join(format!("accepted-{thread}"))
}

/// How many messages each thread knew of as accepted.
fn noted(place: &Path, threads: usize) -> Vec<u64> {
    let notes = (0..threads).map(|thread| fs::read(note_path(place, thread)).unwrap_or_default());
    let noted = notes.map(|note| if note.is_empty() { 0 } else { u64_at(&note, 0) });
    noted.collect()
}

/// The role. When it returns, others are still sending.
fn write_until_the_end(place: &Path, plan: &Plan) {
    // No file is to be left behind.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    let writer = plan.writer(&place.join("s")).start().unwrap();
    let notes = (0..plan.threads).map(|thread| File::create(note_path(place, thread)).unwrap());
    let notes: Vec<_> = notes.collect();
    // From here on the reader has the memory.
    let (name, rest) = contents(plan.longest, 0, 0);
    let first = [&name, rest].concat();
    writer.send_timeout(first, PATIENCE).unwrap();
    writer.flush(FlushLevel::Written, PATIENCE).unwrap();
    notes[0].write_all_at(&1_u64.to_le_bytes(), 0).unwrap();
    let (ends, end) = mpsc::channel();
    for (thread, note) in notes.into_iter().enumerate() {
        let (writer, plan, ends) = (writer.clone(), plan.clone(), ends.clone());
        let sender = move || {
            let end_by = |how| end_by(how, || ends.send(()).unwrap_or(()));
            send(
                &writer,
                &plan,
                thread,
                &note,
                u64::from(thread == 0),
                end_by,
            );
        };
        thread::spawn(sender);
    }
    // It does not outlive its test.
    thread::spawn(move || {
        wait_for_cue();
        let _ = ends.send(());
    });
    end.recv().unwrap();
}

#[expect(clippy::exit, reason = "an end among others")]
fn end_by(how: End, return_from_test: impl Fn()) {
    match how {
        End::Kill => kill_this_process(),
        End::Abort => process::abort(),
        // The first is caught by what looks for the overflow of a stack.
        End::Fault => loop {
            raise(Signal::SIGSEGV).unwrap();
        },
        End::Exit => process::exit(3),
        End::ExitAtOnce => signal_hook::low_level::exit(3),
        End::Return => return_from_test(),
        #[cfg(panic = "abort")]
        End::PanicElsewhere => {
            let _ = thread::spawn(|| panic!("on purpose")).join();
        }
    }
}

/// The handler: what it has seen.
struct Witness {
    plan: Plan,
    gate: Arc<Gate>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// The next message of each thread.
    next: [u64; MOST_THREADS],
    /// Those behind it that have come: what is left on a connection that the reader closes may be
    /// handled beside the next one.
    early: [BTreeSet<u64>; MOST_THREADS],
    /// The last of each connection and thread.
    last: HashMap<(u64, usize), u64>,
    messages: u64,
    recovered: u64,
    faults: Vec<String>,
}

impl Seen {
    fn is_in_order(&mut self, connection: u64, thread: usize, number: u64) -> bool {
        let before = self.last.insert((connection, thread), number);
        before.is_none_or(|before| before < number)
    }
}

impl Handler for Witness {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let messages = self.see(message, peer);
        match self.plan.pace {
            Pace::Slow(of) if messages % of == 0 => {
                thread::park_timeout(Duration::from_micros(300));
            }
            Pace::Stops(from) if messages >= from => self.gate.pass(),
            Pace::Quick | Pace::Slow(_) | Pace::Stops(_) => (),
        }
        Ok(())
    }
}

impl Witness {
    fn see(&self, message: &[u8], peer: &Peer) -> u64 {
        let mut seen = self.seen.lock();
        seen.messages += 1;
        let mut fault = None;
        let name = message.first_chunk().map(|name| u64::from_le_bytes(*name));
        let name = name.unwrap_or(u64::MAX);
        let (thread, number) = (at(name >> 56, usize::MAX), name & ((1 << 56) - 1));
        if thread >= self.plan.threads
            || message[8..] != *contents(self.plan.longest, thread, number).1
        {
            fault = Some("wrong bytes");
        } else {
            let is_in_order = seen.is_in_order(peer.connection, thread, number);
            let Seen { next, early, .. } = &mut *seen;
            let (next, early) = (&mut next[thread], &mut early[thread]);
            if number < *next || !early.insert(number) {
                fault = Some("came before");
            } else if !is_in_order {
                fault = Some("out of order on its connection");
            } else if number > *next && self.plan.idle_timeout.is_none() {
                fault = Some("too early");
            }
            while early.remove(next) {
                *next += 1;
            }
            if !peer.recovered && seen.recovered > 0 {
                fault = Some("comes behind what was recovered");
            }
        }
        seen.recovered += u64::from(peer.recovered);
        if let Some(fault) = fault.filter(|_| seen.faults.len() < 20) {
            let (at, connection) = (seen.messages, peer.connection);
            let recovered = peer.recovered;
            seen.faults.push(format!(
                "{at}: {number} of thread {thread}: {fault} (connection {connection}, recovered: {recovered})"
            ));
        }
        seen.messages
    }
}

/// What came of one death.
#[derive(Debug, Default)]
struct Figures {
    deaths: AtomicU64,
    messages: AtomicU64,
    recovered: AtomicU64,
    /// Those of which the sender did not know.
    unknown: AtomicU64,
    connections: AtomicU64,
}

const NAME: &str = "deaths::at_random::deaths_at_random_lose_nothing_and_repeat_nothing";

/// One death.
fn die(seed: u64, figures: &Figures) {
    let plan = Plan::of(seed);
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (told, gate) = (Told::default(), Arc::new(Gate::default()));
    let mut reader = Reader::builder(place.join("s"));
    if let Some(timeout) = plan.idle_timeout {
        reader = reader.idle_timeout(timeout);
    }
    let witness = Arc::new(Witness {
        plan: plan.clone(),
        gate: Arc::clone(&gate),
        seen: Mutex::default(),
    });
    let reader = told.bind(reader).start_handler(Arc::clone(&witness));
    let reader = reader.unwrap();
    let opens_at_end = OpensAtEnd(gate);
    let mut role = Role::start_part(NAME, place, &seed.to_string());
    wait_until("the first message has come", || {
        witness.seen.lock().messages > 0
    });
    match plan.death {
        Death::Killed(after) => {
            thread::park_timeout(after);
            role.kill();
        }
        Death::Ends(..) => {
            wait_until("it has ended", || role.has_ended());
            let _ = role.end();
        }
    }
    drop(opens_at_end);
    let noted = noted(place, plan.threads);
    let seen = || witness.seen.lock().clone();
    let has_all = || {
        seen()
            .next
            .iter()
            .zip(&noted)
            .all(|(next, noted)| next >= noted)
    };
    let start = Instant::now();
    while !has_all() && seen().faults.is_empty() && start.elapsed() < PATIENCE {
        thread::park_timeout(Duration::from_micros(200));
    }
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    let seen = seen();
    let is_well = seen
        .next
        .iter()
        .zip(&noted)
        .all(|(next, noted)| (*noted..=noted + 1).contains(next));
    assert!(
        is_well && seen.faults.is_empty() && seen.early.iter().all(BTreeSet::is_empty),
        "{noted:?} were noted, {seen:#?}, {told:?}, {metrics:#?}"
    );
    assert_eq!(
        (metrics.received.messages, metrics.panics),
        (seen.messages, 0)
    );
    assert_eq!(metrics.recovered.messages, seen.recovered);
    let told = told.messages();
    assert!(told.len() <= 1, "one death: {told:?}");
    assert_eq!(told.iter().sum::<u64>(), seen.recovered);
    let unknown = seen.messages - noted.iter().sum::<u64>();
    for (figure, value) in [
        (&figures.deaths, 1),
        (&figures.messages, seen.messages),
        (&figures.recovered, seen.recovered),
        (&figures.unknown, unknown),
        (&figures.connections, metrics.connections),
    ] {
        figure.fetch_add(value, Ordering::Relaxed);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are of interest")]
fn deaths_at_random_lose_nothing_and_repeat_nothing() {
    if let Some(place) = stage() {
        let seed = part().parse().unwrap();
        return write_until_the_end(&place, &Plan::of(seed));
    }
    let is_one = env::var_os(SEED).is_some();
    let deaths = env::var("UDS_IPC_DEATHS").map(|deaths| deaths.parse().expect("a number"));
    let deaths = deaths.unwrap_or(if is_one { 1 } else { DEATHS });
    let first = if is_one {
        env::var(SEED).unwrap().parse().expect("a number")
    } else {
        moments().u64(..)
    };
    let (figures, next, failed) = (
        Figures::default(),
        AtomicU64::new(0),
        Mutex::new(Vec::new()),
    );
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                // The first failures will do.
                while failed.lock().len() < 3 {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= deaths {
                        break;
                    }
                    let seed = first.wrapping_add(nth);
                    let ended = catch_unwind(AssertUnwindSafe(|| die(seed, &figures)));
                    if ended.is_err() {
                        println!("{SEED}={seed}: {:#?}", Plan::of(seed));
                        failed.lock().push(seed);
                    }
                }
            });
        }
    });
    println!("{figures:?}");
    let failed = failed.into_inner();
    assert!(
        failed.is_empty(),
        "deaths with these seeds: {SEED}={failed:?}"
    );
}
