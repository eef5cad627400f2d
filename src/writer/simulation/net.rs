//! The kernel and the reader of the simulated world: connections as runs of bytes, and what has become of each message.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::{Duration, Instant};

use integer_encoding::VarInt;

use super::super::kernel::{Kernel, Socket};
use super::super::outbox::Delivery;
use super::history::{Answers, Lie, Setting};
use crate::address::Address;
use crate::frame::{self, Parsed};
use crate::metrics::{Tally, widen};
use crate::peer::Credentials;
use crate::reader::{SimulatedBatch, SimulatedConnection};
use crate::sys::{Readiness, Received, Sent, Waker, Wanted};

/// What has become of a message that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) len: usize,
    /// The kernel has taken its last byte, on some connection.
    pub(super) taken: bool,
    /// The reader has taken its last byte from the kernel.
    pub(super) drained: bool,
    /// The reader has decoded it, and called the handler.
    pub(super) read: bool,
    /// The end of its batch was good.
    pub(super) stored: bool,
}

/// The bytes of message `number`: they say which it is, and whether they belong together.
pub(super) fn message(number: usize, len: usize) -> Vec<u8> {
    let mut message = vec![number.to_le_bytes()[0]; len.max(4)];
    message[..4].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    message
}

fn number_of(message: &[u8]) -> usize {
    usize::try_from(u32::from_be_bytes(message[..4].try_into().unwrap())).unwrap()
}

/// A connection, from the writer to the reader and back.
pub(super) struct Connection {
    to_reader: Vec<u8>,
    to_writer: Vec<u8>,
    machine: SimulatedConnection,
    /// What the kernel has of the frame that the writer is in.
    half: Vec<u8>,
    /// Messages that the kernel has taken whole, and the reader has not decoded; with the bytes up to their ends.
    in_flight: VecDeque<(usize, u64)>,
    taken_len: u64,
    drained_len: u64,
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
    /// The reader has closed it.
    is_gone: bool,
    /// It had not read everything then.
    was_reset: bool,
    /// The kernel has not told so yet. It does once.
    reset_untold: bool,
}

/// Everything but the writer.
pub(super) struct Net {
    pub(super) setting: Setting,
    pub(super) now: Instant,
    pub(super) is_reader_up: bool,
    pub(super) is_backlog_full: bool,
    /// The kernel takes at most so many bytes at a time.
    pub(super) most: usize,
    pub(super) no_memory: bool,
    /// What producers do while a write is under way.
    pub(super) meanwhile: Option<Box<dyn FnOnce()>>,
    pub(super) fates: Vec<Fate>,
    connection: Option<Connection>,
    /// Given up by the writer; the reader still has to read the rest.
    old: Vec<Connection>,
    /// Messages that the kernel took whole, for the first time and again.
    pub(super) taken: Tally,
    pub(super) taken_again: Tally,
    pub(super) read: u64,
    pub(super) stored: u64,
    /// Taken whole, and not to be read any more.
    pub(super) lost: u64,
    /// Connections that the reader closed with something unread, and those of them with whole messages unread.
    pub(super) resets: u64,
    pub(super) losses: u64,
    /// Receipts that could not be true.
    pub(super) lies: u64,
    /// Connections that the reader ended in the middle of a message.
    pub(super) cuts: u64,
    /// How long the writer wanted to wait, when it last did.
    pub(super) last_wait: Option<Duration>,
    has_waited: bool,
    /// When the kernel began to take nothing, or the reader gave its last receipt since then.
    refused_at: Option<Instant>,
}

impl Connection {
    fn new(reader_limit: usize) -> Self {
        Self {
            to_reader: Vec::new(),
            to_writer: Vec::new(),
            machine: SimulatedConnection::new(reader_limit),
            half: Vec::new(),
            in_flight: VecDeque::new(),
            taken_len: 0,
            drained_len: 0,
            last: None,
            last_answer: None,
            has_lost: false,
            is_shut: false,
            is_mute: false,
            mute_told: false,
            is_gone: false,
            was_reset: false,
            reset_untold: false,
        }
    }

    /// The reader is gone from it.
    fn close(&mut self) {
        self.was_reset = !self.to_reader.is_empty();
        self.reset_untold = self.was_reset;
        (self.is_gone, self.is_shut) = (true, true);
        self.to_reader.clear();
    }

