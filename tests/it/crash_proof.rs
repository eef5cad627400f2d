//! Traps and attacks around the memory that writers pass: what hostile writers put into it, what
//! hostile readers do with it, and what the system refuses.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use uds_ipc::event::{ReaderEvent, WriterEvent};
use uds_ipc::{Handler, Peer, Reader, ReaderBuilder, Recover, Writer};

use crate::shared::LEEWAY;
use crate::support::{
    Child, Gate, Notes, PATIENCE, Place, RawReader, assert_rests, connect, finish, frame, let_pass,
    memory, numbered, python, read_to_end, send_all, skip, unframe, wait_until, writer_with,
};

/// Runs a test in a process of its own, whose memory, descriptors and limits are nobody else's.
#[track_caller]
fn alone(name: &str, test: impl FnOnce(&Place)) {
    if Child::path().is_some() {
        test(&Place::new());
        return Child::say("good");
    }
    let place = Place::new();
    let name = format!("crash_proof::{name}");
    // If it has to be killed, its folder goes with ours; which another user may have to enter.
    fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Child::test(&name, &place.socket(), "");
    let mut child = Child::start(command.env("TMPDIR", place.path("."))).unwrap();
    // What it waits for in vain it tells itself.
    let start = Instant::now();
    while !child.has_ended() && start.elapsed() < 2 * PATIENCE {
        thread::park_timeout(Duration::from_millis(1));
    }
    let lines = child.lines.clone();
    child.finish();
    lines.wait_for("good");
}

/// What a hostile writer needs: `arena` makes memory that looks like a writer's, `give` connects
/// and passes it. Its arguments are the socket, and more.
const HOSTILE: &str = r"
import fcntl, mmap, os, random, resource, socket, struct, sys, threading, time
SEALS = 2 | 4
WRITE, FUTURE_WRITE = 8, 16
SLOT, MOST = 128 * 1024, 2 ** 64 - 1
FREE, WAITING, NUMBERED, PIECE = (kind << 62 for kind in range(4))
MAGIC = struct.unpack('<Q', b'uds-ipc\x01')[0]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))

def page(size):
    return (size + 4095) // 4096 * 4096

def extent(slot, start, end):
    return slot << 40 | start << 20 | end

def sealed(data, seals=SEALS | WRITE, size=None, name='hostile'):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, len(data) if size is None else size)
    for at, part in data.items() if isinstance(data, dict) else [(0, data)]:
        os.pwrite(fd, part, at)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd

# Records are pairs of words; words of slots are (published, covered); frames are {slot: bytes}.
def parts(records, slots, frames={}, room=None, magic=MAGIC, ended=0, connection=1, live=1):
    most = len(records) if room is None else room
    words = 4096 + page(16 * most)
    start = words + page(128 * len(slots))
    head = [magic, most | len(slots) << 32, ended, connection, live, len(records), len(slots)]
    data = {0: struct.pack('<7Q', *(word & MOST for word in head))}
    data[4096] = struct.pack('<%dQ' % (2 * len(records)), *(word for pair in records for word in pair))
    data[words] = b''.join(struct.pack('<2Q112x', *pair) for pair in slots)
    for slot, part in frames.items():
        data[start + SLOT * slot] = part
    return data, start + SLOT * len(slots)

def arena(*args, seals=SEALS | WRITE, **more):
    data, size = parts(*args, **more)
    return sealed(data, seals, size)

# One message that waits, in a slot.
def one(message=b'\x04left', **more):
    return arena([(WAITING, extent(0, 0, len(message)))], [(len(message), len(message))], {0: message}, **more)

def ticket(connection=1, first=0, exact=1):
    return sealed(struct.pack('<3Q', connection, first, exact))

def lock(fd):
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, os.fstat(fd).st_size)

def opened():
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    return peer

def give(fds, message=b'\x04came'):
    peer = opened()
    socket.send_fds(peer, [message], fds)
    return peer

def say(word):
    print(word, flush=True)

def wait():
    return sys.stdin.readline()

# Runs in a process of its own, which dies.
def dies(act):
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
";

/// A hostile process. `None`, said aloud, where there is no Python, or none with memory to seal.
fn hostile(program: &str, place: &Place, more: &[&OsStr]) -> Option<Child> {
    let socket = place.socket();
    let mut args = vec![socket.as_os_str()];
    args.extend(more);
    let mut child = python(&format!("{HOSTILE}\nsay('up')\n{program}"), &args)?;
    wait_until("Python is up", || {
        child.lines.has("up") || child.has_ended()
    });
    if !child.lines.has("up") {
        skip("this Python has no memory that can be sealed");
        return None;
    }
    Some(child)
}

/// Waits for a word of a hostile process; fails where that has ended without it.
#[track_caller]
fn hear(child: &mut Child, word: &str) {
    wait_until(&format!("{word:?} is said"), || {
        child.lines.has(word) || child.has_ended()
    });
    child.lines.wait_for(word);
}

/// What came, whose it was, and whether it was recovered.
type Came = (String, Option<u32>, bool);

#[derive(Clone)]
struct Keep(Notes<Came>);

impl Handler for Keep {
    type Error = std::convert::Infallible;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), Self::Error> {
        let pid = peer.identity.credentials().and_then(|process| process.pid);
        let text = String::from_utf8_lossy(message).into_owned();
        self.0.add((text, pid, peer.recovered));
        Ok(())
    }
}

