//! Linux and Android: what each of the other systems must have under the same names.

mod arrival_watch;
pub(super) mod credentials;
pub(super) mod fence;
mod file_watch;
pub(super) mod passing;
mod peer_process;
pub(super) mod pinned;
pub(super) mod poll;
pub(super) mod poller;
#[cfg(feature = "systemd")]
pub(super) mod process;
pub(super) mod shared_memory;
pub(super) mod unread;
mod waker;

pub(crate) use arrival_watch::ArrivalWatch;
pub(crate) use file_watch::FileWatch;
pub(crate) use peer_process::PeerProcess;
pub(crate) use pinned::PinnedFile;
#[cfg(test)]
pub(crate) use shared_memory::sealed_memory;
pub(crate) use waker::Waker;

use nix::libc;

/// A send to a peer that is gone raises no signal.
pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

/// Whether the kernel says what a peer has not read.
pub(super) const TELLS_UNREAD: bool = true;

/// Whether memory can be passed over a Unix socket.
pub(super) const PASSES_MEMORY: bool = cfg!(target_os = "linux");

/// Whether `shutdown` of the receiving side keeps what has come, also the connections that wait in
/// a backlog.
pub(super) const SHUTDOWN_KEEPS_WHAT_CAME: bool = true;

/// Whether connecting to a full backlog differs from connecting where no process listens.
pub(crate) const TELLS_FULL_BACKLOG: bool = true;

/// Whether there are abstract names.
#[cfg(feature = "systemd")]
pub(super) const ABSTRACT_NAMES: bool = true;
