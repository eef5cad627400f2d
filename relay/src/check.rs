//! `uds-ipc-relay check`: asks a relay how it is, and whether the engine behind it answers.

use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(100);

/// What the relay said.
pub(crate) struct Answer {
    /// Whether all is well.
    pub(crate) is_good: bool,
    pub(crate) text: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[error("collector down: nobody answers at {address}: {source}")]
pub(crate) struct CheckError {
    address: String,
    source: io::Error,
}

/// Asks the relay whose `http` setting is `address`; again until all is well, for `wait`.
pub(crate) async fn check(
    address: &str,
    now: fn() -> Instant,
    wait: Option<Duration>,
) -> Result<Answer, CheckError> {
    let begin = now();
    loop {
        let answer = once(address).await;
        let is_good = answer.as_ref().is_ok_and(|answer| answer.is_good);
        if is_good || wait.is_none_or(|wait| begin.elapsed() >= wait) {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(address: &str) -> Result<Answer, CheckError> {
    let answer = tokio::time::timeout(PATIENCE, ask(address)).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answer.map_err(|source| CheckError {
        address: address.to_owned(),
        source,
    })
}

async fn ask(address: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).await?;
    let (head, text) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer {
        is_good: head.split(' ').nth(1) == Some("200"),
        text: text.trim_end().to_owned(),
    })
}