struct Keeper {
    reader: Reader,
    came: Notes<Came>,
    events: Notes<String>,
}

impl Keeper {
    fn start(place: &Place, set: impl FnOnce(ReaderBuilder) -> ReaderBuilder) -> Self {
        let (came, events) = (Notes::new(), Notes::new());
        let builder = Reader::builder(place.socket()).on_event(events.observer::<ReaderEvent>());
        let bound = set(builder).bind().unwrap();
        let reader = bound.start_handler(Keep(came.clone())).unwrap();
        Self {
            reader,
            came,
            events,
        }
    }

    fn count(&self, text: &str) -> usize {
        self.came.count(|(message, ..)| message == text)
    }

    #[track_caller]
    fn wait_for(&self, text: &str, count: usize) {
        wait_until(&format!("{text:?} has come {count} times"), || {
            self.count(text) >= count
        });
    }

    #[track_caller]
    fn wait_for_quiet(&self) {
        wait_until("no connection is open", || self.reader.metrics().open == 0);
    }

    /// That it serves another connection, and at once.
    #[track_caller]
    fn serves(&self, place: &Place) {
        let start = Instant::now();
        let before = self.count("other");
        connect(&place.socket())
            .write_all(&frame(b"other"))
            .unwrap();
        self.wait_for("other", before + 1);
        assert!(start.elapsed() < LEEWAY, "{:?}", start.elapsed());
    }

    /// Stops as planned: the figures are right.
    #[track_caller]
    fn stop(self) {
        let report = self.reader.shutdown(PATIENCE).unwrap();
        assert_eq!((report.cut, report.metrics.open), (0, 0));
        let recovered = self.came.count(|(_, _, recovered)| *recovered);
        let counted = [report.metrics.received, report.metrics.recovered]
            .map(|tally| usize::try_from(tally.messages).unwrap());
        assert_eq!(counted, [self.came.len(), recovered]);
    }
}

/// What the descriptors of this process lead to.
fn targets() -> Vec<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

/// How many descriptors of this process are hostile memory.
fn taken() -> usize {
    let targets = targets();
    let is_hostile = |target: &&String| target.contains("memfd:hostile");
    targets.iter().filter(is_hostile).count()
}

#[track_caller]
fn wait_for_none_taken() {
    wait_until("nothing that was passed is open", || taken() == 0);
}

/// Arenas of which only the sizes are right. Some slots are random bytes, some are frames.
#[test]
fn garbage_harms_nobody() {
    const PROGRAM: &str = r"
def word():
    return random.choice([0, 1, 2, MOST, 2 ** 63, random.getrandbits(64), random.getrandbits(20)])

def place():
    kind = random.choice([FREE, WAITING, NUMBERED, PIECE, PIECE])
    few = random.randrange(64) << 24 | random.randrange(4)
    return kind | random.choice([few, random.randrange(100), random.getrandbits(62)])

def where():
    slot = random.randrange(12)
    at = [random.randrange(SLOT + 9) for _ in range(2)]
    near = random.randrange(SLOT - 100)
    return random.choice([extent(slot, *sorted(at)), extent(slot, *at), extent(slot, 0, at[0]),
        extent(slot, near, near + random.randrange(100)), random.getrandbits(64)])

def garbage():
    number = random.randrange(1, 10)
    records = [(place(), where()) for _ in range(random.randrange(300))]
    slots = [(random.choice([0, SLOT, random.randrange(SLOT + 9), word()]), word()) for _ in range(number)]
    frames = {}
    for slot in range(number):
        frames[slot] = random.choice([os.urandom(SLOT), (b'\x05whole' * SLOT)[:SLOT], b'',
            (b'\x80\x80\x04' + b'x' * 65536 + b'\x00\x80\x00\xff' * 99)[:SLOT]])
    memory = arena(records, slots, frames, connection=word(), live=word(), ended=random.randrange(9) == 0)
    lock(memory)
    peer = give([memory, sealed(struct.pack('<3Q', word(), word(), word()))])
    if random.randrange(2):
        peer.close()

for _ in range(120):
    dies(garbage)
say('done')
wait()
";
    alone("garbage_harms_nobody", |place| {
        let keeper = Keeper::start(place, |builder| builder.max_message_len(1024 * 1024));
        let before = memory(process::id(), "VmRSS");
        let Some(mut child) = hostile(PROGRAM, place, &[]) else {
            return;
        };
        hear(&mut child, "done");
        keeper.serves(place);
        keeper.wait_for("came", 120);
        wait_for_none_taken();
        keeper.wait_for_quiet();
        assert!(keeper.events.has("Recovered"), "some of it is frames");
        assert!(keeper.reader.metrics().recovered.messages > 0);
        // The messages are kept here, which is most of it.
        let kept: usize = keeper
            .came
            .all()
            .iter()
            .map(|(text, ..)| text.len() + 64)
            .sum();
        let grown = memory(process::id(), "VmRSS").saturating_sub(before);
        assert!(
            grown < 64 * 1024 + 4 * kept / 1024,
            "{grown} KiB, of which {} are kept",
            kept / 1024
        );
        keeper.serves(place);
        child.finish();
        keeper.stop();
    });
}

/// Passes what is no arena, one kind after the other.
const NO_ARENAS: &str = r"
def plain(path, flags=os.O_RDONLY):
    return os.open(path, flags)

