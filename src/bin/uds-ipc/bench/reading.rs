//! `uds-ipc bench-reader`: the other process of a turn.
//! Counts, touches and answers; it ends with the process that started it.

use std::error::Error;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser;

use super::answers::Answer;
use super::cases::{Contender, Stream};
use super::counter::Counter;
use super::{handwritten, ours, raw, staged, stamped};
use crate::say;

/// The reader's role of a bench, which starts it itself
#[derive(Debug, Parser)]
pub(crate) struct Options {
    #[arg(value_enum)]
    contender: Contender,

    /// The length of each message
    size: usize,

    #[arg(value_enum)]
    stream: Stream,

    /// Where to listen, but for TCP
    path: PathBuf,

    /// How many to expect before each answer
    #[arg(required = true)]
    phases: Vec<u64>,
}

/// Receives on a thread of its own, and waits for the end of the other process.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let counter = Arc::new(Counter::new(options.size, options.phases));
    let receive = move || {
        let (stream, path, counter) = (options.stream, &options.path, &counter);
        let received = match options.contender {
            Contender::Ours | Contender::Owned => ours::receive(stream, path, counter),
            Contender::Staged => staged::receive(stream, path, counter),
            Contender::Raw => raw::receive(stream, path, counter),
            Contender::Handwritten => handwritten::receive(stream, path, counter),
            Contender::Stamped => stamped::receive(stream, path, counter),
        };
        if let Err(error) = received {
            let _ = Answer::Failed(say::chain(&*error)).say();
        }
    };
    thread::Builder::new()
        .name("uds-ipc-receive".into())
        .spawn(receive)?;
    // Nothing is ever written to it.
    let _ = io::stdin().lock().read(&mut [0]);
    Ok(ExitCode::SUCCESS)
}
