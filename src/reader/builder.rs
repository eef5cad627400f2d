//! The settings of a reader, with their defaults and bounds.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::callbacks::{Callbacks, PeerCheck};
use super::connection::timeouts::Pace;
use super::recover::Recover;
use super::shared::Settings;
use super::{BoundReader, Incoming};
#[cfg(all(unix, feature = "systemd"))]
use crate::activation::{self, Activation};
use crate::address::{Address, AddressError, Kind};
use crate::buffer_size::BufferSize;
use crate::error::{BindError, SettingError};
use crate::event::ReaderEvent;
use crate::listen::{self, Listener};
use crate::num::to_u64;
use crate::observer::Observer;
use crate::peer::Peer;
#[cfg(all(unix, feature = "systemd"))]
use crate::runtime_directory::runtime_directory;
#[cfg(all(unix, feature = "systemd"))]
use crate::sys::Family;
use crate::sys::{self, AdoptError, OwnedDescriptor, Stream};

const STANDARD_INPUT: i32 = 0;

/// How long a peer may be silent that can connect again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a [`Reader`](crate::Reader), made by
/// [`Reader::builder`](crate::Reader::builder).
///
/// Every setting has a default that suits a collector; the bounds are checked by
/// [`bind`](Self::bind).
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::Reader;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("telemetry.sock");
/// let bound = Reader::builder(&path)
///     .max_message_len(64 * 1024)
///     .idle_timeout(Duration::from_secs(60))
///     .socket_mode(0o660)
///     .peer_check(|peer| peer.identity.uid() != Some(65534))
///     .on_event(|event| eprintln!("collector: {event}"))
///     .bind()?;
/// // Here a daemon drops its privileges.
/// let reader = bound.start(|message| {
///     println!("{} bytes", message.len());
/// })?;
/// # reader.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is bound and started"]
pub struct ReaderBuilder {
    address: Result<Address, AddressError>,
    /// Whether it has a socket to listen on.
    listens: bool,
    max_message_len: usize,
    idle_timeout: Option<Duration>,
    min_receive_rate: u64,
    max_connections: usize,
    max_connections_per_user: Option<usize>,
    max_partial_bytes: usize,
    max_threads: usize,
    recover: Recover,
    descriptor_store: bool,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
    recv_buffer_size: BufferSize,
    allow_remote: bool,
    #[cfg(all(unix, feature = "systemd"))]
    activation: Activation,
    peer_check: Option<PeerCheck>,
    thread_name: String,
    observer: Observer<ReaderEvent>,
}

impl ReaderBuilder {
    pub(super) fn at(address: &OsStr) -> Self {
        #[cfg(all(unix, feature = "systemd"))]
        let address = Address::new_in(runtime_directory().as_deref(), address);
        #[cfg(not(all(unix, feature = "systemd")))]
        let address = Address::new(address);
        Self::new(address, true)
    }

    pub(super) fn without_listener() -> Self {
        Self::new(Ok(Address::label("streams")), false)
    }

    fn new(address: Result<Address, AddressError>, listens: bool) -> Self {
        Self {
            address,
            listens,
            max_message_len: 10 * 1024 * 1024,
            idle_timeout: None,
            min_receive_rate: 64 * 1024,
            max_connections: 1024,
            max_connections_per_user: None,
            max_partial_bytes: 256 * 1024 * 1024,
            max_threads: 128,
            recover: Recover::SameUser,
            descriptor_store: false,
            mode: 0o600,
            owner: None,
            group: None,
            recv_buffer_size: BufferSize::Best,
            allow_remote: false,
            #[cfg(all(unix, feature = "systemd"))]
            activation: Activation::First,
            peer_check: None,
            thread_name: "uds-ipc-reader".to_owned(),
            observer: Observer::none(),
        }
    }

    /// The longest message, in bytes: 10 MiB unless set, at least 1. A peer that announces a longer
    /// one is refused, before a byte of it is read, and its connection closed.
    pub fn max_message_len(mut self, bytes: usize) -> Self {
        self.max_message_len = bytes;
        self
    }

