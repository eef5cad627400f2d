//! Whatever a writer's observer does, with this writer, its reader or another object: it sends on,
//! or ends in time.
//!
//! Each test is a table, of the events with what the observer does when it is told of them.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use uds_ipc::event::WriterEvent;
use uds_ipc::{Delivery, Reader, Writer};

use crate::support::acts::{Act, Cast, DROPS, INSIDE, On, PANICS, SENDS, STOPS, show};
use crate::support::{Gate, Notes, PATIENCE, Place, SHORT, returns, wait_until};

/// The events, by their names.
const EVENTS: &[&str] = &[
    "Connecting",
    "ConnectFailed",
    "Connected",
    "Lost",
    "GivenUp",
    "NoReceipt",
    "Stopped",
];

/// What the reader hangs up on, and the first that it is slow to deal with.
const TOO_LONG: &[u8] = b"too long";
const SLOW: &[u8] = b"slow";
const MAX_LEN: usize = 6;

/// One cell of the table.
struct Cell {
    place: Place,
    cast: Arc<Cast>,
    messages: Notes<Vec<u8>>,
    /// Holds the reader's handler up at a slow message.
    slow: Gate,
    /// Gone with the observer.
    observer: Weak<()>,
}

impl Cell {
    /// Starts all that the observer may act on.
    fn start(event: &'static str, act: Act) -> Self {
        let (place, cast) = (Place::new(), Cast::new());
        let kept = Arc::new(());
        let cell = Self {
            place,
            cast: Arc::clone(&cast),
            messages: Notes::new(),
            slow: Gate::new(),
            observer: Arc::downgrade(&kept),
        };
        // Where connecting is to fail nobody is there at first.
        if event != "ConnectFailed" {
            cast.reader(On::Same)
                .put(cell.reader(if event == "Lost" { SHORT } else { PATIENCE }));
        }
        let slow = cell.slow.clone();
        let observer = move |told: WriterEvent| {
            let _ = &kept;
            if format!("{told:?}").starts_with(event) {
                // From here on it is quick, or a shutdown of the reader would have to wait for
                // that.
                slow.open();
                cast.act(act);
            }
        };
        let silent_for = if event == "NoReceipt" {
            SHORT
        } else {
            PATIENCE
        };
        let builder = Writer::builder(cell.path())
            .on_event(observer)
            .backoff_min(Duration::from_millis(1));
        let builder = builder
            .delivery(Delivery::AtLeastOnce)
            .write_timeout(silent_for);
        cell.cast.writer(On::Same).put(builder.start().unwrap());
        let other = Reader::builder(cell.place.path("other")).bind().unwrap();
        cell.cast
            .reader(On::Other)
            .put(other.start(|_| ()).unwrap());
        cell.cast
            .writer(On::Other)
            .put(Writer::start(cell.place.path("other")).unwrap());
        if !is_provoked_by_a_message(event) {
            cell.cast.complete.open();
        }
        cell
    }

    fn path(&self) -> PathBuf {
        self.place.socket()
    }

    fn reader(&self, idle_timeout: Duration) -> Reader {
        let (messages, slow) = (self.messages.clone(), self.slow.clone());
        let builder = Reader::builder(self.path())
            .max_message_len(MAX_LEN)
            .idle_timeout(idle_timeout);
        let handler = move |message: &[u8]| {
            messages.add(message.to_vec());
            if message == SLOW {
                slow.pass();
            }
        };
        builder.bind().unwrap().start(handler).unwrap()
    }

    /// Lets happen what the observer is told of, and waits until it has acted.
    fn provoke(&self, event: &str) {
        // A handle is taken only where it is used: an observer that drops its own looks for others.
        let writer = || self.cast.writer(On::Same).get().unwrap();
        match event {
            "GivenUp" => writer().try_send(TOO_LONG).unwrap(),
            "NoReceipt" => writer().try_send(SLOW).unwrap(),
            "Stopped" => {
                let writer = writer();
                let report = returns("the shutdown", move || writer.shutdown(SHORT).unwrap());
                assert_eq!(report.left.messages, 0);
            }
            _ => {}
        }
        // The handle that it was sent with is gone.
        self.cast.complete.open();
        self.cast.outcomes.wait_for_len(1);
    }

    fn has(&self, message: &[u8]) -> bool {
        self.messages.count(|found| found == message) > 0
    }
}

/// Where the observer must not act before the message is sent, and the handle let go.
fn is_provoked_by_a_message(event: &str) -> bool {
    matches!(event, "GivenUp" | "NoReceipt")
}

