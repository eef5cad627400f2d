//! A collector with a second socket, at which its owner may ask it how it is, and tell it what to
//! do: see examples/systemd for both sockets in one service.
//!
//! ```text
//! cargo run --features calls,serde --example admin -- /tmp/telemetry.sock /tmp/admin.sock
//! echo figures | python3 examples/clients/python/call.py /tmp/admin.sock
//! ```
//!
//! | call | answer |
//! | --- | --- |
//! | `figures` | the figures of the collector, in JSON |
//! | `connections` | who is connected to send, one a line |
//! | `log-level LEVEL` | the level until now; from now on events below LEVEL are not printed: `debug`, `info`, `warning` or `error` |
//! | `drain` | it takes no more, handles what was sent, for up to 5 s, and answers with how much that was; then it ends |
//!
//! Where systemd holds the sockets, the next message or call starts it anew.
//!
//! Messages go to standard output, one a line; events go to standard error.

#![expect(
    clippy::print_stderr,
    reason = "this program's log is its standard error"
)]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::mem;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use uds_ipc::calls::{Call, Responder};
use uds_ipc::error::ShutdownError;
use uds_ipc::event::{ReaderEvent, Severity};
use uds_ipc::systemd::{Activation, Service};
use uds_ipc::{Peer, Reader};

/// How long it handles what was sent before it ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits until the last answers are read. With the above less than `TimeoutStopSec=`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What the reader's events tell, and the calls ask for.
struct Log {
    level: Mutex<Severity>,
    /// Who sends, by the number of the connection.
    senders: Mutex<BTreeMap<u64, Peer>>,
}

impl Log {
    fn take(&self, event: &ReaderEvent) {
        if let ReaderEvent::Opened { peer, .. } = event {
            self.senders.lock().insert(peer.connection, *peer);
        } else if let ReaderEvent::Closed { peer, .. } = event {
            self.senders.lock().remove(&peer.connection);
        }
        if event.severity() >= *self.level.lock() {
            eprintln!("admin: {event}");
        }
    }
}

/// What the calls are about.
struct Admin {
    log: Arc<Log>,
    service: Arc<Service>,
    stop: Handle,
}

impl Admin {
    /// What fails is for the caller to read.
    fn answer(&self, call: &Call) -> Result<String, Box<dyn Error>> {
        match call.method() {
            "figures" => {
                let reader = self.service.readers().first().ok_or("there is no reader")?;
                Ok(serde_json::to_string(&reader.metrics())?)
            }
            "connections" => {
                let senders = self.log.senders.lock();
                let lines: Vec<_> = senders.values().map(Peer::to_string).collect();
                Ok(lines.join("\n"))
            }
            "log-level" => {
                let level = level(call.body())?;
                let before = mem::replace(&mut *self.log.level.lock(), level);
                Ok(format!("{before:?}").to_lowercase())
            }
            "drain" => {
                let drained = drain(&self.service)?;
                // The responder waits until this call is answered.
                self.stop.close();
                Ok(drained)
            }
            other => Err(format!(
                "there is no method {other:?}, but figures, connections, log-level and drain"
            )
            .into()),
        }
    }
}

/// Handles all that was sent, and says how much that was. Whoever asks again, or sends a signal
/// meanwhile, waits for the same end.
fn drain(service: &Service) -> Result<String, ShutdownError> {
    let reports = service.shutdown(DRAIN_TIMEOUT)?;
    let reports = reports
        .iter()
        .map(|report| format!("{}, {} connections cut", report.metrics, report.cut));
    Ok(reports.collect::<Vec<_>>().join("\n"))
}

fn level(name: &[u8]) -> Result<Severity, String> {
    match name {
        b"debug" => Ok(Severity::Debug),
        b"info" => Ok(Severity::Info),
        b"warning" => Ok(Severity::Warning),
        b"error" => Ok(Severity::Error),
        other => Err(format!(
            "{:?} is none of debug, info, warning and error",
            String::from_utf8_lossy(other)
        )),
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    // In words, with what to do: a main that returns its error shows it as code.
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(error) = cause {
        eprintln!("admin: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut words = env::args_os().skip(1);
    let (Some(telemetry), Some(admin), None) = (words.next(), words.next(), words.next()) else {
        return Err("usage: admin ADDRESS ADDRESS_FOR_CALLS".into());
    };
    // Before the sockets are there: whoever sees them may signal us.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let log = Arc::new(Log {
        level: Mutex::new(Severity::Info),
        senders: Mutex::default(),
    });

    // The names are those of the socket units. Without systemd the addresses count.
    let reader = Reader::builder(telemetry)
        .activation(Activation::Named("telemetry".to_owned()))
        .on_event({
            let log = Arc::clone(&log);
            move |event| log.take(&event)
        })
        .bind()?;
    // Its user and root may call, and nobody else: see `ResponderBuilder::allow`.
    let responder = Responder::builder(admin)
        .activation(Activation::Named("admin".to_owned()))
        .bind()?;
    let reader = reader.start(|message: &[u8]| {
        let mut output = io::stdout().lock();
        output.write_all(&[message, b"\n"].concat())?;
        output.flush()
    })?;
    let service = Arc::new(Service::start([reader]));
    // Whoever has called already waits until now.
    let admin = Admin {
        log,
        service: Arc::clone(&service),
        stop: signals.handle(),
    };
    let responder = responder.start(move |call, reply| {
        let sent = match admin.answer(&call) {
            Ok(answer) => reply.send(answer),
            Err(error) => reply.fail(error.to_string()),
        };
        if let Err(error) = sent {
            eprintln!("admin: {}: {error}", call.method());
        }
    })?;
    eprintln!("admin: answering at {}", responder.address());

    // Waits for a signal, or for a call of `drain`.
    signals.forever().next();

    // Meanwhile it can be asked how far it is.
    eprintln!("admin: {}", drain(&service)?);
    responder.shutdown(ANSWER_TIMEOUT)?;
    Ok(())
}
