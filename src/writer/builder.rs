//! The settings of a writer, with their defaults and bounds.

use std::ffi::OsStr;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::address::{Address, AddressError, Host, Kind, Tcp};
use crate::backoff::Backoff;
use crate::buffer_size::BufferSize;
use crate::clock;
use crate::descriptor_store::{End, Store};
use crate::error::{SettingError, StartError};
use crate::event::WriterEvent;
use crate::num::to_u64;
use crate::observer::Observer;
use crate::own_thread::OwnThread;
use crate::sys::{self, Abilities, AdoptError, OwnedDescriptor, Stream};
use crate::writer::Writer;
use crate::writer::connector::{Connector, Source};
use crate::writer::settings::Delivery;
use crate::writer::settings::FlushLevel;
use crate::writer::settings::Timing;
use crate::writer::settings::{Limits, Overflow};
use crate::writer::shared::Shared;
use crate::writer::state::State;
use crate::writer::thread::dial::{DialSettings, Dialer};
use crate::writer::thread::drop_notice::{DropNotice, DropNotices};
use crate::writer::thread::inherit;
use crate::writer::thread::kernel::System;
use crate::writer::thread::memory::Memory;
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
    source: Result<Source, AdoptError>,
    max_queued_messages: usize,
    max_queued_bytes: usize,
    overflow: Overflow,
    delivery: Delivery,
    shutdown_level: FlushLevel,
    max_message_len: usize,
    /// `None` is what suits the stream.
    write_timeout: Option<Duration>,
    connect_timeout: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
    send_buffer_size: BufferSize,
    tcp_keepalive: Option<Duration>,
    tcp_user_timeout: Option<Duration>,
    allow_remote: bool,
    linger: Duration,
    keepalive: Option<Duration>,
    expect_peer_uid: Option<u32>,
    crash_proof: bool,
    descriptor_store: bool,
    thread_name: String,
    observer: Observer<WriterEvent>,
    drop_notices: Option<DropNotices>,
}

impl WriterBuilder {
    /// To an address.
    pub(crate) fn to(address: &OsStr) -> Self {
        Self::new(Address::new(address), Ok(Source::Address))
    }

    /// Over one stream.
    pub(crate) fn over(stream: OwnedDescriptor) -> Self {
        match Stream::adopt_to_write(stream) {
            Ok(stream) => {
                let address = Address::of_descriptor(stream.number());
                Self::new(Ok(address), Ok(Source::Stream(stream)))
            }
            Err(error) => Self::new(Ok(Address::label("connector")), Err(error)),
        }
    }

    /// Over the streams that a connector makes.
    pub(crate) fn with(connector: impl Connector) -> Self {
        let source = Source::Connector(Mutex::new(Box::new(connector)));
        Self::new(Ok(Address::label("connector")), Ok(source))
    }