file = sys.argv[2]
pairs = [(b'\x04left', {0: b'\x04left'})]
data, size = parts([], [(5, 0)], {0: b'\x04left'})
unsealed = os.memfd_create('hostile', os.MFD_ALLOW_SEALING)
os.ftruncate(unsealed, size)
for at, part in data.items():
    os.pwrite(unsealed, part, at)
one_end, other_end = socket.socketpair()
reads, writes = os.pipe()
kinds = {
    'wrong magic': [one(magic=MAGIC + 1), ticket()],
    'no magic': [one(magic=0), ticket()],
    'too large': [sealed(data, size=size + 4096), ticket()],
    'too small': [sealed({0: data[0]}, size=size - 4096), ticket()],
    'no header': [sealed(b'uds-ipc\x01'), ticket()],
    'nothing': [sealed(b''), ticket()],
    'more slots than may be': [sealed({0: struct.pack('<7Q', MAGIC, MOST, 0, 1, 1, MOST, MOST)}, size=2 ** 34), ticket()],
    'unsealed': [unsealed, ticket()],
    'may shrink': [one(seals=4 | WRITE), ticket()],
    'may grow': [one(seals=2 | WRITE), ticket()],
    'may be written': [one(seals=SEALS), ticket()],
    'file': [plain(file), ticket()],
    'file beside': [one(), plain(file)],
    'pipe': [reads, writes],
    'null': [plain('/dev/null'), ticket()],
    'folder': [plain('/'), plain('/proc')],
    'path': [plain(file, os.O_PATH), ticket()],
    'socket': [one_end.fileno(), other_end.fileno()],
    'only an arena': [one()],
    'only a ticket': [ticket()],
    'three': [plain(file), one(), ticket()],
    'twenty': [plain(file)] * 20,
    'two tickets': [ticket(), ticket()],
    'other way round': [ticket(), one()],
    'ticket too short': [one(), sealed(bytes(23))],
    'ticket unsealed': [one(), unsealed],
    'ticket that is no memory': [one(), writes],
}
for name, fds in kinds.items():
    peer = give(fds)
    socket.send_fds(peer, [b'\x05again'], fds)
    say('open: ' + name)
    if wait() == '':
        break
    peer.close()
    say('closed: ' + name)
    wait()
say('done')
wait()
";

/// Only two sealed pieces of memory, the first with the header of an arena of its size, are taken.
#[test]
fn what_is_no_arena_is_given_back() {
    alone("what_is_no_arena_is_given_back", |place| {
        let keeper = Keeper::start(place, |builder| builder);
        let none = targets().len();
        keeper.serves(place);
        // A connection's socket is closed a little later than its end is counted.
        wait_until("all is as before", || targets().len() == none);
        let file = place.path("passed");
        fs::write(&file, "x").unwrap();
        let Some(mut child) = hostile(NO_ARENAS, place, &[file.as_os_str()]) else {
            return;
        };
        // The pipes to and from it. Not counted now: it may be connected already.
        let count = none + 2;
        let is_back_to = |more: usize| {
            let passed = |target: &String| target.contains("memfd") || target.contains("passed");
            let targets = targets();
            !targets.iter().any(passed) && targets.len() == count + more
        };
        let mut kinds = 0;
        let mut seen = 1;
        loop {
            wait_until("it goes on", || {
                child.lines.len() > seen || child.has_ended()
            });
            let line = child.lines.all()[seen].clone();
            seen += 1;
            if line == "done" {
                break;
            }
            let is_open = line.starts_with("open");
            if is_open {
                kinds += 1;
                keeper.wait_for("again", kinds);
                wait_until(&format!("only the connection is there: {line}"), || {
                    is_back_to(1)
                });
            } else {
                keeper.wait_for_quiet();
                wait_until(&format!("nothing is there: {line}"), || is_back_to(0));
            }
            child.go_on();
        }
        assert!(kinds >= 27, "{kinds}");
        keeper.serves(place);
        child.finish();
        wait_until("all is as before", || targets().len() == none);
        assert_eq!(keeper.count("left"), 0);
        keeper.stop();
    });
}

/// Its size is no work: one thread has to do all of it, and serves others meanwhile.
#[test]
fn a_huge_arena_of_holes_is_no_burden() {
    const PROGRAM: &str = r"
def huge():
    slots = [(SLOT, 0)] * 65536
    memory = arena([], slots)
    lock(memory)
    give([memory, ticket()])
for _ in range(3):
    dies(huge)
say('done')
wait()
";
    alone("a_huge_arena_of_holes_is_no_burden", |place| {
        let keeper = Keeper::start(place, |builder| builder.max_threads(1));
        let before = memory(process::id(), "VmHWM");
        let Some(mut child) = hostile(PROGRAM, place, &[]) else {
            return;
        };
        hear(&mut child, "done");
        let told = || keeper.events.count(|event| event.contains("Recovered"));
        while told() < 3 {
            keeper.serves(place);
        }
        wait_for_none_taken();
        let grown = memory(process::id(), "VmHWM") - before;
        assert!(grown < 64 * 1024, "{grown} KiB");
        assert_eq!(
            keeper
                .events
                .count(|event| event.contains("is_whole: true")),
            0
        );
        child.finish();
        keeper.stop();
    });
}

