//! Whatever a reader's callbacks do, with this reader or another object: it serves on, or ends in
//! time.
//!
//! Each test is a table, of the callbacks with what they do.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use uds_ipc::event::ReaderEvent;
use uds_ipc::{Delivery, Handler, Peer, Reader, Writer};

use crate::support::acts::{
    Act, Cast, DROPS, INSIDE, On, PANICS, SENDS, STOPS, panic_quietly, show,
};
use crate::support::{
    Collector, Notes, PATIENCE, Place, SHORT, connect, frame, returns, send_and_close, wait_until,
};

/// The user's code that a reader calls, as far as it matters from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callback {
    Check,
    Opened,
    Message,
    BatchEnd,
    Closed,
    /// The observer, told of the event with that name.
    Observer(&'static str),
}

const CALLBACKS: &[Callback] = &[
    Callback::Check,
    Callback::Opened,
    Callback::Message,
    Callback::BatchEnd,
    Callback::Closed,
    Callback::Observer("Opened"),
    Callback::Observer("Closed"),
    // The one comes from where it is accepted, the other from its first turn.
    Callback::Observer("TooManyOfUser"),
    Callback::Observer("Check"),
    Callback::Observer("HandlerFailed"),
    Callback::Observer("HandlerPanicked"),
    Callback::Observer("Displaced"),
];

/// One cell of the table: a reader one of whose callbacks acts when it is called for the first
/// time.
struct Subject {
    callback: Callback,
    act: Act,
    cast: Arc<Cast>,
    messages: Notes<Vec<u8>>,
}

impl Subject {
    fn called(&self, callback: Callback) {
        if callback == self.callback {
            self.cast.act(self.act);
        }
    }
}

impl Handler for Subject {
    type Error = &'static str;

    fn message(&self, message: &[u8], _: &Peer) -> Result<(), &'static str> {
        self.messages.add(message.to_vec());
        self.called(Callback::Message);
        match message {
            b"fail" => Err("on purpose"),
            b"panic" => panic_quietly(),
            _ => Ok(()),
        }
    }

    fn batch_end(&self, _: &Peer) -> Result<(), &'static str> {
        self.called(Callback::BatchEnd);
        Ok(())
    }

    fn opened(&self, _: &Peer) {
        self.called(Callback::Opened);
    }

    fn closed(&self, _: &Peer) {
        self.called(Callback::Closed);
    }
}

struct Cell {
    place: Place,
    cast: Arc<Cast>,
    messages: Notes<Vec<u8>>,
    other_messages: Notes<Vec<u8>>,
    handler: Weak<Subject>,
}

impl Cell {
    /// Starts all that the callback may act on.
    fn start(callback: Callback, act: Act) -> Self {
        let (place, cast, messages) = (Place::new(), Cast::new(), Notes::new());
        let subject = Subject {
            callback,
            act,
            cast: Arc::clone(&cast),
            messages: messages.clone(),
        };
        let subject = Arc::new(subject);
        let handler = Arc::downgrade(&subject);
        let (in_check, in_observer) = (Weak::clone(&handler), Weak::clone(&handler));
        let is_refusing = callback == Callback::Observer("Check");
        let builder = Reader::builder(place.socket())
            .peer_check(move |peer| {
                if let Some(subject) = in_check.upgrade() {
                    subject.called(Callback::Check);
                }
                !(is_refusing && peer.connection == 1)
            })
            .on_event(move |event: ReaderEvent| {
                let text = format!("{event:?}");
                let is_meant = matches!(callback, Callback::Observer(name) if text.contains(name));
                if let Some(subject) = in_observer.upgrade().filter(|_| is_meant) {
                    subject.called(callback);
                }
            })
            .max_connections_per_user(4)
            // Where nothing blocks for good one thread must do, and must not be lost.
            .max_threads(if act == Act::Block { 4 } else { 1 });
        let bound = builder.bind().unwrap();
        // Other names of the same sockets: they stay when a file is removed.
        fs::hard_link(place.socket(), place.path("door")).unwrap();
        cast.reader(On::Same)
            .put(bound.start_handler(subject).unwrap());
        let Collector {
            reader: other,
            messages: other_messages,
            ..
        } = Collector::start(&place.path("other"));
        cast.reader(On::Other).put(other);
        // At least once: the connection that is refused in some of the cells may be its own.
        let own = Writer::builder(place.path("door")).delivery(Delivery::AtLeastOnce);
        cast.writer(On::Same).put(own.start().unwrap());
        cast.writer(On::Other)
            .put(Writer::start(place.path("other")).unwrap());
        cast.complete.open();
        Self {
            place,
            cast,
            messages,
            other_messages,
            handler,
        }
    }

    fn door(&self) -> PathBuf {
        self.place.path("door")
    }

    /// Lets happen what the callback is called for, and waits until it has acted. The reader may be
    /// gone before all of it has come.
    fn provoke(&self, callback: Callback) {
        let knock = |bytes: &[u8]| {
            let mut peer = UnixStream::connect(self.door())?;
            peer.write_all(bytes).map(|()| peer)
        };
        let Callback::Observer(event) = callback else {
            drop(knock(&frame(b"first")));
            return self.cast.outcomes.wait_for_len(1);
        };
        let (message, knocks): (&[u8], _) = match event {
            "HandlerFailed" => (b"fail", 1),
            "HandlerPanicked" => (b"panic", 1),
            "TooManyOfUser" => (b"one of many", 5),
            _ => (b"first", 1),
        };
        let peers: Vec<_> = (0..knocks).map(|_| knock(&frame(message))).collect();
        match event {
            "TooManyOfUser" => self.cast.outcomes.wait_for_len(1),
            "Displaced" => fs::remove_file(self.place.socket()).unwrap(),
            _ => {}
        }
        drop(peers);
        self.cast.outcomes.wait_for_len(1);
    }

