//! Each kind of stream keeps the same promises. One suite, run over all of them; where one differs,
//! the test says so.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use uds_ipc::error::{FlushError, ServeError, StartError};
use uds_ipc::event::{ReaderEvent, WriterEvent};
use uds_ipc::{
    Address, Delivery, FlushLevel, Identity, Peer, Reader, ReaderBuilder, SendError, Writer,
    WriterBuilder,
};

use crate::support::{
    Gate, Notes, PATIENCE, Place, RawReader, SHORT, assert_balanced, assert_balanced_by_receipts,
    finish, frame, numbered, send_all, skip, wait_until, writer_with,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    Tcp,
    Tcp6,
    Connector,
    SocketPair,
    TcpPair,
    Pipe,
}

const KINDS: [Kind; 7] = [
    Kind::Path,
    Kind::Tcp,
    Kind::Tcp6,
    Kind::Connector,
    Kind::SocketPair,
    Kind::TcpPair,
    Kind::Pipe,
];

impl Kind {
    /// All that can be had here: not every machine has IPv6.
    fn all() -> impl Iterator<Item = Self> {
        let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
        if !has_ipv6 {
            skip("there is no [::1] here, so nothing goes over Tcp6");
        }
        KINDS
            .into_iter()
            .filter(move |kind| has_ipv6 || *kind != Self::Tcp6)
    }

    fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp | Self::Tcp6 | Self::Connector | Self::TcpPair
        )
    }

    /// A receipt can come back.
    fn has_answers(self) -> bool {
        self != Self::Pipe
    }

    /// The writer connects again.
    fn reconnects(self) -> bool {
        matches!(self, Self::Path | Self::Tcp | Self::Tcp6 | Self::Connector)
    }

    /// Those that a writer and a reader are given, once and for all.
    fn given() -> impl Iterator<Item = Self> {
        KINDS.into_iter().filter(|kind| !kind.reconnects())
    }

    fn tells_unread(self) -> bool {
        cfg!(target_os = "linux") && !self.is_tcp()
    }

    fn address(self, place: &Place) -> String {
        match self {
            Self::Tcp | Self::Connector => "tcp:127.0.0.1:0".to_owned(),
            Self::Tcp6 => "tcp:[::1]:0".to_owned(),
            Self::Path | Self::SocketPair | Self::TcpPair | Self::Pipe => {
                place.socket().to_str().unwrap().to_owned()
            }
        }
    }

    /// The two ends of a stream that is connected: the reader's, and the writer's.
    fn pair(self) -> (OwnedFd, OwnedFd) {
        match self {
            Self::TcpPair => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (listener.accept().unwrap().0.into(), near.into())
            }
            Self::Pipe => pipe(),
            Self::SocketPair | Self::Path | Self::Tcp | Self::Tcp6 | Self::Connector => {
                let (one, other) = UnixStream::pair().unwrap();
                (one.into(), other.into())
            }
        }
    }

    /// Likewise, and the kernel holds little at the writer's end.
    fn narrow_pair(self) -> (OwnedFd, OwnedFd) {
        let (theirs, ours) = self.pair();
        if self != Self::Pipe {
            let end = socket2::SockRef::from(&ours);
            end.set_send_buffer_size(4096).unwrap();
        }
        (theirs, ours)
    }

    /// A reader that listens, or waits for what it is given.
    fn reader(self, place: &Place) -> ReaderBuilder {
        if self.reconnects() {
            Reader::builder(self.address(place))
        } else {
            Reader::without_listener()
        }
    }

    /// A writer to a reader at `address`, or over its end of a pair.
    fn writer_to(self, address: &Address, end: OwnedFd) -> WriterBuilder {
        match self {
            Self::Connector => {
                let port = address.port().unwrap();
                Writer::with_connector(move |timeout| {
                    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), timeout)
                })
            }
            Self::Path | Self::Tcp | Self::Tcp6 => Writer::builder(address),
            Self::SocketPair | Self::TcpPair | Self::Pipe => Writer::over(end),
        }
    }
}

/// Closed on exec, where that can be had: a process that another test starts would hold a copy.
fn pipe() -> (OwnedFd, OwnedFd) {
    #[cfg(not(target_vendor = "apple"))]
    let made = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
    #[cfg(target_vendor = "apple")]
    let made = nix::unistd::pipe();
    made.unwrap()
}

/// A reader and a writer over one kind of stream.
struct Ends {
    kind: Kind,
    reader: Option<Reader>,
    /// What came to all readers.
    messages: Notes<Vec<u8>>,
    readers_events: Notes<String>,
    /// Holds the handler up, at a message that says `block`.
    gate: Gate,
    writer: Writer,
    events: Notes<String>,
    /// Kept for its folder.
    _place: Place,
}

impl Ends {
    fn of(kind: Kind) -> Self {
        Self::with(kind, |builder| builder, |builder| builder)
    }

    fn with(
        kind: Kind,
        set_reader: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
        set_writer: impl FnOnce(WriterBuilder) -> WriterBuilder,
    ) -> Self {
        Self::over(kind, kind.pair(), set_reader, set_writer, &[])
    }

    /// Over that pair, if it is a kind that is given. The `first` messages are sent before there is
    /// a connection, and go out on it together.
    fn over(
        kind: Kind,
        (theirs, ours): (OwnedFd, OwnedFd),
        set_reader: impl FnOnce(ReaderBuilder) -> ReaderBuilder,
        set_writer: impl FnOnce(WriterBuilder) -> WriterBuilder,
        first: &[Vec<u8>],
    ) -> Self {
        let place = Place::new();
        let (messages, readers_events, gate) = (Notes::new(), Notes::new(), Gate::new());
        let builder = kind.reader(&place);
        let builder = set_reader(builder.on_event(readers_events.observer::<ReaderEvent>()));
        let (notes, passed) = (messages.clone(), gate.clone());
        let reader = builder
            .bind()
            .unwrap()
            .start(move |message| {
                notes.add(message.to_vec());
                if message == b"block" {
                    passed.pass();
                }
            })
            .unwrap();
        let (events, may_connect) = (Notes::new(), Gate::new());
        let (note, passed) = (events.observer::<WriterEvent>(), may_connect.clone());
        let builder = kind
            .writer_to(reader.address(), ours)
            .on_event(move |event| {
                if matches!(event, WriterEvent::Connecting { .. }) {
                    passed.pass();
                }
                note(event);
            });
        let writer = set_writer(builder).start().unwrap();
        send_all(&writer, first);
        may_connect.open();
        if !kind.reconnects() {
            // By then they lie in the kernel: no idle time begins before.
            wait_until("the first are there", || {
                first.is_empty() || writer.metrics().sent.messages > 0
            });
            reader.serve(theirs).unwrap();
        }
        Self {
            kind,
            reader: Some(reader),
            messages,
            readers_events,
            gate,
            writer,
            events,
            _place: place,
        }
    }