/// As many records as there may be, each of a kind that takes the most memory.
#[test]
fn as_many_records_as_there_may_be_take_little() {
    const PROGRAM: &str = r"
def many(place):
    step = 1 << 16
    count = 1 << 20
    data, size = parts([], [(SLOT, SLOT)], room=count)
    data[0] = struct.pack('<7Q', MAGIC, count | 1 << 32, 0, 1, 1, count, 1)
    for start in range(0, count, step):
        words = [word for at in range(start, start + step) for word in place(at)]
        data[4096 + 16 * start] = struct.pack('<%dQ' % len(words), *words)
    def act():
        memory = sealed(data, size=size)
        lock(memory)
        give([memory, ticket()])
    return act
for place in [
    lambda at: (PIECE | at << 24, extent(0, 0, 1)),
    lambda at: (WAITING | MOST - at & (1 << 62) - 1, extent(0, at % SLOT, at % SLOT + 1)),
    lambda at: (NUMBERED | 1 << 61, extent(0, 0, 0)),
    lambda at: (NUMBERED, extent(0, 0, SLOT)) if at == 0 else (PIECE | at % 7, extent(0, 0, 0)),
]:
    dies(many(place))
say('done')
wait()
";
    alone("as_many_records_as_there_may_be_take_little", |place| {
        let keeper = Keeper::start(place, |builder| builder.max_threads(1));
        let before = memory(process::id(), "VmHWM");
        let Some(mut child) = hostile(PROGRAM, place, &[]) else {
            return;
        };
        hear(&mut child, "done");
        keeper.wait_for("came", 4);
        keeper.serves(place);
        wait_for_none_taken();
        keeper.wait_for_quiet();
        let grown = memory(process::id(), "VmHWM") - before;
        assert!(grown < 128 * 1024, "{grown} KiB");
        keeper.serves(place);
        child.finish();
        keeper.stop();
    });
}

/// A handler that is slow has them wait for each other.
#[test]
fn many_arenas_at_once_take_little() {
    const PROGRAM: &str = r"
count = 1 << 20
data, size = parts([], [(SLOT, SLOT)], {0: b'\x04left' * 99}, room=count)
data[0] = struct.pack('<7Q', MAGIC, count | 1 << 32, 0, 1, 1, count, 1)
pairs = b''.join(struct.pack('<2Q', WAITING | at, extent(0, at, at + 1)) for at in range(5, SLOT))
data[4096 + 16] = struct.pack('<2Q', WAITING, extent(0, 0, 5)) + pairs
pieces = struct.pack('<2Q', PIECE | 1 << 24 | 1, extent(0, 0, 0))
data[4096 + 16 * (SLOT + 9)] = pieces * (count - SLOT - 9)
def many():
    memory = sealed(data, size=size)
    lock(memory)
    give([memory, ticket()])
for _ in range(6):
    dies(many)
say('done')
wait()
";
    alone("many_arenas_at_once_take_little", |place| {
        let (came, gate) = (Notes::new(), Gate::new());
        let (notes, at_gate) = (came.clone(), gate.clone());
        let handler = move |message: &[u8]| {
            notes.add(message.to_vec());
            if message == b"block" {
                at_gate.pass();
            }
        };
        let builder = Reader::builder(place.socket()).max_threads(1);
        let reader = builder.bind().unwrap().start(handler).unwrap();
        let before = memory(process::id(), "VmHWM");
        let Some(mut child) = hostile(PROGRAM, place, &[]) else {
            return;
        };
        hear(&mut child, "done");
        came.wait_for_len(6);
        // Those that are not recovered by then wait for the handler.
        connect(&place.socket())
            .write_all(&frame(b"block"))
            .unwrap();
        let is_blocked = || came.count(|message| message == b"block") > 0;
        wait_until("the handler blocks", is_blocked);
        let_pass(Duration::from_millis(300));
        let grown = memory(process::id(), "VmHWM") - before;
        gate.open();
        assert!(grown < 160 * 1024, "{grown} KiB");
        wait_for_none_taken();
        wait_until("no connection is open", || reader.metrics().open == 0);
        assert!(memory(process::id(), "VmHWM") - before < 160 * 1024);
        child.finish();
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    });
}

