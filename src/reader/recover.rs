//! Whose queues are taken over.
//! A value.

/// Whose queues a reader takes over when their processes have died: set with
/// [`recover`](crate::ReaderBuilder::recover).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Recover {
    /// Nobody's.
    Nothing,
    /// Those of processes of this process's own user, and of root.
    #[default]
    SameUser,
    /// Those of all that are let in.
    AnyUser,
}
