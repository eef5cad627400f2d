//! Peers that mean harm, each by its name: what they cost, and whom they hold up.
//! What counts memory, descriptors or time of the processor runs in a process of its own.

use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uds_ipc::{Delivery, Handler, Peer, Reader, ReaderBuilder};

use crate::support::{
    Child, Collector, Gate, Over, PATIENCE, Place, RawReader, Scripted, assert_rests, connect,
    finish_with_receipts, frame, is_closed, may_open, memory, python, receipt, skip, stranger,
    wait_until, writer_with,
};

/// 10 MiB, the longest message that there may be.
const LONGEST: &[u8] = &[0x80, 0x80, 0x80, 0x05];

const ASK: &[u8] = &[0];

/// Runs `act` in a process of its own, with a place for a socket.
#[track_caller]
fn apart(name: &str, act: impl FnOnce(&Path)) {
    // What is freed goes back to the system at once, so that what is held can be seen. Both ends of
    // a connection are here.
    const SETUP: &str = "export MALLOC_MMAP_THRESHOLD_=32768 MALLOC_ARENA_MAX=1
        ulimit -n 4096 2>/dev/null || ulimit -n \"$(ulimit -H -n)\"";
    if let Some(path) = Child::path() {
        act(&path);
        return Child::say("it has come to its end");
    }
    let place = Place::new();
    let mut command = Child::test(&format!("hostile::{name}"), &place.socket(), SETUP);
    let mut child = Child::start(&mut command).unwrap();
    let (lines, start) = (child.lines.clone(), Instant::now());
    // Its patience is to end before ours, so that it says what it waited for.
    while !child.has_ended() && start.elapsed() < PATIENCE + PATIENCE / 2 {
        thread::park_timeout(Duration::from_millis(1));
    }
    child.finish();
    lines.wait_for("it has come to its end");
}

/// A reader that counts its messages, and keeps nothing.
struct Counting {
    reader: Reader,
    messages: Arc<AtomicUsize>,
}

impl Counting {
    fn start(path: &Path, set: impl FnOnce(ReaderBuilder) -> ReaderBuilder) -> Self {
        let messages = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&messages);
        let handler = move |_: &[u8]| {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let reader = set(Reader::builder(path))
            .bind()
            .unwrap()
            .start(handler)
            .unwrap();
        Self { reader, messages }
    }

    #[track_caller]
    fn wait_for(&self, count: usize) {
        wait_until(&format!("{count} messages have come"), || {
            self.messages.load(Ordering::SeqCst) >= count
        });
    }
}

/// What this process has, in KiB.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// What it asked for, touched or not.
    asked_for: usize,
    touched: usize,
}

impl Memory {
    fn now() -> Self {
        let figure = |figure| memory(process::id(), figure);
        Self {
            asked_for: figure("VmData"),
            touched: figure("RssAnon"),
        }
    }

    /// By how much it has grown since then, by the worse of the two measures.
    fn grown_since(before: Self) -> usize {
        let now = Self::now();
        let grown = |before: usize, now: usize| now.saturating_sub(before);
        grown(before.asked_for, now.asked_for).max(grown(before.touched, now.touched))
    }
}

const MIB: usize = 1024;