/// It lives, has no lock, and changes everything while it is read.
#[test]
fn memory_that_changes_while_it_is_read_harms_nobody() {
    const PROGRAM: &str = r"
maps = []
for number in range(12):
    slots = 4
    data, size = parts([(WAITING, extent(at % slots, 6 * at, 6 * at + 6)) for at in range(200)], [(SLOT, 6 * 200)] * slots)
    memory = os.memfd_create('hostile', os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    for at, part in data.items():
        os.pwrite(memory, part, at)
    shared = mmap.mmap(memory, size)
    shared[-SLOT * slots:] = (b'\x05whole' * SLOT)[:SLOT] * slots
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS | FUTURE_WRITE)
    give([memory, ticket()]).close()
    os.close(memory)
    maps.append((shared, bytes(shared)))
say('given')
end = time.monotonic() + 5
while time.monotonic() < end:
    for shared, before in maps:
        at = random.randrange(len(shared) // 8) * 8
        shared[at:at + 8] = os.urandom(8)
        at = random.choice([8, 24, 32, 40, 48])
        shared[at:at + 8] = os.urandom(8)
        shared[:4096 + 6400] = before[:4096 + 6400]
say('done')
wait()
";
    alone(
        "memory_that_changes_while_it_is_read_harms_nobody",
        |place| {
            let keeper = Keeper::start(place, |builder| builder.max_message_len(1024));
            let Some(mut child) = hostile(PROGRAM, place, &[]) else {
                return;
            };
            hear(&mut child, "given");
            keeper.wait_for("came", 12);
            while !child.lines.has("done") {
                keeper.serves(place);
                assert!(!child.has_ended());
                thread::park_timeout(Duration::from_millis(5));
            }
            // After three seconds without a lock it counts as dead.
            wait_for_none_taken();
            keeper.serves(place);
            child.finish();
            keeper.stop();
        },
    );
}

/// Its writer lives, and has gone: that may be for a while.
#[test]
fn orphans_are_few_and_cost_nothing() {
    const PROGRAM: &str = r"
kept = []
for number in range(int(sys.argv[2])):
    memory = one()
    lock(memory)
    kept.append(memory)
    beside = ticket()
    give([memory, beside]).close()
    os.close(beside)
say('done')
wait()
";
    const MOST: usize = 64;
    alone("orphans_are_few_and_cost_nothing", |place| {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let count = 3_000.min(usize::try_from(most).unwrap().saturating_sub(100));
        let keeper = Keeper::start(place, |builder| builder.max_connections(MOST));
        let before = targets().len();
        let number = count.to_string();
        let Some(mut child) = hostile(PROGRAM, place, &[OsStr::new(&number)]) else {
            return;
        };
        let mut most_seen = 0;
        wait_until("all have come", || {
            most_seen = most_seen.max(targets().len());
            child.lines.has("done") || child.has_ended()
        });
        keeper.wait_for("came", count);
        keeper.wait_for_quiet();
        // An orphan has its memory and its process, a connection its socket, its memory, and for a
        // moment a ticket.
        assert!(most_seen < before + 5 * MOST + 20, "{most_seen}");
        assert!((1..=MOST).contains(&taken()), "{}", taken());
        assert_eq!(keeper.count("left"), 0, "it lives");
        assert_rests(process::id());
        keeper.serves(place);
        child.kill();
        keeper.wait_for("left", 1);
        wait_for_none_taken();
        keeper.wait_for_quiet();
        assert!(keeper.count("left") <= MOST);
        keeper.stop();
    });
}

/// What a reader holds for writers that may come back is worth less than a connection.
#[test]
fn a_reader_that_is_short_of_descriptors_lets_orphans_go() {
    const PROGRAM: &str = r"
kept = []
def passes():
    memory = one()
    lock(memory)
    kept.append(memory)
    return give([memory, ticket()])
for _ in range(20):
    passes().close()
say('orphans')
wait()
peers = [passes() for _ in range(60)]
say('many')
wait()
for peer in peers:
    peer.close()
say('closed')
wait()
peers = [give([], b'\x05again') for _ in range(20)]
say('done')
wait()
";
    alone(
        "a_reader_that_is_short_of_descriptors_lets_orphans_go",
        |place| {
            let keeper = Keeper::start(place, |builder| builder);
            let Some(mut child) = hostile(PROGRAM, place, &[]) else {
                return;
            };
            hear(&mut child, "orphans");
            keeper.wait_for("came", 20);
            keeper.wait_for_quiet();
            assert_eq!(taken(), 20);
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let few = u64::try_from(targets().len() + 20).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, few, most).unwrap();
            child.go_on();
            hear(&mut child, "many");
            keeper.events.wait_for("AcceptPaused");
            child.go_on();
            hear(&mut child, "closed");
            keeper.wait_for("came", 80);
            keeper.events.wait_for("AcceptResumed");
            keeper.wait_for_quiet();
            child.go_on();
            hear(&mut child, "done");
            keeper.wait_for("again", 20);
            keeper.serves(place);
            drop(child);
            // Nothing that was let go is recovered: of the first orphans, none.
            wait_for_none_taken();
            keeper.wait_for_quiet();
            keeper.stop();
        },
    );
}

/// One of two writers without a connection lives for certain. Of the other that is not known yet:
/// nobody has the lock.
#[test]
fn a_reader_that_is_short_of_descriptors_keeps_what_may_be_a_dead_writers() {
    const PROGRAM: &str = r"
living = one(b'\x06living')
lock(living)
give([living, ticket()]).close()
give([one(), ticket()]).close()
say('orphans')
wait()
peers = [opened() for _ in range(40)]
say('many')
wait()
";
    alone(
        "a_reader_that_is_short_of_descriptors_keeps_what_may_be_a_dead_writers",
        |place| {
            let keeper = Keeper::start(place, |builder| builder);
            let Some(mut child) = hostile(PROGRAM, place, &[]) else {
                return;
            };
            hear(&mut child, "orphans");
            keeper.wait_for("came", 2);
            keeper.wait_for_quiet();
            let (before, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let few = u64::try_from(targets().len() + 10).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, few, most).unwrap();
            child.go_on();
            hear(&mut child, "many");
            keeper.events.wait_for("AcceptPaused");
            setrlimit(Resource::RLIMIT_NOFILE, before, most).unwrap();
            // Three seconds without a lock are as good as a death.
            keeper.wait_for("left", 1);
            child.kill();
            wait_for_none_taken();
            keeper.wait_for_quiet();
            assert_eq!(keeper.count("living"), 0, "it was let go");
            keeper.stop();
        },
    );
}

