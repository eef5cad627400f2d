//! Random histories: the settings and acts of one, made from a seed.

use std::time::Duration;

use crate::sys::{Abilities, PeerEnd, Stream};
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::settings::MOST_COPIED;
use crate::writer::settings::Timing;
use crate::writer::settings::{Limits, Overflow};
use crate::writer::thread::worker::Options;

/// Acts in a history.
const ACTS: usize = 150;

/// One act in a history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A producer sends a message of that length.
    Send(usize),
    SendOwned(usize),
    /// So many short ones, for receipts of more than a byte.
    SendMany(usize),
    Flush(FlushLevel),
    /// The thread takes its next step; the kernel takes at most so many bytes.
    Thread(usize),
    /// Likewise, and that ends just behind the length of a message.
    ThreadToPrefix(usize),
    /// Likewise, and that happens while it writes.
    ThreadDuring(usize, [During; 2]),
    NoMemory,
    /// A producer waits for room, and then sends a message of that length.
    WaitToSend(usize),
    GiveUpWaiting,
    /// The receiver of batches confirms one of those that are out, or drops it.
    Confirm(usize),
    DropBatch(usize),
    /// The reader reads at most so many bytes, which is a batch.
    Read(usize),
    /// It reads all but the last byte, which is often a question.
    ReadButOne,
    /// It reads, and cannot store the batch.
    ReadAndFail(usize),
    /// It reads, and the handler fails on a message of the batch: so many come before that.
    ReadAndFailAt(usize, usize),
    /// The handler fails at the first message of each connection, on some in a row.
    FailOnAndOn,
    /// Nobody sends, the reader reads, and time passes.
    BeQuiet,
    /// It reads, and is killed before the end of the batch.
    ReadAndDie(usize),
    /// It reads what is left of the connections that the writer gave up.
    ReadOld,
    /// It sends at most so many bytes of the receipts that are due.
    Answer(usize),
    Lie(Lie),
    /// It closes its sending side.
    CloseSending,
    /// It forbids further sending, and reads later.
    ForbidSending,
    /// It closes the connection as when it was idle: what was sent is read first.
    CloseIdle,
    /// It hangs up, with whatever it has not read.
    HangUp,
    /// It stops as planned.
    Stop,
    Kill,
    Start,
    BacklogFills,
    Pass(u64),
    /// The writer's process is held up for longer than the write timeout; meanwhile the reader
    /// reads at most so many bytes.
    HeldUp(usize),
    /// Time passes until the thread's sleep is over, if that ever comes.
    PassSleep,
    Shutdown(u64),
}

/// What others do while a write is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum During {
    /// So many messages are sent.
    Sends(usize),
    SendOwned(usize),
    Flush(FlushLevel),
    Shutdown(u64),
}

/// What a receipt says that cannot be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    TooHigh,
    Fell,
    NoVarint,
}

/// When the reader sends the receipts that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    AtOnce,
    /// Only when an act says so.
    Late,
    /// It knows no receipts.
    Never,
}

/// What holds for a whole history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// What the stream can do.
    pub(crate) abilities: Abilities,
    /// Connecting takes its time, and every second try longer than there is.
    pub(crate) connects_slowly: bool,
    /// The stream was given: there is one, and no other.
    pub(crate) is_single: bool,
    /// What is accepted outlives the writer's process.
    pub(crate) survives: bool,
    pub(crate) delivery: Delivery,
    pub(crate) answers: Answers,
    /// The messages go to a receiver of batches, not to a handler.
    pub(crate) by_batches: bool,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    /// The shortest and the longest, in milliseconds.
    pub(crate) backoff: (u64, u64),
    /// When a reader has ended another one takes its socket over, as with systemd's.
    pub(crate) socket_stays: bool,
    pub(crate) socket_size: usize,
    /// Longer messages make the reader hang up.
    pub(crate) reader_limit: usize,
    /// The kernel tells when a socket comes to the address.
    pub(crate) tells_of_arrivals: bool,
}

impl Setting {
    pub(crate) fn are_numbers_exact(&self) -> bool {
        Options::are_numbers_exact(self.delivery, self.limits.overflow)
    }
}

/// Those of a Unix socket on Linux, twice as often, and elsewhere; of TCP; of a pipe on Linux, and
/// elsewhere.
const ABILITIES: [Abilities; 6] = [
    Stream::MOST_ABILITIES,
    Stream::MOST_ABILITIES,
    Abilities {
        peer_end: PeerEnd::Closes,
        tells_unread: false,
        ..Stream::MOST_ABILITIES
    },
    Abilities {
        answers: true,
        peer_end: PeerEnd::EndsSending,
        tells_unread: false,
        tells_credentials: false,
        passes_memory: false,
    },
    Abilities {
        answers: false,
        peer_end: PeerEnd::Closes,
        tells_unread: true,
        tells_credentials: false,
        passes_memory: false,
    },
    Abilities {
        answers: false,
        peer_end: PeerEnd::Closes,
        tells_unread: false,
        tells_credentials: false,
        passes_memory: false,
    },
];

