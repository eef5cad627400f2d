//! The command-line tool: listens on a socket and prints what comes, sends what it reads, or
//! measures how fast that is. Only the choice of the subcommand; each is a module of its own.

mod bench;
mod figures;
mod format;
mod frames;
mod input;
mod listen;
mod output;
mod patient;
mod progress;
mod say;
mod send;
mod signals;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  uds-ipc listen /run/collector/telemetry.sock > telemetry.log
  uds-ipc send /run/collector/telemetry.sock < app.log
  tail -F app.log | uds-ipc send @telemetry
  uds-ipc bench

An ADDRESS is the path of a Unix socket, or on Linux @NAME in the abstract namespace.
Exit codes: 0 all is well, 1 something failed or was left unsent, 2 wrong usage or input,
3 nobody listened within --connect-timeout, 128 + N ended at once by a second signal N.";

/// Messages between the processes of one machine, over a Unix socket.
#[derive(Debug, Parser)]
#[command(name = "uds-ipc", version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Listen(listen::Options),
    Send(send::Options),
    Bench(bench::Options),
    #[command(name = bench::processes::READER, hide = true)]
    BenchReader(bench::reading::Options),
}

fn main() -> ExitCode {
    let ended = match CommandLine::parse().command {
        Command::Listen(options) => listen::run(&options),
        Command::Send(options) => send::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::BenchReader(options) => bench::reading::run(options),
    };
    ended.unwrap_or_else(|error| {
        say::problem(say::chain(&*error));
        ExitCode::FAILURE
    })
}