/// The bytes come, and nothing else.
#[test]
fn a_reader_without_a_descriptor_to_spare_gets_the_bytes() {
    const PROGRAM: &str = r"
peer = opened()
wait()
memory = one()
lock(memory)
socket.send_fds(peer, [b'\x04came'], [memory, ticket()])
say('sent')
wait()
";
    alone(
        "a_reader_without_a_descriptor_to_spare_gets_the_bytes",
        |place| {
            let keeper = Keeper::start(place, |builder| builder);
            let Some(mut child) = hostile(PROGRAM, place, &[]) else {
                return;
            };
            keeper.events.wait_for("Opened");
            let (before, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 3, most).unwrap();
            child.go_on();
            keeper.wait_for("came", 1);
            setrlimit(Resource::RLIMIT_NOFILE, before, most).unwrap();
            assert_eq!(taken(), 0);
            hear(&mut child, "sent");
            child.kill();
            keeper.events.wait_for("EndOfStream");
            keeper.wait_for_quiet();
            keeper.serves(place);
            assert_eq!(keeper.count("left"), 0);
            keeper.stop();
        },
    );
}

/// One message comes and one is left, by a process that becomes `argv[2]` before.
const ONE_LEFT: &str = r"
memory, beside = one(), ticket()
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
lock(memory)
peer = give([memory, beside])
say('given')
wait()
";

/// Whether the reader took the memory of another process of that user, and so recovered what it had
/// left. `None` where there is no such process.
fn is_recovered(place: &Place, user: u32, recover: Recover) -> Option<bool> {
    let keeper = Keeper::start(place, |builder| builder.recover(recover).socket_mode(0o666));
    let folder = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path("."), folder).unwrap();
    let user = user.to_string();
    let mut child = hostile(ONE_LEFT, place, &[OsStr::new(&user)])?;
    hear(&mut child, "given");
    keeper.wait_for("came", 1);
    let is_taken = taken() > 0;
    child.kill();
    keeper.events.wait_for("EndOfStream");
    if is_taken {
        keeper.wait_for("left", 1);
        let whose = keeper.came.all();
        assert_eq!(whose[0].1, whose[1].1, "the same process");
        assert!(!whose[0].2 && whose[1].2);
        keeper
            .events
            .wait_for(&format!("Credentials {{ uid: {user}"));
    }
    keeper.wait_for_quiet();
    wait_for_none_taken();
    assert_eq!(keeper.count("left"), usize::from(is_taken));
    keeper.stop();
    Some(is_taken)
}

#[test]
fn memory_is_taken_of_whom_the_reader_says() {
    alone("memory_is_taken_of_whom_the_reader_says", |place| {
        let own = fs::metadata(place.path(".")).unwrap().uid();
        for (recover, of_own) in [
            (Recover::Nothing, false),
            (Recover::SameUser, true),
            (Recover::AnyUser, true),
        ] {
            let Some(is_taken) = is_recovered(place, own, recover) else {
                return;
            };
            assert_eq!(is_taken, of_own, "{recover:?}");
        }
        if own != 0 {
            return skip("only root can be somebody else");
        }
        for (recover, of_others) in [
            (Recover::Nothing, false),
            (Recover::SameUser, false),
            (Recover::AnyUser, true),
        ] {
            let is_taken = is_recovered(place, 4_242, recover).unwrap();
            assert_eq!(is_taken, of_others, "{recover:?}");
        }
    });
}

/// Whoever has it from its writer can read it, and pass it on; that does nothing to the writer's.
#[test]
fn an_arena_that_another_process_passes_is_not_its_writers() {
    const PROGRAM: &str = r"
memory = arena([(NUMBERED | 5, extent(0, 0, 5))], [(5, 5)], {0: b'\x04left'}, connection=2, live=2)
forged = [int(number) for number in sys.argv[2].split()]
comes_first = sys.argv[3] == 'first'
mine, theirs = os.pipe()
def forge():
    give([memory, ticket(*forged)], b'\x06forged')
if comes_first:
    dies(forge)
pid = os.fork()
if pid == 0:
    lock(memory)
    beside = ticket(1, 4)
    peer = give([memory, beside])
    peer.close()
    os.read(mine, 1)
    # Its next connection, on which message 4 has come already.
    peer = give([memory, ticket(2, 4)], b'\x04came\x05again')
    os.write(1, b'again\n')
    os.read(mine, 1)
    os._exit(0)
say('writer %d' % pid)
wait()
if not comes_first:
    dies(forge)
os.write(theirs, b'x')
wait()
os.write(theirs, b'x')
os.waitpid(pid, 0)
say('dead')
wait()
";
    alone(
        "an_arena_that_another_process_passes_is_not_its_writers",
        |place| {
            for order in ["first", "later"] {
                for forged in [
                    "1 0 1",
                    "18446744073709551615 18446744073709551615 1",
                    "18446744073709551615 18446744073709551615 0",
                    "9 100 1",
                ] {
                    let keeper = Keeper::start(place, |builder| builder);
                    let args = [forged, order].map(OsStr::new);
                    let Some(mut child) = hostile(PROGRAM, place, &args) else {
                        return;
                    };
                    hear(&mut child, "writer ");
                    let lines = child.lines.all();
                    let pid = lines[1].strip_prefix("writer ").unwrap().parse().ok();
                    keeper.wait_for("came", 1);
                    child.go_on();
                    if order == "later" {
                        keeper.wait_for("forged", 1);
                    }
                    // Message 4 is known, 5 is not.
                    keeper.wait_for("again", 1);
                    hear(&mut child, "again");
                    child.go_on();
                    hear(&mut child, "dead");
                    wait_for_none_taken();
                    keeper.wait_for_quiet();
                    let of_writer: Vec<_> = keeper.came.all();
                    let of_writer: Vec<_> = of_writer
                        .iter()
                        .filter(|(_, whose, _)| *whose == pid)
                        .map(|(text, _, recovered)| (text.as_str(), *recovered))
                        .collect();
                    assert_eq!(
                        of_writer,
                        [("came", false), ("again", false)],
                        "{order} {forged}: message 5 has come, and what was left was that"
                    );
                    child.finish();
                    keeper.stop();
                }
            }
        },
    );
}