    fn reader(&self) -> &Reader {
        self.reader.as_ref().unwrap()
    }

    /// A connection over TCP of a program that knows frames, and nothing else of us.
    fn stranger(&self) -> TcpStream {
        let port = self.reader().address().port().unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap()
    }

    /// Stops the reader as planned.
    #[track_caller]
    fn stop_reader(&mut self) {
        let reader = self.reader.take().unwrap();
        let report = reader.shutdown(PATIENCE).unwrap();
        assert_eq!(report.cut, 0, "{:?}", self.kind);
    }

    /// Starts another one at the same address.
    fn start_reader(&mut self, address: &str) {
        let notes = self.messages.clone();
        let reader = Reader::builder(address)
            .on_event(self.readers_events.observer::<ReaderEvent>())
            .bind()
            .unwrap()
            .start(move |message| notes.add(message.to_vec()));
        self.reader = Some(reader.unwrap());
    }
}

/// Of all sizes, each with its number.
fn mixed(count: usize) -> Vec<Vec<u8>> {
    let sizes = [0, 10, 120, 300, 5_000, 70_000, 400_000];
    numbered(count)
        .into_iter()
        .zip(sizes.iter().cycle())
        .map(|(number, size)| [number, vec![b'.'; *size]].concat())
        .collect()
}

#[test]
fn messages_of_all_sizes_arrive_over_each_kind_of_stream_in_order() {
    for kind in Kind::all() {
        let mut ends = Ends::of(kind);
        let messages = mixed(300);
        send_all(&ends.writer, &messages);
        finish(&ends.writer);
        ends.stop_reader();
        assert!(ends.messages.all() == messages, "{kind:?}");
        assert_eq!(ends.writer.metrics().connects, 1, "{kind:?}");
    }
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing_behind_over_each_kind_of_stream() {
    for kind in Kind::all() {
        let ends = Ends::of(kind);
        let messages = numbered(1_000);
        send_all(&ends.writer, &messages);
        let Ends {
            writer,
            messages: received,
            reader: _reader,
            ..
        } = ends;
        drop(writer);
        received.wait_for_len(1_000);
        assert!(received.all() == messages, "{kind:?}");
    }
}

#[test]
fn at_least_once_all_is_confirmed_wherever_there_is_a_way_back() {
    for kind in Kind::all().filter(|kind| kind.has_answers()) {
        let keep = |builder: WriterBuilder| builder.delivery(Delivery::AtLeastOnce);
        let mut ends = Ends::with(kind, |builder| builder, keep);
        let messages = mixed(300);
        send_all(&ends.writer, &messages);
        let report = ends.writer.shutdown(PATIENCE).unwrap();
        assert_eq!(report.left.messages, 0, "{kind:?}");
        assert_eq!(report.metrics.confirmed.messages, 300, "{kind:?}");
        assert_eq!(report.metrics.resent.messages, 0, "{kind:?}");
        ends.stop_reader();
        assert!(ends.messages.all() == messages, "{kind:?}");
    }
}

#[test]
fn without_a_way_back_a_writer_that_needs_receipts_is_refused() {
    let (_read, write) = Kind::Pipe.pair();
    let refused = Writer::over(write)
        .delivery(Delivery::AtLeastOnce)
        .start()
        .unwrap_err();
    assert!(matches!(&refused, StartError::Setting(error) if error.setting == "delivery"));
    assert!(refused.to_string().contains("no way back"), "{refused}");
    // A connector may give anything: there it is an event, and messages are kept.
    let events = Notes::new();
    let writer = Writer::with_connector(|_| Ok(Kind::Pipe.pair().1))
        .delivery(Delivery::AtLeastOnce)
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
    writer.try_send("kept").unwrap();
    events.wait_for("OneWay");
    assert_eq!(writer.metrics().queued.messages, 1);
    let _ = writer.shutdown(Duration::ZERO).unwrap();
    assert_balanced_by_receipts(&writer);
}

#[test]
fn a_flush_reaches_the_levels_that_its_stream_tells_of() {
    for kind in Kind::all() {
        let ends = Ends::of(kind);
        send_all(&ends.writer, &numbered(100));
        ends.writer.flush(FlushLevel::Written, PATIENCE).unwrap();
        // A connector's stream is known once it is there.
        wait_until("it is connected", || ends.writer.metrics().connected);
        let read = ends.writer.flush(FlushLevel::Read, PATIENCE);
        let handled = ends.writer.flush(FlushLevel::Handled, PATIENCE);
        if kind.tells_unread() {
            read.unwrap();
        } else {
            assert_eq!(read, Err(FlushError::Unsupported), "{kind:?}");
        }
        if kind.has_answers() {
            handled.unwrap();
            assert_eq!(ends.messages.len(), 100, "{kind:?}");
        } else {
            assert_eq!(handled, Err(FlushError::Unsupported), "{kind:?}");
        }
    }
}

#[test]
fn a_peer_is_known_over_unix_sockets_only_and_can_be_refused_over_all() {
    for kind in Kind::all() {
        let seen = Notes::new();
        let notes = seen.clone();
        let check = move |peer: &Peer| {
            notes.add(peer.identity);
            false
        };
        let ends = Ends::with(kind, |builder| builder.peer_check(check), |builder| builder);
        seen.wait_for_len(1);
        let identity = seen.all()[0];
        match kind {
            Kind::Path | Kind::SocketPair => assert!(identity.uid().is_some(), "{identity}"),
            Kind::Pipe => assert_eq!(identity, Identity::Unknown),
            Kind::Tcp | Kind::Tcp6 | Kind::Connector | Kind::TcpPair => assert!(
                matches!(identity, Identity::Remote(address) if address.ip().is_loopback()),
                "{identity}"
            ),
        }
        ends.events.wait_for("Lost");
        assert_eq!(
            ends.reader().metrics().refused_peers,
            1.max(ends.reader().metrics().refused_peers)
        );
        let _ = ends.writer.shutdown(Duration::ZERO).unwrap();
    }
}

#[test]
fn planned_stops_lose_nothing_and_repeat_nothing_over_what_reconnects() {
    for kind in Kind::all().filter(|kind| kind.reconnects()) {
        stop_as_planned(kind, Delivery::AtMostOnce);
    }
}

#[test]
fn planned_stops_repeat_nothing_over_tcp_with_receipts_either() {
    for kind in Kind::all().filter(|kind| kind.reconnects() && kind.is_tcp()) {
        stop_as_planned(kind, Delivery::AtLeastOnce);
    }
}

/// Stops readers under load, one after the other: nothing is lost, and nothing comes twice.
fn stop_as_planned(kind: Kind, delivery: Delivery) {
    let eager = |builder: WriterBuilder| {
        builder
            .delivery(delivery)
            // A reader that stops may be held up itself.
            .write_timeout(PATIENCE)
            .backoff_min(Duration::from_millis(1))
            .backoff_max(Duration::from_millis(5))
    };
    let mut ends = Ends::with(kind, |builder| builder, eager);
    let address = ends.reader().address().to_string();
    let is_over = AtomicBool::new(false);
    let writer = ends.writer.clone();
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut number = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let message = [&number.to_be_bytes()[..], &[b'.'; 100]].concat();
                if writer.send_timeout(message, PATIENCE).is_ok() {
                    number += 1;
                }
            }
            number
        });
        for _ in 0..10 {
            let enough = ends.messages.len() + 3_000;
            ends.messages.wait_for_len(enough);
            ends.stop_reader();
            ends.start_reader(&address);
        }
        is_over.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    finish(&ends.writer);
    let lost = ends.writer.metrics().lost_with_unread;
    ends.stop_reader();
    let mut numbers: Vec<_> = ends
        .messages
        .all()
        .iter()
        .map(|message| u64::from_be_bytes(message[..8].try_into().unwrap()))
        .collect();
    numbers.sort_unstable();
    let before = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), before, "{kind:?}: some came twice");
    // Over TCP a connection may come between the last look at the backlog and its end: the
    // kernel resets it, and the writer says so.
    if lost == 0 || !kind.is_tcp() {
        assert_eq!(lost, 0, "{kind:?}");
        assert_eq!(u64::try_from(before).unwrap(), sent, "{kind:?}");
    }
    assert!(ends.writer.metrics().connects >= 11, "{kind:?}");
}

