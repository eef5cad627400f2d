//! Whether the writer's thread must be woken, which costs the waker a system call.
//! Pure.

/// What the writer's thread is doing, as far as a producer must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// It will look at the queue by itself.
    Awake,
    /// It will look soon; only a full block is worth the system call that wakes it.
    Lingering,
    /// It must be woken.
    Asleep,
}

/// Whether the caller has to wake the writer's thread, once the lock is free again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    No,
    Yes,
}

impl Attention {
    /// Claims it. Only the first who does has to wake the thread.
    pub(super) fn rouse(&mut self) -> Wake {
        match std::mem::replace(self, Self::Awake) {
            Self::Awake => Wake::No,
            Self::Lingering | Self::Asleep => Wake::Yes,
        }
    }
}
