//! What a directory's watch tells of a file that is to come.
//! A value.

/// What has happened in a directory that is watched for a file to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "only Linux tells")
)]
pub(crate) enum Arrival {
    /// The file has come.
    Come,
    /// Something else.
    Other,
    /// The directory itself is gone, or too much has happened: from here on nothing is told.
    WatchOver,
}
