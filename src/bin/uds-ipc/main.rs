//! The command-line tool: listens at an address and prints what comes or shows who sends it, sends
//! what it reads, calls who answers and answers who calls, checks who listens, or measures how fast
//! that is. Only the choice of the subcommand; each is a module of its own.

mod accounts;
mod bench;
mod board;
mod call;
mod check;
mod clock;
mod command;
mod figures;
mod format;
mod frames;
mod input;
mod instead;
mod listen;
mod listening;
mod manual;
mod outlet;
mod output;
mod patient;
mod program;
mod progress;
mod reach;
mod respond;
mod say;
mod screen;
mod send;
mod signals;
mod speed;
mod top;
mod values;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use bench::processes::READER;
use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  uds-ipc listen /run/collector/telemetry.sock > telemetry.log
  uds-ipc send /run/collector/telemetry.sock < app.log
  tail -F app.log | uds-ipc send @telemetry
  uds-ipc send tcp:127.0.0.1:7000 < app.log
  uds-ipc send - < app.log | ssh HOST 'uds-ipc listen - > app.log'

To record a stream, and send it again:
  uds-ipc listen ADDRESS --format frames --for 1m > messages.bin
  uds-ipc send ADDRESS --frames --file messages.bin
To see which processes send most (as listen, in place of the collector):
  uds-ipc top ADDRESS
To ask a daemon, or a command that answers for it:
  uds-ipc respond /run/a.sock --exec uptime
  uds-ipc call /run/a.sock now
For a health check of a collector, which it does not disturb:
  uds-ipc check ADDRESS --quiet
Is a Unix socket faster than TCP here, or a pipe?
  uds-ipc bench --stream unix,tcp,pipe
What there is to each: uds-ipc help COMMAND

An ADDRESS is one of these:
  PATH, unix:PATH  a Unix socket; with unix: before it, whatever the path looks like
  @NAME            on Linux, a Unix socket in the abstract namespace
  tcp:HOST:PORT    a TCP socket of this machine, or of another with --allow-remote
  fd:N             a descriptor that is open already
  -                standard input to listen on, standard output to send to
What goes over it is a stream, not datagrams: before each message its length, a varint
(unsigned LEB128). What sends plain text, such as nc, is understood by way of `send`.

Exit codes: 0 all is well, 1 something failed or was left unsent, 2 wrong usage or input,
3 nobody listened for --connect-timeout, 128 + N ended at once by a second signal N.
Those of call and check are their own.";

/// Messages between processes, over a Unix socket, TCP or a pipe.
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
    Top(top::Options),
    Call(call::Options),
    Respond(respond::Options),
    Check(check::Options),
    Bench(bench::Options),
    InstallDocs(manual::Options),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        say::problem(say::chain(&*error));
        if error.is::<say::WrongUsage>() {
            ExitCode::from(say::WRONG_USAGE)
        } else {
            ExitCode::FAILURE
        }
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    // Of a bench alone: even hidden, the shells would complete it.
    if env::args_os().nth(1).is_some_and(|word| word == READER) {
        return bench::reading::run(bench::reading::Options::parse_from(env::args_os().skip(1)));
    }
    match CommandLine::parse().command {
        Command::Listen(options) => listen::run(&options),
        Command::Send(options) => send::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Call(options) => call::run(&options),
        Command::Respond(options) => respond::run(&options),
        Command::Check(options) => check::run(&options),
        Command::InstallDocs(options) => manual::run(&options, CommandLine::command()),
        Command::Bench(options) => bench::run(&options),
    }
}
