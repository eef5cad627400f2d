//! A daemon and its collector with what daemons have: the daemon runs on tokio, logs with
//! `tracing`, counts with `metrics` and encodes its events with prost; the collector takes batches
//! in a loop. Nothing confirmed is lost, whoever is killed in between.
//!
//! ```text
//! cargo run --example ecosystem --features async,metrics -- collector FOLDER
//! cargo run --example ecosystem --features async,metrics -- daemon FOLDER 1000
//! ```
//!
//! It takes `uds-ipc` with the features `async` and `metrics`; `tokio` with `macros`,
//! `rt-multi-thread`, `signal` and `time`; `futures-util`, `metrics`,
//! `metrics-exporter-prometheus`, `prost`, `tracing`, and `tracing-subscriber` with `json`.
//!
//! FOLDER has the sockets, and what the collector stores: `events` and `log`, a line each. A
//! message that comes twice is stored twice. Other addresses than those of two sockets in FOLDER
//! are given as `collector FOLDER LOG EVENTS` and `daemon LOG EVENTS 1000`: paths, `@NAME`,
//! `tcp:HOST:PORT`, `fd:N`, or `-`.

#![expect(
    clippy::print_stderr,
    reason = "it shows its figures, and what went wrong"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use prost::Message;
use tokio::signal::unix::{SignalKind, signal};
use uds_ipc::metrics::Publisher;
use uds_ipc::{AsyncWriter, Batch, Batches, Delivery, FlushLevel, Reader, Writer};

type AnyError = Box<dyn Error + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(string, tag = "2")]
    what: String,
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["collector", folder] => collect(Path::new(folder), sockets(folder)).await,
        ["collector", folder, log, events] => {
            collect(Path::new(folder), [log, events].map(String::from)).await
        }
        ["daemon", folder, count] => run(sockets(folder), count.parse()?).await,
        ["daemon", log, events, count] => {
            run([log, events].map(String::from), count.parse()?).await
        }
        _ => Err("usage: ecosystem collector FOLDER [LOG EVENTS] | \
                  ecosystem daemon FOLDER COUNT | ecosystem daemon LOG EVENTS COUNT"
            .into()),
    }
}

fn sockets(folder: &str) -> [String; 2] {
    ["log", "events"].map(|name| format!("{folder}/{name}.sock"))
}

/// The daemon.
async fn run([log, events]: [String; 2], count: u64) -> Result<(), AnyError> {
    let writer = |address| {
        let builder = Writer::builder(address).delivery(Delivery::AtLeastOnce);
        builder.start()
    };
    let (log, events) = (writer(log)?, writer(events)?);

    // The subscriber is never dropped: the guard sends what is queued, and so does a panic.
    let _guard = log.shutdown_guard(PATIENCE);
    log.flush_on_panic(PATIENCE);
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().json();
    subscriber.with_writer(move || lines.lines()).init();

    // Whatever recorder there is: this one would answer Prometheus.
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    let mut publishers = [log.publisher("log"), events.publisher("events")];

    let events = AsyncWriter::from(events);
    for number in 1..=count {
        tracing::info!(number, "an event");
        let what = "something happened".to_owned();
        events.send(Event { number, what }.encode_to_vec()).await?;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    events.flush(FlushLevel::Handled).await?;
    events.shutdown(PATIENCE).await?.reached()?;

    publishers.iter_mut().for_each(Publisher::publish);
    eprintln!("{}", figures.render());
    Ok(())
}

/// The collector.
async fn collect(folder: &Path, [log, events]: [String; 2]) -> Result<(), AnyError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let start = |what, address| -> Result<(Reader, Batches), AnyError> {
        let bound = Reader::builder(address).bind()?;
        eprintln!("ecosystem: {what} at {}", bound.address());
        Ok(bound.start_batches()?)
    };
    let (log_reader, log) = start("log", log)?;
    let (event_reader, events) = start("events", events)?;

    let text = |event: &[u8]| {
        // What cannot be decoded would come again for ever: it is kept as it is.
        let event = Event::decode(event).map(|event| format!("{} {}", event.number, event.what));
        event.map_or_else(|error| error.to_string().into_bytes(), String::into_bytes)
    };
    let stores = [
        tokio::spawn(store(log, file(folder, "log")?, <[u8]>::to_vec)),
        tokio::spawn(store(events, file(folder, "events")?, text)),
    ];
    terminate.recv().await;

    // It waits for the batches that are out, which the tasks go on taking.
    let stop = tokio::task::spawn_blocking(move || {
        [log_reader, event_reader].map(|reader| reader.shutdown(PATIENCE))
    });
    for report in stop.await? {
        eprintln!("{}", report?.metrics);
    }
    for store in stores {
        store.await??;
    }
    Ok(())
}

/// Confirms a batch once it is on the disk. One that fails is dropped, and comes again.
async fn store(mut batches: Batches, file: File, text: fn(&[u8]) -> Vec<u8>) -> io::Result<()> {
    let mut len = file.metadata()?.len();
    while let Some(batch) = batches.next().await {
        let file = file.try_clone()?;
        match tokio::task::spawn_blocking(move || write(file, len, batch, text)).await? {
            Ok(now) => len = now,
            Err(error) => eprintln!("ecosystem: a batch was not stored: {error}"),
        }
    }
    Ok(())
}

/// Writes a batch behind the first `len` bytes, which are whole lines. Returns how many are then.
fn write(mut file: File, len: u64, batch: Batch, text: fn(&[u8]) -> Vec<u8>) -> io::Result<u64> {
    let mut lines = Vec::new();
    for message in batch.messages() {
        lines.extend(text(message));
        lines.push(b'\n');
    }
    // A write that failed may have left a part of a batch.
    file.set_len(len)?;
    file.write_all(&lines)?;
    file.sync_data()?;
    batch.done();
    Ok(len + u64::try_from(lines.len()).unwrap_or(u64::MAX))
}

/// A file to append to, without the half line that a killed process may have left.
fn file(folder: &Path, name: &str) -> io::Result<File> {
    let path = folder.join(name);
    let mut kept = if path.exists() {
        fs::read(&path)?
    } else {
        Vec::new()
    };
    while kept.last().is_some_and(|byte| *byte != b'\n') {
        kept.pop();
    }
    let file = File::options().append(true).create(true).open(path)?;
    file.set_len(kept.len().try_into().unwrap_or(u64::MAX))?;
    Ok(file)
}
