//! `uds-ipc bench`: how fast messages are on this machine, next to the bare stream and to what
//! people write by hand. Decides what is measured and what is shown; the measuring is in the files
//! beside.

mod answers;
mod cases;
mod clock;
mod counter;
mod ends;
mod failure;
mod handwritten;
mod json;
mod machine;
mod numbers;
mod ours;
mod paced;
mod placement;
mod plot;
pub(crate) mod processes;
mod raw;
pub(crate) mod reading;
mod report;
mod results;
mod sending;
mod staged;
mod stamped;
mod target;
mod throughput;
mod waking;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{say, signals, values};
use cases::{Plan, Stream};
use failure::Failure;
use machine::Machine;
use plot::Picture;
use processes::{Present, Stage};
use results::{Results, Row};

const TEMPLATE: &str = "measuring {msg} [{wide_bar}] {percent}%, {elapsed} of about {duration}";

const DETAILS: &str = "\
Is a Unix socket faster than TCP here, or than a pipe? `uds-ipc bench --stream unix,tcp,pipe` says
so, for each length of message: by throughput, processor time, and how long a message is on its
way. The column \"of unix\" is how many times the Unix socket's figure the other has: for a speed
below 1, and for processor time above 1, the Unix socket is better.

Several send the same messages to another process, by turns and in many rounds, so that what
disturbs the machine disturbs all of them: a writer and a reader of this program, which is
given slices, and once more (\"owned\") a vector for each message; the raw socket, which
carries as many bytes in blocks of 128 KiB without frames, the limit of the kernel; \"staged\",
one thread that frames messages into pieces of 128 KiB and writes them itself, without a
queue; and what people write by hand, a channel of vectors, one for each message as it must,
with a thread that drains it into a BufWriter. Every message is received and touched. A ratio
of 2 is twice as fast. All have the same socket buffer, and queues of at most 2 MiB and 10,000
messages.

Then it sends at 1,000, 10,000 and 200,000 messages a second: how long try_send takes, and
how long a message is on its way.

All of this goes over a Unix socket, and with --stream over TCP within the machine and over a pipe
as well, each with the buffers that were found best for it. Where the Unix socket is one of
several, each speed is also said as a multiple of that over it.

Another process that wants the processors makes all figures worse. Build with --release.

Exit codes: 0 all was measured, 1 something failed or a signal came, 2 wrong usage.

Examples:
  uds-ipc bench
  uds-ipc bench --size 200 --producers 1,8 --seconds 10
  uds-ipc bench --stream unix,tcp,pipe --size 100,10240 --producers 1
  uds-ipc bench --json --plot throughput.svg > throughput.json";

/// Measures how fast messages are on this machine
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// The lengths of the messages
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', default_value = "16,100,1024,10240,102400", value_parser = values::message_len)]
    size: Vec<usize>,

    /// How many threads send at once
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,4", value_parser = values::producers)]
    producers: Vec<usize>,

    /// What the bytes go over: with several, each is measured, in the same rounds
    #[arg(
        long,
        value_name = "KIND,…",
        value_delimiter = ',',
        default_value = "unix"
    )]
    stream: Vec<Stream>,

    /// How long to measure, about: getting ready comes on top, and a busy machine takes longer
    #[arg(long, value_name = "SECONDS", default_value = "40", value_parser = values::run_time)]
    seconds: Duration,

    /// Prints one JSON object, in a line, in the place of the tables
    #[arg(long)]
    json: bool,

    /// Also draws the throughput into this file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let picture = options.plot.as_deref().map(Picture::open).transpose()?;
    let present = Present::default();
    let stopping = present.clone();
    signals::on_first(move || stopping.stop())?;
    if cfg!(debug_assertions) {
        say::problem(report::DEBUG_BUILD);
    }
    let results = measure(options, present)?;
    if let Some(picture) = picture {
        picture.write(&results)?;
    }
    let text = if options.json {
        format!("{}\n", json::of(&results))
    } else {
        report::of(&results)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::at("write to standard output"))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options, present: Present) -> Result<Results, Failure> {
    let stage = Stage::new(present)?;
    let machine = Machine::look();
    let plan = Plan::new(
        &options.size,
        &options.producers,
        &options.stream,
        options.seconds,
    );
    let bar = progress(plan.steps());
    let step = || bar.inc(1);
    bar.set_message("throughput");
    let measured = throughput::measure(&stage, &plan, step);
    bar.set_message("hand-off and latency");
    let paced = measured.and_then(|measured| Ok((measured, paced::measure(&stage, &plan, step)?)));
    bar.finish_and_clear();
    let (measured, paced) = paced?;
    let rows = Row::all(&plan, &measured);
    Ok(Results {
        machine,
        plan,
        time: options.seconds,
        rows,
        paced,
        timer: clock::overhead(),
    })
}

/// Not drawn where standard error is no terminal.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    bar.with_style(
        ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}
