//! All figures of both ends as families, in the order in which they are shown: their names, what
//! they mean, and what they count. Values.

use crate::metrics::{ReaderMetrics, Tally, WriterMetrics};

/// What is said of all members of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
}

/// One figure, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) family: Family,
    /// Which member of the family it is, where that has several.
    pub(crate) reason: Option<&'static str>,
    pub(crate) value: u64,
}

/// Figures as they are listed below.
#[derive(Default)]
struct List(Vec<Figure>);

impl List {
    fn add(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.add_of(None, name, help, value);
    }

    /// A counter, by its name.
    fn add_of(
        &mut self,
        reason: Option<&'static str>,
        name: &'static str,
        help: &'static str,
        value: u64,
    ) {
        let kind = if name.ends_with("_total") {
            Kind::Counter
        } else {
            Kind::Gauge
        };
        let family = Family { name, help, kind };
        self.0.push(Figure {
            family,
            reason,
            value,
        });
    }

    /// A number of messages, and their bytes.
    fn add_both(&mut self, names: [&'static str; 2], help: &'static str, tally: Tally) {
        self.add_both_of(&[(None, tally)], names, help);
    }

    fn add_both_of(
        &mut self,
        tallies: &[(Option<&'static str>, Tally)],
        [messages, bytes]: [&'static str; 2],
        help: &'static str,
    ) {
        for (reason, tally) in tallies {
            self.add_of(*reason, messages, help, tally.messages);
        }
        for (reason, tally) in tallies {
            self.add_of(*reason, bytes, help, tally.bytes);
        }
    }
}

macro_rules! both {
    ($start:literal, $end:literal) => {
        [
            concat!("uds_ipc_", $start, "_messages", $end),
            concat!("uds_ipc_", $start, "_bytes", $end),
        ]
    };
}

pub(crate) fn of_writer(metrics: &WriterMetrics) -> Vec<Figure> {
    let mut list = List::default();
    list.add_both(
        both!("writer_accepted", "_total"),
        "Accepted into the queue.",
        metrics.accepted,
    );
    list.add_both(
        both!("writer_sent", "_total"),
        "Taken by the kernel; each counts once.",
        metrics.sent,
    );
    list.add_both(
        both!("writer_confirmed", "_total"),
        "Covered by receipts: the reader has handled them.",
        metrics.confirmed,
    );
    list.add_both(
        both!("writer_resent", "_total"),
        "Sent again after a connection was lost.",
        metrics.resent,
    );
    let dropped = &metrics.dropped;
    list.add_both_of(
        &[
            (Some("queue_full"), dropped.full),
            (Some("too_large"), dropped.too_large),
            (Some("empty"), dropped.empty),
            (Some("already_shutdown"), dropped.closed),
            (Some("oldest"), dropped.oldest),
        ],
        both!("writer_dropped", "_total"),
        "Refused, or removed from the queue to make room (oldest).",
    );
    list.add_both_of(
        &[
            (Some("given_up"), metrics.failed.given_up),
            (Some("left"), metrics.failed.left),
        ],
        both!("writer_failed", "_total"),
        "Accepted, and refused by the reader (given_up) or left at the end.",
    );
    list.add_both(
        both!("writer_queue", ""),
        "In the queue now: to be sent, or waiting for a receipt.",
        metrics.queued,
    );
    list.add_both(
        both!("writer_queue_capacity", ""),
        "The most that the queue holds.",
        metrics.capacity,
    );
    for (name, help, value) in [
        (
            "uds_ipc_writer_connects_total",
            "Connections made.",
            metrics.connects,
        ),
        (
            "uds_ipc_writer_lost_with_unread_total",
            "Connections lost whose reader had not read all that was sent.",
            metrics.lost_with_unread,
        ),
        (
            "uds_ipc_writer_writes_total",
            "System calls that wrote something.",
            metrics.writes,
        ),
        (
            "uds_ipc_writer_observer_panics_total",
            "Panics of the event observer.",
            metrics.observer_panics,
        ),
        (
            "uds_ipc_writer_connected",
            "Whether there is a connection now: 1 or 0.",
            u64::from(metrics.connected),
        ),
    ] {
        list.add(name, help, value);
    }
    list.0
}

pub(crate) fn of_reader(metrics: &ReaderMetrics) -> Vec<Figure> {
    let mut list = List::default();
    list.add_both(
        both!("reader_received", "_total"),
        "Given to the handler.",
        metrics.received,
    );
    list.add_both(
        both!("reader_recovered", "_total"),
        "Of these, what writers had left that died.",
        metrics.recovered,
    );
    for (name, help, value) in [
        (
            "uds_ipc_reader_repeated_messages_total",
            "Messages that came again and had been handled.",
            metrics.repeated,
        ),
        (
            "uds_ipc_reader_connections_total",
            "Connections accepted.",
            metrics.connections,
        ),
        (
            "uds_ipc_reader_open_connections",
            "Connections open now.",
            metrics.open,
        ),
        (
            "uds_ipc_reader_handler_errors_total",
            "Calls of the handler that returned an error.",
            metrics.handler_errors,
        ),
        (
            "uds_ipc_reader_panics_total",
            "Panics of the handler, the peer check or the event observer.",
            metrics.panics,
        ),
    ] {
        list.add(name, help, value);
    }
    let errors = &metrics.protocol_errors;
    for (reason, value) in [
        ("too_large", errors.too_large),
        ("invalid_prefix", errors.invalid_prefix),
        ("truncated", errors.truncated),
        ("too_slow", errors.too_slow),
    ] {
        list.add_of(
            Some(reason),
            "uds_ipc_reader_protocol_errors_total",
            "Connections ended for what the peer sent, or failed to send.",
            value,
        );
    }
    for (name, help, value) in [
        (
            "uds_ipc_reader_refused_peers_total",
            "Peers refused before a byte of theirs was read.",
            metrics.refused_peers,
        ),
        (
            "uds_ipc_reader_accept_pauses_total",
            "Times that accepting paused for lack of something, such as descriptors.",
            metrics.accept_pauses,
        ),
        (
            "uds_ipc_reader_threads",
            "Threads that serve connections now.",
            metrics.threads,
        ),
    ] {
        list.add(name, help, value);
    }
    list.0
}
