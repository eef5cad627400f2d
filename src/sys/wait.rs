//! Waits for one socket, a waker, or a time.
//! Says only what came; reads nothing.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::platform::Waker;
use super::platform::poll::poll;
use super::socket::Stream;

/// What to wait for at a socket, besides its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// It takes bytes.
    pub(crate) room: bool,
    /// It has bytes, or the peer will send no more.
    pub(crate) bytes: bool,
}

/// What ended a wait. More than one can be true; none is when the time did.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Readiness {
    /// The waker was used.
    pub(crate) woken: bool,
    /// The socket takes bytes again.
    pub(crate) room: bool,
    /// The socket has bytes, or the peer will send no more.
    pub(crate) bytes: bool,
    /// The peer has closed the socket.
    pub(crate) hangup: bool,
}

/// How often to look where waiting is impossible.
const BLIND: Duration = Duration::from_millis(5);

/// Waits until `waker` is used, `stream` is closed by its peer, `stream` has what is `wanted`, or
/// `timeout` is over.
pub(crate) fn wait(
    waker: &Waker,
    stream: Option<&Stream>,
    wanted: Wanted,
    timeout: Option<Duration>,
) -> Readiness {
    let mut events = PollFlags::empty();
    events.set(PollFlags::POLLOUT, wanted.room);
    events.set(PollFlags::POLLIN, wanted.bytes);
    let waker = PollFd::new(waker.as_fd(), PollFlags::POLLIN);
    let mut both;
    let mut alone;
    let fds: &mut [PollFd<'_>] = if let Some(stream) = stream {
        both = [waker, PollFd::new(stream.as_fd(), events)];
        &mut both
    } else {
        alone = [waker];
        &mut alone
    };
    match poll(fds, timeout) {
        Ok(_) => {}
        // The caller looks at the clock and waits again.
        Err(nix::Error::EINTR) => return Readiness::default(),
        // Such as when the limit of descriptors is below those that are waited for: then only time
        // passes.
        Err(_) => {
            thread::park_timeout(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
            return Readiness::default();
        }
    }
    let returned = |at: usize| {
        fds.get(at)
            .and_then(PollFd::revents)
            .unwrap_or(PollFlags::empty())
    };
    let (waker, stream) = (returned(0), returned(1));
    Readiness {
        woken: !waker.is_empty(),
        room: stream.contains(PollFlags::POLLOUT),
        bytes: stream.contains(PollFlags::POLLIN),
        hangup: stream.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL),
    }
}
