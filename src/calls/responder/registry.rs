//! Who is connected to a responder, and what is in flight.

use std::time::Instant;

use super::shared::Shared;
use crate::peer::Peer;

/// One open connection of a [`Responder`](super::Responder), as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Who is at the other end.
    pub peer: Peer,
    /// Since when it is open.
    pub since: Instant,
    /// How many calls of it were answered.
    pub answered: u64,
    /// What is in flight, notifications last.
    pub open: Vec<OpenCall>,
}

/// A call that is in flight: its handler runs, waits for a thread, or has left the answer to
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenCall {
    /// What is asked for.
    pub method: String,
    /// When it was read.
    pub since: Instant,
    /// When the caller stops waiting; `None` is never.
    pub deadline: Option<Instant>,
    /// The caller has said that it waits no more.
    pub is_cancelled: bool,
}

pub(super) fn of(shared: &Shared) -> Vec<ConnectionInfo> {
    let connections = shared.connections.lock();
    let infos = connections.entries.values().map(|connection| {
        let state = connection.lock();
        let open = state.machine.open().map(|open| OpenCall {
            method: open.method.clone(),
            since: open.since,
            deadline: open.deadline,
            is_cancelled: open.is_cancelled,
        });
        ConnectionInfo {
            peer: connection.peer,
            since: connection.since,
            answered: state.answered,
            open: open.collect(),
        }
    });
    infos.collect()
}
