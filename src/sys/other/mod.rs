//! macOS and the BSDs: the same names as for Linux, and less behind some of them.

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
pub(super) mod unread;
mod waker;

pub(crate) use arrival_watch::ArrivalWatch;
pub(crate) use file_watch::FileWatch;
pub(crate) use peer_process::PeerProcess;
pub(crate) use pinned::PinnedFile;
pub(crate) use waker::Waker;

#[cfg(not(target_vendor = "apple"))]
use nix::libc;

/// A send to a peer that is gone raises no signal. Apple has no such flag; there socket2 sets
/// `SO_NOSIGPIPE` on every socket it makes.
#[cfg(target_vendor = "apple")]
pub(super) const SEND_FLAGS: i32 = 0;
#[cfg(not(target_vendor = "apple"))]
pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

/// Whether the kernel says what a peer has not read.
pub(super) const TELLS_UNREAD: bool = false;

/// Whether memory can be passed over a Unix socket.
pub(super) const PASSES_MEMORY: bool = false;

/// Whether `shutdown` of the receiving side keeps what has come, also the connections that wait in
/// a backlog.
pub(super) const SHUTDOWN_KEEPS_WHAT_CAME: bool = false;

/// Whether connecting to a full backlog differs from connecting where no process listens.
pub(crate) const TELLS_FULL_BACKLOG: bool = false;

/// Whether there are abstract names.
#[cfg(feature = "systemd")]
pub(super) const ABSTRACT_NAMES: bool = false;