    /// How long a peer may be silent before its connection is closed: 10 s unless set, more than
    /// nothing; `Duration::MAX` is never. A writer of this crate reconnects at once, message or
    /// not, and loses nothing by it; with a [`keepalive`](crate::WriterBuilder::keepalive) below
    /// that time it is not closed.
    ///
    /// A reader that does not listen ([`without_listener`](crate::Reader::without_listener), or one
    /// stream at `fd:N` or `-`) never does so unless this is set: its peers could not come back.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// The lowest rate at which a frame may come, in bytes a second: 65,536 unless set, at least 1.
    /// Once it has begun, a frame may take the idle timeout, and the time of its bytes that have
    /// come at this rate, whatever length it announced: a half message holds memory, and a place
    /// among the connections.
    pub fn min_receive_rate(mut self, bytes_per_second: u64) -> Self {
        self.min_receive_rate = bytes_per_second;
        self
    }

    /// The most connections at once: 1,024 unless set, at least 1. More wait in the socket's
    /// backlog until one ends.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// The most connections at once of one user: unless set all of them where only the owner may
    /// connect, half of them where others may. Those above are refused, so that one user cannot
    /// shut the others out.
    pub fn max_connections_per_user(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections_per_user = connections.into();
        self
    }

    /// The most bytes that half messages may hold over all connections: 256 MiB unless set, at
    /// least one message's. At the bound nothing more is read until some are complete, and if
    /// none is, the slowest connection is closed. Each thread may be one read above it.
    pub fn max_partial_bytes(mut self, bytes: usize) -> Self {
        self.max_partial_bytes = bytes;
        self
    }