#[test]
fn a_stream_that_was_given_is_read_to_its_end_when_the_reader_stops() {
    for kind in Kind::all().filter(|kind| !kind.reconnects()) {
        let mut ends = Ends::of(kind);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = ends.writer.try_send(&[b'.'; 100]);
                }
            });
            ends.messages.wait_for_len(3_000);
            let reader = ends.reader.as_ref().unwrap();
            assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0, "{kind:?}");
            is_over.store(true, Ordering::Relaxed);
            sending.join().unwrap();
        });
        ends.stop_reader();
        ends.events.wait_for("Stopped");
        let metrics = ends.writer.metrics();
        let received = u64::try_from(ends.messages.len()).unwrap();
        if kind == Kind::Pipe {
            // Nobody tells the writer before its reader has gone.
            assert!(received <= metrics.sent.messages, "{kind:?}");
        } else {
            assert_eq!(received, metrics.sent.messages, "{kind:?}");
        }
        assert!(ends.events.has("retry_in: None"), "{kind:?}");
        assert!(!metrics.connected);
        let refused = ends.writer.try_send("too late").unwrap_err();
        assert!(
            refused.to_string().contains("ended") || refused.to_string().contains("shut"),
            "{refused}"
        );
        assert_balanced(&ends.writer);
    }
}

#[test]
fn an_idle_connection_is_closed_and_costs_no_message() {
    for kind in Kind::all().filter(|kind| kind.reconnects()) {
        let hasty = |builder: ReaderBuilder| builder.idle_timeout(Duration::from_millis(20));
        let mut ends = Ends::with(kind, hasty, |builder| builder);
        // Some go out just as the reader closes.
        for round in 1..=10 {
            send_all(&ends.writer, &numbered(10));
            ends.readers_events.wait_for("Idle");
            wait_until("it was closed once more", || {
                ends.readers_events.count(|event| event.contains("Idle")) >= round
            });
        }
        finish(&ends.writer);
        assert_eq!(ends.writer.metrics().lost_with_unread, 0, "{kind:?}");
        ends.stop_reader();
        assert_eq!(ends.messages.len(), 100, "{kind:?}");
    }
}

#[test]
fn an_idle_stream_that_was_given_is_closed_without_a_loss_and_ends_its_writer() {
    for kind in Kind::given() {
        let hasty = |builder: ReaderBuilder| builder.idle_timeout(Duration::from_millis(20));
        let messages = numbered(10);
        let mut ends = Ends::over(kind, kind.pair(), hasty, |builder| builder, &messages);
        ends.readers_events.wait_for("cause: Idle");
        assert_ended(&ends.writer, &ends.events, false);
        assert_eq!(ends.writer.metrics().sent.messages, 10, "{kind:?}");
        assert_balanced(&ends.writer);
        ends.stop_reader();
        assert!(ends.messages.all() == messages, "{kind:?}");
    }
}

/// Waits until the writer of a stream that was given has ended with it, and looks what it tells.
#[track_caller]
fn assert_ended(writer: &Writer, events: &Notes<String>, unread: bool) {
    events.wait_for("Stopped");
    let all = events.all();
    let lost = all.iter().filter(|event| event.starts_with("Lost"));
    assert!(
        lost.count() == 1 && events.has("retry_in: None"),
        "{all:#?}"
    );
    if !unread || cfg!(target_os = "linux") {
        assert!(events.has(&format!("unread: {unread}")), "{all:#?}");
        assert_eq!(writer.metrics().lost_with_unread, u64::from(unread));
    }
    wait_until("it takes no more", || {
        matches!(writer.try_send("too late"), Err(SendError::Closed(())))
    });
    let report = writer.shutdown(PATIENCE).unwrap();
    assert!(!report.metrics.connected);
    assert_eq!(report.metrics.connects, 1);
    assert_eq!(report.metrics.queued.messages, 0);
    assert_eq!(report.metrics.observer_panics, 0);
}

#[test]
fn a_message_above_the_readers_limit_is_given_up_over_what_reconnects() {
    for kind in Kind::all().filter(|kind| kind.reconnects()) {
        for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
            let eager = |builder: WriterBuilder| {
                builder
                    .delivery(delivery)
                    .backoff_min(Duration::from_millis(1))
                    .backoff_max(Duration::from_millis(5))
            };
            let narrow = |builder: ReaderBuilder| builder.max_message_len(1_000_000);
            let mut ends = Ends::with(kind, narrow, eager);
            ends.writer.try_send("before").unwrap();
            // More than a socket takes at once.
            ends.writer.try_send(vec![b'.'; 9_000_000]).unwrap();
            ends.writer.try_send("after").unwrap();
            ends.events.wait_for("GivenUp");
            let _ = ends.writer.shutdown(PATIENCE).unwrap();
            ends.stop_reader();
            let texts = ends.messages.all();
            assert_eq!(texts.first().unwrap(), b"before", "{kind:?}");
            assert_eq!(texts.last().unwrap(), b"after", "{kind:?}");
            assert_eq!(ends.writer.metrics().failed.given_up.messages, 1);
        }
    }
}

