//! What the poller waits for at a socket: bytes, or nothing but to be called once.
//! A value.

/// What a socket is armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read, or its end.
    Read,
    /// Likewise, or room to send: at once, unless the peer leaves unread what was sent to it.
    Now,
    /// Room to send, or its end.
    #[cfg_attr(
        not(feature = "calls"),
        expect(dead_code, reason = "the pipe waits otherwise")
    )]
    Room,
}
