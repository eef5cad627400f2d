//! The kernel and the reader of the simulated world: connections as runs of bytes, and what has
//! become of each message.

mod batches;
pub(crate) mod deaths;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use integer_encoding::VarInt;

use batches::Held;
use deaths::Arrival;

use crate::address::Address;
use crate::arena::ticket::Ticket;
use crate::deadline::has_come;
use crate::descriptor_store::StoreError;
use crate::metrics::Tally;
use crate::num::to_u64;
use crate::peer::{Credentials, Identity};
use crate::reader::{SimulatedBatch, SimulatedConnection, SimulatedFate};
use crate::sys::{self, Abilities, PeerEnd, Readiness, Received, Sent, Waker, Wanted};
use crate::wire::frame::{self, AT_LEAST_ONCE, Parsed};
use crate::writer::arena::{self, Arena, testing};
use crate::writer::settings::Delivery;
use crate::writer::simulation::history::{Answers, Lie, Setting};
use crate::writer::state::timing::PROBE_TIME;
use crate::writer::thread::attempt::{Attempt, Refusal};
use crate::writer::thread::kernel::{Kernel, Socket};

/// What has become of a message that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) len: usize,
    /// The kernel has taken its last byte, on some connection.
    pub(crate) taken: bool,
    /// The reader has taken its last byte from the kernel.
    pub(crate) drained: bool,
    /// The reader has decoded it, and called the handler.
    pub(crate) read: bool,
    /// The end of its batch was good.
    pub(crate) stored: bool,
    /// The writer is done with it: the kernel has it, or a receipt covers it.
    pub(crate) settled: bool,
    /// The writer has dropped it, or given it up.
    pub(crate) gone: bool,
    /// The number of the last connection that ended after the kernel had taken it whole there.
    pub(crate) ended_with: u64,
}

/// The bytes of message `number`: they say which it is, and whether they belong together.
pub(crate) fn message(number: usize, len: usize) -> Vec<u8> {
    let mut message = vec![number.to_le_bytes()[0]; len.max(4)];
    message[..4].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    message
}

fn number_of(message: &[u8]) -> usize {
    usize::try_from(u32::from_be_bytes(message[..4].try_into().unwrap())).unwrap()
}

/// A connection, from the writer to the reader and back.
pub(crate) struct Connection {
    to_reader: Vec<u8>,
    to_writer: Vec<u8>,
    machine: SimulatedConnection,
    /// The batches that are out with a receiver.
    held: Vec<Held>,
    /// It cannot go on, and ends once they are settled; because the next message is too long.
    is_ending: bool,
    refuses_rest: bool,
    /// What the kernel has of the frame that the writer is in.
    half: Vec<u8>,
    /// Messages that the kernel has taken whole, and the reader has not decoded; with the bytes up
    /// to their ends.
    in_flight: VecDeque<(usize, u64)>,
    taken_len: u64,
    drained_len: u64,
    /// All that the kernel has taken whole.
    taken_whole: Vec<usize>,
    /// What was passed with its first byte.
    ticket: Option<Ticket>,
    /// How many messages the reader has decoded.
    decoded: usize,
    /// What the writer knows to be taken whole, and not to be covered by a receipt.
    unsettled: VecDeque<usize>,
    /// How many messages the kernel has taken whole, before how many the last question stood, and
    /// how many receipts cover that the writer has read.
    written: u64,
    asked: u64,
    covered: u64,
    /// When the reader first refused to take more, or the writer read a receipt since then.
    refused_at: Option<Instant>,
    /// When the writer sent the length of a suspected message alone.
    probed_at: Option<Instant>,
    /// The beginning of a receipt that the writer has read.
    receipt: Vec<u8>,
    /// The last whole one was padded: the reader refuses the next message.
    refuses_next: bool,
    /// The reader has said that it stops, and answers until the writer has ended its side.
    has_said_stop: bool,
    /// It has, and all receipts that it gave cover all that was sent.
    has_confirmed_all: bool,
    /// The writer was told that it takes nothing more, or has read a receipt that cannot be true.
    must_end: bool,
    /// The last message that came out of it.
    last: Option<usize>,
    /// The last byte of a receipt that the reader has sent.
    last_answer: Option<u8>,
    /// The reader closed it with whole messages unread.
    has_lost: bool,
    /// The reader forbids to send.
    is_shut: bool,
    /// The reader has closed its sending side.
    is_mute: bool,
    /// The writer knows that.
    mute_told: bool,
    /// The writer has written since its reader ended its sending side, where that ends the
    /// connection.
    is_written_late: bool,
    /// The writer has ended its sending side.
    has_writer_ended: bool,
    /// The writer has closed it.
    is_left: bool,
    /// The reader has closed it.
    is_gone: bool,
    /// It had not read everything then.
    was_reset: bool,
    /// The kernel has not told so yet. It does once.
    reset_untold: bool,
}

