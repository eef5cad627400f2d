//! `uds-ipc call`: one call, and its answers on standard output.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{after, bounded};
use indicatif::DecimalBytes;
use parking_lot::Mutex;
use serde::Serialize;
use socket2::SockAddr;
use uds_ipc::Address;
use uds_ipc::calls::{CallError, Caller};
use uds_ipc::error::StartError;
use uds_ipc::metrics::Tally;

use crate::clock::now;
use crate::figures::Form;
use crate::output::Output;
use crate::patient::Patient;
use crate::say::WrongUsage;
use crate::{figures, instead, reach, say, values};

/// Nobody took the call: it was not done.
const NOT_TAKEN: u8 = 3;
/// Who took it did not begin it: it was not done.
const REFUSED: u8 = 4;
/// It may have been done.
const NO_ANSWER_IN_TIME: u8 = 5;
/// It may have been done.
const UNKNOWN: u8 = 6;

/// What the caller's answers may hold unless one may be longer: the library's own bound.
const HELD_SIZE: usize = 64 * 1024 * 1024;

const DETAILS: &str = "\
It calls METHOD at ADDRESS, and prints the answer. A call with several answers prints each as
it comes. After an answer that does not end with a newline it prints one, and for an empty
answer nothing; with --raw it prints the bytes of the answers and nothing else. When standard
output is closed, or a signal ends it, the one who answers is told that nobody waits any more.

Where nobody answers it fails at once, or after --wait. The timeout is for all the rest: until
there is a connection, the call is sent, and the last answer has come. Nothing is ever sent a
second time.

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Exit codes, and whether the call may have been done:
  0  answered, or with --notify sent
  1  the call failed, and standard error says what the one who answers said of it; or the
     answer could not be printed: it may have been done
  2  wrong usage, or the call is too long: it was not done
  3  nobody took the call: it was not done
  4  refused: not allowed to you, as many calls are open as may be, or the one who answers
     stops: it was not done
  5  no answer within --timeout: it may have been done
  6  the connection was lost, the call was ended without an answer, or standard output was
     closed before one: it may have been done

Examples:
  uds-ipc call /run/collector/admin.sock version
  uds-ipc call /run/collector/admin.sock version --wait 10
  uds-ipc call /run/a.sock log-level debug --notify
  uds-ipc call /run/a.sock store - < report.json
  uds-ipc call @admin dump --raw --timeout 5m > dump.bin

What answers may be a program that uses the crate, or: uds-ipc respond ADDRESS --exec COMMAND";

/// Calls somebody who answers, and prints the answer
#[derive(Clone, Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// Whom to call: PATH or unix:PATH, @NAME, or tcp:HOST:PORT of this machine
    #[arg(value_parser = values::address())]
    address: Address,

    /// What is asked for: a name that the one who answers knows
    method: String,

    /// What goes with the call: these bytes, or - for standard input to its end; nothing unless
    /// given
    body: Option<OsString>,

    /// How long the call may take, with all its answers
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = values::positive_duration)]
    timeout: Duration,

    /// How long to wait for somebody who answers there, where nobody does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    wait: Duration,

    /// Sends the call and waits for no answer: nobody says whether it is done
    #[arg(long)]
    notify: bool,

    /// Prints the bytes of the answers, and no newline after them
    #[arg(long)]
    raw: bool,

    /// The longest call with its method and some bytes more; the one who answers must take it too
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(1024 * 1024).unwrap_or(NonZeroUsize::MIN))]
    max_call: NonZeroUsize,

    /// The longest answer with some bytes more
    #[arg(long, value_name = "BYTES", default_value_t = NonZeroUsize::new(values::MAX_MESSAGE_LEN).unwrap_or(NonZeroUsize::MIN))]
    max_answer: NonZeroUsize,

    /// How to say the figures at the end, on standard error
    #[arg(long, value_enum, default_value_t = Form::None)]
    figures: Form,
}

/// What was sent, and what came.
#[derive(Debug, Default, Serialize)]
struct Figures {
    connects: u64,
    /// Of the body.
    sent_bytes: usize,
    answers: Tally,
}