#[test]
fn a_message_above_the_readers_limit_ends_a_stream_that_was_given() {
    for kind in Kind::given() {
        for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
            if delivery == Delivery::AtLeastOnce && !kind.has_answers() {
                continue;
            }
            let keep = |builder: WriterBuilder| builder.delivery(delivery);
            let narrow = |builder: ReaderBuilder| builder.max_message_len(1_000_000);
            // The second is more than any stream takes at once.
            let messages = [b"before".to_vec(), vec![b'.'; 9_000_000], b"after".to_vec()];
            let mut ends = Ends::over(kind, kind.pair(), narrow, keep, &messages);
            ends.readers_events.wait_for("cause: TooLarge");
            ends.events.wait_for("Stopped");
            let report = ends.writer.shutdown(PATIENCE).unwrap();
            let metrics = report.metrics;
            assert_eq!((metrics.connects, metrics.connected), (1, false));
            assert_eq!(metrics.failed.total().messages, 2, "{kind:?} {metrics:#?}");
            if delivery == Delivery::AtLeastOnce {
                // The reader has said which it is.
                assert_eq!(metrics.failed.given_up.messages, 1, "{kind:?}");
                assert!(ends.events.has("GivenUp"), "{kind:?}");
                assert_balanced_by_receipts(&ends.writer);
            } else {
                // It takes three connections to find that out, and there is but one.
                assert_eq!(metrics.failed.given_up.messages, 0, "{kind:?}");
                assert_balanced(&ends.writer);
            }
            assert!(ends.events.has("retry_in: None"), "{kind:?}");
            assert_eq!(metrics.observer_panics, 0);
            ends.stop_reader();
            assert_eq!(ends.messages.all(), [b"before"], "{kind:?}");
        }
    }
}

#[test]
fn a_reader_that_closes_without_reading_leaves_the_word_unread_over_each_kind_of_stream() {
    // A connector's are as those of `Tcp`, and hold more.
    for kind in Kind::all().filter(|kind| *kind != Kind::Connector) {
        let narrow = |builder: ReaderBuilder| builder.max_message_len(1_000);
        let patient =
            |builder: WriterBuilder| builder.send_buffer_size(4096).write_timeout(PATIENCE);
        // The reader takes both at once. What it closes for is there while it handles the first.
        let first = [b"block".to_vec(), vec![b'.'; 2_000]];
        let mut ends = Ends::over(kind, kind.narrow_pair(), narrow, patient, &first);
        ends.messages.wait_for_len(1);
        let rest: Vec<_> = (0..2_000)
            .map(|number| format!("{number:0900}").into_bytes())
            .collect();
        send_all(&ends.writer, &rest);
        // Over TCP far more than the writer's end holds: so it lies at the reader's.
        let enough = if kind.is_tcp() { 100_000 } else { 2_900 };
        wait_until("some lies there unread", || {
            ends.writer.metrics().sent.bytes > enough
        });
        ends.gate.open();
        ends.readers_events.wait_for("cause: TooLarge");
        ends.events.wait_for("Lost");
        if kind.reconnects() {
            finish(&ends.writer);
            assert!(!ends.events.has("retry_in: None"), "{kind:?}");
            if cfg!(target_os = "linux") {
                assert!(ends.events.has("unread: true"), "{kind:?}");
                assert_eq!(ends.writer.metrics().lost_with_unread, 1, "{kind:?}");
            }
        } else {
            assert_ended(&ends.writer, &ends.events, true);
            assert_balanced(&ends.writer);
        }
        ends.stop_reader();
        // What comes after the loss comes in order, and to the end.
        let received = ends.messages.all();
        let came = received.len() - 1;
        assert!(received[1..] == rest[rest.len() - came..], "{kind:?}");
        assert!(came < rest.len(), "{kind:?}: some was lost");
        assert_eq!(came > 0, kind.reconnects(), "{kind:?}");
    }
}

#[test]
fn what_a_given_stream_holds_is_lost_with_its_reader_and_the_writer_says_so() {
    for kind in Kind::given() {
        let message = vec![b'.'; 2_000];
        for unread in [true, false] {
            let (theirs, ours) = kind.pair();
            let events = Notes::new();
            let writer = Writer::over(ours)
                .on_event(events.observer::<WriterEvent>())
                .start()
                .unwrap();
            writer.try_send(message.clone()).unwrap();
            writer.flush(FlushLevel::Written, PATIENCE).unwrap();
            // With its first byte it is all there: it came in one piece.
            let len = if unread { 1 } else { frame(&message).len() };
            let mut peer = File::from(theirs);
            peer.read_exact(&mut vec![0; len]).unwrap();
            drop(peer);
            assert_ended(&writer, &events, unread);
            // Sent is not read.
            assert_eq!(writer.metrics().sent.messages, 1, "{kind:?}");
            assert_balanced(&writer);
        }
    }
}

#[test]
fn all_that_a_writer_counted_as_sent_when_it_was_shut_down_arrives_at_a_reader_that_is_late() {
    for kind in Kind::all() {
        let patient = |builder: WriterBuilder| {
            builder
                .write_timeout(PATIENCE)
                .tcp_user_timeout(2 * PATIENCE)
        };
        let first = [b"block".to_vec()];
        let mut ends = Ends::over(kind, kind.pair(), |builder| builder, patient, &first);
        ends.messages.wait_for_len(1);
        // More than a Unix socket and a pipe hold.
        let messages = mixed(30);
        send_all(&ends.writer, &messages);
        wait_until("some is sent", || ends.writer.metrics().sent.messages > 5);
        let report = ends.writer.shutdown(SHORT).unwrap();
        let sent = usize::try_from(report.metrics.sent.messages).unwrap();
        assert_eq!(sent, 31 - usize::try_from(report.left.messages).unwrap());
        assert!(sent < 31 || kind.is_tcp(), "{kind:?}: it holds too much");
        ends.gate.open();
        ends.messages.wait_for_len(sent);
        ends.stop_reader();
        assert!(ends.messages.all()[1..] == messages[..sent - 1], "{kind:?}");
    }
}

