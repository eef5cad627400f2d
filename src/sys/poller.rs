//! Waits for the first of many sockets that is ready, from many threads at once.
//! Every socket is armed one-shot: for one event, until it is armed again.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::interest::Interest;
use super::platform::Waker;
use super::platform::poll::poll;
use super::platform::poller::Queue;
use super::readiness::Ready;

/// The key of the descriptor that closes the poller. kqueue's are signed.
const CLOSED: u64 = 1 << 62;

#[derive(Debug)]
pub(crate) struct Poller {
    queue: Queue,
    closer: Waker,
}

impl Poller {
    /// The greatest key that a socket can have.
    pub(crate) const MOST_KEY: u64 = CLOSED - 1;

    pub(crate) fn new() -> io::Result<Self> {
        let (queue, closer) = (Queue::new()?, Waker::new()?);
        queue.watch(&closer, CLOSED)?;
        Ok(Self { queue, closer })
    }

    /// Adds a socket and arms it. It leaves by being closed.
    pub(crate) fn add(&self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        debug_assert!(key <= Self::MOST_KEY, "this key is the poller's own");
        self.queue.add(socket, key, interest)
    }

    /// Arms a socket again.
    pub(crate) fn arm(&self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        self.queue.arm(socket, key, interest)
    }

    /// Waits for one socket.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Ready> {
        Ok(match self.queue.wait(timeout)? {
            None => Ready::Nothing,
            Some(CLOSED) => Ready::Closed,
            Some(key) => Ready::Socket(key),
        })
    }

    /// Whether a wait would end at once.
    pub(crate) fn has_ready(&self) -> bool {
        use nix::poll::{PollFd, PollFlags};

        let mut fds = [PollFd::new(self.queue.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        self.closer.wake();
    }
}
