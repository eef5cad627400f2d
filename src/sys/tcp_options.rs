//! The settings of a TCP connection.
//! A value.

use std::time::Duration;

/// The settings of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpOptions {
    pub(crate) send_buffer_size: Option<usize>,
    /// After so long without a word the peer is probed, and again after each fifth of that.
    pub(crate) keepalive: Option<Duration>,
    /// How long what was sent may go without an acknowledgement of the peer's kernel.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "only Linux has such a time")
    )]
    pub(crate) user_timeout: Option<Duration>,
}
