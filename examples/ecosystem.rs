//! A daemon and its collector with what daemons have: the daemon runs on tokio, logs with
//! `tracing`, counts with `metrics` and encodes its events with prost; the collector takes batches
//! in a loop. Nothing confirmed is lost, whoever is killed in between.
//!
//! ```text
//! cargo run --example ecosystem --features async,metrics -- collector FOLDER
//! cargo run --example ecosystem --features async,metrics -- daemon FOLDER 1000
//! ```
//!
//! FOLDER has the sockets, and what the collector stores: `events` and `log`, a line each. A
//! message that comes twice is stored twice.

#![expect(clippy::print_stdout, reason = "it shows its figures")]

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
        ["collector", folder] => collect(Path::new(folder)).await,
        ["daemon", folder, count] => run(Path::new(folder), count.parse()?).await,
        _ => Err("usage: ecosystem collector FOLDER | ecosystem daemon FOLDER COUNT".into()),
    }
}

/// The daemon.
async fn run(folder: &Path, count: u64) -> Result<(), AnyError> {
    let writer = |name| {
        let builder = Writer::builder(folder.join(name)).delivery(Delivery::AtLeastOnce);
        builder.start()
    };
    let (log, events) = (writer("log.sock")?, writer("events.sock")?);

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
    let mut publishers = [("log", &log), ("events", &events)]
        .map(|(name, writer)| (Publisher::new(name), writer.clone()));

    let events = AsyncWriter::from(events);
    for number in 1..=count {
        tracing::info!(number, "an event");
        let what = "something happened".to_owned();
        events.send(Event { number, what }.encode_to_vec()).await?;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    events.flush(FlushLevel::Handled).await?;
    events.shutdown(PATIENCE).await?.reached()?;

    for (publisher, writer) in &mut publishers {
        publisher.publish_writer(&writer.metrics());
    }
    println!("{}", figures.render());
    Ok(())
}

/// The collector.
async fn collect(folder: &Path) -> Result<(), AnyError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let start = |name| -> Result<(Reader, Batches), AnyError> {
        let bound = Reader::builder(folder.join(name)).bind()?;
        Ok(bound.start_batches()?)
    };
    let (log_reader, log) = start("log.sock")?;
    let (event_reader, events) = start("events.sock")?;

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
        println!("{}", report?.metrics);
    }
    for store in stores {
        store.await??;
    }
    Ok(())
}

/// Confirms a batch once it is on the disk.
async fn store(mut batches: Batches, file: File, text: fn(&[u8]) -> Vec<u8>) -> io::Result<()> {
    while let Some(batch) = batches.next().await {
        let mut file = file.try_clone()?;
        tokio::task::spawn_blocking(move || write(&mut file, batch, text)).await??;
    }
    Ok(())
}

fn write(file: &mut File, batch: Batch, text: fn(&[u8]) -> Vec<u8>) -> io::Result<()> {
    let mut lines = Vec::new();
    for message in batch.messages() {
        lines.extend(text(message));
        lines.push(b'\n');
    }
    // An error drops the batch unconfirmed: it comes again.
    file.write_all(&lines)?;
    file.sync_data()?;
    batch.done();
    Ok(())
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