#[test]
fn over_tcp_and_pipes_too_a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout() {
    // Of pipes and the like there are several only with a connector.
    for kind in [Kind::Tcp, Kind::TcpPair, Kind::Pipe] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (sender, pairs) = mpsc::channel();
        let builder = if kind == Kind::Tcp {
            Writer::builder(format!("tcp:{}", listener.local_addr().unwrap()))
        } else {
            Writer::with_connector(move |_| {
                let (theirs, ours) = kind.narrow_pair();
                sender.send(theirs).map_err(io::Error::other)?;
                Ok(ours)
            })
        };
        let next_stream = || {
            if kind == Kind::Tcp {
                listener.accept().ok().map(|(stream, _)| stream.into())
            } else {
                pairs.try_recv().ok()
            }
        };
        let events = Notes::new();
        let writer = builder
            .send_buffer_size(4096)
            .write_timeout(SHORT)
            .on_event(events.observer::<WriterEvent>())
            .start()
            .unwrap();
        let message = vec![5; 2_000_000];
        writer.try_send(message.clone()).unwrap();
        // More often than it would take to give the message up, if our own timeout counted against
        // it. Each stream stays open, and nobody reads it.
        let mut stalled: Vec<OwnedFd> = Vec::new();
        wait_until("the writer loses patience", || {
            stalled.extend(next_stream());
            events.count(|event| event.contains("WriteTimeout")) >= 5
        });
        assert_eq!(writer.metrics().sent.messages, 0, "{kind:?}");
        let received = Notes::new();
        let notes = received.clone();
        let bound = Reader::without_listener().bind().unwrap();
        let reader = bound
            .start(move |message| notes.add(message.to_vec()))
            .unwrap();
        wait_until("it has come over one that is read", || {
            for stream in stalled.drain(..).chain(next_stream()) {
                reader.serve(stream).unwrap();
            }
            received.len() == 1
        });
        finish(&writer);
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0, "{kind:?}");
        // Half a message is never completed.
        assert!(received.all() == [message], "{kind:?}");
        assert!(!events.has("GivenUp"), "{kind:?}");
    }
}

#[test]
fn a_given_stream_whose_reader_takes_no_byte_is_waited_for() {
    let messages = mixed(30);
    let given: Vec<_> = Kind::given()
        .map(|kind| {
            let (theirs, ours) = kind.narrow_pair();
            let events = Notes::new();
            let writer = Writer::over(ours)
                .on_event(events.observer::<WriterEvent>())
                .start()
                .unwrap();
            send_all(&writer, &messages);
            wait_until("some is sent", || writer.metrics().sent.messages > 0);
            (kind, theirs, writer, events)
        })
        .collect();
    // Its time is not set either: it shows how that goes by.
    let mute = RawReader::new();
    let (clock, ticks) = writer_with(mute.path(), |builder| builder.send_buffer_size(4096));
    clock.try_send(vec![b'.'; 2_000_000]).unwrap();
    wait_until("the write timeout has passed several times", || {
        ticks.count(|event| event.contains("WriteTimeout")) >= 3
    });
    let _ = clock.shutdown(Duration::ZERO).unwrap();
    let received = Notes::new();
    let notes = received.clone();
    let bound = Reader::without_listener().bind().unwrap();
    let reader = bound
        .start(move |message| notes.add(message.to_vec()))
        .unwrap();
    for (round, (kind, theirs, writer, events)) in given.into_iter().enumerate() {
        let metrics = writer.metrics();
        assert!(!events.has("Lost"), "{kind:?}: {:#?}", events.all());
        assert!(metrics.connected && metrics.queued.messages > 0, "{kind:?}");
        reader.serve(theirs).unwrap();
        finish(&writer);
        received.wait_for_len((round + 1) * messages.len());
        assert!(received.all()[round * messages.len()..] == messages);
        assert_eq!(writer.metrics().connects, 1, "{kind:?}");
    }
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn a_reader_that_hangs_up_is_noticed_before_the_next_message() {
    for kind in Kind::all().filter(|kind| kind.reconnects()) {
        let mut ends = Ends::of(kind);
        let address = ends.reader().address().to_string();
        ends.writer.try_send("one").unwrap();
        ends.messages.wait_for_len(1);
        ends.stop_reader();
        ends.events.wait_for("Lost");
        ends.start_reader(&address);
        ends.writer.try_send("two").unwrap();
        finish(&ends.writer);
        ends.messages.wait_for_len(2);
        assert_eq!(ends.writer.metrics().lost_with_unread, 0, "{kind:?}");
    }
}

#[test]
fn an_idle_stream_of_each_kind_does_not_hold_a_stop_up() {
    for kind in Kind::all() {
        let mut ends = Ends::of(kind);
        wait_until("it is connected", || ends.writer.metrics().connected);
        ends.stop_reader();
        ends.events.wait_for("Lost");
        assert_eq!(ends.writer.metrics().lost_with_unread, 0, "{kind:?}");
    }
}

#[test]
fn what_is_no_stream_is_refused_in_words() {
    let reader = Reader::without_listener()
        .bind()
        .unwrap()
        .start(|_| ())
        .unwrap();
    let place = Place::new();
    let file = || File::create(place.path("file")).unwrap();
    let datagram = || std::os::unix::net::UnixDatagram::unbound().unwrap();
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    for (given, word) in [
        (OwnedFd::from(file()), "a regular file"),
        (datagram().into(), "a datagram socket"),
        (listener().into(), "a socket that listens"),
    ] {
        let refused = reader.serve(given.try_clone().unwrap()).unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
        assert!(matches!(refused, ServeError::NotAStream { .. }));
        let refused = Writer::over(given).start().unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
    }
    assert_eq!(reader.metrics().open, 0);
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    let refused = reader.serve(UnixStream::pair().unwrap().0).unwrap_err();
    assert!(matches!(refused, ServeError::Stopped));
}

#[test]
fn streams_that_are_given_count_against_the_limits() {
    let bound = Reader::without_listener()
        .max_connections(2)
        .bind()
        .unwrap();
    let reader = bound.start(|_| ()).unwrap();
    let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
    let mut served = pairs
        .iter()
        .map(|(theirs, _)| reader.serve(theirs.try_clone().unwrap()));
    assert_eq!(served.next().unwrap().unwrap(), 1);
    assert_eq!(served.next().unwrap().unwrap(), 2);
    let refused = served.next().unwrap().unwrap_err();
    assert!(
        matches!(refused, ServeError::TooMany { limit: 2, .. }),
        "{refused}"
    );
    assert_eq!(reader.metrics().open, 2);
}

#[test]
fn tcp_leads_to_this_machine_unless_more_is_allowed() {
    let refused = Reader::builder("tcp:0.0.0.0:0").bind().unwrap_err();
    assert!(
        refused.to_string().contains("0.0.0.0 can be reached"),
        "{refused}"
    );
    let open = Reader::builder("tcp:0.0.0.0:0")
        .allow_remote(true)
        .bind()
        .unwrap();
    assert_ne!(open.address().port(), Some(0), "{}", open.address());
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = Reader::builder("tcp:127.0.0.1:0")
        .listen_on(listener)
        .unwrap_err();
    assert!(refused.to_string().contains("allow_remote"), "{refused}");
    let refused = Writer::start("tcp:127.0.0.1:0").unwrap_err();
    assert!(refused.to_string().contains("is 0: write"), "{refused}");
    // From the documentation's addresses: nothing is sent there.
    let refused = Writer::start("tcp:192.0.2.1:9").unwrap_err();
    assert!(
        refused.to_string().contains("is no loopback address"),
        "{refused}"
    );
}

#[test]
fn a_name_is_looked_up_anew_for_each_connection() {
    let mut ends = Ends::of(Kind::Tcp);
    let port = ends.reader().address().port().unwrap();
    let writer = Writer::start(format!("tcp:localhost:{port}")).unwrap();
    writer.try_send("one").unwrap();
    ends.messages.wait_for_len(1);
    let address = ends.reader().address().to_string();
    ends.stop_reader();
    ends.start_reader(&address);
    writer.try_send("two").unwrap();
    ends.messages.wait_for_len(2);
    finish(&writer);
    assert!(writer.metrics().connects >= 2);
}

#[test]
fn a_tcp_peer_that_knows_nothing_of_stops_does_not_hold_one_up() {
    let mut ends = Ends::of(Kind::Tcp);
    let mut silent = ends.stranger();
    silent.write_all(b"\x05hello\x05hal").unwrap();
    ends.messages.wait_for_len(1);
    ends.stop_reader();
    // It was told as well as TCP can tell.
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_tcp_peer_that_goes_on_after_the_word_that_the_reader_stops_is_told_by_the_end() {
    let mut ends = Ends::of(Kind::Tcp);
    let mut peer = ends.stranger();
    peer.write_all(b"\x80\x00\x01a").unwrap();
    ends.messages.wait_for_len(1);
    let is_told = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut reading = peer.try_clone().unwrap();
        let is_told = &is_told;
        scope.spawn(move || {
            let mut said = Vec::new();
            // It may be reset by then.
            let _ = reading.read_to_end(&mut said);
            is_told.store(true, Ordering::Relaxed);
            assert!(said.ends_with(&[0x80, 0x00]), "{said:x?}");
        });
        scope.spawn(move || {
            // It knows receipts, and no word of a stop. The sleep is its pace: nothing waits for
            // it.
            while !is_told.load(Ordering::Relaxed) {
                let _ = peer.write_all(b"\x01b\x00");
                thread::sleep(SHORT);
            }
        });
        ends.stop_reader();
    });
}

