//! Why the service manager could not be told something.

use std::ffi::OsString;

use thiserror::Error;

#[cfg(feature = "serde")]
use super::form;
use crate::system_error::SystemError;

/// Why the service manager could not be told something. It is never more than an event: the service
/// goes on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum NotifyError {
    /// `NOTIFY_SOCKET` is no path and no `@name`, such as the `vsock:` of a virtual machine's
    /// manager.
    #[error("NOTIFY_SOCKET is {address:?}, which is not supported: only a path or @name is")]
    #[non_exhaustive]
    Unsupported {
        /// What it is.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::lossy"))]
        address: OsString,
    },
    /// The manager's socket is not there, or does not take what is sent.
    #[error("cannot notify the service manager at {address:?}")]
    #[non_exhaustive]
    Io {
        /// The value of `NOTIFY_SOCKET`.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::lossy"))]
        address: OsString,
        /// The system's word.
        source: SystemError,
    },
    /// The thread that would tell it was refused.
    #[error("cannot start the thread that notifies the service manager")]
    #[non_exhaustive]
    Thread {
        /// The system's word.
        source: SystemError,
    },
}
