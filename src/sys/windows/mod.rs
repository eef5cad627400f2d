//! Windows: a stub, until there are named pipes. It has the names that the modules above use;
//! nothing can be made with it, since each call that makes something returns `Unsupported`.

pub(super) mod fence;
pub(crate) mod inherited;
mod listening_socket;
mod peer_process;
mod poller;
mod stream;
mod unsupported;
mod wait;
mod waker;
mod watch;

pub(crate) use listening_socket::{ListeningSocket, check_listening};
pub(crate) use peer_process::PeerProcess;
pub(crate) use poller::Poller;
pub(crate) use stream::Stream;
pub(crate) use wait::{wait, wait_for_arrival, wait_for_either, wait_with_file};
pub(crate) use waker::Waker;
pub(crate) use watch::{ArrivalWatch, FileWatch};

/// There are no signals to block.
pub(crate) fn with_signals_blocked<T>(act: impl FnOnce() -> T) -> T {
    act()
}
