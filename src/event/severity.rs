//! How much an event matters.
//! A value.

/// How much an event matters, from the least to the most. The levels of the crates `log` and
/// `tracing` go by the same names (there `Warning` is `Warn`).
///
/// ```
/// use uds_ipc::Writer;
/// use uds_ipc::event::Severity;
///
/// let writer = Writer::builder("/tmp/nobody-is-there.sock").on_event(|event| {
///     if event.severity() >= Severity::Warning {
///         eprintln!("{event}");
///     }
/// });
/// # let _ = writer;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Severity {
    /// As it is to be, and it happens often: connections come and go. A reader closes those that
    /// are idle, so that each quiet daemon makes two such events for each
    /// [`idle_timeout`](crate::ReaderBuilder::idle_timeout).
    Debug,
    /// As it is to be, and it happens seldom.
    Info,
    /// Something was refused, or goes on later than it should. Nothing is lost yet, as far as is
    /// known.
    Warning,
    /// Messages are lost, or somebody has to do something. A connection that was lost with messages
    /// unread is among these, though with [`AtLeastOnce`](crate::Delivery::AtLeastOnce) they are
    /// sent again.
    Error,
}