/// The end of a TCP socket that lingers takes seconds: for nobody but the thread that closes it.
#[test]
fn what_is_slow_to_close_holds_up_nobody() {
    const PROGRAM: &str = r"
listener = socket.create_server(('127.0.0.1', 0))
def lingering():
    slow = socket.create_connection(listener.getsockname())
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 4))
    slow.setblocking(False)
    try:
        while True:
            slow.send(bytes(100000))
    except BlockingIOError:
        return slow
slow = lingering()
peer = give([slow.fileno()])
# Its last descriptor is the reader's now.
slow.close()
peer.close()
say('slow')
wait()
memory = one()
lock(memory)
peer = give([memory, ticket()], b'\x04also')
wait()
other = give([memory, ticket()], b'\x05later')
wait()
";
    alone("what_is_slow_to_close_holds_up_nobody", |place| {
        let closers = || {
            let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
            let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
            names.filter(|name| name.trim() == "r-closer").count()
        };
        let keeper = Keeper::start(place, |builder| builder.thread_name("r").max_threads(1));
        let Some(mut child) = hostile(PROGRAM, place, &[]) else {
            return;
        };
        hear(&mut child, "slow");
        keeper.wait_for("came", 1);
        // A thread names itself.
        let start = Instant::now();
        while closers() == 0 && start.elapsed() < Duration::from_secs(1) {
            thread::park_timeout(Duration::from_millis(1));
        }
        if closers() == 0 {
            return skip("the descriptor was closed before its sender had closed its own");
        }
        keeper.serves(place);
        child.go_on();
        keeper.wait_for("also", 1);
        if closers() > 0 {
            assert_eq!(taken(), 0, "nothing is taken meanwhile");
        }
        wait_until("it is closed", || closers() == 0);
        child.go_on();
        keeper.wait_for("later", 1);
        assert_eq!(taken(), 1);
        child.kill();
        keeper.wait_for("left", 1);
        wait_for_none_taken();
        keeper.wait_for_quiet();
        keeper.stop();
    });
}

/// Which part a process has that was started for one.
const PART: &str = "UDS_IPC_TEST_PART";

/// A writer in a process of its own: it writes to the socket of the test, with or without a queue
/// that outlives it.
#[test]
fn part_of_a_writer() {
    let (Some(path), Ok(part)) = (Child::path(), std::env::var(PART)) else {
        return;
    };
    let is_crash_proof = part.contains("crash_proof");
    let (writer, events) = writer_with(&path, |builder| builder.crash_proof(is_crash_proof));
    send_all(&writer, &of_all_sizes());
    if part.contains("waits") {
        Child::say("sent");
        Child::wait_for_end();
        send_all(&writer, &numbered(100));
    }
    finish(&writer);
    Child::say(&format!("events: {:?}", events.all()));
    Child::say("good");
}

fn of_all_sizes() -> Vec<Vec<u8>> {
    let sizes = [1, 2, 100, 127, 128, 1000, 16_383, 16_384, 40_000, 200_000];
    (0u8..)
        .zip(sizes.into_iter().cycle().take(60))
        .map(|(number, size)| vec![number; size])
        .collect()
}

fn part_of_a_writer_at(path: &Path, part: &str) -> Child {
    let mut command = Child::test("crash_proof::part_of_a_writer", path, "");
    Child::start(command.env(PART, part)).unwrap()
}

/// As written by any other language: `read(2)` and a listener.
#[test]
fn a_reader_that_knows_nothing_of_it_sees_the_same_bytes() {
    alone(
        "a_reader_that_knows_nothing_of_it_sees_the_same_bytes",
        |_| {
            let bytes = ["crash_proof", "plain"].map(|part| {
                let raw = RawReader::new();
                let child = part_of_a_writer_at(raw.path(), part);
                let mut stream = raw.accept();
                let bytes = read_to_end(&mut stream);
                let lines = child.lines.clone();
                child.finish();
                assert!(
                    lines.has("good") && !lines.has("NotCrashProof"),
                    "{:?}",
                    lines.all()
                );
                assert!(!targets().iter().any(|target| target.contains("memfd")));
                bytes
            });
            assert_eq!(unframe(&bytes[0]), (of_all_sizes(), Vec::new()));
            assert!(bytes[0] == bytes[1], "byte for byte");
        },
    );
}

