//! Why there is no memory that other processes can read.
//! A value.

use std::io;

/// Why there is no memory that other processes can read.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "no other system has such memory")
)]
pub(crate) enum SharedMemoryError {
    /// The kernel would end the process with SIGXFSZ.
    #[error("a file of this process may have {limit} bytes at most (RLIMIT_FSIZE)")]
    TooLarge { limit: u64 },
    #[error("this system has no memory that one process alone can write and others can read")]
    Unsupported,
    #[error(transparent)]
    Io(#[from] io::Error),
}
