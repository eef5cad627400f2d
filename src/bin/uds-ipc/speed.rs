//! How fast a figure grows, for a person to read.
//! Pure: the time is an argument.

use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount};
use uds_ipc::metrics::Tally;

/// Over how long it is measured: shorter ones cannot be read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The messages and bytes of a second, the last that is over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    began: Option<(Instant, Tally)>,
    messages: u64,
    bytes: u64,
}

impl Speed {
    /// There was so much in all at this time.
    pub(crate) fn note(&mut self, now: Instant, total: Tally) {
        let (began, before) = *self.began.get_or_insert((now, total));
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= INTERVAL {
            let grown = total - before;
            self.messages = per_second(grown.messages, elapsed);
            self.bytes = per_second(grown.bytes, elapsed);
            self.began = Some((now, total));
        }
    }
}

/// So many in this time, as many in a second.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, bytes) = (HumanCount(self.messages), DecimalBytes(self.bytes));
        write!(f, "{messages}/s, {bytes}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(messages: u64, bytes: u64) -> Tally {
        let mut tally = Tally::default();
        (tally.messages, tally.bytes) = (messages, bytes);
        tally
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn the_last_second_that_is_over_is_told() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut speed = Speed::default();
        speed.note(at(0), tally(1_000, 5));
        speed.note(at(999), tally(9_999, 99));
        assert_eq!(speed.to_string(), "0/s, 0 B/s");
        speed.note(at(2_000), tally(5_000, 12_005));
        assert_eq!(speed.to_string(), "2,000/s, 6.00 kB/s");
        speed.note(at(3_000), tally(5_000, 12_005));
        assert_eq!(speed.to_string(), "0/s, 0 B/s");
    }
}
