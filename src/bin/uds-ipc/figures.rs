//! The figures that a subcommand says at its end: a line of words for a person, or of JSON for a
//! program. Pure: the time is an argument.

use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;
use humantime::format_duration;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use uds_ipc::Delivery;
use uds_ipc::metrics::{ReaderMetrics, Tally, WriterMetrics};

/// How figures are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A short line of words
    Text,
    /// All of them, as one line of JSON
    Json,
    /// Not at all
    None,
}

/// The line that says them. The keys of JSON are the fields of the structs, nested as they are.
pub(crate) fn line(form: Form, words: String, figures: impl Serialize) -> Option<String> {
    match form {
        Form::Text => Some(words),
        // Structs of numbers can always be written.
        Form::Json => serde_json::to_string(&figures).ok(),
        Form::None => None,
    }
}

/// What a writer has done.
pub(crate) fn sent(metrics: &WriterMetrics, delivery: Delivery, elapsed: Duration) -> String {
    let WriterMetrics {
        sent,
        confirmed,
        dropped,
        failed,
        ..
    } = metrics;
    let mut text = format!("sent {} in {}", amount(*sent), time(elapsed));
    if delivery == Delivery::AtLeastOnce && sent.messages > 0 {
        if confirmed.messages < sent.messages {
            let _ = write!(text, ", {} confirmed", HumanCount(confirmed.messages));
        } else {
            text += ", all confirmed";
        }
    }
    // An empty line is no message that was dropped.
    let dropped = [
        dropped.full,
        dropped.too_large,
        dropped.closed,
        dropped.oldest,
    ];
    let failed = [failed.given_up, failed.left];
    let sum = |tallies: &[Tally]| tallies.iter().map(|tally| tally.messages).sum();
    with_others(text, [("dropped", sum(&dropped)), ("failed", sum(&failed))])
}

/// What a reader has had until now.
pub(crate) fn received(metrics: &ReaderMetrics, elapsed: Duration) -> String {
    let text = format!(
        "received {} over {} in {}",
        amount(metrics.received),
        number(metrics.connections, "connection"),
        time(elapsed)
    );
    let errors = metrics.protocol_errors;
    let errors = errors.too_large + errors.invalid_prefix + errors.truncated + errors.too_slow;
    with_others(
        text,
        [
            ("recovered", metrics.recovered.messages),
            ("connections refused", metrics.refused_peers),
            ("connections ended for what came", errors),
        ],
    )
}

/// What is nothing is not worth a word.
pub(crate) fn with_others(
    mut text: String,
    others: impl IntoIterator<Item = (&'static str, u64)>,
) -> String {
    for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(text, ", {name}: {}", HumanCount(count));
    }
    text
}

/// So many of these.
pub(crate) fn number(count: u64, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {name}{ending}", HumanCount(count))
}

/// So many messages and bytes.
fn amount(tally: Tally) -> String {
    let messages = number(tally.messages, "message");
    format!("{messages}, {}", DecimalBytes(tally.bytes))
}

/// As exact as is of use.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.0} s", time.as_secs_f64()),
        seconds => format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// So many messages with so many bytes.
#[cfg(test)]
pub(crate) fn tally(messages: u64, bytes: u64) -> Tally {
    let mut tally = Tally::default();
    (tally.messages, tally.bytes) = (messages, bytes);
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_one_line_and_says_what_went_wrong_only_if_it_did() {
        let mut metrics = WriterMetrics::default();
        metrics.sent = tally(1, 13);
        metrics.dropped.empty = tally(5, 0);
        let line =
            |metrics: &WriterMetrics, delivery| sent(metrics, delivery, Duration::from_millis(204));
        assert_eq!(
            line(&metrics, Delivery::AtMostOnce),
            "sent 1 message, 13 B in 0.20 s"
        );
        metrics.sent = tally(3_000, 18_000);
        metrics.confirmed = tally(2_000, 12_000);
        metrics.dropped.too_large = tally(1, 1);
        metrics.dropped.closed = tally(1, 1);
        metrics.failed.left = tally(1_000, 6_000);
        assert_eq!(
            line(&metrics, Delivery::AtLeastOnce),
            "sent 3,000 messages, 18.00 kB in 0.20 s, 2,000 confirmed, dropped: 2, failed: 1,000"
        );
        metrics = WriterMetrics::default();
        (metrics.sent, metrics.confirmed) = (tally(2, 2), tally(2, 2));
        assert_eq!(
            line(&metrics, Delivery::AtLeastOnce),
            "sent 2 messages, 2 B in 0.20 s, all confirmed"
        );
    }

    #[test]
    fn what_was_received_is_one_line_too() {
        let mut metrics = ReaderMetrics::default();
        metrics.received = tally(2, 6);
        metrics.connections = 1;
        let line = |metrics: &ReaderMetrics| received(metrics, Duration::from_secs(75));
        assert_eq!(
            line(&metrics),
            "received 2 messages, 6 B over 1 connection in 1m 15s"
        );
        metrics.refused_peers = 1;
        metrics.protocol_errors.too_slow = 2;
        assert_eq!(
            line(&metrics),
            "received 2 messages, 6 B over 1 connection in 1m 15s, connections refused: 1, \
             connections ended for what came: 2"
        );
    }

    #[test]
    fn a_time_is_as_exact_as_is_of_use() {
        for (millis, text) in [
            (0, "0.00 s"),
            (9_994, "9.99 s"),
            (59_400, "59 s"),
            (3_661_000, "1h 1m 1s"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
    }
}