#[test]
fn a_backlog_that_is_full_ends_a_try_to_connect_over_tcp_in_time() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // They fill it; what comes next gets no answer.
    let waiting: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, SHORT))
        .collect();
    assert!(
        waiting.iter().any(Result::is_err),
        "the backlog is not full"
    );
    let events = Notes::new();
    let writer = Writer::builder(format!("tcp:{address}"))
        .connect_timeout(Duration::from_millis(50))
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
    writer.try_send("kept").unwrap();
    events.wait_for("TimedOut");
    // A try that is under way does not hold a shutdown up.
    let report = writer.shutdown(Duration::ZERO).unwrap();
    assert_eq!(report.left.messages, 1);
}

#[test]
fn a_peer_that_asks_after_it_was_told_of_the_end_does_not_hold_a_stop_up() {
    let mut ends = Ends::of(Kind::Tcp);
    let mut peer = ends.stranger();
    peer.write_all(b"\x05hello").unwrap();
    ends.messages.wait_for_len(1);
    let told = thread::spawn(move || {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        peer.write_all(&[0]).unwrap();
        // It stays open.
        peer
    });
    ends.stop_reader();
    drop(told.join().unwrap());
}

#[test]
fn a_peer_that_leaves_its_receipts_unread_does_not_hold_a_stop_up() {
    let (theirs, ours) = Kind::TcpPair.pair();
    let theirs = socket2::Socket::from(theirs);
    theirs.set_send_buffer_size(4096).unwrap();
    let mut peer = TcpStream::from(ours);
    socket2::SockRef::from(&peer)
        .set_recv_buffer_size(4096)
        .unwrap();
    let bound = Reader::without_listener().bind().unwrap();
    let reader = bound.start(|_| ()).unwrap();
    reader.serve(theirs).unwrap();
    // As many questions as it takes: then nothing is answered any more.
    peer.set_write_timeout(Some(SHORT)).unwrap();
    for _ in 0..200_000 {
        if peer.write_all(&[0]).is_err() {
            break;
        }
    }
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn over_tcp_the_end_of_a_writer_waits_for_an_answer_that_is_on_its_way() {
    let (theirs, ours) = Kind::TcpPair.pair();
    let theirs = socket2::Socket::from(theirs);
    theirs.set_recv_buffer_size(16_384).unwrap();
    let (received, gate) = (Notes::new(), Gate::new());
    let (notes, passed) = (received.clone(), gate.clone());
    let bound = Reader::without_listener().bind().unwrap();
    let reader = bound
        .start(move |message| {
            passed.pass();
            notes.add(message.len());
        })
        .unwrap();
    reader.serve(theirs).unwrap();
    let writer = Writer::over(ours).start().unwrap();
    writer.try_send("first").unwrap();
    // The question stands behind the first, and is answered before the rest.
    assert!(writer.flush(FlushLevel::Handled, SHORT).is_err());
    for _ in 0..1_000 {
        writer.send_timeout(&[b'.'; 1_000], PATIENCE).unwrap();
    }
    let flushing = writer.clone();
    let opening = thread::spawn(move || {
        let _ = flushing.flush(FlushLevel::Written, SHORT);
        gate.open();
    });
    finish(&writer);
    opening.join().unwrap();
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
    let sent = usize::try_from(writer.metrics().sent.messages).unwrap();
    assert_eq!(received.len(), sent);
}

#[test]
fn a_stream_that_is_refused_ends_its_writer() {
    let (_theirs, ours) = UnixStream::pair().unwrap();
    let events = Notes::new();
    let writer = Writer::over(ours)
        .expect_peer_uid(4_242)
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
    events.wait_for("WrongPeer");
    events.wait_for("Stopped");
    assert!(writer.try_send("too late").is_err());
    let _ = writer.shutdown(PATIENCE).unwrap();
}

#[test]
fn batches_that_are_confirmed_during_a_stop_do_not_come_again_over_tcp() {
    for stops_during_turn in [false, true] {
        let (turns, gate) = (Notes::new(), Gate::new());
        let (in_turn, go_on) = (turns.clone(), gate.clone());
        let bound = Reader::builder("tcp:127.0.0.1:0")
            .on_event(move |event| {
                if matches!(event, ReaderEvent::Opened { peer, .. } if peer.connection == 1) {
                    turns.add(());
                    gate.pass();
                }
            })
            .bind()
            .unwrap();
        let (reader, batches) = bound.start_batches().unwrap();
        let port = reader.address().port().unwrap();
        // A writer with `AtLeastOnce`, that sends a message and asks for a receipt.
        let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        peer.write_all(b"\x80\x00\x01a\x00").unwrap();
        in_turn.wait_for_len(1);
        let batch = (!stops_during_turn).then(|| {
            go_on.open();
            batches.recv().unwrap()
        });
        let stop = thread::spawn(move || reader.shutdown(PATIENCE).unwrap());
        wait_until("nobody listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
        });
        let batch = batch.unwrap_or_else(|| {
            go_on.open();
            batches.recv().unwrap()
        });
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = [0; 3];
        peer.read_exact(&mut said).unwrap();
        assert_eq!(said, [0x80, 0x80, 0x00], "none is stored, and it stops");
        // What it had begun to write.
        peer.write_all(b"\x01b").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let second = batches.recv().unwrap();
        second.done();
        batch.done();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        assert!(
            said.ends_with(&[0x82, 0x80, 0x00]),
            "all is stored: {said:x?}"
        );
        assert_eq!(stop.join().unwrap().cut, 0);
    }
}

