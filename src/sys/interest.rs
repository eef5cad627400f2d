//! What the poller waits for at a socket: bytes, or nothing but to be called once.
//! A value.

/// What a socket is armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read, or its end.
    Read,
    /// Likewise, or room to send: at once, unless the peer leaves unread what was sent to it.
    Now,
}

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