impl Figures {
    fn words(&self, elapsed: Duration) -> String {
        let answers = figures::number(self.answers.messages, "answer");
        let bytes = DecimalBytes(self.answers.bytes);
        format!("{answers}, {bytes} in {}", figures::time(elapsed))
    }
}

/// Why it is over before its end.
enum Over {
    Call(CallError),
    Output(io::Error),
}

impl From<CallError> for Over {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (max_call, max_answer) = (options.max_call.get(), options.max_answer.get());
    let caller = Caller::builder(&options.address)
        .max_call_len(max_call)
        .max_reply_len(max_answer)
        .max_bytes_in_flight(HELD_SIZE.max(max_call).max(max_answer))
        .build()
        .map_err(refusal)?;
    if let Some(why) = options.missing()? {
        say::problem(format_args!("nobody answers at {}: {why}", options.address));
        return Ok(ExitCode::from(NOT_TAKEN));
    }
    let began = now();
    let body = options.body()?;
    let mut figures = Figures {
        sent_bytes: body.len(),
        ..Figures::default()
    };
    let answers = Arc::<Mutex<Tally>>::default();
    let result = options.call_or_closed(&caller, body, &answers)?;
    figures.answers = *answers.lock();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        // Who closed it has seen enough, if there was anything to see.
        Err(Over::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            if figures.answers.messages > 0 {
                ExitCode::SUCCESS
            } else {
                say::problem("standard output was closed before an answer came");
                ExitCode::from(UNKNOWN)
            }
        }
        Err(Over::Output(error)) => {
            say::problem(format_args!("cannot print: {}", say::chain(&error)));
            ExitCode::FAILURE
        }
        Err(Over::Call(error)) => {
            say::problem(words(&error));
            ExitCode::from(code(&error))
        }
    };
    figures.connects = caller.figures().connects;
    let elapsed = now().saturating_duration_since(began);
    if let Some(line) = figures::line(options.figures, figures.words(elapsed), figures) {
        say::last(line);
    }
    Ok(code)
}

impl Options {
    /// Why nobody answers there, once that was waited for.
    fn missing(&self) -> Result<Option<String>, Box<dyn Error>> {
        let places = match reach::places(&self.address)? {
            Ok(places) => places,
            Err(error) => return Ok(Some(say::chain(&error))),
        };
        let is_here = |place: &SockAddr| {
            let at = place.as_socket();
            at.is_none_or(|at| at.ip().is_loopback())
        };
        let places: Vec<_> = places.into_iter().filter(is_here).collect();
        if places.is_empty() {
            let why = "calls go to this machine only: lead the stream through ssh or stunnel, and call its loopback address";
            return Err(WrongUsage(format!("{}: {why}", self.address)).into());
        }
        let began = now();
        loop {
            let mut missing = None;
            for place in &places {
                match reach::look(place, self.timeout) {
                    Ok(()) => return Ok(None),
                    // Somebody is there: how long that takes is a matter of the call.
                    Err(error) if is_busy(&error) => return Ok(None),
                    Err(error) => missing = Some(error),
                }
            }
            let is_worth_waiting = missing.as_ref().is_none_or(is_nobody);
            if !is_worth_waiting || began.elapsed() >= self.wait {
                let other = self.address.path().and_then(instead::of_socket);
                return Ok(other.or_else(|| missing.as_ref().map(|error| say::chain(error))));
            }
            let _ = after(reach::RETRY).recv();
        }
    }

    fn body(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let Some(body) = &self.body else {
            return Ok(Vec::new());
        };
        if body != "-" {
            return Ok(body.as_bytes().to_vec());
        }
        let limit = self.max_call.get();
        // One that is longer is too long whatever it goes on with.
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut body = Vec::new();
        let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let read = input.and_then(|input| Patient(input).take(most).read_to_end(&mut body));
        read.map_err(|error| format!("cannot read standard input: {}", say::chain(&error)))?;
        if body.len() > limit {
            return Err(WrongUsage(too_long(limit)).into());
        }
        Ok(body)
    }

