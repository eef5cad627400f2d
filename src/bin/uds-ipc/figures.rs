//! The figures as JSON, one line each time.
//! Values: the keys are the fields of the library's structs, nested as they are.

use serde_json::{Value, json};
use uds_ipc::metrics::{Dropped, Failed, ProtocolErrors, ReaderMetrics, Tally, WriterMetrics};

pub(crate) fn of_writer(metrics: &WriterMetrics) -> Value {
    json!({
        "accepted": tally(metrics.accepted),
        "sent": tally(metrics.sent),
        "confirmed": tally(metrics.confirmed),
        "resent": tally(metrics.resent),
        "queued": tally(metrics.queued),
        "dropped": dropped(&metrics.dropped),
        "failed": failed(&metrics.failed),
        "connects": metrics.connects,
        "lost_with_unread": metrics.lost_with_unread,
        "writes": metrics.writes,
        "observer_panics": metrics.observer_panics,
        "connected": metrics.connected,
    })
}

pub(crate) fn of_reader(metrics: &ReaderMetrics) -> Value {
    json!({
        "received": tally(metrics.received),
        "connections": metrics.connections,
        "open": metrics.open,
        "handler_errors": metrics.handler_errors,
        "panics": metrics.panics,
        "protocol_errors": protocol_errors(&metrics.protocol_errors),
        "refused_peers": metrics.refused_peers,
        "accept_pauses": metrics.accept_pauses,
        "threads": metrics.threads,
    })
}

fn dropped(dropped: &Dropped) -> Value {
    json!({
        "full": tally(dropped.full),
        "too_large": tally(dropped.too_large),
        "empty": tally(dropped.empty),
        "closed": tally(dropped.closed),
        "oldest": tally(dropped.oldest),
    })
}

fn failed(failed: &Failed) -> Value {
    json!({ "given_up": tally(failed.given_up), "left": tally(failed.left) })
}

fn protocol_errors(errors: &ProtocolErrors) -> Value {
    json!({
        "too_large": errors.too_large,
        "invalid_prefix": errors.invalid_prefix,
        "truncated": errors.truncated,
        "too_slow": errors.too_slow,
    })
}

fn tally(tally: Tally) -> Value {
    json!({ "messages": tally.messages, "bytes": tally.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// The names before the colons.
    fn names(text: &str) -> Vec<String> {
        let name = |part: &str| {
            part.rsplit(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .map(str::to_owned)
        };
        let mut names: Vec<_> = text
            .replace('"', "")
            .split(':')
            .rev()
            .skip(1)
            .filter_map(name)
            .collect();
        names.sort();
        names
    }

    fn assert_same_fields(metrics: &impl Debug, figures: &Value) {
        assert_eq!(names(&format!("{metrics:?}")), names(&figures.to_string()));
    }

    #[test]
    fn every_field_of_the_metrics_is_a_figure() {
        assert_same_fields(
            &WriterMetrics::default(),
            &of_writer(&WriterMetrics::default()),
        );
        assert_same_fields(
            &ReaderMetrics::default(),
            &of_reader(&ReaderMetrics::default()),
        );
    }
}