#[test]
fn times_beyond_the_kernels_bounds_are_as_long_as_it_can() {
    let ends = Ends::with(
        Kind::Tcp,
        |builder| builder,
        |builder| {
            builder
                .tcp_keepalive(Duration::MAX)
                .tcp_user_timeout(Duration::MAX)
        },
    );
    ends.writer.try_send("hello").unwrap();
    ends.messages.wait_for_len(1);
    finish(&ends.writer);
}

#[test]
fn a_descriptor_is_taken_by_its_number_once_and_not_by_a_try_that_fails() {
    use std::os::fd::IntoRawFd;

    let (read, write) = Kind::Pipe.pair();
    let address = format!("fd:{}", write.into_raw_fd());
    let refused = Writer::builder(&address)
        .delivery(Delivery::AtLeastOnce)
        .start()
        .unwrap_err();
    assert!(refused.to_string().contains("no way back"), "{refused}");
    let writer = Writer::start(&address).unwrap();
    let refused = Writer::start(&address).unwrap_err();
    assert!(
        refused.to_string().contains("in use by another"),
        "{refused}"
    );

    let address = format!("fd:{}", read.into_raw_fd());
    let received = Notes::new();
    let notes = received.clone();
    let bound = Reader::builder(&address).bind().unwrap();
    let _reader = bound
        .start(move |message| notes.add(message.to_vec()))
        .unwrap();
    writer.try_send("by number").unwrap();
    received.wait_for_len(1);
    let closed = Reader::builder("fd:1000000").bind().unwrap_err();
    assert!(closed.to_string().contains("not open"), "{closed}");
}

#[test]
fn the_wrong_end_of_a_pipe_is_refused_in_words() {
    let (read, write) = Kind::Pipe.pair();
    let bound = Reader::without_listener().bind().unwrap();
    let reader = bound.start(|_| ()).unwrap();
    let refused = reader.serve(write).unwrap_err();
    assert!(refused.to_string().contains("to write to"), "{refused}");
    let refused = Writer::over(read).start().unwrap_err();
    assert!(refused.to_string().contains("to read from"), "{refused}");
}

/// The page on streams says why an address cannot name a FIFO: this is what the kernel does.
mod fifo {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::path::PathBuf;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use uds_ipc::event::WriterEvent;
    use uds_ipc::{Reader, Writer};

    use crate::support::{Notes, PATIENCE, Place, SHORT, finish, frame, unframe, wait_until};

    /// Far more than the kernel keeps together, and than a pipe holds.
    const LONG: usize = 300_000;

    fn fifo(place: &Place) -> PathBuf {
        let path = place.path("fifo");
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        path
    }

    /// To read and write, so that opening waits for nobody.
    fn open(path: &PathBuf) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }

    /// Whether the frames of two writers came torn.
    fn mixes() -> bool {
        let place = Place::new();
        let path = fifo(&place);
        let mut reader = open(&path);
        let send = |letter: u8| {
            let (mut writer, message) = (open(&path), vec![letter; LONG]);
            std::thread::spawn(move || writer.write_all(&frame(&message)).unwrap())
        };
        let senders = [send(b'a'), send(b'b')];
        let mut bytes = vec![0; 2 * frame(&vec![0; LONG]).len()];
        reader.read_exact(&mut bytes).unwrap();
        for sender in senders {
            sender.join().unwrap();
        }
        let (messages, _) = unframe(&bytes);
        let is_whole = |message: &Vec<u8>| message.iter().all(|byte| *byte == message[0]);
        messages.len() != 2 || !messages.iter().all(is_whole)
    }

    /// Now and then they come whole: the kernel promises nothing beyond 4096 bytes (pipe(7)).
    #[test]
    fn two_writers_of_a_fifo_mix_their_long_frames() {
        wait_until("some are mixed", mixes);
    }

    #[test]
    fn the_next_reader_of_a_fifo_begins_in_the_middle_of_a_frame() {
        let place = Place::new();
        let path = fifo(&place);
        let mut first = open(&path);
        let mut writer = open(&path);
        writer.write_all(&frame(b"a message")).unwrap();
        let mut part = [0; 4];
        first.read_exact(&mut part).unwrap();
        drop(first);
        let mut next = open(&path);
        let mut rest = vec![0; frame(b"a message").len() - part.len()];
        next.read_exact(&mut rest).unwrap();
        assert_eq!(rest, b"essage", "no length stands before it");
    }

    #[test]
    fn over_a_fifo_a_connector_sends_to_a_reader_that_is_given_its_other_end() {
        let place = Place::new();
        let path = fifo(&place);
        let received = Notes::new();
        let notes = received.clone();
        let reader = Reader::without_listener()
            .bind()
            .unwrap()
            .start(move |message| notes.add(message.to_vec()))
            .unwrap();
        // With the writing side open in the reader too, it never comes to an end: it survives its
        // writers.
        reader.serve(open(&path)).unwrap();
        let locked = || {
            let path = path.clone();
            Writer::with_connector(move |_| {
                // One writer at a time: the lock ends with its descriptor.
                let file = OpenOptions::new().write(true).open(&path)?;
                file.try_lock().map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(file)
            })
        };
        for round in 0..3 {
            // It asks for a receipt, which the reader must not write into its own pipe.
            let writer = locked().keepalive(SHORT).start().unwrap();
            writer.try_send(format!("round {round}")).unwrap();
            let writes = writer.metrics().writes;
            wait_until("it has asked", || writer.metrics().writes > writes + 1);
            // A second one is kept out for as long as there is a first.
            let events = Notes::new();
            let second = locked()
                .on_event(events.observer::<WriterEvent>())
                .start()
                .unwrap();
            second.try_send(format!("after round {round}")).unwrap();
            events.wait_for("ConnectFailed");
            assert!(!events.has("Connected"), "{:#?}", events.all());
            assert_eq!(second.metrics().queued.messages, 1);
            writer.try_send(format!("end of round {round}")).unwrap();
            finish(&writer);
            finish(&second);
        }
        received.wait_for_len(9);
        assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
        let order = (0..3).flat_map(|round| {
            ["", "end of ", "after "].map(|when| format!("{when}round {round}").into_bytes())
        });
        assert!(received.all().into_iter().eq(order));
    }
}

