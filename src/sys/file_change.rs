//! What a watch tells of a file.
//! A value.

/// What has happened to a file that is watched, or on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "only Linux tells")
)]
pub(crate) enum FileChange {
    /// Something: the file may be gone.
    Changed,
    /// Likewise, and from here on not all is told: a directory or a link on the way may be another.
    WatchOver,
}
