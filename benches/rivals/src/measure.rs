//! Times, processor time, memory, descriptors and threads.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

/// What this process has used and holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Processor time, in microseconds.
    pub(crate) processor: f64,
    /// Resident memory, in bytes.
    resident: f64,
    descriptors: f64,
    threads: f64,
}

/// What more a process holds than before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// Resident memory, in bytes.
    pub(crate) resident: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
}

impl Figures {
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        Self {
            processor: processor(),
            resident: number("VmRSS:").unwrap_or(f64::NAN) * 1024.0,
            descriptors: fs::read_dir("/proc/self/fd")
                .map_or(f64::NAN, |entries| float(entries.count())),
            threads: number("Threads:").unwrap_or(f64::NAN),
        }
    }

    pub(crate) fn growth(&self, after: &Self) -> Growth {
        Growth {
            resident: after.resident - self.resident,
            descriptors: after.descriptors - self.descriptors,
            threads: after.threads - self.threads,
        }
    }
}

impl Growth {
    /// The share of one of so many.
    pub(crate) fn each(&self, count: f64) -> Self {
        Self {
            resident: self.resident / count,
            descriptors: self.descriptors / count,
            threads: self.threads / count,
        }
    }
}

/// The processor time of this process so far, of the system for it too, in microseconds.
fn processor() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it is asked of this process");
    let sum = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(sum).unwrap_or(0)).as_secs_f64() * 1e6
}

/// What a calling end says of its calls.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) calls: f64,
    /// In microseconds; of a batch, of the whole of it.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) per_second: f64,
    /// Processor time of the calling end, in microseconds.
    pub(crate) processor: f64,
    /// What the idle callers hold in this process.
    pub(crate) growth: Option<Growth>,
}

/// A measurement that has begun.
#[derive(Debug)]
pub(crate) struct Measurement {
    begun: Instant,
    processor: f64,
}

impl Measurement {
    pub(crate) fn begin() -> Self {
        Self {
            processor: processor(),
            begun: Instant::now(),
        }
    }

    /// `times` are those of `each` calls together.
    pub(crate) fn end(self, mut times: Vec<Duration>, each: usize) -> Outcome {
        let taken = self.begun.elapsed();
        let processor = processor() - self.processor;
        let calls = float(times.len() * each);
        times.sort_unstable();
        Outcome {
            calls,
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
            per_second: calls / taken.as_secs_f64(),
            processor,
            growth: None,
        }
    }
}

/// The least time that so many percent did not exceed, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// As many descriptors as this process may have: how many that is.
pub(crate) fn raise_limit() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it has a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it may have as many");
    most
}

/// Exact for all counts of this program.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert!((percentile(&times, 50) - 100.0).abs() < 1e-6);
        assert!((percentile(&times, 99) - 198.0).abs() < 1e-6);
        assert!((percentile(&times[..1], 99) - 1.0).abs() < 1e-6);
        assert!(percentile(&[], 50).is_nan());
    }
}