    /// The most threads that run the handler: 128 unless set, at least 1. There is one at first;
    /// more are started when all are at work, and leave when they have had nothing to do for
    /// five seconds. A handler that blocks needs one for each connection that it blocks on.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads;
        self
    }

    /// Whose queues are taken over when their processes have died, if they are
    /// [`crash_proof`](crate::WriterBuilder::crash_proof): those of this process's own user and of
    /// root, unless set.
    ///
    /// What such a process has left comes as a connection of its own, whose [`Peer`]
    /// says that it is recovered, after all that came by the socket; the peer check is asked once
    /// more. Its receipts go nowhere: a message on which the handler fails there is lost. Whoever
    /// passes memory may pass any descriptor: one whose `close(2)` never returns takes a thread of
    /// this process with it.
    pub fn recover(mut self, recover: Recover) -> Self {
        self.recover = recover;
        self
    }

    /// Whether the memory of [`crash_proof`](crate::WriterBuilder::crash_proof) writers is kept
    /// over a restart of this reader's service: `false` unless set. A writer that dies
    /// meanwhile is then recovered by the next reader at the same address that has this set,
    /// and of those that live on it knows which messages have come.
    ///
    /// When the reader stops, by a [`shutdown`](crate::Reader::shutdown) or when it is dropped, it
    /// hands the memory of each writer that may live to systemd (`FDSTORE=1`, see `sd_notify(3)`),
    /// which passes it to the next process of the service. Not when it is killed: then both have
    /// died. The service needs `FileDescriptorStoreMax=`, one for each writer: what is above that
    /// is closed, and as without. A service that is stopped, and not restarted, loses what is
    /// stored, unless it has `FileDescriptorStorePreserve=` (systemd 254). What the next
    /// process does not take, since this is not set there, stays stored.
    ///
    /// It does nothing outside of a service, that is without `NOTIFY_SOCKET`, and on other systems
    /// than Linux. What cannot be stored is the event
    /// [`NotifyFailed`](crate::event::ReaderEvent::NotifyFailed). As with
    /// [`bind`](Self::bind), start it early: systemd's variables are removed from the environment.
    #[cfg(all(unix, feature = "systemd"))]
    pub fn descriptor_store(mut self, descriptor_store: bool) -> Self {
        self.descriptor_store = descriptor_store;
        self
    }

    /// The permissions of the socket's file: `0o600` unless set, up to `0o777`. To connect needs
    /// the right to write. It has them before anybody can connect, whatever the umask. An
    /// abstract name has none.
    #[cfg(unix)]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The owner of the socket's file: the user of this process unless set. Another user needs the
    /// privilege to give files away.
    #[cfg(unix)]
    pub fn socket_owner(mut self, uid: impl Into<Option<u32>>) -> Self {
        self.owner = uid.into();
        self
    }

    /// The group of the socket's file: that of this process unless set. A group of which this
    /// process is no member needs the privilege to give files away.
    #[cfg(unix)]
    pub fn socket_group(mut self, gid: impl Into<Option<u32>>) -> Self {
        self.group = gid.into();
        self
    }

    /// `SO_RCVBUF`, in bytes. Unless set it is 212,992 for TCP on a loopback address, which was
    /// found to be the fastest, and else the system's own; `None` leaves the system's own.
    /// Linux takes no notice of it on Unix sockets, where the sender's `SO_SNDBUF` counts; the
    /// others do.
    pub fn recv_buffer_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.recv_buffer_size = BufferSize::set(bytes.into());
        self
    }

    /// Whether a TCP address may be reached from other machines: not unless set. Over TCP nobody
    /// says who is at the other end, and nothing is encrypted: listen on a loopback address behind
    /// ssh, stunnel or `WireGuard` instead. It counts for a socket that was passed to this process
    /// too.
    pub fn allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// Which of the sockets that systemd passed to this process the reader takes, instead of making
    /// one: the first that fits unless set. Its unit decides its path, mode, owner and group.
    /// Where systemd passed none, the reader makes its own.
    #[cfg(all(unix, feature = "systemd"))]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Lets in only the peers for which `check` is true: all unless set. It runs before a byte of
    /// the peer is read, on one of the reader's threads; a panic is a no.
    pub fn peer_check(mut self, check: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        self.peer_check = Some(PeerCheck(Box::new(check)));
        self
    }

    /// The name of the threads that run the handler: `uds-ipc-reader` unless set, without NUL
    /// bytes. That of the thread that supervises them is this with `-supervisor` behind it.
    /// Linux shows the first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Gives every [`ReaderEvent`] to `observer`, on the reader's threads: nobody is told unless
    /// set. An observer may keep an event, or send it to another thread:
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use uds_ipc::{Reader, Writer};
    /// use uds_ipc::event::ReaderEvent;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// let (sender, events) = mpsc::channel();
    /// let bound = Reader::builder(&path).on_event(move |event| drop(sender.send(event))).bind()?;
    /// let reader = bound.start(|_| ())?;
    /// let writer = Writer::start(&path)?;
    ///
    /// // On whatever thread:
    /// assert!(matches!(events.recv()?, ReaderEvent::Opened { peer, .. } if peer.connection == 1));
    /// # reader.shutdown(Duration::from_secs(5))?;
    /// # writer.shutdown(Duration::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(mut self, observer: impl Fn(ReaderEvent) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Makes the socket: from now on peers can connect, and wait until the reader is
    /// [started](BoundReader::start).
    ///
    /// A stale socket at the path is replaced; a socket on which a process accepts, and anything
    /// that is no socket, is left alone. Of several readers that bind the same path at once,
    /// exactly one succeeds. A bare file name is taken to be in the runtime directory that systemd
    /// made for the service, where there is one: see
    /// [`runtime_path`](crate::systemd::runtime_path).
    ///
    /// In a service with a socket unit nothing is made: the socket that systemd passed is taken, as
    /// [`activation`](Self::activation) says. Its file is systemd's, and stays; peers that connect
    /// while no reader runs wait in it for the next. For that the first call takes the variables
    /// `LISTEN_PID`, `LISTEN_PIDFDID`, `LISTEN_FDS` and `LISTEN_FDNAMES` out of the environment, so
    /// that children do not inherit them: make it before threads are started that run C code,
    /// which may read the environment meanwhile. For another socket of the same service, see
    /// [`take_socket`](crate::systemd::take_socket).
    ///
    /// # Errors
    /// When the address is none or in use, a setting is out of its bounds, something else lies at
    /// the path, anybody could replace the socket, what systemd passed is no socket that
    /// listens, or the system refuses.
    pub fn bind(self) -> Result<BoundReader, BindError> {
        self.check()?;
        let address = match self.address {
            Ok(ref address) => address.clone(),
            Err(error) => return Err(error.into()),
        };
        if !self.listens {
            return Ok(self.bound(address, Incoming::default(), false));
        }
        let number = match address.kind() {
            Kind::Descriptor(number) => Some(number),
            Kind::Standard => Some(STANDARD_INPUT),
            Kind::Path(_) | Kind::Name(_) | Kind::Tcp(_) | Kind::Label => None,
        };
        if let Some(number) = number {
            return self.bind_descriptor(address, number);
        }
        #[cfg(all(unix, feature = "systemd"))]
        if self.activation != Activation::Never {
            let family = match address.kind() {
                Kind::Tcp(_) => Family::Tcp,
                Kind::Path(_)
                | Kind::Name(_)
                | Kind::Descriptor(_)
                | Kind::Standard
                | Kind::Label => Family::Unix,
            };
            if let Some(socket) = activation::take(&self.activation, family)? {
                return self.adopt(address, socket);
            }
        }
        let options = listen::Options {
            mode: self.mode,
            owner: self.owner,
            group: self.group,
            recv_buffer_size: self.recv_buffer_size,
            allow_remote: self.allow_remote,
        };
        let listener = listen::bind(&address, &options)?;
        let is_open_to_others = address.path().is_none() || self.mode & 0o077 != 0;
        // A name of a host, and a port that is free, are known for what they are now.
        let is_tcp = matches!(address.kind(), Kind::Tcp(_));
        let address = listener.address().filter(|_| is_tcp).unwrap_or(address);
        Ok(self.bound(address, listener.into(), is_open_to_others))
    }

    /// Takes a descriptor that this process has open: one that listens, or a stream.
    fn bind_descriptor(self, address: Address, number: i32) -> Result<BoundReader, BindError> {
        let taken = sys::inherited::take(number, |descriptor| {
            if let Ok(copy) = descriptor.try_clone() {
                if let Ok(listener) = listen::adopt(copy) {
                    self.check_reach(&listener).map_err(NotTaken::Bind)?;
                    return Ok(Incoming::from(listener));
                }
            }
            Ok(Stream::adopt_to_read(descriptor)?.into())
        });
        let incoming = taken.map_err(|error| match error {
            NotTaken::Adopt(AdoptError::Kind(kind)) => BindError::NotAStream {
                address: address.clone(),
                kind,
            },
            NotTaken::Adopt(AdoptError::Io(error)) => {
                BindError::io("take", Path::new(&address), error)
            }
            NotTaken::Bind(error) => error,
        })?;
        let listener = incoming.listener.as_ref();
        let is_open_to_others = listener.is_none_or(Listener::is_open_to_others);
        let address = listener.and_then(Listener::address).unwrap_or(address);
        Ok(self.bound(address, incoming, is_open_to_others))
    }

    /// Takes a Unix or TCP socket that listens already: one that was passed in some other way than
    /// systemd's. It is never shut down, and its file not removed; mode, owner, group and
    /// buffer size are its own, and its address too: the builder's stands only for one that has
    /// none. It becomes non-blocking, and so do its copies, in other processes as well.
    ///
    /// ```
    /// use std::os::unix::net::UnixListener;
    /// use uds_ipc::Reader;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("telemetry.sock");
    /// let listener = UnixListener::bind(&path)?;
    /// let bound = Reader::builder(&path).listen_on(listener)?;
    /// assert_eq!(bound.address().path(), Some(path.as_path()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the address is none, a setting is out of its bounds, or the socket is of another kind
    /// or does not listen.
    pub fn listen_on(self, socket: impl Into<OwnedDescriptor>) -> Result<BoundReader, BindError> {
        self.check()?;
        let address = match self.address {
            Ok(ref address) => address.clone(),
            Err(error) => return Err(error.into()),
        };
        self.adopt(address, socket.into())
    }

    fn adopt(self, given: Address, socket: OwnedDescriptor) -> Result<BoundReader, BindError> {
        let listener = listen::adopt(socket).map_err(|kind| BindError::NotListening { kind })?;
        self.check_reach(&listener)?;
        let address = listener.address().unwrap_or(given);
        let is_open_to_others = listener.is_open_to_others();
        Ok(self.bound(address, listener.into(), is_open_to_others))
    }

    fn check_reach(&self, listener: &Listener) -> Result<(), BindError> {
        let ip = listener.ip().filter(|ip| !ip.is_loopback());
        match ip {
            Some(found) if !self.allow_remote => Err(BindError::NotLoopback { found }),
            Some(_) | None => Ok(()),
        }
    }

    fn bound(self, address: Address, incoming: Incoming, is_open_to_others: bool) -> BoundReader {
        let most = self.max_connections;
        let a_share = if is_open_to_others {
            most.div_ceil(2)
        } else {
            most
        };
        let silence = if incoming.listener.is_some() {
            IDLE_TIMEOUT
        } else {
            Duration::MAX
        };
        let settings = Settings {
            max_message_len: self.max_message_len,
            pace: Pace {
                idle_timeout: self.idle_timeout.unwrap_or(silence),
                min_receive_rate: self.min_receive_rate,
            },
            max_connections: most,
            max_connections_per_user: self.max_connections_per_user.unwrap_or(a_share),
            max_partial_bytes: self.max_partial_bytes,
            max_threads: self.max_threads,
            recover: self.recover,
            descriptor_store: self.descriptor_store,
            thread_name: self.thread_name,
            callbacks: Callbacks::new(self.peer_check, self.observer),
        };
        BoundReader::new(address, incoming, settings)
    }

    fn check(&self) -> Result<(), SettingError> {
        let per_user = self.max_connections_per_user.map_or(1, to_u64);
        for (setting, value) in [
            ("max_message_len", to_u64(self.max_message_len)),
            ("min_receive_rate", self.min_receive_rate),
            ("max_connections", to_u64(self.max_connections)),
            ("max_connections_per_user", per_user),
            ("max_threads", to_u64(self.max_threads)),
        ] {
            SettingError::check(setting, value, value > 0, "at least 1")?;
        }
        let (held, message) = (self.max_partial_bytes, self.max_message_len);
        SettingError::check(
            "max_partial_bytes",
            held,
            held >= message,
            "at least max_message_len: raise it too",
        )?;
        let idle = self.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        SettingError::check("idle_timeout", idle, !idle.is_zero(), "more than nothing")?;
        SettingError::check_thread_name(&self.thread_name)?;
        SettingError::check(
            "socket_mode",
            self.mode,
            self.mode <= 0o777,
            "permission bits up to 0o777, in octal: 0o660, not 660",
        )
    }
}

