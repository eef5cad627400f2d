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
    grown: Tally,
    elapsed: Duration,
}

impl Speed {
    /// There was so much in all at this time.
    pub(crate) fn note(&mut self, now: Instant, total: Tally) {
        let (began, before) = *self.began.get_or_insert((now, total));
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= INTERVAL {
            (self.grown, self.elapsed) = (total - before, elapsed);
            self.began = Some((now, total));
        }
    }
}

/// So many messages in this time, as text: how many in a second.
pub(crate) fn messages_per_second(count: u64, elapsed: Duration) -> String {
    let whole = || HumanCount(rounded(count.into(), elapsed)).to_string();
    below_ten(count, elapsed).unwrap_or_else(whole)
}

/// Likewise of bytes, with their unit.
pub(crate) fn bytes_per_second(count: u64, elapsed: Duration) -> String {
    let whole = || DecimalBytes(rounded(count.into(), elapsed)).to_string();
    below_ten(count, elapsed).map_or_else(whole, |number| format!("{number} B"))
}

/// With one decimal, where the whole number would say too little.
fn below_ten(count: u64, elapsed: Duration) -> Option<String> {
    let tenths = rounded(u128::from(count) * 10, elapsed);
    let is_small = count > 0 && tenths < 100;
    is_small.then(|| format!("{}.{}", tenths / 10, tenths % 10))
}

/// To the nearest.
fn rounded(count: u128, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    let per_second = (count * 1_000_000_000 + nanos / 2) / nanos;
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = messages_per_second(self.grown.messages, self.elapsed);
        let bytes = bytes_per_second(self.grown.bytes, self.elapsed);
        write!(f, "{messages}/s, {bytes}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tally;

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

    #[test]
    fn a_speed_is_the_nearest_and_has_a_decimal_where_it_is_small() {
        for (count, millis, messages, bytes) in [
            (0, 0, "0", "0 B"),
            (0, 1_000, "0", "0 B"),
            (1, 1_001, "1.0", "1.0 B"),
            (1, 2_000, "0.5", "0.5 B"),
            (1, 100_000, "0.0", "0.0 B"),
            (994, 100_000, "9.9", "9.9 B"),
            (995, 100_000, "10", "10 B"),
            (1_049, 100_000, "10", "10 B"),
            (1_050, 100_000, "11", "11 B"),
            (1_000, 1_001, "999", "999 B"),
            (19_999, 10_000, "2,000", "2.00 kB"),
        ] {
            let elapsed = Duration::from_millis(millis);
            let found = (
                messages_per_second(count, elapsed),
                bytes_per_second(count, elapsed),
            );
            let expected = (messages.to_owned(), bytes.to_owned());
            assert_eq!(found, expected, "{count} in {millis} ms");
        }
        let _ = messages_per_second(u64::MAX, Duration::ZERO);
    }
}
