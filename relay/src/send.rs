//! `uds-ipc-relay send`: each line of standard input a message, with the prefix that the rule
//! `prefix` reads. A daemon with a writer of its own does the same.

use std::io::{self, BufRead};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use uds_ipc::error::{ShutdownError, StartError};
use uds_ipc::{Delivery, Writer};

/// Why lines could not be sent.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    #[error("standard input: {0}")]
    Input(#[from] io::Error),
    #[error("cannot make a writer: {0}")]
    Start(#[from] StartError),
    #[error(
        "line {line} found no room in the queue within {timeout:?}: the relay takes nothing, perhaps as its engine is away. Of the lines before it {confirmed} are confirmed, others may come all the same. With a longer --timeout this waits longer"
    )]
    Full {
        line: u64,
        timeout: Duration,
        confirmed: u64,
    },
    #[error("cannot send line {line}: {why}")]
    Send {
        line: u64,
        why: uds_ipc::SendError<()>,
    },
    #[error("cannot stop: {0}")]
    Shutdown(#[from] ShutdownError),
    #[error(
        "{left} of {sent} messages were not confirmed in time. They may come all the same, and would come twice if they were sent again"
    )]
    Left { left: u64, sent: u64 },
    #[error("{0} is no producer's name")]
    Name(String),
}

/// Sends all lines, and waits until they are confirmed. Returns how many there were.
pub(crate) fn send(address: &str, name: &str, timeout: Duration) -> Result<u64, SendError> {
    if !crate::rule::is_name(name) {
        return Err(SendError::Name(name.to_owned()));
    }
    let writer = Writer::builder(address)
        .delivery(Delivery::AtLeastOnce)
        // What was read arrives even if this is killed.
        .crash_proof(true)
        // While the engine is away the relay stops to read: a new connection would not help.
        .write_timeout(timeout)
        .on_event(|event| tracing::info!(%event, "writer"))
        .start()?;
    let first = first_number();
    let mut number = first;
    for line in io::stdin().lock().split(b'\n') {
        let mut message = format!("{name} {number} ").into_bytes();
        message.extend_from_slice(&line?);
        let sent = writer.send_timeout(message.as_slice(), timeout);
        let line = number - first + 1;
        sent.map_err(|why| {
            if why.is_full() {
                let confirmed = writer.metrics().confirmed.messages;
                SendError::Full {
                    line,
                    timeout,
                    confirmed,
                }
            } else {
                SendError::Send { line, why }
            }
        })?;
        number += 1;
    }
    let report = writer.shutdown(timeout)?;
    match report.left.messages {
        0 => Ok(number - first),
        left => {
            let sent = number - first;
            Err(SendError::Left { left, sent })
        }
    }
}

/// Numbers must grow over restarts: they begin with the nanoseconds since 1970, of which a second
/// has more than anybody sends messages.
fn first_number() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
}
