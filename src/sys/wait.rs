//! Waits for one socket, a waker, a file that comes, or a time.
//! Says only what came.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::arrival::Arrival;
use super::platform::poll::poll;
use super::platform::{ArrivalWatch, FileWatch, Waker};
use super::readiness::{Readiness, Wanted};
use super::stream::Stream;

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
    let stream = stream.map(|stream| PollFd::new(stream.as_fd(), events));
    let (woken, stream) = wait_for_both(waker, stream, timeout);
    Readiness {
        woken,
        room: stream.contains(PollFlags::POLLOUT),
        bytes: stream.contains(PollFlags::POLLIN),
        hangup: stream.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL),
        arrival: false,
    }
}

/// Waits until one of two wakers is used, or `timeout` is over. Says which were.
pub(crate) fn wait_for_either(
    waker: &Waker,
    other: &Waker,
    timeout: Option<Duration>,
) -> (bool, bool) {
    let other = PollFd::new(other.as_fd(), PollFlags::POLLIN);
    let (woken, other) = wait_for_both(waker, Some(other), timeout);
    (woken, !other.is_empty())
}

/// Waits until `waker` is used, something happens where `watch` looks, or `timeout` is over. Says
/// whether the waker was used, and what happened.
pub(crate) fn wait_for_arrival(
    waker: &Waker,
    watch: &ArrivalWatch,
    timeout: Option<Duration>,
) -> (bool, Option<Arrival>) {
    let polled = PollFd::new(watch.as_fd(), PollFlags::POLLIN);
    let (woken, came) = wait_for_both(waker, Some(polled), timeout);
    (woken, (!came.is_empty()).then(|| watch.look()))
}

/// Waits until `waker` is used, `file` is readable, or `timeout` is over. Says whether the waker
/// was used: the file may have something to tell in any case.
pub(crate) fn wait_with_file(waker: &Waker, file: &FileWatch, timeout: Option<Duration>) -> bool {
    let file = PollFd::new(file.as_fd(), PollFlags::POLLIN);
    wait_for_both(waker, Some(file), timeout).0
}

/// Says whether the waker was used, and what came of the other.
fn wait_for_both(
    waker: &Waker,
    other: Option<PollFd<'_>>,
    timeout: Option<Duration>,
) -> (bool, PollFlags) {
    let waker = PollFd::new(waker.as_fd(), PollFlags::POLLIN);
    let mut both;
    let mut alone;
    let fds: &mut [PollFd<'_>] = if let Some(other) = other {
        both = [waker, other];
        &mut both
    } else {
        alone = [waker];
        &mut alone
    };
    match poll(fds, timeout) {
        Ok(_) => {}
        // The caller looks at the clock and waits again.
        Err(nix::Error::EINTR) => return (false, PollFlags::empty()),
        // Such as when the limit of descriptors is below those that are waited for: then only time
        // passes.
        Err(_) => {
            thread::park_timeout(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
            return (false, PollFlags::empty());
        }
    }
    let returned = |at: usize| {
        fds.get(at)
            .and_then(PollFd::revents)
            .unwrap_or(PollFlags::empty())
    };
    (!returned(0).is_empty(), returned(1))
}
