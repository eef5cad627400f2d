//! The operating system: sockets, files, waiting and waking. Calls and `io::Error` only; what they
//! are used for is decided by the modules above.
//!
//! This is the seam for other platforms. On every Unix all is the same, but for what lies in
//! `linux` and `other`, under the same names. What Windows is to have lies in `windows`, under the
//! names that the modules above use: a stub so far.

#![cfg_attr(
    windows,
    expect(dead_code, reason = "a stub makes and reads little of what there is")
)]

#[cfg(not(any(unix, windows)))]
compile_error!(
    "uds-ipc knows Unix, and by a stub Windows: another system needs a `sys` of its own"
);

// Values, and what all systems have.
mod abilities;
mod arrival;
pub(crate) mod asymmetric_fence;
mod family;
mod file_change;
pub(crate) mod fork;
mod interest;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod no_shared_memory;
mod not_accepted;
mod readiness;
mod resolve;
mod shared_memory_error;
mod tcp_options;
mod transfer;

#[cfg(unix)]
mod descriptor;
#[cfg(all(unix, feature = "systemd"))]
mod environment;
#[cfg(unix)]
mod file;
#[cfg(unix)]
pub(crate) mod inherited;
#[cfg(unix)]
mod listening_socket;
#[cfg(all(unix, feature = "systemd"))]
mod notify;
#[cfg(unix)]
mod poller;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod standard_streams;
#[cfg(unix)]
mod stream;
#[cfg(unix)]
mod wait;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as platform;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod other;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
use other as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux::shared_memory as memory;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use no_shared_memory as memory;

pub(crate) use abilities::{Abilities, PeerEnd};
pub(crate) use arrival::Arrival;
pub(crate) use family::Family;
pub(crate) use file_change::FileChange;
pub(crate) use interest::Interest;
pub(crate) use not_accepted::NotAccepted;
pub(crate) use platform::{ArrivalWatch, FileWatch, Waker};
pub(crate) use readiness::{Readiness, Ready, Wanted};
pub(crate) use resolve::resolve;
pub(crate) use tcp_options::TcpOptions;
pub(crate) use transfer::{AdoptError, Received, Sent};
pub(crate) use {
    memory::{Mapping, PassedMemory, SharedFile, SharedMemory, sealed_copy},
    platform::PeerProcess,
    shared_memory_error::SharedMemoryError,
};

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
pub(crate) use platform::sealed_memory;
#[cfg(unix)]
pub(crate) use {
    descriptor::{check_listening, kind_of_file},
    file::FileIdentity,
    listening_socket::ListeningSocket,
    platform::{PinnedFile, TELLS_FULL_BACKLOG},
    poller::Poller,
    signals::with_signals_blocked,
    standard_streams::above_standard,
    stream::Stream,
    wait::{wait, wait_for_arrival, wait_for_either, wait_with_file},
};

#[cfg(windows)]
pub(crate) use windows::{
    ListeningSocket, Poller, Stream, check_listening, inherited, wait, wait_for_arrival,
    wait_for_either, wait_with_file, with_signals_blocked,
};

/// The user whose rights this process has.
#[cfg(unix)]
pub(crate) fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}
#[cfg(windows)]
pub(crate) fn effective_uid() -> u32 {
    // Nobody is known there.
    u32::MAX
}

/// What the system knows an open stream by.
#[cfg(unix)]
pub(crate) type OwnedDescriptor = std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) type OwnedDescriptor = std::os::windows::io::OwnedHandle;

/// Likewise, of somebody else.
#[cfg(unix)]
pub(crate) type BorrowedDescriptor<'a> = std::os::fd::BorrowedFd<'a>;
#[cfg(windows)]
pub(crate) type BorrowedDescriptor<'a> = std::os::windows::io::BorrowedHandle<'a>;

/// Lends a descriptor, to be passed to a peer.
#[cfg(unix)]
pub(crate) fn lend(descriptor: &impl std::os::fd::AsFd) -> BorrowedDescriptor<'_> {
    descriptor.as_fd()
}
#[cfg(windows)]
pub(crate) fn lend(descriptor: &impl std::os::windows::io::AsHandle) -> BorrowedDescriptor<'_> {
    descriptor.as_handle()
}

#[cfg(all(unix, feature = "systemd"))]
pub(crate) use {
    descriptor::kind_of_number,
    environment::remove_variable,
    notify::{NotifySocket, StoreSocket},
    platform::process::pidfd_id,
};
