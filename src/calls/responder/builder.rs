//! The settings of a responder, with their defaults and bounds.

use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use super::BoundResponder;
use super::machine::Limits;
use super::shared::Settings;
#[cfg(all(unix, feature = "systemd"))]
use crate::activation::{self, Activation};
use crate::address::{Address, AddressError, Kind};
use crate::buffer_size::BufferSize;
use crate::error::{BindError, SettingError};
use crate::listen;
use crate::num::to_u64;
use crate::peer::Peer;
#[cfg(all(unix, feature = "systemd"))]
use crate::runtime_directory::runtime_directory;
#[cfg(all(unix, feature = "systemd"))]
use crate::sys::Family;
use crate::sys::{self, OwnedDescriptor};

/// The settings of a [`Responder`](super::Responder), made by
/// [`Responder::builder`](super::Responder::builder).
///
/// ```
/// use uds_ipc::calls::Responder;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("admin.sock");
/// let bound = Responder::builder(&path)
///     .socket_mode(0o660)
///     // Members of the socket's group may ask; only root may change something.
///     .allow(|peer, method| match method {
///         "figures" | "version" => true,
///         _ => peer.identity.uid() == Some(0),
///     })
///     .bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until it is bound and started"]
pub struct ResponderBuilder {
    address: Result<Address, AddressError>,
    settings: Settings,
    max_connections_per_user: Option<usize>,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
    #[cfg(all(unix, feature = "systemd"))]
    activation: Activation,
}

impl ResponderBuilder {
    pub(super) fn at(address: &OsStr) -> Self {
        #[cfg(all(unix, feature = "systemd"))]
        let address = Address::new_in(runtime_directory().as_deref(), address);
        #[cfg(not(all(unix, feature = "systemd")))]
        let address = Address::new(address);
        let us = sys::effective_uid();
        Self {
            address,
            settings: Settings {
                max_call_len: 1024 * 1024,
                max_reply_len: 10 * 1024 * 1024,
                max_connections: 1024,
                max_connections_per_user: 0,
                max_bytes_held: 256 * 1024 * 1024,
                max_threads: 128,
                frame_timeout: Duration::from_secs(10),
                write_timeout: Duration::from_secs(10),
                limits: Limits {
                    max_open_calls: 1024,
                    max_bytes_in_flight: 16 * 1024 * 1024,
                },
                thread_name: "uds-ipc-calls".to_owned(),
                allow: Box::new(move |peer, _| {
                    peer.identity.uid().is_some_and(|uid| uid == us || uid == 0)
                }),
            },
            max_connections_per_user: None,
            mode: 0o600,
            owner: None,
            group: None,
            #[cfg(all(unix, feature = "systemd"))]
            activation: Activation::First,
        }
    }

    /// Who may call what: unless set, all methods for this process's own user and for root, and
    /// nothing for others, such as peers over TCP, of whom no user is known. It is asked for each
    /// call, before its body is given to anybody, on a thread that reads; a panic is a no. Who is
    /// refused is told so: [`Refusal::NotAllowed`](crate::calls::Refusal::NotAllowed).
    ///
    /// Who can connect at all, the socket's [mode](Self::socket_mode) says.
    pub fn allow(mut self, allow: impl Fn(&Peer, &str) -> bool + Send + Sync + 'static) -> Self {
        self.settings.allow = Box::new(allow);
        self
    }

    /// The most calls of one connection that are open at once: 1,024 unless set, at least 1. One
    /// above that is refused.
    pub fn max_open_calls(mut self, calls: usize) -> Self {
        self.settings.limits.max_open_calls = calls;
        self
    }

    /// The most bytes that the open calls of one connection may hold, and its answers that the peer
    /// has not read: 16 MiB unless set, at least one call's. Each counts for 256 bytes more, and
    /// a call for its method once more. A call above that is refused; an answer waits. Who goes on
    /// calling then, and reads no refusals either, loses the connection.
    pub fn max_bytes_in_flight(mut self, bytes: usize) -> Self {
        self.settings.limits.max_bytes_in_flight = bytes;
        self
    }