/// What an act must come to, as it was noted; `None` for any.
fn wanted(event: &str, act: Act) -> Option<&'static str> {
    match act {
        Act::ShutDownReader(On::Same) | Act::DropReader(On::Same) if event == "ConnectFailed" => {
            Some("not there")
        }
        Act::ShutDownReader(_) | Act::ShutDownWriter(On::Other) => Some("Ok(0)"),
        Act::ShutDownWriter(On::Same) => Some("Err(InCallback)"),
        // Whoever shuts it down has one as well.
        Act::DropWriter(On::Same) if event == "Stopped" => Some("one dropped"),
        Act::DropReader(_) | Act::DropWriter(_) => Some("the last dropped"),
        Act::TrySend(On::Same) | Act::SendTimeout(On::Same) | Act::SendWith(On::Same)
            if event == "Stopped" =>
        {
            Some("Err(Closed(..))")
        }
        Act::TrySend(_) | Act::SendTimeout(_) | Act::SendWith(_) => Some("Ok(())"),
        Act::Flush(On::Same) if event == "Stopped" => Some("Err(Closed(..)), Err(InCallback)"),
        Act::Flush(On::Same) => Some("Ok(()), Err(InCallback)"),
        Act::Flush(On::Other) => Some("Ok(()), Ok(())"),
        Act::Panic | Act::PanicOnAndOn | Act::Block => None,
    }
}

fn run(event: &'static str, act: Act) {
    let cell = Cell::start(event, act);
    cell.provoke(event);
    let outcome = cell.cast.outcomes.all().remove(0);
    assert!(
        wanted(event, act).is_none_or(|wanted| wanted == outcome),
        "{outcome}"
    );
    // There is a reader again, if there is none.
    let is_readerless = matches!(
        act,
        Act::ShutDownReader(On::Same) | Act::DropReader(On::Same)
    );
    if event == "ConnectFailed" || is_readerless {
        drop(cell.cast.reader(On::Same).take());
        cell.cast.reader(On::Same).put(cell.reader(PATIENCE));
    }
    if let Some(writer) = cell.cast.writer(On::Same).take() {
        let is_blocked = act == Act::Block;
        if event != "Stopped" {
            writer.try_send("after").unwrap();
            assert!(
                !is_blocked || !cell.has(b"after"),
                "while the observer runs nothing is written"
            );
        }
        let timeout = if is_blocked { SHORT } else { PATIENCE };
        let stopping = Arc::clone(&writer);
        let report = returns("the shutdown", move || stopping.shutdown(timeout).unwrap());
        if !is_blocked {
            assert_eq!(report.left.messages, 0);
            assert_eq!(
                report.metrics.observer_panics,
                u64::from(PANICS.contains(&act))
            );
        }
        if !is_blocked && event != "Stopped" {
            assert!(cell.has(b"after"));
            assert_eq!(cell.has(INSIDE), SENDS.contains(&act) && is_on_same(act));
        }
        cell.cast.gate.open();
    }
    // It ends by itself, whoever has dropped it.
    wait_until("the thread ends", || cell.observer.upgrade().is_none());
    for on in [On::Same, On::Other] {
        if let Some(reader) = cell.cast.reader(on).take() {
            let report = returns("the reader's shutdown", move || {
                reader.shutdown(PATIENCE).unwrap()
            });
            assert_eq!(report.cut, 0);
        }
        drop(cell.cast.writer(on).take());
    }
    assert!(cell.place.files().is_empty());
}

fn is_on_same(act: Act) -> bool {
    matches!(
        act,
        Act::TrySend(On::Same)
            | Act::SendTimeout(On::Same)
            | Act::SendWith(On::Same)
            | Act::Flush(On::Same)
    )
}

fn run_all(acts: &[Act]) {
    for event in EVENTS {
        for act in acts {
            show(&format!("{event} {act:?}"));
            run(event, *act);
        }
    }
}

#[test]
fn a_writer_sends_on_when_its_observer_panics_on_any_event() {
    run_all(PANICS);
}

#[test]
fn a_writer_stops_in_time_when_its_observer_blocks_on_any_event() {
    run_all(&[Act::Block]);
}

#[test]
fn an_observer_may_send_with_its_writer_or_another_on_any_event() {
    run_all(SENDS);
}

#[test]
fn an_observer_may_shut_down_its_writer_or_another_on_any_event() {
    run_all(STOPS);
}

#[test]
fn an_observer_may_drop_its_writer_or_another_on_any_event() {
    run_all(DROPS);
}