/// Everything but the writer.
pub(crate) struct Net {
    pub(crate) setting: Setting,
    pub(crate) now: Instant,
    pub(crate) is_reader_up: bool,
    /// The try to connect that is under way, and how many were begun.
    connecting: Option<Try>,
    /// A try has failed.
    has_failed: bool,
    /// The thread has ended.
    pub(crate) has_exited: bool,
    tries: u32,
    /// A socket has come, and the kernel has not told.
    pub(crate) arrival: bool,
    pub(crate) is_backlog_full: bool,
    /// The kernel takes at most so many bytes at a time.
    pub(crate) most: usize,
    /// And ends what it takes just behind the length of a message, if there is one.
    pub(crate) cuts_behind_prefix: bool,
    pub(crate) no_memory: bool,
    /// What producers do while a write is under way.
    pub(crate) meanwhile: Option<Box<dyn FnOnce()>>,
    pub(crate) fates: Vec<Fate>,
    /// What the writer's queue stands in, where that outlives its process.
    pub(crate) arena: Option<Arc<Arena>>,
    /// The messages that the writer has accepted and is not done with, and their bytes.
    live: VecDeque<usize>,
    live_bytes: u64,
    /// While a write is under way, the first message that is not in it.
    pub(crate) writing_to: Option<usize>,
    connection: Option<Connection>,
    /// Given up by the writer; the reader still has to read the rest.
    old: Vec<Connection>,
    /// What came on those that are over.
    arrivals: Vec<Arrival>,
    /// Messages that the kernel took whole, for the first time and again.
    pub(crate) taken: Tally,
    pub(crate) taken_again: Tally,
    pub(crate) read: u64,
    pub(crate) stored: u64,
    /// Taken whole, and not to be read any more.
    pub(crate) lost: u64,
    /// Connections that the reader closed with something unread, and those of them with whole
    /// messages unread.
    pub(crate) resets: u64,
    pub(crate) losses: u64,
    /// Receipts that could not be true.
    pub(crate) lies: u64,
    /// Connections that ended.
    pub(crate) ends: u64,
    /// Connections that ended with something unread, and with something that no receipt covers.
    pub(crate) unread_ends: u64,
    pub(crate) uncovered_ends: u64,
    /// How the last connection ended.
    ended: Option<Ended>,
    /// The message that the last connections ended in, and how many in a row.
    suspect: Option<(usize, u32)>,
    /// Messages that this many did.
    pub(crate) given_up: Tally,
    /// The thread sleeps.
    pub(crate) sleep: Option<Sleep>,
    /// When the writer must have ended.
    pub(crate) deadline: Option<Instant>,
    /// When the kernel began to take nothing, or a receipt covered something since then.
    refused_at: Option<Instant>,
    /// That, as it was when the thread's step began. A receipt that comes while it gives up is too
    /// late.
    refused_before: Option<Instant>,
}

/// A try to connect that takes its time.
#[derive(Clone, Copy, Debug)]
struct Try {
    since: Instant,
    /// When it will have succeeded or failed.
    until: Instant,
    /// There is something to look at before.
    news_at: Instant,
}

/// How a connection ended, as far as the writer's kernel knows.
#[derive(Clone, Copy, Debug)]
struct Ended {
    /// The message that the kernel had a part of.
    cut: Option<usize>,
    /// It had its prefix, and nothing more.
    is_behind_prefix: bool,
    /// The message that the reader said it refuses, as far as the writer has read.
    refused: Option<usize>,
    was_reset: bool,
    /// The reader was still there, owed receipts for what it has, and refused to take more since
    /// then.
    refused_at: Option<Instant>,
}

/// Why the writer gave a connection up, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Peer,
    WriteTimeout,
    BadReceipt,
}

/// What the writer's thread sleeps for, besides the waker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sleep {
    pub(crate) until: Option<Instant>,
    /// `None` where it looks at no connection.
    wanted: Option<Wanted>,
}

impl Connection {
    fn new(reader_limit: usize) -> Self {
        Self {
            to_reader: Vec::new(),
            to_writer: Vec::new(),
            machine: SimulatedConnection::new(reader_limit),
            held: Vec::new(),
            is_ending: false,
            refuses_rest: false,
            half: Vec::new(),
            in_flight: VecDeque::new(),
            taken_len: 0,
            drained_len: 0,
            taken_whole: Vec::new(),
            ticket: None,
            decoded: 0,
            unsettled: VecDeque::new(),
            written: 0,
            asked: 0,
            covered: 0,
            refused_at: None,
            probed_at: None,
            receipt: Vec::new(),
            refuses_next: false,
            has_said_stop: false,
            has_confirmed_all: false,
            must_end: false,
            last: None,
            last_answer: None,
            has_lost: false,
            is_shut: false,
            is_mute: false,
            mute_told: false,
            is_written_late: false,
            has_writer_ended: false,
            is_left: false,
            is_gone: false,
            was_reset: false,
            reset_untold: false,
        }
    }

    /// The kernel has a part of a message: what it has is more than a part of the opening.
    fn is_in_message(&self, setting: Setting) -> bool {
        let is_in_opening = setting.delivery == Delivery::AtLeastOnce
            && self.taken_len < to_u64(AT_LEAST_ONCE.len());
        !self.half.is_empty() && !is_in_opening
    }

    /// The kernel has the prefix of a message, and nothing more of it.
    fn is_behind_prefix(&self) -> bool {
        matches!(
            frame::parse_prefix(&self.half),
            Parsed::Length { prefix_len, .. } if prefix_len.get() == self.half.len()
        )
    }

    /// The reader is gone from it.
    fn close(&mut self) {
        self.was_reset = !self.to_reader.is_empty();
        self.reset_untold = self.was_reset;
        (self.is_gone, self.is_shut) = (true, true);
        self.to_reader.clear();
    }

    /// The writer has read these bytes of receipts: how much they cover, up to the first that
    /// cannot be true.
    fn believe(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.receipt.push(*byte);
            let count = u64::decode_var(&self.receipt).map(|(count, _)| count);
            let is_over = *byte < 0x80 || self.receipt.len() >= 10;
            match count {
                Some(count) if (self.covered..=self.written).contains(&count) => {
                    self.covered = count;
                    let padding = self.receipt.len() - count.required_space();
                    self.refuses_next = padding == 1;
                    self.receipt.clear();
                }
                None if !is_over => {}
                Some(_) | None => {
                    self.must_end = true;
                    return;
                }
            }
        }
    }

    fn send_answer(&mut self, bytes: &[u8]) {
        if !self.is_mute && !self.is_gone {
            self.last_answer = bytes.last().copied().or(self.last_answer);
            self.to_writer.extend_from_slice(bytes);
        }
    }
}

