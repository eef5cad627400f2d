//! How large the kernel's buffer of a stream is to be.
//! A value.

/// `SO_SNDBUF` or `SO_RCVBUF`, as set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferSize {
    /// What is best for the kind of stream.
    Best,
    System,
    Bytes(usize),
}

impl BufferSize {
    /// What a user set: nothing is the system's own.
    pub(crate) fn set(bytes: Option<usize>) -> Self {
        bytes.map_or(Self::System, Self::Bytes)
    }

    /// What to ask the kernel for, if anything, where that is the `best`.
    pub(crate) fn or_best(self, best: Option<usize>) -> Option<usize> {
        match self {
            Self::Best => best,
            Self::System => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}
