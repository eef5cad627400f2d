//! What wakes the writer's thread before its time is over.
//! Pure: a value, chosen by the state, kept by the queue, and looked at by senders.

/// What the thread is to be woken for. To wake it costs the waker a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeOn {
    /// Nothing: it is awake, or only the time ends its sleep. It looks at the queue then.
    Nothing,
    /// The kernel, once the socket is writable.
    Writable,
    /// A full block. It lingers after a write: what is less may gather until its time is over.
    FullBlock,
    /// Any message.
    Message,
}
