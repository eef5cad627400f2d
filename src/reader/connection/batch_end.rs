//! How a batch ended. A value.

/// How a batch ended.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::reader) struct BatchEnd {
    /// The messages that were given to the handler, or to a receiver.
    pub(in crate::reader) messages: u64,
    /// The last of them failed, and comes again: nothing was given to the handler behind it.
    pub(in crate::reader) last_failed: bool,
    /// The end of the batch brought no error: those before the failed one are stored.
    pub(in crate::reader) is_stored: bool,
    /// There was an empty frame in it.
    pub(in crate::reader) asks: bool,
}