    /// The most bytes that the open calls of all connections may hold, with the parts of calls that
    /// have not come whole, but not answers: 256 MiB unless set, at least `max_bytes_in_flight`.
    /// Calls above that are refused, and connections with a part of a call closed.
    pub fn max_bytes_held(mut self, bytes: usize) -> Self {
        self.settings.max_bytes_held = bytes;
        self
    }

    /// The longest call with its method and some bytes more, in bytes: 1 MiB unless set, at least
    /// 1. A peer that announces a longer one loses its connection, before a byte of it is read.
    pub fn max_call_len(mut self, bytes: usize) -> Self {
        self.settings.max_call_len = bytes;
        self
    }

    /// The longest answer with some bytes more, in bytes: 10 MiB unless set, at least 64. It must
    /// not be above the callers'.
    pub fn max_reply_len(mut self, bytes: usize) -> Self {
        self.settings.max_reply_len = bytes;
        self
    }

    /// The most connections at once: 1,024 unless set, at least 1. More wait in the socket's
    /// backlog until one ends. An idle one stays open, and costs no thread.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// The most connections at once of one user: unless set all of them where only the owner may
    /// connect, half of them where others may. Those above are closed.
    pub fn max_connections_per_user(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections_per_user = connections.into();
        self
    }

    /// The most threads that run handlers: 128 unless set, at least 2. There are one or two at
    /// first, and more while handlers run: one always waits for calls, as long as there may be
    /// more. They leave when they have had nothing to do for five seconds.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.settings.max_threads = threads;
        self
    }

    /// How long a call may take to come whole, once it has begun: 10 s unless set, and the time of
    /// its bytes at 64 KiB a second. Then the connection is closed.
    pub fn frame_timeout(mut self, timeout: Duration) -> Self {
        self.settings.frame_timeout = timeout;
        self
    }

    /// How long a peer may leave its answers unread before its connection is closed: 10 s unless
    /// set. Meanwhile no calls of it are read.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// The permissions of the socket's file: `0o600` unless set, up to `0o777`, as
    /// [`ReaderBuilder::socket_mode`](crate::ReaderBuilder::socket_mode).
    #[cfg(unix)]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The owner of the socket's file: the user of this process unless set.
    #[cfg(unix)]
    pub fn socket_owner(mut self, uid: impl Into<Option<u32>>) -> Self {
        self.owner = uid.into();
        self
    }

    /// The group of the socket's file: that of this process unless set.
    #[cfg(unix)]
    pub fn socket_group(mut self, gid: impl Into<Option<u32>>) -> Self {
        self.group = gid.into();
        self
    }

    /// Which of the sockets that systemd passed to this process the responder takes, instead of
    /// making one: the first that fits unless set. In a service that has a reader too, name both:
    /// `FileDescriptorName=admin` in the socket unit, and here `Activation::Named("admin".into())`.
    /// Where systemd passed none, the responder makes its own.
    #[cfg(all(unix, feature = "systemd"))]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The name of the threads: `uds-ipc-calls` unless set, without NUL bytes. Linux shows the
    /// first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.settings.thread_name = name.into();
        self
    }

    /// Makes the socket: from now on peers can connect, and wait until the responder is
    /// [started](BoundResponder::start). All else is as
    /// [`ReaderBuilder::bind`](crate::ReaderBuilder::bind) says: stale sockets, directories, and
    /// sockets that systemd passed.
    ///
    /// # Errors
    /// When the address is none or in use, a setting is out of its bounds, something else lies at
    /// the path, anybody could replace the socket, what systemd passed is no socket that
    /// listens, or the system refuses.
    pub fn bind(self) -> Result<BoundResponder, BindError> {
        self.check()?;
        let address = match self.address {
            Ok(ref address) => address.clone(),
            Err(error) => return Err(error.into()),
        };
        #[cfg(all(unix, feature = "systemd"))]
        if self.activation != Activation::Never {
            let family = if matches!(address.kind(), Kind::Tcp(_)) {
                Family::Tcp
            } else {
                Family::Unix
            };
            if let Some(socket) = activation::take(&self.activation, family)? {
                return self.adopt(&address, socket);
            }
        }
        let options = listen::Options {
            mode: self.mode,
            owner: self.owner,
            group: self.group,
            recv_buffer_size: BufferSize::Best,
            allow_remote: false,
        };
        let listener = listen::bind(&address, &options)?;
        let is_open_to_others = address.path().is_none() || self.mode & 0o077 != 0;
        // A port that was free is known for what it is now.
        let is_tcp = matches!(address.kind(), Kind::Tcp(_));
        let address = listener.address().filter(|_| is_tcp).unwrap_or(address);
        Ok(self.bound(address, listener, is_open_to_others))
    }

    /// Takes a Unix or TCP socket that listens already. It is never shut down, and its file not
    /// removed: see [`ReaderBuilder::listen_on`](crate::ReaderBuilder::listen_on).
    ///
    /// # Errors
    /// When the address is none, a setting is out of its bounds, or the socket is of another kind
    /// or does not listen.
    pub fn listen_on(
        self,
        socket: impl Into<OwnedDescriptor>,
    ) -> Result<BoundResponder, BindError> {
        self.check()?;
        let address = match self.address {
            Ok(ref address) => address.clone(),
            Err(error) => return Err(error.into()),
        };
        self.adopt(&address, socket.into())
    }

    fn adopt(self, given: &Address, socket: OwnedDescriptor) -> Result<BoundResponder, BindError> {
        let listener = listen::adopt(socket).map_err(|kind| BindError::NotListening { kind })?;
        if let Some(found) = listener.ip().filter(|ip| !ip.is_loopback()) {
            return Err(BindError::NotLoopback { found });
        }
        let address = listener.address().unwrap_or_else(|| given.clone());
        let is_open_to_others = listener.is_open_to_others();
        Ok(self.bound(address, listener, is_open_to_others))
    }

    fn bound(
        mut self,
        address: Address,
        listener: listen::Listener,
        is_open_to_others: bool,
    ) -> BoundResponder {
        let most = self.settings.max_connections;
        let a_share = if is_open_to_others {
            most.div_ceil(2)
        } else {
            most
        };
        self.settings.max_connections_per_user = self.max_connections_per_user.unwrap_or(a_share);
        BoundResponder::new(address, listener, self.settings)
    }

    fn check(&self) -> Result<(), SettingError> {
        let settings = &self.settings;
        let limits = settings.limits;
        let per_user = self.max_connections_per_user.map_or(1, to_u64);
        for (setting, value, least, bound) in [
            (
                "max_open_calls",
                to_u64(limits.max_open_calls),
                1,
                "at least 1",
            ),
            (
                "max_call_len",
                to_u64(settings.max_call_len),
                1,
                "at least 1",
            ),
            (
                "max_reply_len",
                to_u64(settings.max_reply_len),
                64,
                "at least 64",
            ),
            (
                "max_connections",
                to_u64(settings.max_connections),
                1,
                "at least 1",
            ),
            ("max_connections_per_user", per_user, 1, "at least 1"),
            ("max_threads", to_u64(settings.max_threads), 2, "at least 2"),
        ] {
            SettingError::check(setting, value, value >= least, bound)?;
        }
        let in_flight = limits.max_bytes_in_flight;
        SettingError::check(
            "max_bytes_in_flight",
            in_flight,
            in_flight >= settings.max_call_len,
            "at least max_call_len",
        )?;
        SettingError::check(
            "max_bytes_held",
            settings.max_bytes_held,
            settings.max_bytes_held >= in_flight,
            "at least max_bytes_in_flight",
        )?;
        for (setting, time) in [
            ("frame_timeout", settings.frame_timeout),
            ("write_timeout", settings.write_timeout),
        ] {
            SettingError::check(setting, time, !time.is_zero(), "more than nothing")?;
        }
        SettingError::check_thread_name(&settings.thread_name)?;
        SettingError::check(
            "socket_mode",
            self.mode,
            self.mode <= 0o777,
            "permission bits up to 0o777, in octal: 0o660, not 660",
        )
    }
}

impl fmt::Debug for ResponderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponderBuilder")
            .field("address", &self.address)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
