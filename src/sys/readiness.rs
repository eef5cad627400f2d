//! What is waited for, and what a wait ended with.
//! Values.

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
    /// A socket has come to the address to which there is no connection.
    pub(crate) arrival: bool,
}

/// What the wait of a poller ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The socket with this key. It is not armed any more.
    Socket(u64),
    /// The poller was closed; so ends every wait from now on.
    Closed,
    /// Nothing in time.
    Nothing,
}
