//! The settings of a caller, with their defaults and bounds.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use super::Caller;
use super::driver::{Settings, Shared};
use super::machine::Limits;
use crate::address::{Address, AddressError, Kind};
use crate::descriptor_kind::DescriptorKind;
use crate::error::{SettingError, StartError};

/// The settings of a [`Caller`], made by [`Caller::builder`].
///
/// ```
/// use std::time::Duration;
/// use uds_ipc::calls::Caller;
///
/// let caller = Caller::builder("/run/collector/admin.sock")
///     .max_open_calls(64)
///     .max_reply_len(1024 * 1024)
///     .backoff_max(Duration::from_secs(1))
///     .build()?;
/// assert_eq!(caller.figures().connects, 0, "nobody has called");
/// # Ok::<(), uds_ipc::error::StartError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CallerBuilder {
    address: Result<Address, AddressError>,
    limits: Limits,
    backoff_min: Duration,
    backoff_max: Duration,
    expect_peer_uid: Option<u32>,
}

impl CallerBuilder {
    pub(super) fn at(address: &OsStr) -> Self {
        Self {
            address: Address::new(address),
            limits: Limits {
                max_open_calls: 1024,
                max_bytes_in_flight: 64 * 1024 * 1024,
                max_call_len: 1024 * 1024,
                max_reply_len: 10 * 1024 * 1024,
            },
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(250),
            expect_peer_uid: None,
        }
    }

    /// The most calls that are open at once: 1,024 unless set, at least 1. One above that is
    /// refused at once.
    pub fn max_open_calls(mut self, calls: usize) -> Self {
        self.limits.max_open_calls = calls;
        self
    }

    /// The most bytes that open calls may hold, and as many that answers may which are not taken
    /// yet: 64 MiB unless set, at least one call's and one answer's. Each counts for 256 bytes
    /// more, which is what the lists of them take. The last answer of each call
    /// is taken also above that: with many calls open at once, bound the answers by
    /// [`max_reply_len`](Self::max_reply_len).
    pub fn max_bytes_in_flight(mut self, bytes: usize) -> Self {
        self.limits.max_bytes_in_flight = bytes;
        self
    }

    /// The longest call with its method and some bytes more, in bytes: 1 MiB unless set, at least
    /// 1. It must not be above the responder's: that closes the connection for a longer one.
    pub fn max_call_len(mut self, bytes: usize) -> Self {
        self.limits.max_call_len = bytes;
        self
    }

    /// The longest answer with some bytes more, in bytes: 10 MiB unless set, at least 1. For a
    /// longer one the connection is given up.
    pub fn max_reply_len(mut self, bytes: usize) -> Self {
        self.limits.max_reply_len = bytes;
        self
    }

    /// The wait after the first try to connect that failed: 10 ms unless set, at least 1 ms. It
    /// doubles with each further one.
    pub fn backoff_min(mut self, wait: Duration) -> Self {
        self.backoff_min = wait;
        self
    }

    /// The longest wait between two tries to connect: 250 ms unless set, at least `backoff_min`.
    pub fn backoff_max(mut self, wait: Duration) -> Self {
        self.backoff_max = wait;
        self
    }

    /// Calls only a responder that this user runs: any user's unless set. Checked after each
    /// connect, before the first byte; one of another user is as if nobody listened. It is the user
    /// whose process began to listen: with a socket of systemd's that is root.
    pub fn expect_peer_uid(mut self, uid: impl Into<Option<u32>>) -> Self {
        self.expect_peer_uid = uid.into();
        self
    }

    /// Makes the caller. It connects with the first call: that nobody listens is no error here.
    ///
    /// # Errors
    /// When the address is none, is one of a kind that nobody connects to, or a setting is out of
    /// its bounds; or when the system has no descriptors left.
    pub fn build(self) -> Result<Caller, StartError> {
        let address = self.address?;
        check_kind(&address)?;
        let Limits {
            max_open_calls,
            max_bytes_in_flight,
            max_call_len,
            max_reply_len,
        } = self.limits;
        for (setting, value) in [
            ("max_open_calls", max_open_calls),
            ("max_call_len", max_call_len),
            ("max_reply_len", max_reply_len),
        ] {
            SettingError::check(setting, value, value > 0, "at least 1")?;
        }
        SettingError::check(
            "max_bytes_in_flight",
            max_bytes_in_flight,
            max_bytes_in_flight >= max_call_len.max(max_reply_len),
            "at least max_call_len and max_reply_len",
        )?;
        let (min, max) = (self.backoff_min, self.backoff_max);
        let least = Duration::from_millis(1);
        SettingError::check("backoff_min", min, min >= least, "at least 1 ms")?;
        SettingError::check("backoff_max", max, max >= min, "at least backoff_min")?;
        SettingError::check(
            "expect_peer_uid",
            self.expect_peer_uid,
            self.expect_peer_uid.is_none() || !matches!(address.kind(), Kind::Tcp(_)),
            "unset: over TCP it is not told who the peer is",
        )?;
        let shared = Shared::new(Settings {
            address: address.clone(),
            limits: self.limits,
            backoff_min: min,
            backoff_max: max,
            expect_peer_uid: self.expect_peer_uid,
        });
        let shared = shared.map_err(StartError::system("make a waker", &address))?;
        Ok(Caller {
            shared: Arc::new(shared),
        })
    }
}

/// A connection is made anew after a loss: a descriptor cannot be.
fn check_kind(address: &Address) -> Result<(), StartError> {
    match address.kind() {
        Kind::Tcp(tcp) if tcp.port == 0 => Err(StartError::NoPort {
            address: address.clone(),
        }),
        Kind::Path(_) | Kind::Name(_) | Kind::Tcp(_) => Ok(()),
        Kind::Descriptor(_) | Kind::Standard | Kind::Label => Err(StartError::NotAStream {
            kind: DescriptorKind::Other("no address to connect to"),
        }),
    }
}
