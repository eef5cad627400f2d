//! A question and its answer, over and over: how long does it take?
//!
//! ```text
//! cargo run --release --features calls --example ping -- respond /tmp/ping.sock
//! cargo run --release --features calls --example ping -- call /tmp/ping.sock 10000
//! ```
//!
//! The responder answers until SIGTERM or Ctrl-C. The methods are those of
//! `examples/clients/python/respond.py`: either end may be the one in Python. The caller calls
//! `ping` as often as it is told, 1,000 times unless it is, each once the answer before is there.
//! It waits for a responder that is not there yet, and finds one that was restarted. Over TCP this
//! responder refuses all calls: no user is known there, see `ResponderBuilder::allow`.

#![expect(
    clippy::disallowed_methods,
    reason = "what takes time is measured, and a nap takes time"
)]
#![expect(
    clippy::print_stderr,
    reason = "this program's log is its standard error"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is run for"
)]

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use uds_ipc::calls::{Call, Caller, Reply, ReplyError, Responder};

const USAGE: &str = "usage: ping respond ADDRESS, or ping call ADDRESS [COUNT]";
/// How long a ping waits, for a connection too.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a nap looks whether somebody still waits for its end.
const GLANCE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let error = match run() {
        Ok(code) => return code,
        Err(error) => error,
    };
    // In words, with what to do: a main that returns its error shows it as code.
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(error) = cause {
        eprintln!("ping: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    // An address need not be text, all else must be.
    let words: Vec<_> = env::args_os().skip(1).collect();
    let [role, address, more @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    match (role.to_str(), more) {
        (Some("respond"), []) => respond(address),
        (Some("call"), []) => call(address, 1000),
        (Some("call"), [count]) => call(address, count.to_str().ok_or(USAGE)?.parse()?),
        _ => Err(USAGE.into()),
    }
}

fn respond(address: &OsStr) -> Result<ExitCode, Box<dyn Error>> {
    // Before the socket is there: whoever sees it may signal us.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let responder = Responder::builder(address).bind()?.start(|call, reply| {
        if let Err(error) = answer(&call, reply) {
            eprintln!("ping: {}: {error}", call.method());
        }
    })?;
    eprintln!("ping: answering at {}", responder.address());
    signals.forever().next();
    // Answers what is in hand. Who calls now is told that it was not done.
    let report = responder.shutdown(TIMEOUT)?;
    eprintln!("ping: {} calls left", report.left);
    Ok(ExitCode::SUCCESS)
}

/// A handler may block: the other calls go on meanwhile.
fn answer(call: &Call, reply: Reply) -> Result<(), ReplyError> {
    let text = String::from_utf8_lossy(call.body());
    match call.method() {
        "ping" => reply.send(call.body()),
        "nap" => match text.parse() {
            Ok(milliseconds) => nap(Duration::from_millis(milliseconds), call, reply),
            Err(error) => reply.fail(format!("{text:?}: {error}")),
        },
        "fail" => reply.fail(text),
        other => reply.fail(format!("there is no method {other:?}")),
    }
}

fn nap(length: Duration, call: &Call, reply: Reply) -> Result<(), ReplyError> {
    let start = Instant::now();
    while let Some(left) = length.checked_sub(start.elapsed()) {
        if reply.is_cancelled() {
            return Err(ReplyError::NotWanted);
        }
        thread::sleep(left.min(GLANCE));
    }
    reply.send(call.body())
}

fn call(address: &OsStr, count: usize) -> Result<ExitCode, Box<dyn Error>> {
    let caller = Caller::new(address)?;
    let (mut times, mut failed) = (Vec::new(), 0);
    for number in 1..=count {
        let start = Instant::now();
        match caller.call("ping", number.to_string(), TIMEOUT) {
            Ok(body) if body == number.to_string().as_bytes() => times.push(start.elapsed()),
            Ok(body) => return Err(format!("ping {number} got {body:?}").into()),
            // It says whether the call may be made again: this program just goes on.
            Err(error) => {
                failed += 1;
                eprintln!("ping {number}: {error}");
            }
        }
    }
    times.sort_unstable();
    println!("answered {}", times.len());
    println!("failed {failed}");
    println!("connections {}", caller.figures().connects);
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        // The least time that so many of them did not exceed.
        let rank = (times.len() * percent).div_ceil(100);
        if let Some(time) = rank.checked_sub(1).and_then(|rank| times.get(rank)) {
            println!("{name} {time:?}");
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
