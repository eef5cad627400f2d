//! A collector as a daemon would have it: prints what it is sent, until SIGTERM or Ctrl-C. As a
//! service of systemd it takes its socket from there, and tells it how it is: see examples/systemd.
//!
//! ```text
//! cargo run --release --example collector -- /tmp/telemetry.sock
//! ```
//!
//! The address is a path, `@NAME`, `tcp:HOST:PORT`, `fd:N`, or `-` for standard input. Where that
//! is one stream, it ends with it. Messages go to standard output, one a line; events and the
//! figures at the end go to standard error. With a second argument, such as 127.0.0.1:9464, it
//! answers Prometheus there: see examples/prometheus.

#![expect(
    clippy::print_stderr,
    reason = "this program's log is its standard error"
)]

use std::cell::RefCell;
use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use uds_ipc::event::ReaderEvent;
use uds_ipc::metrics::Exposition;
use uds_ipc::systemd::Service;
use uds_ipc::{Handler, Peer, Reader};

thread_local! {
    /// The lines of the batch that this thread is at. A batch stays on its thread from first
    /// message to end.
    static BATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Gathers the lines of a batch without a lock, and prints them under one lock, with one flush.
struct Printer;

impl Handler for Printer {
    type Error = io::Error;

    fn message(&self, message: &[u8], _: &Peer) -> io::Result<()> {
        BATCH.with_borrow_mut(|batch| {
            batch.extend_from_slice(message);
            batch.push(b'\n');
        });
        Ok(())
    }

    fn batch_end(&self, _: &Peer) -> io::Result<()> {
        BATCH.with_borrow_mut(|batch| {
            let mut output = io::stdout().lock();
            let printed = output.write_all(batch).and_then(|()| output.flush());
            batch.clear();
            // An error is counted and told. A writer that delivers at least once is hung up on, and
            // sends the batch again.
            printed
        })
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    // In words, with what to do: a main that returns its error shows it as code.
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(error) = cause {
        eprintln!("collector: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let usage = "usage: collector ADDRESS [ADDRESS FOR PROMETHEUS]";
    let address = env::args_os().nth(1).ok_or(usage)?;
    let figures = env::args().nth(2).map(TcpListener::bind).transpose()?;
    // Before the socket is there: whoever sees it may signal us.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;

    // Known once it is bound: of one stream that has ended nothing more comes.
    let is_one_stream = Arc::new(AtomicBool::new(false));
    let (is_last, stop) = (Arc::clone(&is_one_stream), signals.handle());
    let bound = Reader::builder(address)
        .on_event(move |event| {
            eprintln!("collector: {event}");
            if is_last.load(Ordering::Relaxed) && matches!(event, ReaderEvent::Closed { .. }) {
                stop.close();
            }
        })
        .bind()?;
    is_one_stream.store(!bound.listens(), Ordering::Relaxed);
    let reader = bound.start_handler(Printer)?;
    eprintln!("collector: listening at {}", reader.address());
    // Elsewhere this does nothing.
    let service = Arc::new(Service::start([reader]));
    if let Some(listener) = figures {
        eprintln!(
            "collector: figures at http://{}/metrics",
            listener.local_addr()?
        );
        let service = Arc::clone(&service);
        thread::spawn(move || serve_figures(&listener, &service));
    }

    // Waits for a signal, or for the end of the only stream.
    signals.forever().next();

    // Handles all that was sent, and removes the socket's file. Writers keep what comes now for the
    // next reader.
    for report in service.shutdown(Duration::from_secs(5))? {
        eprintln!(
            "collector: {}, {} connections cut",
            report.metrics, report.cut
        );
    }
    Ok(())
}

/// Answers one after the other: a scraper asks every few seconds.
fn serve_figures(listener: &TcpListener, service: &Service) {
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| answer(stream, service)) {
            eprintln!("collector: nobody got the figures: {error}");
        }
    }
}

/// Whatever is asked for, the figures are the answer.
fn answer(mut stream: TcpStream, service: &Service) -> io::Result<()> {
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let mut lines = BufReader::new(&stream).take(16 * 1024).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}

    let mut page = Exposition::default();
    for reader in service.readers() {
        page.reader(reader.address().to_string(), &reader.metrics());
    }
    let page = page.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        Exposition::CONTENT_TYPE,
        page.len()
    );
    stream.write_all((head + &page).as_bytes())
}