    fn new(address: Result<Address, AddressError>, source: Result<Source, AdoptError>) -> Self {
        Self {
            address,
            source,
            max_queued_messages: 10_000,
            max_queued_bytes: 64 * 1024 * 1024,
            overflow: Overflow::Refuse,
            delivery: Delivery::AtMostOnce,
            shutdown_level: FlushLevel::Written,
            max_message_len: 10 * 1024 * 1024,
            write_timeout: None,
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            send_buffer_size: BufferSize::Best,
            tcp_keepalive: Some(Duration::from_secs(10)),
            tcp_user_timeout: Some(Duration::from_secs(10)),
            allow_remote: false,
            linger: Duration::from_micros(200),
            keepalive: None,
            expect_peer_uid: None,
            // CI runs the tests with it as well.
            crash_proof: cfg!(crash_proof_by_default),
            descriptor_store: false,
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
    /// message is refused as too large. The memory for them is a little more; for messages of 40 to
    /// 120 KiB up to twice as much, since few fit into a slot of 128 KiB.
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

    /// Whether what is queued outlives this process: no, unless set. On Linux, over Unix sockets.
    ///
    /// The queue then stands in memory that the reader is given with the first byte of each
    /// connection. When this process has died, however it died (SIGKILL, an abort, a fault, `exit`,
    /// a return from `main` without [`shutdown`](crate::Writer::shutdown)), the reader handles what
    /// it finds there, after all that came by the socket, and no message twice. It must be a reader
    /// of this crate, and this process must be of its user or of root, or of whom else it
    /// [recovers](crate::ReaderBuilder::recover); every other reader ignores what it is given.
    /// Whoever reads at the address can keep that memory, and see what is queued later, and what
    /// was sent before as far as it was not written over. Nothing can be saved where no connection
    /// was made yet, where no reader is there when this process dies, or both die.
    ///
    /// What is handed over as `Vec` or `Bytes` is copied. Where memory cannot be passed, all is as
    /// without, and [`NotCrashProof`](crate::event::WriterEvent::NotCrashProof) says why. `start`
    /// waits for the first try to connect (at most 100 ms), and the first message on a connection
    /// until it is written (at most 10 ms): see [`guide::crash_proof`](crate::guide::crash_proof).
    pub fn crash_proof(mut self, crash_proof: bool) -> Self {
        self.crash_proof = crash_proof;
        self
    }

    /// Whether a [`crash_proof`](Self::crash_proof) writer's memory is kept over a restart of its
    /// service: `false` unless set. What this process leaves when it dies, and no reader has, the
    /// next one sends: where no reader was there, say. The event
    /// [`Inherited`](crate::event::WriterEvent::Inherited) tells how much it was.
    ///
    /// `start` hands the memory to systemd (`FDSTORE=1`, see `sd_notify(3)`), and takes what the
    /// process before this one had handed over for a writer to the same address. What is left in
    /// that stands in the queue before `start` returns, ahead of all new messages, each whole and
    /// in order; for what finds no room there the rules of [`overflow`](Self::overflow) hold. If a
    /// reader has that memory it is left to the reader. If the process died with a connection,
    /// messages of which a part may have been sent are left out with
    /// [`AtMostOnce`](crate::Delivery::AtMostOnce), and come again with
    /// [`AtLeastOnce`](crate::Delivery::AtLeastOnce).
    ///
    /// The service needs `FileDescriptorStoreMax=`, one for each writer, and `Restart=`; systemd
    /// forgets what it keeps when the service is stopped, unless that has
    /// `FileDescriptorStorePreserve=` (systemd 254). All descriptors that systemd passes to this
    /// process are taken over, and its variables removed from the environment: start the writer
    /// early, before threads that run C code, and take sockets of other kinds by
    /// [`take_socket`](crate::systemd::take_socket).
    ///
    /// It does nothing outside of a service, that is without `NOTIFY_SOCKET`, and on other systems
    /// than Linux. What cannot be stored is the event
    /// [`NotifyFailed`](crate::event::WriterEvent::NotifyFailed).
    #[cfg(all(unix, feature = "systemd"))]
    pub fn descriptor_store(mut self, descriptor_store: bool) -> Self {
        self.descriptor_store = descriptor_store;
        self
    }

    /// The longest message, in bytes: 10 MiB unless set, at least 1. A longer one is refused by the
    /// send: a reader with the default limit would close the connection for it.
    pub fn max_message_len(mut self, bytes: usize) -> Self {
        self.max_message_len = bytes;
        self
    }

    /// How long the reader may take no byte before the connection is given up and made anew: 1 s
    /// unless set, and for ever over a [stream that was given](crate::Writer::over), after which
    /// there is no other; more than nothing. Every byte restarts it, so that a slow reader is not a
    /// dead one. Over TCP a peer that is gone shows only once the kernel's buffer is full: before
    /// that [`tcp_user_timeout`](Self::tcp_user_timeout) counts. A reader that was only held up
    /// then handles the rest of the old connection beside the new one: set it longer where
    /// order across such a pause matters.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = Some(timeout);
        self
    }

    /// How long a reader that is there may take to accept before that counts as a failed try: 1 s
    /// unless set, more than nothing. It matters when the reader's backlog is full; otherwise a
    /// Unix socket connects at once or not at all. Over TCP it is the time for the look-up of the
    /// name and for the answer together.
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

    /// `SO_SNDBUF`, in bytes. Unless set it is 212,992 for a Unix socket, which no system limits
    /// further and which Linux doubles, and the system's own for TCP, which grows as needed.
    /// `None` leaves the system's own. It is how much the kernel holds for a reader that is
    /// busy, and the most that one killed reader can lose. A stream that was given keeps its own.
    pub fn send_buffer_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.send_buffer_size = BufferSize::set(bytes.into());
        self
    }

