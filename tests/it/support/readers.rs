//! Readers of the crate, with handlers that keep what comes, or do what a message says.

use std::io;
use std::path::Path;
use std::time::Duration;

use uds_ipc::event::ReaderEvent;
use uds_ipc::{Handler, Peer, Reader, ReaderBuilder};

use super::{Gate, Notes, PATIENCE, Place, connect, wait_until};

/// A reader that keeps its messages and events.
pub(crate) struct Collector {
    pub(crate) reader: Reader,
    pub(crate) messages: Notes<Vec<u8>>,
    pub(crate) events: Notes<String>,
}

impl Collector {
    pub(crate) fn start(path: &Path) -> Self {
        Self::start_with(path, |builder| builder)
    }

    pub(crate) fn start_with(
        path: &Path,
        set: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
    ) -> Self {
        let (messages, events) = (Notes::new(), Notes::new());
        let builder = Reader::builder(path).on_event(events.observer::<ReaderEvent>());
        let notes = messages.clone();
        let bound = set(builder).bind().expect("a socket");
        let reader = bound
            .start(move |message| {
                notes.add(message.to_vec());
                Ok::<(), io::Error>(())
            })
            .expect("a reader");
        Self {
            reader,
            messages,
            events,
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        self.messages.wait_for_len(count);
        self.messages.all()
    }

    /// Stops as planned, and returns what came in all.
    #[track_caller]
    pub(crate) fn stop(self) -> Vec<Vec<u8>> {
        let report = self.reader.shutdown(PATIENCE).expect("not in a callback");
        assert_eq!(report.cut, 0, "every connection was read to its end");
        assert_eq!(report.metrics.open, 0);
        assert_eq!(
            usize::try_from(report.metrics.received.messages).unwrap(),
            self.messages.len()
        );
        self.messages.all()
    }
}

/// What a handler was called with: the connection's number, and the message, `<opened>`, `<batch
/// end>` or `<closed>`.
pub(crate) type Call = (u64, String);

/// A handler that notes its calls and does what a message begins with: `block` (at the gate),
/// `fail` or `panic`.
pub(crate) struct Script {
    pub(crate) calls: Notes<Call>,
    pub(crate) gate: Gate,
}

impl Handler for Script {
    type Error = String;

    fn message(&self, message: &[u8], peer: &Peer) -> Result<(), String> {
        let text = String::from_utf8_lossy(message).into_owned();
        self.calls.add((peer.connection, text.clone()));
        if text.starts_with("block") {
            self.gate.pass();
        }
        assert!(!text.starts_with("panic"), "the handler says {text}");
        if text.starts_with("fail") {
            Err(format!("the handler says {text}"))
        } else {
            Ok(())
        }
    }

    fn batch_end(&self, peer: &Peer) -> Result<(), String> {
        self.calls.add((peer.connection, "<batch end>".into()));
        Ok(())
    }

    fn opened(&self, peer: &Peer) {
        self.calls.add((peer.connection, "<opened>".into()));
    }

    fn closed(&self, peer: &Peer) {
        self.calls.add((peer.connection, "<closed>".into()));
    }
}

/// A reader with a [`Script`].
pub(crate) struct Scripted {
    pub(crate) reader: Reader,
    pub(crate) calls: Notes<Call>,
    pub(crate) gate: Gate,
    pub(crate) events: Notes<String>,
}

impl Scripted {
    pub(crate) fn start(path: &Path) -> Self {
        Self::start_with(path, |builder| builder)
    }

    pub(crate) fn start_with(
        path: &Path,
        set: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
    ) -> Self {
        let (calls, gate, events) = (Notes::new(), Gate::new(), Notes::new());
        let builder = set(Reader::builder(path).on_event(events.observer::<ReaderEvent>()));
        let handler = Script {
            calls: calls.clone(),
            gate: gate.clone(),
        };
        let reader = builder
            .bind()
            .expect("a socket")
            .start_handler(handler)
            .expect("a reader");
        Self {
            reader,
            calls,
            gate,
            events,
        }
    }

    /// How often the handler was called with that message, on any connection.
    pub(crate) fn count(&self, message: &str) -> usize {
        self.calls.count(|(_, call)| call == message)
    }

    /// Waits until the handler has been called with that message `count` times.
    #[track_caller]
    pub(crate) fn wait_for(&self, message: &str, count: usize) {
        wait_until(&format!("{message:?} has come {count} times"), || {
            self.count(message) >= count
        });
    }

    /// What came on one connection, in order.
    pub(crate) fn calls_of(&self, connection: u64) -> Vec<String> {
        let calls = self.calls.all().into_iter();
        calls
            .filter(|(number, _)| *number == connection)
            .map(|(_, call)| call)
            .collect()
    }
}

/// Lets `time` go by, as a silent connection of some other reader sees it.
#[track_caller]
pub(crate) fn let_pass(time: Duration) {
    let place = Place::new();
    let clock = Collector::start_with(&place.socket(), |builder| builder.idle_timeout(time));
    let silent = connect(&place.socket());
    clock.events.wait_for("cause: Idle");
    drop(silent);
}