    fn send_answer(&mut self, bytes: &[u8]) {
        if !self.is_mute && !self.is_gone {
            self.last_answer = bytes.last().copied().or(self.last_answer);
            self.to_writer.extend_from_slice(bytes);
        }
    }
}

impl Net {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: Instant::now(),
            is_reader_up: true,
            is_backlog_full: false,
            most: usize::MAX,
            no_memory: false,
            meanwhile: None,
            fates: Vec::new(),
            connection: None,
            old: Vec::new(),
            taken: Tally::default(),
            taken_again: Tally::default(),
            read: 0,
            stored: 0,
            lost: 0,
            resets: 0,
            losses: 0,
            lies: 0,
            cuts: 0,
            last_wait: None,
            has_waited: false,
            refused_at: None,
        }
    }

    /// The writer waits for no descriptor, only for time.
    pub(super) fn wait(&mut self, time: Duration) {
        assert!(!time.is_zero(), "a wait that is over before it begins");
        (self.last_wait, self.has_waited) = (Some(time), true);
    }

    /// Whether the writer's last step was to wait, and nothing had come.
    pub(super) fn take_waited(&mut self) -> bool {
        std::mem::take(&mut self.has_waited)
    }

    /// The reader has a turn at the connection: reads at most `most` bytes, and ends the batch.
    pub(super) fn read(&mut self, most: usize, end: BatchEnd) {
        if let Some(mut connection) = self.connection.take() {
            self.read_from(&mut connection, most, end);
            self.connection = Some(connection);
        }
    }

    fn read_from(&mut self, connection: &mut Connection, most: usize, end: BatchEnd) {
        if connection.is_gone {
            return;
        }
        let len = connection.to_reader.len().min(most);
        let bytes: Vec<u8> = connection.to_reader.drain(..len).collect();
        connection.drained_len += widen(len);
        for (number, _) in connection.in_flight.iter().take_while(|(_, end)| *end <= connection.drained_len) {
            self.fates[*number].drained = true;
        }
        let mut numbers = Vec::new();
        let batch = connection.machine.take(&bytes, |bytes| {
            let number = number_of(bytes);
            assert_eq!(bytes, message(number, self.fates[number].len), "a message was torn");
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
        });
        for number in &numbers {
            let fate = &mut self.fates[*number];
            if self.setting.delivery == Delivery::AtMostOnce {
                assert!(!fate.read, "{number} came twice");
            }
            self.read += u64::from(!fate.read);
            fate.read = true;
        }
        let must_close = match end {
            BatchEnd::Never => return,
            BatchEnd::NotStored => {
                let must_close = connection.machine.end_batch(batch, false);
                let comes_again = self.setting.delivery == Delivery::AtLeastOnce && batch.messages > 0;
                assert!(must_close || !comes_again, "what follows is handled before what comes again");
                must_close
            }
            BatchEnd::Stored => self.end_batch(connection, batch, &numbers),
        };
        if must_close {
            self.lose(connection);
        } else if batch.is_malformed {
            self.answer_from(connection, usize::MAX, Answers::AtOnce);
            self.lose(connection);
        } else {
            self.answer_from(connection, usize::MAX, Answers::AtOnce);
        }
    }

    fn end_batch(&mut self, connection: &mut Connection, batch: SimulatedBatch, numbers: &[usize]) -> bool {
        for number in numbers {
            self.stored += u64::from(!std::mem::replace(&mut self.fates[*number].stored, true));
        }
        connection.machine.end_batch(batch, true)
    }

    /// Reads to the end of what was sent, and closes.
    fn read_rest(&mut self, connection: &mut Connection) {
        if !connection.is_gone {
            connection.is_shut = true;
            if !connection.to_reader.is_empty() {
                self.read_from(connection, usize::MAX, BatchEnd::Stored);
            }
            if !connection.is_gone {
                self.answer_from(connection, usize::MAX, Answers::Late);
                self.lose(connection);
            }
        }
    }

    /// The connection is over for the reader: what it has not read of it is lost.
    fn lose(&mut self, connection: &mut Connection) {
        self.lost += widen(connection.in_flight.len());
        connection.has_lost = !connection.in_flight.is_empty();
        connection.in_flight.clear();
        connection.close();
    }

    pub(super) fn read_old(&mut self) {
        for mut connection in std::mem::take(&mut self.old) {
            self.read_rest(&mut connection);
        }
    }

    pub(super) fn answer(&mut self, most: usize) {
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

    pub(super) fn lie(&mut self, lie: Lie) {
        let Some(connection) = &mut self.connection else { return };
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

    pub(super) fn close_sending(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.is_mute = true;
        }
    }

    pub(super) fn forbid_sending(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.is_shut = true;
        }
    }

    pub(super) fn close_idle(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            self.read_rest(&mut connection);
            self.connection = Some(connection);
        }
    }

    pub(super) fn hang_up(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            if !connection.is_gone {
                self.lose(&mut connection);
            }
            self.connection = Some(connection);
        }
    }

    pub(super) fn stop(&mut self) {
        self.close_idle();
        self.read_old();
        self.is_reader_up = false;
    }

    pub(super) fn kill(&mut self) {
        self.hang_up();
        for mut connection in std::mem::take(&mut self.old) {
            self.lose(&mut connection);
        }
        self.is_reader_up = false;
    }

    /// From now on the reader is a good one, on a connection that was none of the bad.
    pub(super) fn reform(&mut self) {
        self.read_old();
        let is_bad = |connection: &Connection| connection.is_mute || connection.is_shut;
        if self.setting.answers == Answers::Never || self.connection.as_ref().is_some_and(is_bad) {
            self.close_idle();
        }
        self.setting.answers = Answers::AtOnce;
        // A larger buffer saves steps; where the reader hangs up on what is too long, it must not hold all of that.
        self.setting.socket_size = if self.setting.reader_limit == usize::MAX { 1 << 20 } else { 4096 };
        (self.is_reader_up, self.is_backlog_full, self.most) = (true, false, usize::MAX);
    }

    /// Messages that the kernel has whole, and the reader has not read.
    pub(super) fn in_kernel(&self) -> u64 {
        self.connection.iter().chain(&self.old).map(|connection| widen(connection.in_flight.len())).sum()
    }

    fn take(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        let Some(mut connection) = self.connection.take() else { panic!("a write without a connection") };
        let sent = self.take_into(&mut connection, slices);
        self.connection = Some(connection);
        sent
    }

    fn take_into(&mut self, connection: &mut Connection, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(!bytes.is_empty(), "a write of nothing");
        if connection.is_shut {
            // Which of the two it is depends on how far the call has come when the reader goes.
            let is_told = self.most % 2 == 1 && std::mem::take(&mut connection.reset_untold);
            return Err(
                if is_told { io::ErrorKind::ConnectionReset } else { io::ErrorKind::BrokenPipe }.into()
            );
        }
        if self.no_memory {
            self.refused_at.get_or_insert(self.now);
            return Ok(Sent::NoMemory);
        }
        let room = self.setting.socket_size.saturating_sub(connection.to_reader.len());
        let len = bytes.len().min(room).min(self.most);
        if len == 0 {
            self.refused_at.get_or_insert(self.now);
            return Ok(Sent::Blocked);
        }
        self.refused_at = None;
        connection.to_reader.extend_from_slice(&bytes[..len]);
        connection.half.extend_from_slice(&bytes[..len]);
        let half_from = connection.taken_len + widen(len) - widen(connection.half.len());
        connection.taken_len += widen(len);
        let mut at = 0;
        while let Some(Parsed::Length { payload_len, prefix_len }) =
            connection.half.get(at..).map(frame::parse_prefix)
        {
            let start = at + prefix_len.get();
            let len = usize::try_from(payload_len).unwrap();
            let Some(bytes) = connection.half.get(start..start + len) else { break };
            at = start + len;
            if len > 0 {
                let number = number_of(bytes);
                let fate = &mut self.fates[number];
                assert_eq!(bytes, message(number, fate.len), "a frame was torn");
                let again = std::mem::replace(&mut fate.taken, true);
                *(if again { &mut self.taken_again } else { &mut self.taken }) += Tally::one(len);
                connection.in_flight.push_back((number, half_from + widen(at)));
            }
        }
        connection.half.drain(..at);
        Ok(Sent::Some(len))
    }

    fn give(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(connection) = &mut self.connection else { panic!("a read without a connection") };
        if connection.to_writer.is_empty() {
            if std::mem::take(&mut connection.reset_untold) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let is_over = connection.is_gone || connection.is_mute;
            connection.mute_told |= is_over;
            return Ok(if is_over { Received::End } else { Received::Nothing });
        }
        let len = connection.to_writer.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(connection.to_writer.drain(..len)) {
            *place = byte;
        }
        // Whoever gives receipts is alive.
        self.refused_at = self.refused_at.map(|_| self.now);
        Ok(Received::Some(len))
    }

    fn readiness(&mut self, connected: bool, wanted: Wanted, timeout: Option<Duration>) -> Readiness {
        let connection = self.connection.as_ref().filter(|_| connected);
        assert!(
            !(wanted.bytes && connection.is_some_and(|connection| connection.mute_told)),
            "a wait for a receipt from a peer that will send none: it would never sleep"
        );
        let ready = connection.map_or(Readiness::default(), |connection| Readiness {
            woken: false,
            hangup: connection.is_gone,
            room: wanted.room
                && (connection.is_shut || connection.to_reader.len() < self.setting.socket_size),
            bytes: wanted.bytes
                && (!connection.to_writer.is_empty() || connection.is_gone || connection.is_mute),
        });
        if wanted.room && !ready.hangup {
            let longest = match self.setting.delivery {
                Delivery::AtMostOnce => self.setting.timing.write_timeout,
                // It doubles with each connection that times out, up to here.
                Delivery::AtLeastOnce => self.setting.timing.write_timeout * 64,
            };
            let end = self.refused_at.expect("a write was refused") + longest;
            assert!(
                timeout.is_some_and(|timeout| self.now + timeout <= end),
                "a peer that takes nothing is waited for too long"
            );
        }
        if !(ready.hangup || ready.room || ready.bytes) {
            assert_ne!(timeout, Some(Duration::ZERO), "a wait that is over before it begins");
            (self.last_wait, self.has_waited) = (timeout, true);
        }
        ready
    }

    /// The writer has closed its end.
    fn on_dropped(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        self.refused_at = None;
        // At least once only a peer that has read what it had of the message is known to have refused it.
        let refuses = self.setting.delivery == Delivery::AtMostOnce || !connection.was_reset;
        self.cuts += u64::from(connection.is_shut && !connection.half.is_empty() && refuses);
        self.resets += u64::from(connection.was_reset);
        self.losses += u64::from(connection.was_reset && connection.has_lost);
        if !connection.is_gone {
            connection.to_writer.clear();
            self.old.push(connection);
        }
    }
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchEnd {
    Stored,
    NotStored,
    /// The reader dies before.
    Never,
}