    /// After how long without a word from the peer's kernel a TCP connection is probed: 10 s unless
    /// set; `None` is never. The probes follow each other at a fifth of that, and the fifth without
    /// an answer ends the connection. On Linux, where a
    /// [`tcp_user_timeout`](Self::tcp_user_timeout) is set, that takes the place of the number: the
    /// connection ends at the first look at which a probe has gone without an answer and the peer
    /// has been silent for so long. Whole seconds, at least one (`TCP_KEEPIDLE`, see
    /// [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html)). Where the cable is cut while the
    /// writer is idle, this is what notices.
    pub fn tcp_keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.tcp_keepalive = idle.into();
        self
    }

    /// How long bytes that were written over TCP may go without an acknowledgement of the peer's
    /// kernel before the connection ends: 10 s unless set; `None` leaves it to the kernel, which
    /// tries for some 15 minutes (`TCP_USER_TIMEOUT`). On Linux only.
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.tcp_user_timeout = timeout.into();
        self
    }

    /// Whether a TCP address may be another than a loopback address: not unless set. One that is
    /// written as a number is refused by [`start`](Self::start); what a name leads to is found out
    /// later, and told by the event
    /// [`ConnectFailed`](crate::event::WriterEvent::ConnectFailed). Over TCP nobody says who
    /// is at the other end, and nothing is encrypted: lead the stream through ssh, stunnel or
    /// `WireGuard` instead, and connect to the near end of that.
    pub fn allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
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
    ///     // message 1, message 2, dropped 3 messages (27 bytes) in the last second: the …
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
        shared.wait_for_first_try();
        Ok(Writer::new_started(shared, thread))
    }

    /// All but the thread.
    pub(crate) fn build(mut self) -> Result<Worker<System>, StartError> {
        let Limited {
            limits,
            max_message_len,
        } = self.limits()?;
        self.check_times()?;
        SettingError::check_thread_name(&self.thread_name)?;
        let Self {
            address, source, ..
        } = &mut self;
        let address = mem::replace(address, Err(AddressError::Empty))?;
        let source = match mem::replace(source, Ok(Source::Used)) {
            Ok(Source::Address) => self.open(&address),
            given => given.map_err(NotTaken::Adopt),
        };
        let source = source.map_err(|error| match error {
            NotTaken::Adopt(AdoptError::Kind(kind)) => StartError::NotAStream { kind },
            NotTaken::Adopt(AdoptError::Io(error)) => {
                StartError::system("take the stream", &address)(error)
            }
            NotTaken::Setting(error) => error.into(),
        })?;
        let abilities = match &source {
            Source::Stream(stream) => stream.abilities(),
            Source::Address => Stream::abilities_at(&address),
            Source::Connector(_) | Source::Used => Stream::MOST_ABILITIES,
        };
        self.check_abilities(abilities)?;
        if address.port() == Some(0) {
            return Err(StartError::NoPort { address });
        }
        if let (false, Some(found)) = (self.allow_remote, remote_ip(&address)) {
            return Err(StartError::NotLoopback { found });
        }
        let store = if self.crash_proof && self.descriptor_store {
            Store::open(End::Writer, &address)
        } else {
            Ok(None)
        };
        let made = self.crash_proof.then(|| Memory::new(limits)).transpose();
        let refused_memory = made.as_ref().err().cloned();
        let (mut memory, arena) = made.ok().flatten().unzip();
        let shared = Shared::new(
            address.clone(),
            limits,
            max_message_len,
            self.delivery,
            self.shutdown_level,
            abilities,
            arena,
        );
        let refused = StartError::system("make what wakes the thread", &address);
        let shared = Arc::new(shared.map_err(refused)?);
        // Behind what may fail: what is taken is nobody else's any more. Before the new memory is
        // kept: there may be room for one only.
        let left = store.as_ref().ok().and_then(Option::as_ref);
        let left = left.map(|store| inherit::take(store, self.delivery));
        let (left, not_taken) = left.unwrap_or_default();
        let kept = store.and_then(|store| match (&mut memory, store) {
            (Some(memory), Some(store)) => memory.keep_in(store),
            _ => Ok(()),
        });
        // There is no other stream to go over to, however slow the reader is.
        let patience = match source {
            Source::Stream(_) => Duration::MAX,
            Source::Address | Source::Connector(_) | Source::Used => WRITE_TIMEOUT,
        };
        let write_timeout = self.write_timeout.unwrap_or(patience);
        let timing = Timing {
            write_timeout,
            connect_timeout: self.connect_timeout,
            linger: self.linger,
            keepalive: self.keepalive,
        };
        let options = Options {
            expect_peer_uid: self.expect_peer_uid,
            is_exact: Options::are_numbers_exact(self.delivery, self.overflow),
        };
        let backoff = Backoff::new(self.backoff_min, self.backoff_max, fastrand::u64(..));
        let mut state = State::new(clock::now(), backoff, timing, self.delivery);
        if matches!(source, Source::Stream(_)) {
            state.be_single();
        }
        let dialer = Dialer::new(
            source,
            DialSettings {
                connect_timeout: self.connect_timeout,
                send_buffer_size: self.send_buffer_size,
                tcp_keepalive: self.tcp_keepalive,
                tcp_user_timeout: self.tcp_user_timeout,
                allow_remote: self.allow_remote,
            },
        );
        let system = System::new(dialer, memory);
        let mut worker = Worker::new(system, shared, state, self.observer, options);
        worker.passing.refused = refused_memory;
        worker.passing.inherited = inherit::send(left, &worker.shared);
        worker.passing.not_stored = kept.err().or(not_taken);
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

    /// What an address stands for that names a descriptor, or the address itself.
    fn open(&self, address: &Address) -> Result<Source, NotTaken> {
        let number = match address.kind() {
            Kind::Path(_) | Kind::Name(_) | Kind::Tcp(_) | Kind::Label => {
                return Ok(Source::Address);
            }
            Kind::Descriptor(number) => number,
            Kind::Standard => STANDARD_OUTPUT,
        };
        sys::inherited::take(number, |descriptor| {
            let stream = Stream::adopt_to_write(descriptor)?;
            self.check_abilities(stream.abilities())
                .map_err(NotTaken::Setting)?;
            Ok(Source::Stream(stream))
        })
    }

    /// What the stream cannot do is known at once, but for a connector's.
    fn check_abilities(&self, abilities: Abilities) -> Result<(), SettingError> {
        let (level, delivery) = (self.shutdown_level, self.delivery);
        SettingError::check(
            "shutdown_level",
            level,
            level != FlushLevel::Read || abilities.tells_unread,
            "Written or Handled: this stream does not tell what was read",
        )?;
        let needs_answers = level == FlushLevel::Handled || delivery == Delivery::AtLeastOnce;
        if !abilities.answers && needs_answers {
            let bound =
                "AtMostOnce, with Written or Read for shutdown_level: this stream has no way back";
            return SettingError::check("delivery", delivery, false, bound);
        }
        SettingError::check(
            "expect_peer_uid",
            self.expect_peer_uid,
            self.expect_peer_uid.is_none() || abilities.tells_credentials,
            "unset: over this stream it is not told who the peer is",
        )
    }

    fn check_times(&self) -> Result<(), SettingError> {
        for (setting, value) in [
            ("write_timeout", self.write_timeout.unwrap_or(Duration::MAX)),
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

/// The address of another machine, where it is written as a number.
fn remote_ip(address: &Address) -> Option<IpAddr> {
    match address.kind() {
        Kind::Tcp(Tcp {
            host: Host::Ip(ip), ..
        }) if !ip.is_loopback() => Some(*ip),
        Kind::Tcp(_)
        | Kind::Path(_)
        | Kind::Name(_)
        | Kind::Descriptor(_)
        | Kind::Standard
        | Kind::Label => None,
    }
}

const STANDARD_OUTPUT: i32 = 1;

/// How long a reader may take no byte unless set, where another connection may do better.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a descriptor stays where it is.
enum NotTaken {
    Adopt(AdoptError),
    Setting(SettingError),
}

impl From<AdoptError> for NotTaken {
    fn from(error: AdoptError) -> Self {
        Self::Adopt(error)
    }
}

struct Limited {
    limits: Limits,
    max_message_len: usize,
}
