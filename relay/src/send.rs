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
    #[error("cannot send: {0}")]
    Send(String),
    #[error("cannot stop: {0}")]
    Shutdown(#[from] ShutdownError),
    #[error("{0} messages were not confirmed in time")]
    Left(u64),
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
        // While the engine is away the relay stops to read: a new connection would not help.
        .write_timeout(timeout)
        .on_event(|event| tracing::info!(%event, "writer"))
        .start()?;
    let first = first_number();
    let mut number = first;
    for line in io::stdin().lock().split(b'\n') {
        let mut message = format!("{name} {number} ").into_bytes();
        message.extend_from_slice(&line?);
        let sent = writer.send_timeout(message, timeout);
        sent.map_err(|refused| SendError::Send(refused.to_string()))?;
        number += 1;
    }
    let report = writer.shutdown(timeout)?;
    match report.left.messages {
        0 => Ok(number - first),
        left => Err(SendError::Left(left)),
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
