//! Calls over uds-ipc beside a raw Unix socket, tonic and tarpc over one: one at a time, 64 open at
//! once, and 10,000 idle callers. Linux only: it asks `/proc`.
//!
//! ```text
//! cargo run --release -- [--quick] [--json]
//! ```
//!
//! Each way has its answering end and its calling end in processes of their own: this program,
//! started again. In each round all ways take turns, each round in another order, so that what the
//! machine does meanwhile hits all. What is told is the median of the rounds.

#![expect(clippy::disallowed_methods, reason = "what takes time is measured")]

mod measure;
mod process;
mod report;
mod ways;
mod work;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use process::{Answering, Calling, Order};
use report::{Idle, Report, Sample};
use ways::Way;
use work::Work;

const USAGE: &str = "usage: uds-ipc-rivals [--quick] [--json]";

/// The lengths of the bodies, in bytes.
const LENS: [usize; 2] = [32, 1024];

/// How many processes hold the idle callers: of ours each has two descriptors, and the usual limit
/// is 20,000.
const HOLDERS: usize = 2;

/// How much of each there is.
struct Size {
    rounds: usize,
    /// Calls one at a time.
    one: usize,
    /// Calls, of 64 open at once.
    many: usize,
    /// Callers that are idle.
    idle: usize,
}

const FULL: Size = Size {
    rounds: 7,
    one: 10_000,
    many: 64 * 400,
    idle: 10_000,
};

const QUICK: Size = Size {
    rounds: 1,
    one: 100,
    many: 64 * 4,
    idle: 40,
};

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if let [process::ANSWER, way, path] = words[..] {
        ways::answer(parsed(way), Path::new(path));
        return ExitCode::SUCCESS;
    }
    if let [process::CALL, order, path] = words[..] {
        ways::call(parsed(order), Path::new(path));
        return ExitCode::SUCCESS;
    }
    if words
        .iter()
        .any(|word| !["--quick", "--json"].contains(word))
    {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    }
    let size = if words.contains(&"--quick") {
        QUICK
    } else {
        FULL
    };
    let report = measure(&size);
    if words.contains(&"--json") {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    } else {
        print!("{report}");
    }
    ExitCode::SUCCESS
}

/// What this program said to itself.
fn parsed<T: serde::de::DeserializeOwned>(word: &str) -> T {
    serde_json::from_str(word).expect("as it was written")
}

fn measure(size: &Size) -> Report {
    let mut turns = Vec::new();
    for len in LENS {
        for way in Way::ALL {
            for work in way.works() {
                let calls = match work {
                    Work::One => size.one,
                    Work::Batch | Work::Threads | Work::Tasks => size.many,
                };
                turns.push((*way, *work, len, calls));
            }
        }
    }
    let mut samples = Vec::new();
    for round in 0..size.rounds {
        // By a share of all, so that each way is once near the beginning.
        let share = turns.len() / size.rounds;
        turns.rotate_left(share);
        for &(way, work, len, calls) in &turns {
            samples.push(take(round, way, work, len, calls));
        }
        eprintln!("round {} of {}", round + 1, size.rounds);
    }
    let most = usize::try_from(measure::raise_limit()).unwrap_or(usize::MAX);
    // Of each holder two descriptors a caller, of the answering end one.
    let count = size.idle.min(most.saturating_sub(200));
    let idle = Way::ALL
        .iter()
        .filter(|way| way.has_idle())
        .map(|way| idle(*way, count))
        .collect();
    Report::new(size.rounds, samples, idle)
}

/// One measurement.
fn take(round: usize, way: Way, work: Work, len: usize, calls: usize) -> Sample {
    let mut answering = Answering::start(way);
    let order = Order {
        way,
        work: Some(work),
        len,
        calls,
    };
    let mut calling = Calling::start(&order, answering.path());
    let before = answering.figures();
    let outcome = calling.go();
    let after = answering.figures();
    Sample {
        round,
        way,
        work,
        len,
        p50: outcome.p50,
        p99: outcome.p99,
        per_second: outcome.per_second,
        processor: (outcome.processor + after.processor - before.processor) / outcome.calls,
    }
}

/// What `count` callers cost that have made a call each and wait.
fn idle(way: Way, count: usize) -> Idle {
    let mut answering = Answering::start(way);
    let each = count / HOLDERS;
    let order = Order {
        way,
        work: None,
        len: LENS[0],
        calls: each,
    };
    let mut holders: Vec<_> = (0..HOLDERS)
        .map(|_| Calling::start(&order, answering.path()))
        .collect();
    let before = answering.figures();
    let outcomes: Vec<_> = holders.iter_mut().map(Calling::go).collect();
    let after = answering.figures();
    let of_holders = |figure: fn(&measure::Growth) -> f64| {
        let sum: f64 = outcomes
            .iter()
            .filter_map(|outcome| outcome.growth.as_ref())
            .map(figure)
            .sum();
        sum / measure::float(each * HOLDERS)
    };
    let grown = before.growth(&after);
    let all = measure::float(each * HOLDERS);
    Idle {
        way,
        callers: each * HOLDERS,
        answering: grown.each(all),
        calling: measure::Growth {
            resident: of_holders(|growth| growth.resident),
            descriptors: of_holders(|growth| growth.descriptors),
            threads: of_holders(|growth| growth.threads),
        },
        p50_beside: outcomes.last().map_or(f64::NAN, |outcome| outcome.p50),
    }
}
