//! The operating system: sockets, files, waiting and waking. Calls and `io::Error` only; what they
//! are used for is decided by the modules above.
//!
//! What differs between systems lies in `linux` and `other`, under the same names: this is the seam
//! for other platforms. All else is the same on every Unix.

#[cfg(not(unix))]
compile_error!("uds-ipc knows Unix only so far: Windows needs a `sys` of its own");

mod arrival;
pub(crate) mod asymmetric_fence;
mod descriptor;
#[cfg(feature = "systemd")]
mod environment;
mod file;
mod file_change;
pub(crate) mod fork;
mod interest;
mod listening_socket;
#[cfg(feature = "systemd")]
mod notify;
mod poller;
mod signals;
mod socket;
mod standard_streams;
mod wait;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as platform;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use other as platform;

pub(crate) use arrival::Arrival;
pub(crate) use descriptor::{check_listening, kind_of_file};
pub(crate) use file::FileIdentity;
pub(crate) use file_change::FileChange;
pub(crate) use interest::Interest;
pub(crate) use listening_socket::ListeningSocket;
pub(crate) use platform::{
    ArrivalWatch, FileWatch, PinnedFile, SHUTDOWN_KEEPS_WHAT_CAME, TELLS_FULL_BACKLOG, Waker,
};
pub(crate) use poller::{Poller, Ready};
pub(crate) use signals::with_signals_blocked;
pub(crate) use socket::{Received, Sent, Stream};
pub(crate) use standard_streams::above_standard;
pub(crate) use wait::{Readiness, Wanted, wait, wait_for_arrival, wait_with_file};

#[cfg(feature = "systemd")]
pub(crate) use {
    descriptor::kind_of_number, environment::remove_variable, notify::NotifySocket,
    platform::process::pidfd_id,
};