impl Net {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: Instant::now(),
            is_reader_up: true,
            connecting: None,
            tries: 0,
            arrival: false,
            is_backlog_full: false,
            most: usize::MAX,
            cuts_behind_prefix: false,
            no_memory: false,
            meanwhile: None,
            fates: Vec::new(),
            arena: None,
            live: VecDeque::new(),
            live_bytes: 0,
            writing_to: None,
            connection: None,
            old: Vec::new(),
            arrivals: Vec::new(),
            taken: Tally::default(),
            taken_again: Tally::default(),
            read: 0,
            stored: 0,
            lost: 0,
            resets: 0,
            losses: 0,
            lies: 0,
            ends: 0,
            unread_ends: 0,
            uncovered_ends: 0,
            ended: None,
            suspect: None,
            given_up: Tally::default(),
            has_failed: false,
            has_exited: false,
            sleep: None,
            deadline: None,
            refused_at: None,
            refused_before: None,
        }
    }

    /// The thread sleeps, at most for so long.
    pub(crate) fn sleep(&mut self, time: Option<Duration>, wanted: Option<Wanted>) {
        assert_ne!(
            time,
            Some(Duration::ZERO),
            "a wait that is over before it begins"
        );
        let until = time.and_then(|time| self.now.checked_add(time));
        self.sleep = Some(Sleep { until, wanted });
    }

    /// Whether the thread still sleeps, but for the waker.
    pub(crate) fn sleeps(&self) -> bool {
        self.sleep.is_some_and(|Sleep { until, wanted }| {
            let ready = self.ready(wanted);
            !(has_come(until, self.now)
                || ready.hangup
                || ready.room
                || ready.bytes
                || ready.arrival)
        })
    }

    /// The thread takes a step.
    pub(crate) fn begin_step(&mut self) -> (Instant, Option<Instant>) {
        self.refused_before = self.refused_at;
        (self.now, self.deadline)
    }

    /// The thread's sleep is over, if it slept: what it woke up to.
    pub(crate) fn wake_up(&mut self) -> Option<Readiness> {
        let ready = self.sleep.take().map(|sleep| self.ready(sleep.wanted));
        self.arrival &= !ready.is_some_and(|ready| ready.arrival);
        ready
    }

    /// A message was accepted.
    pub(crate) fn accept(&mut self, len: usize) {
        self.live.push_back(self.fates.len());
        self.live_bytes += to_u64(len);
        self.fates.push(Fate {
            len,
            taken: false,
            drained: false,
            read: false,
            stored: false,
            settled: false,
            gone: false,
            ended_with: 0,
        });
    }

    /// What the writer holds.
    pub(crate) fn held(&self) -> Tally {
        Tally {
            messages: to_u64(self.live.len()),
            bytes: self.live_bytes,
        }
    }

    /// The oldest message that has not ended, and the oldest of which the kernel lacks a byte.
    pub(crate) fn watermarks(&self) -> (usize, usize) {
        let at = |index: usize| self.live.get(index).copied().unwrap_or(self.fates.len());
        let whole = self
            .connection
            .as_ref()
            .map_or(0, |connection| connection.unsettled.len());
        (at(0), at(whole))
    }

    /// Where in `live` those begin that can be dropped: the kernel has no byte of them on this
    /// connection, and they are not being written.
    fn loose_from(&self) -> usize {
        let begun = self.connection.as_ref().map_or(0, |connection| {
            connection.unsettled.len() + usize::from(connection.is_in_message(self.setting))
        });
        let written = self
            .writing_to
            .map_or(0, |end| self.live.partition_point(|number| *number < end));
        begun.max(written)
    }

    /// What cannot be dropped.
    pub(crate) fn pinned(&self) -> Tally {
        let pinned = self.live.iter().take(self.loose_from());
        pinned.fold(Tally::default(), |sum, number| {
            sum + Tally::one(self.fates[*number].len)
        })
    }

    /// The writer dropped so many messages: the oldest that it may.
    pub(crate) fn evict(&mut self, evicted: Tally) {
        let from = self.loose_from();
        let mut oldest = Tally::default();
        for _ in 0..evicted.messages {
            assert!(
                from < self.live.len(),
                "dropped what the peer has a part of"
            );
            oldest += Tally::one(self.end_at(from, |fate| &mut fate.gone));
        }
        assert_eq!(
            evicted, oldest,
            "other messages than the oldest were dropped"
        );
    }

    /// The writer is done with a message, in the way that is said; returns its length.
    fn end_at(&mut self, index: usize, way: fn(&mut Fate) -> &mut bool) -> usize {
        let number = self.live.remove(index).unwrap();
        let fate = &mut self.fates[number];
        *way(fate) = true;
        self.live_bytes -= to_u64(fate.len);
        fate.len
    }

    /// The writer says why it gave the last connection up. Three ends in a row within the same
    /// message cost that message its place.
    pub(crate) fn on_lost(&mut self, cause: Cause) {
        let Ended {
            cut,
            is_behind_prefix,
            refused,
            was_reset,
            refused_at,
        } = self.ended.take().expect("a connection ended");
        if cause == Cause::WriteTimeout {
            let refused_for = self.refused_before.map(|since| self.now - since);
            assert!(
                refused_for.is_some_and(|time| time >= self.setting.timing.write_timeout),
                "given up too early: {refused_for:?}"
            );
        }
        if let (Some(since), Cause::Peer) = (refused_at, cause) {
            let waited = self.now - since;
            assert!(
                waited >= self.setting.timing.write_timeout,
                "its last receipts were waited for {waited:?}"
            );
        }
        if let Some(number) = refused {
            self.suspect = None;
            assert!(
                self.fates[number].len > self.setting.reader_limit,
                "given up, and the reader would take it"
            );
            return self.give_up(number);
        }
        if cause != Cause::Peer || self.setting.delivery == Delivery::AtLeastOnce {
            return;
        }
        let before = self.suspect.take();
        let Some(number) = cut else { return };
        let earlier = before.filter(|(suspect, _)| *suspect == number);
        let refusals = if is_behind_prefix && !was_reset {
            earlier.map_or(0, |(_, refusals)| refusals + 1)
        } else {
            0
        };
        if refusals < 3 {
            self.suspect = Some((number, refusals));
        } else {
            self.give_up(number);
        }
    }

    fn give_up(&mut self, number: usize) {
        let index = self.live.partition_point(|live| *live < number);
        let len = self.end_at(index, |fate| &mut fate.gone);
        self.given_up += Tally::one(len);
    }

    /// The reader has a turn at the connection: reads at most `most` bytes, and ends the batch.
    pub(crate) fn read(&mut self, most: usize, end: BatchEnd) {
        if let Some(mut connection) = self.connection.take() {
            self.read_from(&mut connection, most, end);
            let is_end = connection.to_reader.is_empty() && connection.held.is_empty();
            if connection.has_writer_ended && is_end && !connection.is_gone {
                self.answer_from(&mut connection, usize::MAX, Answers::Late);
                connection.has_confirmed_all = connection.has_said_stop
                    && !connection.is_mute
                    && end != BatchEnd::Never
                    && connection.machine.fate() == SimulatedFate::GoesOn;
                self.lose(&mut connection);
            }
            self.connection = Some(connection);
        }
    }

    pub(crate) fn read_but_one(&mut self) {
        let unread = self.connection.as_ref().map(|it| it.to_reader.len());
        if let Some(most @ 1..) = unread.and_then(|unread| unread.checked_sub(1)) {
            self.read(most, BatchEnd::Stored);
        }
    }

    fn read_from(&mut self, connection: &mut Connection, most: usize, end: BatchEnd) {
        if connection.is_gone {
            return;
        }
        if self.setting.by_batches && end != BatchEnd::Never {
            return self.hand_out(connection, most);
        }
        let (batch, numbers) =
            self.decode(connection, most, |before| end != BatchEnd::FailedAt(before));
        let fate = match end {
            BatchEnd::Never => return,
            BatchEnd::NotStored => {
                let fate = connection.machine.end_batch(batch, false);
                let comes_again =
                    self.setting.delivery == Delivery::AtLeastOnce && batch.messages > 0;
                assert!(
                    fate == SimulatedFate::EndsAtOnce || !comes_again,
                    "what follows is handled before what comes again"
                );
                fate
            }
            BatchEnd::Stored => self.end_batch(connection, batch, &numbers),
            BatchEnd::FailedAt(_) => {
                let dealt_with = numbers.len() - usize::from(batch.last_failed());
                let fate = self.end_batch(connection, batch, &numbers[..dealt_with]);
                assert!(
                    fate == SimulatedFate::EndsAtOnce || !batch.last_failed(),
                    "what follows is handled before what comes again"
                );
                fate
            }
        };
        if batch.is_malformed() || fate == SimulatedFate::EndsAtOnce {
            self.answer_from(connection, usize::MAX, Answers::AtOnce);
            self.lose(connection);
        } else if fate == SimulatedFate::EndsWithTheRest && !connection.is_shut {
            self.read_rest(connection);
        } else {
            self.answer_from(connection, usize::MAX, Answers::AtOnce);
        }
    }

    /// Takes at most `most` bytes from the kernel, and gives the messages in them to a handler,
    /// which says whether it deals with one that stands behind so many of this batch. Returns which
    /// they are.
    fn decode(
        &mut self,
        connection: &mut Connection,
        most: usize,
        deals: impl Fn(usize) -> bool,
    ) -> (SimulatedBatch, Vec<usize>) {
        let len = connection.to_reader.len().min(most);
        let bytes: Vec<u8> = connection.to_reader.drain(..len).collect();
        connection.drained_len += to_u64(len);
        for (number, _) in connection
            .in_flight
            .iter()
            .take_while(|(_, end)| *end <= connection.drained_len)
        {
            self.fates[*number].drained = true;
        }
        let mut numbers = Vec::new();
        let batch = connection.machine.take(&bytes, |bytes| {
            let number = number_of(bytes);
            assert_eq!(
                bytes,
                message(number, self.fates[number].len),
                "a message was torn"
            );
            assert!(
                connection.last.is_none_or(|last| last < number),
                "{number} after {:?} on one connection",
                connection.last
            );
            connection.last = Some(number);
            assert_eq!(
                connection.in_flight.pop_front().map(|(number, _)| number),
                Some(number),
                "the reader read something else than was sent"
            );
            numbers.push(number);
            deals(numbers.len() - 1)
        });
        connection.decoded += numbers.len();
        for number in &numbers {
            let fate = &mut self.fates[*number];
            if self.setting.delivery == Delivery::AtMostOnce {
                assert!(!fate.read, "{number} came twice");
            }
            self.read += u64::from(!fate.read);
            fate.read = true;
        }
        (batch, numbers)
    }

    fn end_batch(
        &mut self,
        connection: &mut Connection,
        batch: SimulatedBatch,
        numbers: &[usize],
    ) -> SimulatedFate {
        self.store(numbers);
        connection.machine.end_batch(batch, true)
    }

    fn store(&mut self, numbers: &[usize]) {
        for number in numbers {
            self.stored += u64::from(!std::mem::replace(&mut self.fates[*number].stored, true));
        }
    }

    /// Reads to the end of what was sent, and closes.
    fn read_rest(&mut self, connection: &mut Connection) {
        if connection.is_gone {
            return;
        }
        if self.ends_sending() && !connection.is_left {
            // It goes on to read, until the writer has ended its side.
            let can_say = self.setting.answers != Answers::Never && !connection.is_mute;
            connection.has_said_stop = can_say && connection.machine.say_stop();
            self.answer_from(connection, usize::MAX, Answers::Late);
            connection.is_mute |= !connection.has_said_stop;
        } else {
            connection.is_shut = true;
            if self.setting.by_batches {
                self.hand_out_rest(connection);
            } else if !connection.to_reader.is_empty() {
                self.read_from(connection, usize::MAX, BatchEnd::Stored);
            }
            if !connection.is_gone {
                self.answer_from(connection, usize::MAX, Answers::Late);
                self.lose(connection);
            }
        }
    }

    /// A reader that is to end ends its sending side.
    fn ends_sending(&self) -> bool {
        self.setting.abilities.peer_end == PeerEnd::EndsSending
    }

    /// The connection is over for the reader: what it has not read of it is lost.
    fn lose(&mut self, connection: &mut Connection) {
        self.lost += to_u64(connection.in_flight.len());
        connection.has_lost = !connection.in_flight.is_empty();
        connection.in_flight.clear();
        connection.held.clear();
        connection.close();
    }

    pub(crate) fn read_old(&mut self) {
        for mut connection in std::mem::take(&mut self.old) {
            self.read_rest(&mut connection);
            self.note_arrival(&connection);
        }
    }

    pub(crate) fn answer(&mut self, most: usize) {
        if let Some(mut connection) = self.connection.take() {
            self.answer_from(&mut connection, most, Answers::Late);
            self.connection = Some(connection);
        }
    }

    /// Sends receipts that are due, if the reader is one that answers `when`, or sooner.
    fn answer_from(&self, connection: &mut Connection, most: usize, when: Answers) {
        let answers = match self.setting.answers {
            Answers::AtOnce => true,
            Answers::Late => when == Answers::Late,
            Answers::Never => false,
        };
        if answers && !connection.is_gone && !connection.is_mute {
            let answer = connection.machine.answer(most);
            connection.send_answer(&answer);
        }
    }

    pub(crate) fn lie(&mut self, lie: Lie) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        // In the middle of a true one it could become a likely one.
        if connection.last_answer.is_some_and(|byte| byte >= 0x80) {
            return;
        }
        self.lies += 1;
        match lie {
            Lie::TooHigh => connection.send_answer(&(u64::MAX / 3).encode_var_vec()),
            Lie::Fell => connection.send_answer(&0u64.encode_var_vec()),
            Lie::NoVarint => connection.send_answer(&[0xff; 10]),
        }
    }

    pub(crate) fn close_sending(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.is_mute = true;
        }
    }

    pub(crate) fn forbid_sending(&mut self) {
        // Elsewhere the writer would not be told.
        let is_told = self.setting.abilities.peer_end == PeerEnd::ShutsReceiving;
        if let Some(connection) = self.connection.as_mut().filter(|_| is_told) {
            connection.is_shut = true;
        }
    }

    pub(crate) fn close_idle(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            self.read_rest(&mut connection);
            self.connection = Some(connection);
        }
    }

    pub(crate) fn hang_up(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            if !connection.is_gone {
                self.lose(&mut connection);
            }
            self.connection = Some(connection);
        }
    }

    pub(crate) fn stop(&mut self) {
        self.close_idle();
        self.read_old();
        self.is_reader_up = self.setting.socket_stays;
    }

    pub(crate) fn kill(&mut self) {
        self.hang_up();
        for mut connection in std::mem::take(&mut self.old) {
            self.lose(&mut connection);
            self.note_arrival(&connection);
        }
        self.is_reader_up = self.setting.socket_stays;
    }

    /// From now on the reader is a good one, on a connection that was none of the bad.
    pub(crate) fn reform(&mut self) {
        self.read_old();
        let is_bad = |connection: &Connection| connection.is_mute || connection.is_shut;
        if self.setting.answers == Answers::Never || self.connection.as_ref().is_some_and(is_bad) {
            self.close_idle();
        }
        self.setting.answers = Answers::AtOnce;
        // A larger buffer saves steps; where the reader hangs up on what is too long, it must not
        // hold all of that.
        self.setting.socket_size = if self.setting.reader_limit == usize::MAX {
            1 << 20
        } else {
            4096
        };
        (self.is_reader_up, self.is_backlog_full, self.most) = (true, false, usize::MAX);
    }

    /// There was one stream, and it has ended or was never there.
    pub(crate) fn is_over(&self) -> bool {
        self.setting.is_single && (self.ends > 0 || self.has_failed)
    }

    /// Messages that the kernel has whole, and the reader has not read.
    pub(crate) fn in_kernel(&self) -> u64 {
        self.connection
            .iter()
            .chain(&self.old)
            .map(|connection| to_u64(connection.in_flight.len()))
            .sum()
    }

    fn take(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        let Some(mut connection) = self.connection.take() else {
            panic!("a write without a connection")
        };
        let sent = self.take_into(&mut connection, slices);
        self.connection = Some(connection);
        sent
    }

    /// How many of the bytes the kernel takes.
    fn len_to_take(&self, connection: &Connection, bytes: &[u8], room: usize) -> usize {
        let len = bytes.len().min(room).min(self.most);
        if !self.cuts_behind_prefix {
            return len;
        }
        let taken = connection.half.len();
        let offered = [&connection.half, &bytes[..len]].concat();
        last_prefix_end(&offered)
            .and_then(|end| end.checked_sub(taken))
            .filter(|cut| *cut > 0)
            .unwrap_or(len)
    }

    fn take_into(
        &mut self,
        connection: &mut Connection,
        slices: &[IoSlice<'_>],
    ) -> io::Result<Sent> {
        assert!(
            slices.iter().any(|slice| !slice.is_empty()),
            "a write of nothing"
        );
        assert!(!connection.has_writer_ended, "a write after the end");
        assert!(
            !connection.must_end,
            "a write to a peer that takes nothing more, or lies"
        );
        let goes_nowhere = self.ends_sending() && connection.is_gone && !connection.was_reset;
        if connection.is_shut && !goes_nowhere {
            connection.must_end = true;
            connection.refused_at = Some(self.now);
            // Which of the two it is depends on how far the call has come when the reader goes.
            let is_told = self.most % 2 == 1 && std::mem::take(&mut connection.reset_untold);
            return Err(if is_told {
                io::ErrorKind::ConnectionReset
            } else {
                io::ErrorKind::BrokenPipe
            }
            .into());
        }
        if self.no_memory {
            self.refused_at.get_or_insert(self.now);
            return Ok(Sent::NoMemory);
        }
        let room = self
            .setting
            .socket_size
            .saturating_sub(connection.to_reader.len());
        // No more than can be taken: most is offered again and again.
        let mut bytes = Vec::new();
        for slice in slices {
            let left = room.min(self.most) - bytes.len();
            bytes.extend_from_slice(&slice[..left.min(slice.len())]);
        }
        let len = self.len_to_take(connection, &bytes, room);
        if len == 0 {
            self.refused_at.get_or_insert(self.now);
            return Ok(Sent::Blocked);
        }
        let is_told = connection.is_mute || connection.is_gone || connection.has_said_stop;
        if self.ends_sending() && is_told {
            let is_first = !std::mem::replace(&mut connection.is_written_late, true);
            assert!(
                is_first,
                "writes on without a look whether the peer has ended"
            );
        }
        self.refused_at = None;
        if let Some(probed_at) = connection.probed_at.take() {
            assert!(
                self.now >= probed_at + PROBE_TIME,
                "the reader has no time to hang up on a probe"
            );
        }
        self.note_taken(connection, &bytes[..len]);
        let next = self.live.get(connection.unsettled.len()).copied();
        let is_suspected = self.suspect.is_some_and(|(number, _)| Some(number) == next);
        if is_suspected && connection.is_behind_prefix() {
            connection.probed_at = Some(self.now);
        }
        if goes_nowhere {
            // The peer's kernel says so as soon as it comes there.
            self.lost += to_u64(connection.in_flight.len());
            connection.has_lost = !connection.in_flight.is_empty();
            connection.in_flight.clear();
            connection.to_reader.clear();
            (connection.was_reset, connection.reset_untold) = (true, true);
        }
        Ok(Sent::Some(len))
    }

    /// The kernel has taken these bytes: what has become whole with them.
    fn note_taken(&mut self, connection: &mut Connection, taken: &[u8]) {
        connection.to_reader.extend_from_slice(taken);
        connection.half.extend_from_slice(taken);
        let half_from = connection.taken_len + to_u64(taken.len()) - to_u64(connection.half.len());
        connection.taken_len += to_u64(taken.len());
        let half_len = connection.half.len();
        let mut at = 0;
        while let Some(Parsed::Length {
            payload_len,
            prefix_len,
        }) = connection.half.get(at..).map(frame::parse_prefix)
        {
            let start = at + prefix_len.get();
            let len = usize::try_from(payload_len).unwrap();
            let Some(bytes) = connection.half.get(start..start + len) else {
                break;
            };
            at = start + len;
            if len == 0 {
                let is_first = connection.taken_len + to_u64(at)
                    == to_u64(half_len) + to_u64(prefix_len.get());
                let is_opening = prefix_len.get() == AT_LEAST_ONCE.len();
                let keeps = self.setting.delivery == Delivery::AtLeastOnce;
                assert_eq!(
                    is_opening,
                    is_first && keeps,
                    "the opening is the first frame, at least once, and stands nowhere else"
                );
                connection.asked = connection.written;
            } else {
                let number = number_of(bytes);
                let fate = &mut self.fates[number];
                assert_eq!(bytes, message(number, fate.len), "a frame was torn");
                let next = self.live.get(connection.unsettled.len()).copied();
                assert_eq!(Some(number), next, "another message than the next goes out");
                connection.written += 1;
                connection.taken_whole.push(number);
                let again = std::mem::replace(&mut fate.taken, true);
                *(if again {
                    &mut self.taken_again
                } else {
                    &mut self.taken
                }) += Tally::one(len);
                connection
                    .in_flight
                    .push_back((number, half_from + to_u64(at)));
                match self.setting.delivery {
                    Delivery::AtMostOnce => drop(self.end_at(0, |fate| &mut fate.settled)),
                    Delivery::AtLeastOnce => connection.unsettled.push_back(number),
                }
            }
        }
        connection.half.drain(..at);
    }

    fn give(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(connection) = &mut self.connection else {
            panic!("a read without a connection")
        };
        if !self.setting.abilities.answers {
            connection.mute_told = true;
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if connection.to_writer.is_empty() {
            if std::mem::take(&mut connection.reset_untold) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let is_over = connection.is_gone || connection.is_mute;
            connection.mute_told |= is_over;
            return Ok(if is_over {
                Received::End
            } else {
                Received::Nothing
            });
        }
        let len = connection.to_writer.len().min(buffer.len());
        let bytes: Vec<u8> = connection.to_writer.drain(..len).collect();
        buffer[..len].copy_from_slice(&bytes);
        let before = connection.covered;
        connection.believe(&bytes);
        let covers = connection.covered - before;
        if covers > 0 {
            // Whoever gives receipts is alive.
            self.refused_at = self.refused_at.map(|_| self.now);
            connection.refused_at = connection.refused_at.map(|_| self.now);
        }
        if self.setting.delivery == Delivery::AtLeastOnce {
            let covered: Vec<usize> = connection
                .unsettled
                .drain(..usize::try_from(covers).unwrap())
                .collect();
            for number in covered {
                assert!(self.fates[number].stored, "confirmed and not stored");
                assert_eq!(self.live.front(), Some(&number), "receipts come in order");
                self.end_at(0, |fate| &mut fate.settled);
            }
        }
        Ok(Received::Some(len))
    }

    /// What a wait for that would end with now, but for the waker.
    fn ready(&self, wanted: Option<Wanted>) -> Readiness {
        let Some((connection, wanted)) = self.connection.as_ref().zip(wanted) else {
            return Readiness {
                room: self.connecting.is_some_and(|its| its.news_at <= self.now),
                arrival: self.arrival && self.setting.tells_of_arrivals,
                ..Readiness::default()
            };
        };
        Readiness {
            woken: false,
            arrival: false,
            hangup: connection.is_gone && (!self.ends_sending() || connection.was_reset),
            room: wanted.room
                && (connection.is_shut || connection.to_reader.len() < self.setting.socket_size),
            bytes: wanted.bytes
                && (!connection.to_writer.is_empty() || connection.is_gone || connection.is_mute),
        }
    }

    fn readiness(
        &mut self,
        woken: bool,
        connected: bool,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness {
        assert!(
            !(wanted.bytes
                && self
                    .connection
                    .as_ref()
                    .is_some_and(|connection| connected && connection.mute_told)),
            "a wait for a receipt from a peer that will send none: it would never sleep"
        );
        let until = timeout.and_then(|timeout| self.now.checked_add(timeout));
        assert!(
            self.deadline
                .is_none_or(|deadline| has_come(Some(deadline), self.now)
                    || until.is_some_and(|until| until <= deadline)),
            "a wait beyond the deadline"
        );
        assert!(
            wanted.bytes || !connected || !self.ends_sending(),
            "sleeps where the peer's end would not be noticed"
        );
        let is_done = connected && self.deadline.is_some() && self.held().messages == 0;
        assert!(
            !is_done
                || self
                    .connection
                    .as_ref()
                    .is_none_or(|connection| connection.has_writer_ended),
            "waits for the peer's end, and has not told it of its own"
        );
        if let Some(its) = self.connecting {
            let end = its.since + self.setting.timing.connect_timeout;
            assert!(
                until.is_some_and(|until| until <= end),
                "a try to connect is waited for too long"
            );
        }
        let ready = self.ready(connected.then_some(wanted));
        if wanted.room && !ready.hangup {
            let longest = match self.setting.delivery {
                Delivery::AtMostOnce => self.setting.timing.write_timeout,
                // It doubles with each connection that times out, up to here.
                Delivery::AtLeastOnce => self.setting.timing.write_timeout * 64,
            };
            let end = self.refused_at.expect("a write was refused") + longest;
            assert!(
                until.is_some_and(|until| until <= end),
                "a peer that takes nothing is waited for too long"
            );
        }
        self.arrival &= !ready.arrival;
        if !(woken || ready.hangup || ready.room || ready.bytes || ready.arrival) {
            self.sleep(timeout, connected.then_some(wanted));
        }
        Readiness { woken, ..ready }
    }

    fn end_sending(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.has_writer_ended = true;
            if connection.has_said_stop {
                connection.refused_at.get_or_insert(self.now);
            }
        }
    }

    /// The writer has closed its end.
    fn on_dropped(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // Before the deadline nothing forces it to close while a receipt may come, which would make
        // its kernel throw away what is on its way.
        let is_over = self.deadline.is_none_or(|deadline| deadline <= self.now);
        let is_awaited = connection.asked > connection.covered;
        let has_ended = connection.is_mute || connection.is_gone || connection.must_end;
        assert!(
            !connection.has_confirmed_all
                || connection.unsettled.is_empty()
                || is_over
                || connection.must_end,
            "a reader that stops has confirmed all, and it comes again"
        );
        assert!(
            is_over || has_ended || !is_awaited || !self.ends_sending() || self.held().messages > 0,
            "closes while it may be answered"
        );
        let only_ends_sending = connection.is_mute
            && !(connection.is_gone || connection.is_shut || connection.must_end)
            && self.setting.abilities.peer_end == PeerEnd::ShutsReceiving;
        assert!(
            self.deadline.is_some()
                || !only_ends_sending
                || self.refused_at.is_some()
                || self.setting.delivery == Delivery::AtLeastOnce,
            "leaves a peer that says nothing more, and reads on"
        );
        self.refused_at = None;
        let begun = self.live.get(connection.unsettled.len()).copied();
        // With `AtMostOnce` what the kernel has taken whole has ended already.
        let begun_first = match self.setting.delivery {
            Delivery::AtLeastOnce => self.live.front().copied(),
            Delivery::AtMostOnce => begun.filter(|_| connection.covered == connection.written),
        };
        self.ended = Some(Ended {
            cut: begun.filter(|_| connection.is_in_message(self.setting)),
            is_behind_prefix: connection.is_behind_prefix(),
            refused: begun_first.filter(|_| connection.refuses_next),
            was_reset: connection.was_reset,
            refused_at: connection.refused_at.filter(|_| {
                connection.asked > connection.covered && !connection.is_gone && !connection.is_mute
            }),
        });
        self.ends += 1;
        for number in &connection.taken_whole {
            self.fates[*number].ended_with = self.ends;
        }
        self.unread_ends += u64::from(connection.was_reset || !connection.to_reader.is_empty());
        self.uncovered_ends += u64::from(connection.covered < connection.written);
        self.resets += u64::from(connection.was_reset);
        self.losses += u64::from(connection.was_reset && connection.has_lost);
        if connection.is_gone {
            self.note_arrival(&connection);
        } else {
            connection.to_writer.clear();
            connection.is_left = true;
            self.old.push(connection);
        }
    }
}

/// Where the last prefix of a message ends in `frames`.
fn last_prefix_end(frames: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (0, None);
    while let Some(Parsed::Length {
        payload_len,
        prefix_len,
    }) = frames.get(at..).map(frame::parse_prefix)
    {
        let end = at + prefix_len.get();
        if payload_len > 0 {
            found = Some(end);
        }
        at = end + usize::try_from(payload_len).unwrap();
    }
    found
}

/// Whether the thread was woken, and has not taken note of it.
pub(crate) fn is_used(waker: &Waker) -> bool {
    sys::wait(waker, None, Wanted::default(), Some(Duration::ZERO)).woken
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchEnd {
    Stored,
    NotStored,
    /// The handler fails on a message of it: so many come before that.
    FailedAt(usize),
    /// The reader dies before.
    Never,
}

/// The writer's side of the world.
pub(crate) struct SimulatedKernel(pub(crate) Rc<RefCell<Net>>);

/// The writer's end of the connection.
pub(crate) struct SimulatedSocket(Rc<RefCell<Net>>);

impl Kernel for SimulatedKernel {
    type Socket = SimulatedSocket;

    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn connect(&mut self, _: &Address) -> Result<Attempt<SimulatedSocket>, Refusal> {
        let mut net = self.0.borrow_mut();
        assert!(
            !(net.setting.is_single && net.ends > 0),
            "the one stream has ended, and it connects once more"
        );
        if net.setting.connects_slowly {
            let limit = net.setting.timing.connect_timeout;
            let now = net.now;
            match &mut net.connecting {
                None => {
                    net.tries += 1;
                    let time = if net.tries % 2 == 0 {
                        limit * 2
                    } else {
                        limit / 2
                    };
                    net.connecting = Some(Try {
                        since: now,
                        until: now + time,
                        news_at: now + time.min(limit / 3),
                    });
                    return Ok(Attempt::UnderWay);
                }
                Some(its) if its.until > now => {
                    its.news_at = its.until.min(now + limit / 3);
                    return Ok(Attempt::UnderWay);
                }
                Some(_) => net.connecting = None,
            }
        }
        assert!(net.connection.is_none(), "two connections at once");
        if !net.is_reader_up {
            // A reader that was away may be another one.
            net.suspect = None;
            net.has_failed = true;
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        if net.is_backlog_full {
            net.has_failed = true;
            return Err(Refusal::BacklogFull);
        }
        let mut connection = Connection::new(net.setting.reader_limit);
        // Without a way back there is nothing to be said from the start.
        connection.is_mute = !net.setting.abilities.answers;
        net.connection = Some(connection);
        Ok(Attempt::Connected(SimulatedSocket(Rc::clone(&self.0))))
    }

    fn send_first(
        &self,
        socket: &SimulatedSocket,
        slices: &[IoSlice<'_>],
        ticket: Ticket,
    ) -> io::Result<(Sent, bool)> {
        let sent = socket.send(slices)?;
        if let (Sent::Some(_), Some(connection)) = (&sent, &mut self.0.borrow_mut().connection) {
            connection.ticket = Some(ticket);
        }
        Ok((sent, true))
    }

    fn hold(&self) {}

    fn renew_memory(&mut self) -> Option<Arc<Arena>> {
        let mut net = self.0.borrow_mut();
        let arena = testing::ordinary(arena::layout_for(net.setting.limits));
        net.arena = Some(Arc::clone(&arena));
        // What was passed before says nothing of this one.
        net.forget_passed();
        Some(arena)
    }

    fn keep_memory(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn give_up(&mut self) {
        let mut net = self.0.borrow_mut();
        net.has_failed = true;
        assert!(net.connecting.take().is_some(), "nothing to give up");
    }

    fn wait(
        &self,
        waker: &Waker,
        _: &SimulatedSocket,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness {
        self.0
            .borrow_mut()
            .readiness(is_used(waker), true, wanted, timeout)
    }

    fn wait_for_connection(
        &mut self,
        waker: &Waker,
        _: &Address,
        timeout: Option<Duration>,
    ) -> Readiness {
        self.0
            .borrow_mut()
            .readiness(is_used(waker), false, Wanted::default(), timeout)
    }
}

impl Socket for SimulatedSocket {
    fn abilities(&self) -> Abilities {
        self.0.borrow().setting.abilities
    }

    fn peer(&self) -> io::Result<Identity> {
        if !self.0.borrow().setting.abilities.tells_credentials {
            return Ok(Identity::Unknown);
        }
        Ok(Identity::Process(Credentials {
            uid: 0,
            gid: 0,
            pid: None,
        }))
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        let meanwhile = self.0.borrow_mut().meanwhile.take();
        if let Some(act) = meanwhile {
            act();
        }
        self.0.borrow_mut().take(slices)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.borrow_mut().give(buffer)
    }

    fn end_sending(&self) {
        self.0.borrow_mut().end_sending();
    }

    fn unread(&self) -> Option<u64> {
        let net = self.0.borrow();
        if !net.setting.abilities.tells_unread {
            return None;
        }
        // What the kernel says is never too low, and often too high.
        net.connection
            .as_ref()
            .map(|connection| match connection.to_reader.len() {
                0 => 0,
                len => to_u64(len * 2 + 100),
            })
    }

    fn lost_unread(&self, _: bool) -> bool {
        let mut net = self.0.borrow_mut();
        net.connection
            .as_mut()
            .is_some_and(|connection| std::mem::take(&mut connection.reset_untold))
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        // After a failed check nothing matters any more.
        if !std::thread::panicking() {
            self.0.borrow_mut().on_dropped();
        }
    }
}
