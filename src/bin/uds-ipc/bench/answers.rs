//! What the reader's process tells the other one: a line of JSON each time, on its standard output.
//! Values and their text; who waits for them is elsewhere.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest time that a histogram holds, in nanoseconds: a minute. What is longer counts as
/// that.
const LONGEST: u64 = 60_000_000_000;

#[derive(Debug)]
pub(super) enum Answer {
    /// It listens: over TCP there.
    Ready(Option<SocketAddr>),
    /// All that was announced has come.
    Received(Received),
    Failed(String),
}

#[derive(Debug, PartialEq)]
pub(super) struct Received {
    /// What the process has used so far, user and system.
    pub(super) processor_time: Duration,
    /// How long each message was on its way, in nanoseconds, where it carried the time.
    pub(super) latency: Histogram<u64>,
}

impl Answer {
    pub(super) fn say(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.to_json())?;
        out.flush()
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Ready(None) => json!("ready"),
            Self::Ready(Some(address)) => json!({ "ready": address.to_string() }),
            Self::Failed(problem) => json!({ "failed": problem }),
            Self::Received(Received {
                processor_time,
                latency,
            }) => {
                let recorded = latency.iter_recorded();
                let buckets: Vec<_> = recorded
                    .map(|bucket| json!([bucket.value_iterated_to(), bucket.count_at_value()]))
                    .collect();
                json!({
                    "processor_time": processor_time.as_secs_f64(),
                    "latency": buckets,
                })
            }
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        if value == "ready" {
            return Some(Self::Ready(None));
        }
        if let Some(address) = value.get("ready") {
            return Some(Self::Ready(Some(address.as_str()?.parse().ok()?)));
        }
        if let Some(problem) = value.get("failed") {
            return Some(Self::Failed(problem.as_str()?.to_owned()));
        }
        let processor_time =
            Duration::try_from_secs_f64(value.get("processor_time")?.as_f64()?).ok()?;
        let mut latency = histogram();
        for bucket in value.get("latency")?.as_array()? {
            latency.saturating_record_n(bucket.get(0)?.as_u64()?, bucket.get(1)?.as_u64()?);
        }
        Some(Self::Received(Received {
            processor_time,
            latency,
        }))
    }
}

/// An empty one, of nanoseconds, in which a value is off by a thousandth at most.
#[expect(clippy::expect_used, reason = "the bounds are good, as a test shows")]
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds that are right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_said() {
        let mut latency = histogram();
        for value in [0, 1, 100, 12_345, 12_345, u64::MAX] {
            latency.saturating_record(value);
        }
        let received = || Received {
            processor_time: Duration::from_millis(1500),
            latency: latency.clone(),
        };
        let said = Answer::Received(received()).to_json().to_string();
        assert!(
            matches!(Answer::parse(&said), Some(Answer::Received(heard)) if heard == received()),
            "{said}"
        );
        for place in [None, Some(SocketAddr::from(([127, 0, 0, 1], 7000)))] {
            let said = Answer::Ready(place).to_json().to_string();
            assert!(
                matches!(Answer::parse(&said), Some(Answer::Ready(heard)) if heard == place),
                "{said}"
            );
        }
        assert!(
            matches!(Answer::parse(r#"{"failed":"x"}"#), Some(Answer::Failed(problem)) if problem == "x")
        );
        for no_answer in [
            "",
            "{}",
            "\"steady\"",
            r#"{"ready":"somewhere"}"#,
            r#"{"processor_time":-1,"latency":[]}"#,
        ] {
            assert!(Answer::parse(no_answer).is_none(), "{no_answer}");
        }
    }
}
