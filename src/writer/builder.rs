//! The settings of a writer, with their defaults and bounds.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Address, AddressError};
use crate::backoff::Backoff;
use crate::clock;
use crate::error::{SettingError, StartError};
use crate::event::WriterEvent;
use crate::num::to_u64;
use crate::observer::Observer;
use crate::own_thread::OwnThread;
use crate::sys::Stream;
use crate::writer::Writer;
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::settings::Timing;
use crate::writer::settings::{Limits, Overflow};
use crate::writer::shared::Shared;
use crate::writer::state::State;
use crate::writer::thread::drop_notice::{DropNotice, DropNotices};
use crate::writer::thread::kernel::System;
use crate::writer::thread::run;
use crate::writer::thread::worker::{Options, Worker};

/// The settings of a [`Writer`], made by [`Writer::builder`].
///
/// Every setting has a default that suits a daemon which sends telemetry; the bounds are checked by
/// [`start`](Self::start).
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::{Overflow, Writer};
///
/// let writer = Writer::builder("/tmp/nobody-is-there.sock")
///     .max_queued_messages(1_000)
///     .overflow(Overflow::DropOldest)
///     .backoff_max(Duration::from_millis(200))
///     .on_event(|event| eprintln!("telemetry: {event}"))
///     .start()?;
/// # writer.shutdown(Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct WriterBuilder {
    address: Result<Address, AddressError>,
    max_queued_messages: usize,
    max_queued_bytes: usize,
    overflow: Overflow,
    delivery: Delivery,
    shutdown_level: FlushLevel,
    max_message_len: usize,
    write_timeout: Duration,
    connect_timeout: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
    send_buffer_size: Option<usize>,
    linger: Duration,
    keepalive: Option<Duration>,
    expect_peer_uid: Option<u32>,
    thread_name: String,
    observer: Observer<WriterEvent>,
    drop_notices: Option<DropNotices>,
}

impl WriterBuilder {
    pub(crate) fn new(address: &OsStr) -> Self {
        Self {
            address: Address::new(address),
            max_queued_messages: 10_000,
            max_queued_bytes: 64 * 1024 * 1024,
            overflow: Overflow::Refuse,
            delivery: Delivery::AtMostOnce,
            shutdown_level: FlushLevel::Written,
            max_message_len: 10 * 1024 * 1024,
            write_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            send_buffer_size: Some(212_992),
            linger: Duration::from_micros(200),
            keepalive: None,
            expect_peer_uid: None,
            thread_name: "uds-ipc-writer".to_owned(),
            observer: Observer::none(),
            drop_notices: None,
        }
    }

    /// The most messages that the queue holds, whatever their length: at least 1, and 10,000 unless
    /// set. A message counts until the kernel has taken it; with `AtLeastOnce`, until a receipt
    /// covers it.
    pub fn max_queued_messages(mut self, messages: usize) -> Self {
        self.max_queued_messages = messages;
        self
    }