#[test]
#[cfg(target_os = "linux")]
fn ten_mib_announced_on_each_of_a_thousand_connections_cost_next_to_nothing() {
    if !may_open(2_100) {
        return;
    }
    apart(
        "ten_mib_announced_on_each_of_a_thousand_connections_cost_next_to_nothing",
        |path| {
            const PEERS: usize = 1_000;
            // A thread has a stack of 2 MiB.
            let reader = Counting::start(path, |builder| {
                builder.max_threads(2).max_partial_bytes(usize::MAX)
            });
            let before = Memory::now();
            for round in 1..=3 {
                // One write of so little is one read: with the message the byte has come.
                let stream = [&frame(b"here"), LONGEST, b"x"].concat();
                let peers: Vec<_> = (0..PEERS)
                    .map(|_| {
                        let mut peer = connect(path);
                        peer.write_all(&stream).unwrap();
                        peer
                    })
                    .collect();
                reader.wait_for(round * PEERS);
                let grown = Memory::grown_since(before);
                assert!(grown <= 16 * MIB, "{grown} KiB in round {round}");
                drop(peers);
                wait_until("they are gone", || reader.reader.metrics().open == 0);
            }
            let errors = reader.reader.metrics().protocol_errors;
            assert_eq!((errors.truncated, errors.total()), (3_000, 3_000));
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn half_messages_cost_twice_their_bytes_and_whole_ones_nothing() {
    if !may_open(500) {
        return;
    }
    apart(
        "half_messages_cost_twice_their_bytes_and_whole_ones_nothing",
        |path| {
            const PEERS: usize = 200;
            const SENT: usize = 64 * 1024;
            let reader = Counting::start(path, |builder| builder.max_threads(2));
            let (half, rest) = (
                [LONGEST, &vec![0; SENT]].concat(),
                vec![0; (10 << 20) - SENT],
            );
            let before = Memory::now();
            let mut peers: Vec<_> = (0..PEERS).map(|_| connect(path)).collect();
            for peer in &mut peers {
                peer.write_all(&half).unwrap();
            }
            let sent = PEERS * SENT / 1024;
            wait_until("it has all come", || Memory::grown_since(before) >= sent);
            let grown = Memory::grown_since(before);
            assert!(grown <= 2 * sent + 8 * MIB, "{grown} KiB for {sent} KiB");

            // Not so many, since they hold what they announced now.
            peers.truncate(10);
            let (last, rest) = rest.split_last().unwrap();
            for part in [rest, &[*last]] {
                for peer in &mut peers {
                    peer.write_all(part).unwrap();
                }
            }
            reader.wait_for(peers.len());
            // Their connections are still open.
            wait_until("the memory is given back", || {
                Memory::grown_since(before) <= 8 * MIB
            });
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn questions_without_end_cost_no_memory_and_hold_up_nobody() {
    apart(
        "questions_without_end_cost_no_memory_and_hold_up_nobody",
        |path| {
            const PEERS: usize = 4;
            let asked = AtomicUsize::new(0);
            let questions = vec![0; 1 << 16];
            thread::scope(|scope| {
                // In here, since its end is the end of the others. The neighbour is silent for as
                // long as it takes.
                let set =
                    |builder: ReaderBuilder| builder.max_threads(1).idle_timeout(Duration::MAX);
                let reader = Counting::start(path, set);
                let mut neighbour = connect(path);
                for _ in 0..PEERS {
                    scope.spawn(|| {
                        // It reads no answer.
                        let mut peer = connect(path);
                        while peer.write_all(&questions).is_ok() {
                            asked.fetch_add(questions.len(), Ordering::SeqCst);
                        }
                    });
                }
                let at_first = PEERS << 18;
                wait_until("all are under way", || {
                    reader.reader.metrics().open == 5 && asked.load(Ordering::SeqCst) >= at_first
                });
                let before = Memory::now();
                for round in 1..=5 {
                    neighbour
                        .write_all(&[&frame(b"neighbour"), ASK].concat())
                        .unwrap();
                    assert_eq!(receipt(&mut neighbour), round);
                }
                let many = 16 << 20;
                wait_until("many were asked", || {
                    asked.load(Ordering::SeqCst) >= at_first + many
                });
                let grown = Memory::grown_since(before);
                assert!(grown <= 4 * MIB, "{grown} KiB for {many} questions");
                assert_eq!(reader.reader.metrics().open, 5, "it is no fault to ask");
                // Nor is a stop held up, by answers that nobody reads.
                assert_eq!(reader.reader.shutdown(PATIENCE).unwrap().cut, 0);
            });
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_connections_leave_nothing_behind_however_they_end() {
    /// Does harm number `number`, and is gone.
    fn come_and_go(path: &Path, number: usize) {
        let mut peer = connect(path);
        // The reader may hang up in the middle.
        let _ = match number % 8 {
            0 => Ok(()),
            1 => peer.write_all(&frame(b"whole")),
            2 => peer.write_all(&frame(b"half")[..3]),
            3 => peer.write_all(&[LONGEST, &vec![7; 70_000]].concat()),
            4 => peer.write_all(&[0x80; 10]),
            // The answer is left unread.
            5 => peer.write_all(&[ASK, &frame(b"asks"), ASK].concat()),
            6 => peer
                .write_all(&frame(b"ends"))
                .and_then(|()| peer.shutdown(Shutdown::Write)),
            _ => {
                let _ = peer.write_all(&[0xff; 10]);
                assert!(is_closed(&mut peer));
                Ok(())
            }
        };
    }

    /// Has 5,120 of them come, while a neighbour is served.
    fn flood(path: &Path, neighbour: &mut UnixStream) {
        let is_over = &AtomicBool::new(false);
        thread::scope(|scope| {
            let floods: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_280).for_each(|number| come_and_go(path, number))))
                .collect();
            scope.spawn(move || {
                let mut rounds = 0;
                while rounds < 20 || !is_over.load(Ordering::SeqCst) {
                    neighbour
                        .write_all(&[&frame(b"neighbour"), ASK].concat())
                        .unwrap();
                    rounds += 1;
                    assert!(receipt(neighbour) >= rounds);
                }
            });
            let _over = Over(is_over);
            for flood in floods {
                flood.join().unwrap();
            }
        });
    }

    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    apart(
        "ten_thousand_connections_leave_nothing_behind_however_they_end",
        |path| {
            let reader =
                Counting::start(path, |builder| builder.max_connections(16).max_threads(2));
            let mut neighbour = connect(path);
            neighbour.write_all(ASK).unwrap();
            assert_eq!(receipt(&mut neighbour), 0);
            let descriptors_before = descriptors();
            let mut memory_before = None;
            for floods in 1..=2 {
                flood(path, &mut neighbour);
                wait_until("all have gone", || {
                    reader.reader.metrics().connections == 1 + floods * 5_120
                });
                wait_until("the descriptors are closed", || {
                    descriptors() <= descriptors_before
                });
                // Some stays after the first flood, such as the stacks of threads, but no more
                // after each.
                let before = *memory_before.get_or_insert_with(Memory::now);
                wait_until("the memory is given back", || {
                    Memory::grown_since(before) <= 4 * MIB
                });
            }
            let metrics = reader.reader.metrics();
            assert_eq!(
                (metrics.open, metrics.accept_pauses, metrics.refused_peers),
                (1, 0, 0)
            );
            let errors = metrics.protocol_errors;
            assert_eq!(errors.invalid_prefix, 2_560, "{errors:?}");
            assert_eq!(
                (errors.truncated, errors.total()),
                (2_560, 5_120),
                "{errors:?}"
            );
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_can_do_nothing_more_for_its_peers_rests() {
    apart(
        "a_reader_that_can_do_nothing_more_for_its_peers_rests",
        |path| {
            let reader = Counting::start(path, |builder| {
                builder
                    .max_connections(4)
                    .idle_timeout(Duration::MAX)
                    .max_threads(1)
            });
            let silent = connect(path);
            let mut half = connect(path);
            half.write_all(&[&frame(b"half"), LONGEST, b"x"].concat())
                .unwrap();
            let mut half_a_length = connect(path);
            half_a_length
                .write_all(&[&frame(b"half a length"), &[0x80; 9][..]].concat())
                .unwrap();
            reader.wait_for(2);
            let mut deaf = connect(path);
            for count in 3..=1_000 {
                // One by one, so that an answer is tried for each: soon there is no room for any.
                deaf.write_all(&[&frame(b"deaf"), ASK].concat()).unwrap();
                reader.wait_for(count);
            }
            // Nor for these.
            let mut waiting = [(); 5].map(|()| connect(path));
            assert_rests(process::id());
            assert_eq!(reader.reader.metrics().open, 4);
            // It is at once there for who can be helped, and for its end.
            drop(silent);
            waiting[0]
                .write_all(&[&frame(b"at last"), ASK].concat())
                .unwrap();
            assert_eq!(receipt(&mut waiting[0]), 1);
            assert_eq!(reader.reader.shutdown(PATIENCE).unwrap().cut, 0);
        },
    );
}

#[test]
fn the_connection_limit_holds_however_many_come_and_go_at_once() {
    const LIMIT: usize = 8;

    struct Gauge {
        gate: Gate,
        open: AtomicUsize,
        most: AtomicUsize,
    }

    impl Handler for Gauge {
        type Error = io::Error;

        fn message(&self, _: &[u8], _: &Peer) -> Result<(), io::Error> {
            self.gate.pass();
            Ok(())
        }

        fn opened(&self, _: &Peer) {
            self.most.fetch_max(
                1 + self.open.fetch_add(1, Ordering::SeqCst),
                Ordering::SeqCst,
            );
        }

        fn closed(&self, _: &Peer) {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let place = Place::new();
    let gauge = Arc::new(Gauge {
        gate: Gate::new(),
        open: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let builder = Reader::builder(place.socket()).max_connections(LIMIT);
    let reader = builder
        .bind()
        .unwrap()
        .start_handler(Arc::clone(&gauge))
        .unwrap();
    let blocked = [(); LIMIT].map(|()| {
        let mut peer = connect(&place.socket());
        peer.write_all(&frame(b"block")).unwrap();
        peer
    });
    wait_until("there are many threads", || reader.metrics().threads >= 8);
    gauge.gate.open();
    drop(blocked);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let mut peer = connect(&place.socket());
                    peer.write_all(ASK).unwrap();
                    assert_eq!(receipt(&mut peer), 0);
                }
            });
        }
    });
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    assert_eq!(gauge.most.load(Ordering::SeqCst), LIMIT);
    assert_eq!((metrics.connections, metrics.refused_peers), (4_008, 0));
}

#[test]
fn a_user_who_sends_empty_frames_for_ever_does_not_lock_the_others_out() {
    let place = Place::new();
    let set = |builder: ReaderBuilder| {
        builder
            .max_connections(4)
            .socket_mode(0o666)
            .idle_timeout(Duration::MAX)
    };
    thread::scope(|scope| {
        // In here, since its end is the end of the others.
        let reader = Scripted::start_with(&place.socket(), set);
        for _ in 0..2 {
            let mut greedy = connect(&place.socket());
            scope.spawn(move || while greedy.write_all(&[0; 4096]).is_ok() {});
        }
        reader.wait_for("<opened>", 2);
        assert!(
            is_closed(&mut connect(&place.socket())),
            "half of the connections is enough for one"
        );
        if let Some(stranger) = stranger(&place, place.socket().as_os_str()) {
            reader.wait_for("a", 1);
            stranger.finish();
        }
        assert_eq!(reader.reader.shutdown(PATIENCE).unwrap().cut, 0);
    });
}

#[test]
fn a_reader_that_answers_without_end_is_found_out() {
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| {
        builder.delivery(Delivery::AtLeastOnce)
    });
    writer.try_send("first").unwrap();
    let mut peer = raw.meet();
    peer.wait_for_question(1);
    peer.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let nothing_so_far = vec![0; 1 << 16];
    // None of the answers is wrong.
    wait_until("the writer has hung up", || {
        peer.stream.write_all(&nothing_so_far).is_err()
    });
    events.wait_for("BadReceipt(Repeated { repeats: 1025 })");
    let mut peer = raw.meet();
    peer.wait_for_question(1);
    // As often as there may be.
    peer.say(&[0; 1024]);
    writer.try_send("second").unwrap();
    peer.wait_for_question(2);
    peer.answer(2);
    finish_with_receipts(&writer);
}

/// How many descriptors of this process lead to a file whose name has `text` in it.
fn descriptors_of(text: &str) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().contains(text))
        .count()
}

/// A file whose descriptors can be counted, where they can be.
fn passed(place: &Place) -> Option<(std::path::PathBuf, String)> {
    if !Path::new("/proc/self/fd").exists() {
        skip("no /proc");
        return None;
    }
    let file = place.path("passed");
    fs::write(&file, "x").unwrap();
    let name = file.to_str().unwrap().to_owned();
    let own = fs::File::open(&file).unwrap();
    assert_eq!(descriptors_of(&name), 1, "one of our own is seen");
    drop(own);
    Some((file, name))
}

#[test]
fn descriptors_that_a_writer_sends_along_are_not_received() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let Some((file, name)) = passed(&place) else {
        return;
    };
    let program = "
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
file = open(sys.argv[2])
for _ in range(100):
    socket.send_fds(peer, [b'\\x01a'], [file.fileno()] * 3)
print('sent', flush=True)
sys.stdin.read()
";
    let Some(peer) = python(program, &[place.socket().as_os_str(), file.as_os_str()]) else {
        return;
    };
    // All messages are read, each by itself: the kernel never merges what came with descriptors.
    collector.wait_for(100);
    // What came with the first byte is closed by a thread of its own.
    wait_until("none is kept while the connection is open", || {
        descriptors_of(&name) == 0
    });
    peer.finish();
    collector.events.wait_for("EndOfStream");
    assert_eq!(descriptors_of(&name), 0);
    assert_eq!(collector.stop(), vec![b"a"; 100]);
}

#[test]
fn descriptors_that_a_reader_sends_along_with_its_receipts_are_not_received() {
    let place = Place::new();
    let Some((file, name)) = passed(&place) else {
        return;
    };
    let program = "
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print('ready', flush=True)
peer, _ = listener.accept()
file = open(sys.argv[2])
stream = b''
while stream.count(b'\\x00') < 101:
    # A question stands before the first message, and behind each, which is the letter a.
    more = peer.recv(4096)
    stream += more
    for _ in range(more.count(b'\\x00')):
        socket.send_fds(peer, [bytes([stream.count(b'a')])], [file.fileno()] * 3)
sys.stdin.read()
";
    let Some(reader) = python(program, &[place.socket().as_os_str(), file.as_os_str()]) else {
        return;
    };
    reader.lines.wait_for("ready");
    let (writer, _) = writer_with(&place.socket(), |builder| {
        builder.delivery(Delivery::AtLeastOnce)
    });
    for count in 1..=100 {
        writer.try_send("a").unwrap();
        wait_until("its receipt has come", || {
            writer.metrics().confirmed.messages == count
        });
    }
    assert_eq!(descriptors_of(&name), 0, "while the connection is open");
    finish_with_receipts(&writer);
    assert_eq!((writer.metrics().connects, descriptors_of(&name)), (1, 0));
    reader.finish();
}