/// Why a descriptor stays where it is.
enum NotTaken {
    Adopt(AdoptError),
    Bind(BindError),
}

impl From<AdoptError> for NotTaken {
    fn from(error: AdoptError) -> Self {
        Self::Adopt(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Reader;

    fn idle_timeout(builder: ReaderBuilder) -> Duration {
        let bound = builder.bind().unwrap();
        let settings = bound.settings.as_ref().unwrap();
        settings.pace.idle_timeout
    }

    #[test]
    fn who_cannot_connect_again_may_be_silent_as_long_as_it_likes() {
        let place = tempfile::tempdir().unwrap();
        let listening = || Reader::builder(place.path().join("s"));
        assert_eq!(idle_timeout(listening()), IDLE_TIMEOUT);
        assert_eq!(idle_timeout(Reader::without_listener()), Duration::MAX);
        let set = Duration::from_secs(3);
        for builder in [listening(), Reader::without_listener()] {
            assert_eq!(idle_timeout(builder.idle_timeout(set)), set);
        }
    }

    #[test]
    fn a_reader_says_whether_it_listens() {
        let place = tempfile::tempdir().unwrap();
        let listening = Reader::builder(place.path().join("s")).bind().unwrap();
        assert!(listening.listens());
        assert!(!Reader::without_listener().bind().unwrap().listens());
    }
}
