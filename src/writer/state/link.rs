//! The state of the connection: down until the next try, or up and waiting for something.
//! Values; `state` has the transitions.

use std::time::Instant;

use crate::deadline::Deadline;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// No connection; the next try is due at `retry_at`.
    Down {
        retry_at: Deadline,
        cause: Cause,
    },
    /// A try takes its time, at most until then.
    Connecting {
        until: Deadline,
    },
    Up(Up),
    /// It was the only one, and is gone.
    Over,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was lost, or there has been none yet.
    Lost,
    /// The last try failed: as a rule nobody listens. So many further ones come soon, since a
    /// socket has come to the address.
    Absent { soon: u32 },
    /// The reader has been there since then, and does not accept.
    BacklogFull(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Up {
    pub(crate) since: Instant,
    pub(crate) last_write: Instant,
    pub(crate) answer: Answer,
    pub(crate) flow: Flow,
}

/// What the reader owes us with `AtLeastOnce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    NotDue,
    DueSince(Instant),
    /// Due since then, and the peer has closed its sending side: it will never come.
    Impossible(Instant),
    /// Its silence was reported.
    Missed,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The reader to hang up on a probe, if it refuses the message.
    Probing { until: Deadline },
    /// Room in the kernel, `since` then; without a sign of it, look again at `look_at`.
    Blocked {
        since: Instant,
        look_at: Deadline,
        retry: Retry,
    },
    /// A message that came just after the last batch.
    Lingering { until: Deadline },
    /// A message.
    Idle,
    /// The peer takes nothing more; the last receipts may still come. There was none since then.
    LastReceipts { since: Instant },
    /// The peer stops, and is to have the last receipts come. Since then it holds messages up, and
    /// there was none.
    PeerStops { since: Instant },
}

/// Whether the kernel tells when there is room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    OnWritable,
    AfterPause,
}
