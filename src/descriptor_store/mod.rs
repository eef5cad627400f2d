//! The descriptors that the service manager keeps for a service while it restarts
//! (`FileDescriptorStoreMax=`): the memory of writers, under names that say all that a successor
//! must know. See [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).

#[cfg(all(unix, feature = "systemd"))]
mod manager;
mod name;
#[cfg(not(all(unix, feature = "systemd")))]
mod nowhere;

#[cfg(all(unix, feature = "systemd"))]
pub(crate) use manager::{Store, StoreError};
pub(crate) use name::{End, Known, Stored};
#[cfg(not(all(unix, feature = "systemd")))]
pub(crate) use nowhere::{Store, StoreError};