    /// The most bytes of messages that the queue holds, counted as for
    /// [`max_queued_messages`](Self::max_queued_messages): 64 MiB unless set, at least 1. A longer
    /// message is refused as too large.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.max_queued_bytes = bytes;
        self
    }

    /// What happens when the queue is full: the new message is refused unless set.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// What is promised of a message whose reader dies: [`Delivery::AtMostOnce`] unless set.
    ///
    /// With [`Delivery::AtLeastOnce`] every message counts against `max_queued_messages` and
    /// `max_queued_bytes` until a receipt covers it, and [`shutdown`](crate::Writer::shutdown)
    /// waits for the receipts. Set [`write_timeout`](Self::write_timeout) longer than the reader's
    /// handler may take for a batch: what the reader has not confirmed when the connection is given
    /// up is sent again. Each time that happens the next timeout is twice as long, up to 64 times,
    /// until a receipt comes within the timeout that is set.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// What [`shutdown`](crate::Writer::shutdown), and the drop of the last handle, wait for: until
    /// all messages are written, unless set, or read, or handled. With `AtLeastOnce` they always
    /// wait until all is handled.
    ///
    /// [`WriterReport::reached`](crate::WriterReport::reached) says whether it was reached in time.
    /// When a reader has closed a connection, also for its silence, the writer cannot know what the
    /// reader did with the last messages, and reports [`Lost`](crate::error::FlushError::Lost): a
    /// [`keepalive`](Self::keepalive) shorter than the reader's `idle_timeout` avoids that. `Read`
    /// is for Linux only: elsewhere [`start`](Self::start) refuses it.
    pub fn shutdown_level(mut self, level: FlushLevel) -> Self {
        self.shutdown_level = level;
        self
    }

    /// The longest message, in bytes: 10 MiB unless set, at least 1. A longer one is refused by the
    /// send: a reader with the default limit would close the connection for it.
    pub fn max_message_len(mut self, bytes: usize) -> Self {
        self.max_message_len = bytes;
        self
    }

    /// How long the reader may take no byte before the connection is given up and made anew: 1 s
    /// unless set, more than nothing. Every byte restarts it, so that a slow reader is not a
    /// dead one. A reader that was only held up then handles the rest of the old connection beside
    /// the new one: set it longer where order across such a pause matters.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a reader that is there may take to accept before that counts as a failed try: 1 s
    /// unless set, more than nothing. It matters when the reader's backlog is full; otherwise a
    /// Unix socket connects at once or not at all.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The first wait between two tries to connect: 10 ms unless set, more than nothing. Each wait
    /// is twice the one before, up to [`backoff_max`](Self::backoff_max); a connection that
    /// lasted a second, or gave a receipt for a message, starts over. After a loss the wait is at
    /// least 20 ms, so that a process that dies can close its listening socket before.
    pub fn backoff_min(mut self, wait: Duration) -> Self {
        self.backoff_min = wait;
        self
    }

    /// The longest wait between two tries to connect: 1 s unless set, at least
    /// [`backoff_min`](Self::backoff_min). At 1,000 messages a second the default queue holds
    /// 10 s of an outage, so that a second of it is well spent waiting. A reader that is restarted
    /// again and again within a second is waited for longer each time.
    ///
    /// On Linux the writer notices when a socket comes to its path, and ends the wait then: not
    /// after a loss, but once it has found that nobody listens, and from waits of 100 ms on. It
    /// watches the directory for that with `inotify(7)`. Where there is no such directory yet, or
    /// the user has no instance left, only time ends the wait.
    pub fn backoff_max(mut self, wait: Duration) -> Self {
        self.backoff_max = wait;
        self
    }

    /// `SO_SNDBUF`, in bytes: 212,992 unless set, which no system limits further and which Linux
    /// doubles. `None` leaves the system's own. It is how much the kernel holds for a reader
    /// that is busy, and the most that one killed reader can lose.
    pub fn send_buffer_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.send_buffer_size = bytes.into();
        self
    }

    /// How long the writer's thread lets messages gather after a write, without being woken for
    /// each: 200 µs unless set. To wake it costs the sender a system call, some microseconds; a
    /// message that comes while the thread lingers waits up to this long. A full block ends the
    /// wait. Zero wakes the thread for every message that finds it idle. (Producers know it as the
    /// linger of Kafka's; it is not the socket option `SO_LINGER`.)
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sends an empty frame, which also asks the reader for a receipt, when nothing else was sent
    /// for this long: never unless set. A reader closes a silent connection after its idle timeout
    /// (10 s by default), which costs nothing but a reconnection.
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keepalive = interval.into();
        self
    }

    /// Sends only to a reader that this user runs: to any user's unless set. Checked after each
    /// connect, before the first byte; of use where other users may create the socket, above all
    /// with abstract names.
    pub fn expect_peer_uid(mut self, uid: impl Into<Option<u32>>) -> Self {
        self.expect_peer_uid = uid.into();
        self
    }

    /// The name of the writer's thread: `uds-ipc-writer` unless set, without NUL bytes. Linux shows
    /// its first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Gives every [`WriterEvent`] to `observer`, on the writer's own thread: nobody is told unless
    /// set. An observer may keep an event, or send it to another thread:
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::sync::mpsc;
    /// use uds_ipc::Writer;
    /// use uds_ipc::event::{ConnectError, WriterEvent};
    ///
    /// let (sender, events) = mpsc::channel();
    /// let writer = Writer::builder("/tmp/nobody-is-there.sock")
    ///     .on_event(move |event| drop(sender.send(event)))
    ///     .start()?;
    ///
    /// // On whatever thread:
    /// assert!(matches!(events.recv()?, WriterEvent::Connecting { .. }));
    /// match events.recv()? {
    ///     WriterEvent::ConnectFailed { cause: ConnectError::Io(error), .. } => {
    ///         assert_eq!(error.kind(), ErrorKind::NotFound);
    ///     }
    ///     other => panic!("{other}"),
    /// }
    /// # writer.shutdown(std::time::Duration::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(mut self, observer: impl Fn(WriterEvent) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Sends a message that tells of those for which there was no room: none is sent unless set.
    ///
    /// `make` makes it, on the writer's own thread, as soon as the queue has room again: so it
    /// comes behind what was accepted before the drops, and before what is accepted after them,
    /// but for what other threads send at that very moment. While drops go on there is one a
    /// second, and a shutdown sends the last. An empty message is not sent. A panic is caught and
    /// counted with the observer's.
    ///
    /// ```
    /// # use uds_ipc::{Reader, Writer};
    /// # use std::time::Duration;
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// let writer = Writer::builder(&path)
    ///     .max_queued_messages(2)
    ///     .drop_notice(|notice| format!("{notice}: the queue was full"))
    ///     .start()?;
    /// for number in 1..=5 {
    ///     let _ = writer.try_send(format!("message {number}"));
    /// }
    /// let reader = Reader::builder(&path).bind()?.start(|message| {
    ///     // message 1, message 2, dropped 3 messages (27 bytes) in the last 0.1 s: the …
    ///     println!("{}", String::from_utf8_lossy(message));
    /// })?;
    /// let report = writer.shutdown(Duration::from_secs(5))?;
    /// assert_eq!(report.metrics.sent.messages, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drop_notice<M: Into<Vec<u8>>>(
        mut self,
        make: impl Fn(DropNotice) -> M + Send + Sync + 'static,
    ) -> Self {
        self.drop_notices = Some(DropNotices::new(make));
        self
    }

    /// Starts the writer's thread, which connects by itself. A reader need not be there yet.
    ///
    /// A child made by `fork` without `exec` has no such thread: start after becoming a daemon.
    ///
    /// # Errors
    /// When the address is none, a setting is out of its bounds, or the system refuses a thread or
    /// a descriptor.
    pub fn start(self) -> Result<Writer, StartError> {
        let name = self.thread_name.clone();
        let worker = self.build()?;
        let shared = Arc::clone(&worker.shared);
        let thread = OwnThread::start(&name, || run(worker));
        let thread = thread.map_err(StartError::system("start the thread", &shared.address))?;
        Ok(Writer::new_started(shared, thread))
    }

    /// All but the thread.
    pub(crate) fn build(self) -> Result<Worker<System>, StartError> {
        let Limited {
            limits,
            max_message_len,
        } = self.limits()?;
        self.check_times()?;
        self.check_level()?;
        SettingError::check_thread_name(&self.thread_name)?;
        let address = self.address?;
        let shared = Shared::new(
            address.clone(),
            limits,
            max_message_len,
            self.delivery,
            self.shutdown_level,
        );
        let refused = StartError::system("make what wakes the thread", &address);
        let shared = Arc::new(shared.map_err(refused)?);
        let timing = Timing {
            write_timeout: self.write_timeout,
            connect_timeout: self.connect_timeout,
            linger: self.linger,
            keepalive: self.keepalive,
        };
        let options = Options {
            send_buffer_size: self.send_buffer_size,
            expect_peer_uid: self.expect_peer_uid,
        };
        let backoff = Backoff::new(self.backoff_min, self.backoff_max, fastrand::u64(..));
        let state = State::new(clock::now(), backoff, timing, self.delivery);
        let system = System::default();
        let mut worker = Worker::new(system, shared, state, self.observer, options);
        worker.drop_notices = self.drop_notices;
        Ok(worker)
    }

    fn limits(&self) -> Result<Limited, SettingError> {
        for (setting, value) in [
            ("max_queued_messages", self.max_queued_messages),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_message_len", self.max_message_len),
        ] {
            SettingError::check(setting, value, value > 0, "at least 1")?;
        }
        let limits = Limits {
            messages: to_u64(self.max_queued_messages),
            bytes: to_u64(self.max_queued_bytes),
            overflow: self.overflow,
        };
        Ok(Limited {
            limits,
            max_message_len: self.max_message_len.min(self.max_queued_bytes),
        })
    }

    fn check_level(&self) -> Result<(), SettingError> {
        let (level, is_told) = (self.shutdown_level, Stream::TELLS_UNREAD);
        SettingError::check(
            "shutdown_level",
            level,
            level != FlushLevel::Read || is_told,
            "Written or Handled on this system",
        )
    }

    fn check_times(&self) -> Result<(), SettingError> {
        for (setting, value) in [
            ("write_timeout", self.write_timeout),
            ("connect_timeout", self.connect_timeout),
            ("backoff_min", self.backoff_min),
            ("keepalive", self.keepalive.unwrap_or(Duration::MAX)),
        ] {
            SettingError::check(setting, value, !value.is_zero(), "more than nothing")?;
        }
        let (min, max) = (self.backoff_min, self.backoff_max);
        SettingError::check("backoff_max", max, max >= min, "at least backoff_min")
    }
}

struct Limited {
    limits: Limits,
    max_message_len: usize,
}