/// What a connector does, and what it is told.
mod connector {
    use std::fs::File;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use uds_ipc::event::WriterEvent;
    use uds_ipc::{Connector, Writer};

    use crate::support::{
        Collector, Gate, Notes, PATIENCE, Place, SHORT, assert_balanced, finish, returns,
    };

    /// Does what `troubled` says, once for each number that it knows, and connects after that.
    fn connects_after(
        place: &Place,
        mut troubled: impl FnMut(usize) -> Option<io::Result<OwnedFd>> + Send + 'static,
    ) -> impl Connector {
        let path = place.socket();
        let mut tries = 0;
        move |_: Duration| {
            tries += 1;
            troubled(tries).unwrap_or_else(|| Ok(UnixStream::connect(&path)?.into()))
        }
    }

    #[test]
    fn a_panic_in_a_connector_is_told_and_it_is_called_again() {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let events = Notes::new();
        let connect = connects_after(&place, |tries| {
            assert_ne!(tries, 1, "the connector says so");
            None
        });
        let writer = Writer::with_connector(connect)
            .on_event(events.observer::<WriterEvent>())
            .start()
            .unwrap();
        writer.try_send("one").unwrap();
        assert_eq!(collector.wait_for(1), [b"one"]);
        let failed = events.all();
        let failed: Vec<_> = failed
            .iter()
            .filter(|event| event.starts_with("ConnectFailed"))
            .collect();
        assert!(
            failed.len() == 1
                && failed[0].contains("it panicked: ")
                && failed[0].contains("the connector says so")
                && failed[0].contains("retry_in: Some"),
            "{failed:#?}"
        );
        finish(&writer);
        assert_eq!(writer.metrics().observer_panics, 0);
        assert_eq!(writer.metrics().connects, 1);
    }

    #[test]
    fn what_a_connector_fails_for_is_told_and_the_waits_between_its_tries_grow() {
        const TRIES: usize = 6;
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let file = place.path("file");
        let connect = connects_after(&place, move |tries| match tries {
            // Another cause each time: the same is told once.
            ..TRIES => Some(Err(io::Error::other(format!("there is no way {tries}")))),
            TRIES => Some(File::create(&file).map(OwnedFd::from)),
            _ => None,
        });
        let failed = Notes::new();
        let notes = failed.clone();
        let writer = Writer::with_connector(connect)
            .backoff_min(Duration::from_millis(4))
            .backoff_max(Duration::from_millis(32))
            .on_event(move |event| {
                if let WriterEvent::ConnectFailed {
                    cause, retry_in, ..
                } = event
                {
                    notes.add((cause.to_string(), format!("{cause:?}"), retry_in.unwrap()));
                }
            })
            .start()
            .unwrap();
        writer.try_send("one").unwrap();
        assert_eq!(collector.wait_for(1), [b"one"]);
        finish(&writer);
        let failed = failed.all();
        assert_eq!(failed.len(), TRIES, "{failed:#?}");
        for (number, (full, (_, cause, wait))) in
            (1..).zip([4, 8, 16, 32, 32, 32].into_iter().zip(&failed))
        {
            let word = if number < TRIES {
                format!("there is no way {number}")
            } else {
                "what the connector gave is a regular file".to_owned()
            };
            assert!(cause.contains(&word), "{cause}");
            let full = Duration::from_millis(full);
            assert!(
                (full * 3 / 4..=full).contains(wait),
                "wait {number} is {wait:?}"
            );
        }
    }

    #[test]
    fn the_same_trouble_of_a_connector_is_told_once() {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let events = Notes::new();
        let connect = connects_after(&place, |tries| {
            (tries <= 5).then(|| Err(io::Error::other("there is no way")))
        });
        let writer = Writer::with_connector(connect)
            .backoff_max(Duration::from_millis(10))
            .on_event(events.observer::<WriterEvent>())
            .start()
            .unwrap();
        writer.try_send("one").unwrap();
        assert_eq!(collector.wait_for(1), [b"one"]);
        finish(&writer);
        let failed = events.count(|event| event.starts_with("ConnectFailed"));
        assert_eq!(failed, 1, "{:#?}", events.all());
    }

    #[test]
    fn a_connector_is_handed_the_connect_timeout_each_time() {
        let timeout = Duration::from_millis(12_345);
        for set in [Some(timeout), None] {
            let place = Place::new();
            let collector = Collector::start(&place.socket());
            let (handed, path) = (Notes::new(), place.socket());
            let notes = handed.clone();
            let mut builder = Writer::with_connector(move |timeout| {
                notes.add(timeout);
                if notes.len() == 1 {
                    return Err(io::Error::other("not yet"));
                }
                UnixStream::connect(&path)
            });
            if let Some(timeout) = set {
                builder = builder.connect_timeout(timeout);
            }
            let writer = builder.start().unwrap();
            writer.try_send("one").unwrap();
            collector.wait_for(1);
            finish(&writer);
            let expected = set.unwrap_or(Duration::from_secs(1));
            assert_eq!(handed.all(), [expected; 2]);
        }
    }

    #[test]
    fn a_shutdown_while_a_connector_blocks_returns_at_its_timeout() {
        let (calls, gate, events) = (Notes::new(), Gate::new(), Notes::new());
        let (notes, passed) = (calls.clone(), gate.clone());
        let writer = Writer::with_connector(move |_| {
            notes.add(());
            passed.pass();
            Ok(UnixStream::pair()?.0)
        })
        .on_event(events.observer::<WriterEvent>())
        .start()
        .unwrap();
        writer.try_send("left").unwrap();
        calls.wait_for_len(1);
        let ending = writer.clone();
        let report = returns("the shutdown", move || ending.shutdown(SHORT).unwrap());
        assert_eq!(report.left.messages, 1);
        assert_balanced(&writer);
        assert!(!events.has("Stopped"), "its thread is in the connector");
        assert!(writer.try_send("too late").is_err());
        gate.open();
        // It writes nothing over what comes too late.
        events.wait_for("Stopped");
        assert_eq!(calls.len(), 1);
        assert_eq!(writer.metrics().sent.messages, 0);
        assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 1);
    }
}
