//! Floating-point numbers: medians with their spread, and counts as such numbers.
//! Pure: nothing is measured here.

use std::time::Duration;

/// The median of all rounds, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    /// Of no rounds it is zero.
    pub(super) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut rounds: Vec<_> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        let last = rounds.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            lowest: at(0),
            highest: at(last),
        }
    }

    /// The same in another unit.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            lowest: self.lowest * factor,
            highest: self.highest * factor,
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a measure needs no 53 bits"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

pub(super) fn float_of(count: usize) -> f64 {
    float(widen(count))
}

pub(super) fn widen(count: usize) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}

/// A count, at least one.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "out of bounds, such a conversion takes the nearest"
)]
pub(super) fn count(number: f64) -> u64 {
    (number as u64).max(1)
}

/// How many a second; of no time, as if it were a nanosecond.
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    float(count) / time.max(Duration::from_nanos(1)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_goes_from_end_to_end() {
        assert_eq!(
            Spread::of([3.0, 1.0, 8.0]),
            Spread {
                median: 3.0,
                lowest: 1.0,
                highest: 8.0
            }
        );
        assert_eq!(
            Spread::of([4.0, 1.0]),
            Spread {
                median: 2.5,
                lowest: 1.0,
                highest: 4.0
            }
        );
        assert_eq!(
            Spread::of([]),
            Spread {
                median: 0.0,
                lowest: 0.0,
                highest: 0.0
            }
        );
    }

    #[test]
    fn a_count_is_never_nothing() {
        assert_eq!(
            (count(-1.0), count(0.3), count(f64::NAN), count(7.9)),
            (1, 1, 1, 7)
        );
    }
}