/// The writer's side of the world.
pub(super) struct SimulatedKernel(pub(super) Rc<RefCell<Net>>);

/// The writer's end of the connection.
pub(super) struct SimulatedSocket(Rc<RefCell<Net>>);

impl Kernel for SimulatedKernel {
    type Socket = SimulatedSocket;

    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn connect(&self, _: &Address, _: Option<usize>) -> io::Result<SimulatedSocket> {
        let mut net = self.0.borrow_mut();
        assert!(net.connection.is_none(), "two connections at once");
        if !net.is_reader_up {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if net.is_backlog_full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        net.connection = Some(Connection::new(net.setting.reader_limit));
        Ok(SimulatedSocket(Rc::clone(&self.0)))
    }

    fn wait(
        &self,
        _: &Waker,
        socket: Option<&SimulatedSocket>,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness {
        self.0.borrow_mut().readiness(socket.is_some(), wanted, timeout)
    }
}

impl Socket for SimulatedSocket {
    fn peer(&self) -> io::Result<Credentials> {
        Ok(Credentials { uid: 0, gid: 0, pid: None })
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

    fn unread(&self) -> Option<u64> {
        let net = self.0.borrow();
        // What the kernel says is never too low, and often too high.
        net.connection.as_ref().map(|connection| match connection.to_reader.len() {
            0 => 0,
            len => widen(len * 2 + 100),
        })
    }

    fn lost_unread(&self) -> bool {
        let mut net = self.0.borrow_mut();
        net.connection.as_mut().is_some_and(|connection| std::mem::take(&mut connection.reset_untold))
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        // After a failed check nothing matters any more.
        if let Ok(mut net) = self.0.try_borrow_mut() {
            net.on_dropped();
        }
    }
}