pub(crate) fn history(seed: u64) -> (Setting, Vec<Act>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut setting = Setting {
        abilities: ABILITIES[random.usize(..ABILITIES.len())],
        connects_slowly: random.u8(0..4) == 0,
        is_single: random.u8(0..10) == 0,
        survives: random.u8(0..3) == 0,
        delivery: if random.u8(0..3) == 0 {
            Delivery::AtMostOnce
        } else {
            Delivery::AtLeastOnce
        },
        answers: match random.u8(0..8) {
            0..4 => Answers::AtOnce,
            4..7 => Answers::Late,
            _ => Answers::Never,
        },
        by_batches: random.u8(0..3) == 0,
        limits: Limits {
            messages: if random.u8(0..3) == 0 {
                random.u64(100..1_000)
            } else {
                random.u64(1..60)
            },
            // Only in the larger ones lanes take long messages.
            bytes: match random.u8(0..6) {
                0 => random.u64(600_000..2_000_000),
                _ => random.u64(50_000..300_000),
            },
            overflow: if random.bool() {
                Overflow::Refuse
            } else {
                Overflow::DropOldest
            },
        },
        timing: Timing {
            write_timeout: Duration::from_millis(if random.bool() {
                random.u64(1..100)
            } else {
                random.u64(100..2_000)
            }),
            connect_timeout: Duration::from_millis(random.u64(1..2_000)),
            linger: Duration::from_micros(
                [0, random.u64(1..300), random.u64(300..300_000)][random.usize(..3)],
            ),
            keepalive: random
                .bool()
                .then(|| Duration::from_millis(random.u64(1..1_000))),
        },
        backoff: (random.u64(1..200), random.u64(200..3_000)),
        socket_stays: random.u8(0..3) == 0,
        socket_size: random.usize(1..5_000),
        reader_limit: if random.u8(0..4) == 0 {
            300
        } else {
            usize::MAX
        },
        tells_of_arrivals: random.bool(),
    };
    // Nothing can be passed over others.
    setting.survives &= setting.abilities.tells_credentials;
    if !setting.abilities.answers {
        // Nothing else can be started.
        (setting.delivery, setting.answers) = (Delivery::AtMostOnce, Answers::Never);
    }
    let acts = (0..ACTS).map(|_| act(&mut random)).collect();
    (setting, acts)
}

fn act(random: &mut fastrand::Rng) -> Act {
    let len = |random: &mut fastrand::Rng| match random.u8(0..10) {
        0 => random.usize(30_000..40_000),
        1..4 => random.usize(120..400),
        _ => random.usize(4..20),
    };
    match random.u8(0..125) {
        0..20 | 24..28 => Act::Send(len(random)),
        // What no slot has room for fits into the larger queues only.
        20..23 if random.u8(0..16) == 0 => Act::SendOwned(random.usize(125_000..290_000)),
        20..23 => Act::SendOwned(random.usize(MOST_COPIED..MOST_COPIED + 20_000)),
        // Receipts of more than a byte need many.
        23 => Act::SendMany(random.usize(1..300)),
        28..30 => Act::Flush(level(random)),
        30..50 => Act::Thread(random.usize(1..6_000)),
        50..52 => Act::ThreadToPrefix(random.usize(1..6_000)),
        52..58 => Act::ThreadDuring(random.usize(1..6_000), [during(random), during(random)]),
        58 => Act::NoMemory,
        59..66 => Act::Read(random.usize(1..6_000)),
        66..68 => Act::ReadButOne,
        68..71 if random.u8(0..32) == 0 => Act::FailOnAndOn,
        68..71 if random.u8(0..8) == 0 => Act::BeQuiet,
        68..70 => Act::ReadAndFail(random.usize(1..6_000)),
        70 => Act::ReadAndFailAt(random.usize(1..6_000), random.usize(0..6)),
        71 => Act::ReadAndDie(random.usize(1..6_000)),
        72 => Act::ReadOld,
        73..79 => Act::Answer(if random.bool() { 1 } else { random.usize(1..4) }),
        79 => Act::Lie([Lie::TooHigh, Lie::Fell, Lie::NoVarint][random.usize(..3)]),
        80 => Act::CloseSending,
        81 => Act::CloseIdle,
        82 => Act::HangUp,
        83 => Act::Stop,
        84 => Act::Kill,
        85..90 => Act::Start,
        90 => Act::BacklogFills,
        91..97 => Act::Pass(random.u64(0..500)),
        97..103 => Act::PassSleep,
        103..106 => Act::WaitToSend(len(random)),
        106 => Act::GiveUpWaiting,
        107..110 => Act::ForbidSending,
        110..114 => Act::HeldUp(random.usize(1..3_000)),
        114..122 => Act::Confirm(random.usize(0..8)),
        122 => Act::DropBatch(random.usize(0..8)),
        _ if random.u8(0..5) == 0 => Act::Shutdown(random.u64(0..3_000)),
        _ => Act::Pass(1),
    }
}

fn level(random: &mut fastrand::Rng) -> FlushLevel {
    [FlushLevel::Written, FlushLevel::Read, FlushLevel::Handled][random.usize(..3)]
}

fn during(random: &mut fastrand::Rng) -> During {
    match random.u8(0..100) {
        0..60 => During::Sends(random.usize(0..6)),
        60..83 => During::SendOwned(random.usize(MOST_COPIED..MOST_COPIED + 20_000)),
        83..99 => During::Flush(level(random)),
        _ => During::Shutdown(random.u64(0..3_000)),
    }
}
