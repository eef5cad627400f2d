//! The operating system: sockets, their files, waiting and waking.
//! No policy. This is the seam for other platforms: what stands above knows only the names that are
//! used from here.

#[cfg(not(unix))]
compile_error!("uds-ipc knows Unix only so far: Windows needs a `sys` of its own");

pub(crate) mod asymmetric_fence;
mod credentials;
mod environment;
mod file;
mod listener;
mod notify;
mod passed;
mod poller;
mod socket;
mod unread;
mod wait;
mod waker;

pub(crate) use file::{create_socket_dir, remove_stale_socket};
pub(crate) use listener::{Accepted, FileWatch, Listener, ListenerOptions};
pub(crate) use notify::NotifySocket;
pub(crate) use passed::with_passed;
pub(crate) use poller::{Interest, Poller, Ready};
pub(crate) use socket::{Received, Sent, Stream};
pub(crate) use wait::{Readiness, Wanted, wait};
pub(crate) use waker::Waker;
