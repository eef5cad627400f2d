//! What the tests start, and end: servers, relays, producers, a proxy to cut; and what they read
//! back.

pub(crate) mod lines;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod producer;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod relay;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

/// What only a failure reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A port that is free now, and below those that the kernel gives to connections.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    ports.find(is_free).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test waits")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Waits until `condition` holds.
#[expect(clippy::disallowed_methods, reason = "only a failure reaches its end")]
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        pause(Duration::from_millis(5));
    }
}