    /// Calls, until that is over or nobody can read the answers any more. The end of the process
    /// tells the one who answers.
    fn call_or_closed(
        &self,
        caller: &Caller,
        body: Vec<u8>,
        answers: &Arc<Mutex<Tally>>,
    ) -> io::Result<Result<(), Over>> {
        if self.notify {
            let sent = caller.notify(&self.method, body, self.timeout);
            return Ok(sent.map_err(Over::Call));
        }
        let (over, is_over) = bounded(2);
        let is_closed = over.clone();
        Output::watch(move || {
            let _ = is_closed.send(Err(Over::Output(ErrorKind::BrokenPipe.into())));
        })?;
        let (options, caller, answers) = (self.clone(), caller.clone(), Arc::clone(answers));
        let call = move || {
            let _ = over.send(options.call(&caller, &body, &answers));
        };
        thread::Builder::new()
            .name("uds-ipc-call".into())
            .spawn(call)?;
        let ended = is_over.recv();
        Ok(ended.unwrap_or_else(|_| Err(Over::Output(io::Error::other("its thread has ended")))))
    }

    fn call(&self, caller: &Caller, body: &[u8], answers: &Mutex<Tally>) -> Result<(), Over> {
        let mut output = Patient(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        for answer in caller.call_many(&self.method, body, self.timeout)? {
            let mut answer = answer?;
            // Before it is printed: who reads it may close the output at once.
            let mut came = answers.lock();
            came.messages += 1;
            came.bytes += u64::try_from(answer.len()).unwrap_or(u64::MAX);
            drop(came);
            if !self.raw && answer.last() != Some(&b'\n') {
                answer.push(b'\n');
            }
            output.write_all(&answer)?;
        }
        Ok(())
    }
}

/// Somebody listens, and does not accept yet.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Nobody listens, and somebody may yet.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
    )
}

fn too_long(limit: usize) -> String {
    format!("the call is above the limit of {limit} bytes: raise --max-call at both ends")
}

/// In the words of the command line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
fn refusal(error: StartError) -> Box<dyn Error> {
    match error {
        StartError::NotAStream { .. } => {
            let why = "a call needs an address to connect to: PATH, @NAME or tcp:HOST:PORT";
            WrongUsage(why.into()).into()
        }
        StartError::NoPort { address, .. } => {
            let why = "call the port that the one who answers says";
            WrongUsage(format!("the port of {address} is 0: {why}")).into()
        }
        other => other.into(),
    }
}

/// Likewise.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the others the library says all there is to say"
)]
fn words(error: &CallError) -> String {
    match error {
        // It stands alone: it may be of several lines, and have a meaning for a program.
        CallError::Failed { error, .. } => printable(error),
        CallError::Refused { reason, .. } => format!("refused: {}", printable(reason)),
        CallError::TooLarge { limit, .. } => too_long(*limit),
        CallError::TooManyBytes { limit, .. } => {
            format!("answers hold {limit} bytes: raise --max-answer")
        }
        other => say::chain(other),
    }
}

/// What somebody else says moves no cursor.
fn printable(text: &str) -> String {
    let is_plain = |letter: char| matches!(letter, '\n' | '\t') || !letter.is_control();
    text.chars()
        .map(|letter| if is_plain(letter) { letter } else { '?' })
        .collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum may grow: what else there will be says itself whether it may have been done"
)]
fn code(error: &CallError) -> u8 {
    match error {
        CallError::Failed { .. } => 1,
        CallError::TooLarge { .. } => say::WRONG_USAGE,
        CallError::Refused { .. } => REFUSED,
        CallError::Timeout { sent: true, .. } => NO_ANSWER_IN_TIME,
        other if other.may_have_been_done() => UNKNOWN,
        _ => NOT_TAKEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_says_moves_no_cursor() {
        assert_eq!(
            printable("no\tdisk\n\x1b[2J\r\u{9b}1mé"),
            "no\tdisk\n?[2J??1mé"
        );
    }
}