#[test]
fn python_that_knows_nothing_of_it_sees_the_same_bytes() {
    const PROGRAM: &str = r"
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
count = len(os.listdir('/proc/self/fd'))
say('ready')
peer, _ = listener.accept()
with open(sys.argv[2], 'wb') as file:
    while data := peer.recv(3000):
        file.write(data)
        kinds = [os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if os.path.islink('/proc/self/fd/' + fd)]
        assert not any('memfd' in kind for kind in kinds), kinds
peer.close()
assert len(os.listdir('/proc/self/fd')) == count
say('ended')
wait()
";
    let place = Place::new();
    let file = place.path("bytes");
    let Some(mut child) = hostile(PROGRAM, &place, &[file.as_os_str()]) else {
        return;
    };
    hear(&mut child, "ready");
    part_of_a_writer_at(&place.socket(), "crash_proof").finish();
    hear(&mut child, "ended");
    child.finish();
    assert_eq!(
        unframe(&fs::read(file).unwrap()),
        (of_all_sizes(), Vec::new())
    );
}

/// It can read what will be sent. That is all.
#[test]
fn a_hostile_reader_cannot_change_what_the_writer_sends() {
    const PROGRAM: &str = r"
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
say('ready')
peer, _ = listener.accept()
file = open(sys.argv[2], 'wb')
data, fds, _, _ = socket.recv_fds(peer, 1000, 9)
file.write(data)
assert len(fds) == 2, fds
done = []
def refused(name, act):
    try:
        act()
    except OSError as error:
        done.append('%s: %d' % (name, error.errno))
    else:
        say('it can ' + name)
for fd in fds:
    size = os.fstat(fd).st_size
    again = os.open('/proc/self/fd/%d' % fd, os.O_RDWR)
    for fd in [fd, again]:
        refused('write', lambda: os.pwrite(fd, b'x', size // 2))
        refused('map', lambda: mmap.mmap(fd, size))
        refused('shrink', lambda: os.ftruncate(fd, 0))
        refused('grow', lambda: os.ftruncate(fd, size + 1))
        refused('extend', lambda: os.posix_fallocate(fd, size, 4096))
        refused('seal', lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, WRITE))
        read = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        del read
# It may have locks of its own, and close what it got.
fcntl.lockf(fds[0], fcntl.LOCK_UN)
say('refused %d' % len(done))
for fd in fds:
    os.close(fd)
while data := peer.recv(3000):
    file.write(data)
file.close()
say('ended')
wait()
";
    let place = Place::new();
    let file = place.path("bytes");
    let Some(mut child) = hostile(PROGRAM, &place, &[file.as_os_str()]) else {
        return;
    };
    hear(&mut child, "ready");
    let mut writer = part_of_a_writer_at(&place.socket(), "crash_proof, waits");
    hear(&mut child, "refused");
    assert!(!child.lines.has("it can"), "{:?}", child.lines.all());
    child.lines.wait_for("refused 24");
    hear(&mut writer, "sent");
    writer.finish();
    hear(&mut child, "ended");
    child.finish();
    let mut expected = of_all_sizes();
    expected.extend(numbered(100));
    assert_eq!(unframe(&fs::read(file).unwrap()), (expected, Vec::new()));
}

/// Memory cannot be passed there, and all else is as without.
#[test]
fn where_memory_cannot_be_passed_the_writer_says_so_and_works() {
    let messages = numbered(1000);
    let check = |writer: &Writer, events: &Notes<String>, cause: &str| {
        send_all(writer, &messages);
        finish(writer);
        events.wait_for(&format!("cause: {cause}"));
        let told = events.count(|event| event.contains("NotCrashProof"));
        assert_eq!(told, 1, "once");
    };
    let kept = Notes::<Vec<u8>>::new();
    let notes = kept.clone();
    let builder = Reader::builder("tcp:127.0.0.1:0");
    let tcp = builder
        .bind()
        .unwrap()
        .start(move |message| notes.add(message.to_vec()))
        .unwrap();
    let address = tcp.address().to_string();
    let (writer, events) = writer_with(Path::new(&address), |builder| builder.crash_proof(true));
    check(&writer, &events, "OtherStream");
    kept.wait_for_len(1000);
    assert_eq!(kept.all(), messages);
    let _ = tcp.shutdown(PATIENCE).unwrap();

    let (read_end, write_end) = nix::unistd::pipe().unwrap();
    let events = Notes::new();
    let over = Writer::over(write_end).crash_proof(true);
    let writer = over
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
    let all = thread::spawn(move || {
        let mut bytes = Vec::new();
        fs::File::from(read_end).read_to_end(&mut bytes).unwrap();
        bytes
    });
    check(&writer, &events, "OtherStream");
    drop(writer);
    assert_eq!(
        unframe(&all.join().unwrap()),
        (messages.clone(), Vec::new())
    );

    // It would die with the reader.
    let raw = RawReader::new();
    let (writer, events) = writer_with(raw.path(), |builder| builder.crash_proof(true));
    let mut stream = raw.accept();
    let all = thread::spawn(move || read_to_end(&mut stream));
    check(&writer, &events, "OwnProcess");
    assert_eq!(
        unframe(&all.join().unwrap()),
        (messages.clone(), Vec::new())
    );
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let events = Notes::new();
    let over = Writer::over(OwnedFd::from(ours)).crash_proof(true);
    let writer = over
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
    let all = thread::spawn(move || read_to_end(&mut theirs));
    check(&writer, &events, "OwnProcess");
    drop(writer);
    assert_eq!(unframe(&all.join().unwrap()), (messages, Vec::new()));
}
