//! Constants of the writer's thread: how long it waits, where no setting says so.
//! Durations, and how often the write timeout may double.

use std::time::Duration;

/// How long a connection must have lived to count as good. A write into a dying connection's buffer
/// succeeds too.
pub(crate) const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The least wait after a loss. A process that dies may lose its connections before its listening
/// socket: a connect at once would succeed, and what is written would go down with it.
pub(crate) const AFTER_LOSS: Duration = Duration::from_millis(20);

/// From the moment at which a socket has come to the address until the next try: it is bound, and
/// listens soon.
pub(crate) const AFTER_ARRIVAL: Duration = Duration::from_millis(5);

/// How many further tries come soon then, each after four times the wait before.
pub(crate) const TRIES_AFTER_ARRIVAL: u32 = 2;

/// How long a reader has to hang up on a probe.
pub(crate) const PROBE_TIME: Duration = Duration::from_millis(100);

/// How often a connect is tried while the reader's backlog is full: there is nothing to wait on.
pub(crate) const FULL_BACKLOG_PACE: Duration = Duration::from_millis(5);

/// How often a write is tried again when the kernel is short of memory: nor is there then.
pub(crate) const NO_MEMORY_PACE: Duration = Duration::from_millis(5);

/// How often a write is tried again though the kernel does not say that there is room. Linux says
/// so only when three quarters of the buffer are free, and takes bytes long before: a slow reader
/// would look like a dead one.
pub(crate) const FULL_SOCKET_PACE: Duration = Duration::from_millis(50);

/// How often to look how much the peer has read, while a caller waits for it: no event tells.
pub(crate) const READ_PACE: Duration = Duration::from_millis(1);

/// How often the write timeout may double.
pub(crate) const MOST_DOUBLINGS: u32 = 6;
