//! Why no connection was accepted.
//! A value.

/// What it means that an accept failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAccepted {
    /// No peer waits.
    Empty,
    /// The socket was shut down.
    Shut,
    /// The peer has gone already: the next one may be accepted.
    Gone,
    /// The system is short of something.
    Short,
}