    /// The reader takes one more connection, and serves it to its end.
    fn serves(&self, reader: &Reader) {
        wait_until("there is room for one more", || reader.metrics().open <= 2);
        let mut peer = connect(&self.door());
        peer.write_all(&frame(b"after")).unwrap();
        wait_until("one more is served", || {
            self.messages.count(|message| message == b"after") == 1
        });
        drop(peer);
    }

    fn ends(&self) {
        wait_until("its file is removed", || !self.place.socket().exists());
        wait_until("its handler is dropped", || {
            self.handler.upgrade().is_none()
        });
    }
}

/// What an act must come to, as it was noted; `None` for any.
fn wanted(act: Act) -> Option<&'static str> {
    match act {
        Act::ShutDownReader(On::Same) => Some("Err(InCallback)"),
        Act::ShutDownReader(On::Other) | Act::ShutDownWriter(_) => Some("Ok(0)"),
        Act::DropReader(_) | Act::DropWriter(_) => Some("the last dropped"),
        Act::TrySend(_) | Act::SendTimeout(_) | Act::SendWith(_) => Some("Ok(())"),
        Act::Flush(On::Other) => Some("Ok(()), Ok(())"),
        Act::Flush(On::Same) | Act::Panic | Act::PanicOnAndOn | Act::Block => None,
    }
}

fn is_sent(act: Act, on: On) -> bool {
    [
        Act::TrySend(on),
        Act::SendTimeout(on),
        Act::SendWith(on),
        Act::Flush(on),
    ]
    .contains(&act)
}

fn run(callback: Callback, act: Act) {
    let cell = Cell::start(callback, act);
    cell.provoke(callback);
    let outcome = cell.cast.outcomes.all().remove(0);
    assert!(
        wanted(act).is_none_or(|wanted| wanted == outcome),
        "{outcome}"
    );
    // The other object is as it was, or as it was left.
    let other = cell.cast.reader(On::Other).take();
    if let (Some(other), false) = (&other, act == Act::ShutDownReader(On::Other)) {
        send_and_close(&cell.place.path("other"), &frame(b"after"));
        wait_until("the other one serves", || {
            cell.other_messages.all().contains(&b"after".to_vec())
        });
        if is_sent(act, On::Other) {
            wait_until("it has come", || {
                cell.other_messages.all().contains(&INSIDE.to_vec())
            });
        }
        assert_eq!(other.shutdown(PATIENCE).unwrap().cut, 0);
    }
    assert!(!cell.place.path("other").exists());
    // And so is the one whose callback it was.
    if act == Act::DropReader(On::Same) {
        cell.ends();
    } else {
        let reader = cell.cast.reader(On::Same).take().unwrap();
        cell.serves(&reader);
        if is_sent(act, On::Same) {
            wait_until("it has come", || {
                cell.messages.all().contains(&INSIDE.to_vec())
            });
        }
        let timeout = if act == Act::Block { SHORT } else { PATIENCE };
        let stopping = Arc::clone(&reader);
        let report = returns("the shutdown", move || stopping.shutdown(timeout).unwrap());
        if act == Act::Block {
            // Others may not have had their turn yet.
            assert!(report.cut >= u64::from(has_connection(callback)));
        } else {
            assert_eq!(report.cut, 0);
        }
        cell.cast.gate.open();
        wait_until("its threads end", || reader.metrics().threads == 0);
        let panics = usize::from(PANICS.contains(&act));
        let own = usize::from(callback == Callback::Observer("HandlerPanicked"));
        assert_eq!(
            reader.metrics().panics,
            u64::try_from(panics + own).unwrap()
        );
        drop(reader);
        cell.ends();
    }
    for on in [On::Same, On::Other] {
        if let Some(writer) = cell.cast.writer(on).take() {
            let _ = returns("the writer's shutdown", move || {
                writer.shutdown(SHORT).unwrap()
            });
        }
    }
}

/// Whether a callback of this kind holds up a connection when it blocks.
fn has_connection(callback: Callback) -> bool {
    !matches!(callback, Callback::Observer("TooManyOfUser" | "Displaced"))
}

fn run_all(acts: &[Act]) {
    for callback in CALLBACKS {
        for act in acts {
            show(&format!("{callback:?} {act:?}"));
            run(*callback, *act);
        }
    }
}

#[test]
fn a_reader_serves_on_whichever_callback_panics() {
    run_all(PANICS);
}

#[test]
fn a_reader_serves_on_and_stops_in_time_whichever_callback_blocks() {
    run_all(&[Act::Block]);
}

#[test]
fn a_reader_serves_on_whichever_callback_sends_to_it_or_to_another() {
    run_all(SENDS);
}

#[test]
fn a_reader_serves_on_whichever_callback_shuts_it_or_another_down() {
    run_all(STOPS);
}

#[test]
fn any_callback_may_drop_its_reader_or_another() {
    run_all(DROPS);
}
