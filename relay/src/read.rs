//! `uds-ipc-relay read`: what a JetStream stream has, a line for each message: NAME NUMBER MESSAGE.

use std::io::{self, Write};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use thiserror::Error;

use crate::connect::{self, ConnectError};
use crate::settings::Nats;
use crate::sink::jetstream;

/// Why the stream could not be read.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("NATS: {0}")]
    Nats(#[from] async_nats::Error),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Prints what the relay has put under `prefix` until now. Returns how many messages there were.
pub(crate) async fn read(nats: &Nats, prefix: &str) -> Result<u64, ReadError> {
    let client = connect::options(nats)?;
    let client = client
        .connect(nats.nats_url.as_str())
        .await
        .map_err(async_nats::Error::from)?;
    let context = async_nats::jetstream::new(client);
    let stream = context
        .get_stream(&nats.stream)
        .await
        .map_err(async_nats::Error::from)?;
    let config = OrderedConfig {
        filter_subject: format!("{prefix}.>"),
        deliver_policy: DeliverPolicy::All,
        ..OrderedConfig::default()
    };
    let mut consumer = stream
        .create_consumer(config)
        .await
        .map_err(async_nats::Error::from)?;
    let info = consumer.info().await.map_err(async_nats::Error::from)?;
    let mut count = 0;
    if info.num_pending == 0 {
        return Ok(count);
    }
    let mut messages = consumer.messages().await.map_err(async_nats::Error::from)?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    while let Some(message) = messages.next().await {
        let message = message.map_err(async_nats::Error::from)?;
        let name = message
            .subject
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'));
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID));
        let number = id.and_then(|id| jetstream::number(id.as_str(), &message.subject));
        if let (Some(name), Some(number)) = (name, number) {
            write!(output, "{name} {number} ")?;
            output.write_all(&message.payload)?;
            output.write_all(b"\n")?;
            count += 1;
        }
        if message.info()?.pending == 0 {
            break;
        }
    }
    output.flush()?;
    Ok(count)
}
