//! `Step`: what the thread does next; `Pending`: what is queued, as the state must know it.
//! Values; `state` decides.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::writer::wake::WakeOn;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    /// Gives the try to connect up that is under way.
    GiveUpConnect,
    Write,
    /// Requests a receipt, so that the peer hears something.
    KeepAlive,
    /// Sleeps until the deadline, where there is one, or until what is named; also until a
    /// receipt that is due, or a call.
    Wait(WakeOn, Deadline),
    /// Reports that no receipt comes.
    ReportSilence {
        waited: Duration,
    },
    /// Gives the connection up: its peer has not taken a byte for too long, or takes none any more.
    TimeOut {
        after: Duration,
    },
    /// All is done. Ends the sending side, if that was not yet, and waits for the peer's end: an
    /// answer to a connection that is closed would make the kernel throw away what is on its way.
    Linger(Deadline),
    Exit,
}

/// What waits to be written, or confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Nothing,
    /// All is written, and not all is covered by a receipt.
    Unconfirmed,
    /// A few messages, for which no caller waits: they may gather while the thread lingers.
    Few,
    /// Enough for a write, or a caller waits for it.
    Due,
}

impl Pending {
    pub(crate) fn is_unwritten(self) -> bool {
        match self {
            Self::Nothing | Self::Unconfirmed => false,
            Self::Few | Self::Due => true,
        }
    }
}
