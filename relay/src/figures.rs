//! The figures for Prometheus. Their names begin with `uds_ipc_relay_`.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// What is counted. At rest: accepted = acknowledged + repeated + left out + in flight.
pub(crate) struct Figures {
    pub(crate) accepted: Counter,
    /// As often as they were.
    pub(crate) published: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) repeated: Counter,
    pub(crate) went_back: Counter,
    pub(crate) missing: Counter,
    pub(crate) blocked: Gauge,
    pub(crate) in_flight_messages: Gauge,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) oldest_seconds: Gauge,
    pub(crate) reachable: Gauge,
}

impl Figures {
    pub(crate) fn new() -> Self {
        describe_counter!("uds_ipc_relay_accepted_total", "Messages that writers sent");
        describe_counter!(
            "uds_ipc_relay_published_total",
            "Messages that were sent to the engine, as often as they were"
        );
        describe_counter!(
            "uds_ipc_relay_acknowledged_total",
            "Messages that were sent, and that the engine has"
        );
        describe_counter!(
            "uds_ipc_relay_repeated_total",
            "Messages that were not sent: their number was not above the engine's last"
        );
        describe_counter!(
            "uds_ipc_relay_refused_total",
            "Runs of messages that ended without an acknowledgement of all, by reason"
        );
        describe_counter!(
            "uds_ipc_relay_left_out_total",
            "Messages that were confirmed to their writer and not published, by reason"
        );
        describe_counter!(
            "uds_ipc_relay_went_back_total",
            "Times that a producer's last message in the engine was below one that was acknowledged"
        );
        describe_counter!(
            "uds_ipc_relay_missing_total",
            "Messages without which the engine has stored those sent behind them"
        );
        describe_gauge!(
            "uds_ipc_relay_blocked_producers",
            "Producers that wait for an operator: at their place in the engine is somebody else's"
        );
        describe_gauge!(
            "uds_ipc_relay_in_flight_messages",
            "Messages accepted and not yet confirmed"
        );
        describe_gauge!("uds_ipc_relay_in_flight_bytes", Unit::Bytes, "Their bytes");
        describe_gauge!(
            "uds_ipc_relay_oldest_seconds",
            Unit::Seconds,
            "The age of the oldest message in flight"
        );
        describe_gauge!(
            "uds_ipc_relay_engine_reachable",
            "1 if the engine answers, else 0"
        );
        for reason in ["unreachable", "moved", "refused", "blocked", "too_long"] {
            refused(reason).absolute(0);
        }
        for reason in ["too_long", "unmarked", "out_of_order"] {
            left_out(reason).absolute(0);
        }
        Self {
            accepted: counter!("uds_ipc_relay_accepted_total"),
            published: counter!("uds_ipc_relay_published_total"),
            acknowledged: counter!("uds_ipc_relay_acknowledged_total"),
            repeated: counter!("uds_ipc_relay_repeated_total"),
            went_back: counter!("uds_ipc_relay_went_back_total"),
            missing: counter!("uds_ipc_relay_missing_total"),
            blocked: gauge!("uds_ipc_relay_blocked_producers"),
            in_flight_messages: gauge!("uds_ipc_relay_in_flight_messages"),
            in_flight_bytes: gauge!("uds_ipc_relay_in_flight_bytes"),
            oldest_seconds: gauge!("uds_ipc_relay_oldest_seconds"),
            reachable: gauge!("uds_ipc_relay_engine_reachable"),
        }
    }
}

pub(crate) fn refused(reason: &'static str) -> Counter {
    counter!("uds_ipc_relay_refused_total", "reason" => reason)
}

pub(crate) fn left_out(reason: &'static str) -> Counter {
    counter!("uds_ipc_relay_left_out_total", "reason" => reason)
}
