//! Connections: how they are made, how their loss is noticed, how long is waited for the next.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use uds_ipc::{Delivery, FlushLevel, SendError, Writer};

use crate::support::{
    Collector, Notes, PATIENCE, Place, RawReader, SHORT, finish, finish_either, is_closed,
    numbered, read_messages, read_to_end, wait_until, writer, writer_with,
};

#[test]
fn messages_sent_before_the_first_connection_arrive() {
    let place = Place::new();
    let (writer, events) = writer(&place.socket());
    writer.try_send("early").unwrap();
    events.wait_for("ConnectFailed");
    assert!(!writer.is_connected());
    let collector = Collector::start(&place.socket());
    finish(&writer);
    assert_eq!(collector.stop(), [b"early"]);
}

#[test]
fn without_a_reader_what_fits_is_kept_and_the_rest_is_refused() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let place = Place::new();
        let collector = Collector::start(&place.socket());
        let (writer, events) = writer_with(&place.socket(), |builder| {
            builder
                .delivery(delivery)
                .max_queued_messages(100)
                .backoff_max(SHORT)
        });
        let messages = numbered(131);
        writer.try_send(&messages[0]).unwrap();
        writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
        assert_eq!(collector.stop(), messages[..1]);
        events.wait_for("ConnectFailed");

        let (kept, refused) = messages[1..].split_at(100);
        for message in kept {
            writer.try_send(message).unwrap();
        }
        for message in refused {
            assert_eq!(writer.try_send(message), Err(SendError::Full(())));
        }
        let metrics = writer.metrics();
        assert_eq!(
            (metrics.accepted.messages, metrics.queued.messages),
            (101, 100)
        );
        assert_eq!(
            (metrics.dropped.full.messages, metrics.dropped.total()),
            (30, metrics.dropped.full)
        );
        let collector = Collector::start(&place.socket());
        finish_either(&writer, delivery);
        assert_eq!(collector.stop(), kept);
        assert_eq!(
            (
                writer.metrics().sent.messages,
                writer.metrics().resent.messages
            ),
            (101, 0)
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_starts_is_found_before_the_wait_for_the_next_try_is_over() {
    const HOUR: Duration = Duration::from_secs(3600);
    let place = Place::new();
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder.backoff_min(HOUR).backoff_max(HOUR)
    });
    writer.try_send("early").unwrap();
    events.wait_for("ConnectFailed");
    let collector = Collector::start(&place.socket());
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(collector.stop(), [b"early"]);
    finish(&writer);
}

#[test]
fn a_failed_connect_is_told_once_and_again_when_the_cause_changes() {
    let place = Place::new();
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder
            .backoff_min(Duration::from_millis(1))
            .backoff_max(Duration::from_millis(2))
    });
    events.wait_for("NotFound");
    drop(UnixListener::bind(place.socket()).unwrap());
    events.wait_for("ConnectionRefused");
    let collector = Collector::start(&place.socket());
    events.wait_for("Connected");
    assert_eq!(
        events
            .all()
            .iter()
            .map(|event| event.split(' ').next().unwrap().to_owned())
            .filter(|event| event != "NotCrashProof")
            .collect::<Vec<_>>(),
        ["Connecting", "ConnectFailed", "ConnectFailed", "Connected"]
    );
    finish(&writer);
    collector.stop();
}

#[test]
fn a_peer_that_goes_away_while_idle_is_noticed_before_the_next_message() {
    let raw = RawReader::new();
    let (writer, events) = writer(raw.path());
    let stream = raw.accept();
    wait_until("the writer knows", || writer.is_connected());
    drop(stream);
    events.wait_for("Lost");
    let mut stream = raw.accept();
    writer.try_send("not into the void").unwrap();
    assert_eq!(read_messages(&mut stream, 1), [b"not into the void"]);
    finish(&writer);
}

#[test]
fn backoff_grows_on_every_loss_of_a_short_connection() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let waits = Notes::new();
    let notes = waits.clone();
    let writer = Writer::builder(place.socket())
        .backoff_min(Duration::from_millis(30))
        .backoff_max(Duration::from_millis(300))
        .on_event(move |event| {
            if let uds_ipc::event::WriterEvent::Lost { retry_in, .. } = event {
                notes.add(retry_in.unwrap());
            }
        })
        .start()
        .unwrap();
    for round in 1..=7 {
        // Accepts and hangs up, as a reader does that refuses the peer.
        drop(raw.accept());
        waits.wait_for_len(round);
    }
    let waits = waits.all();
    assert_eq!(waits[0], Duration::from_millis(30));
    assert!(
        waits[1..4]
            .iter()
            .zip(&waits)
            .all(|(later, earlier)| later > earlier),
        "{waits:?}"
    );
    assert!(
        waits[6] >= Duration::from_millis(225) && waits[6] <= Duration::from_millis(300),
        "{waits:?}"
    );
    let _ = writer.shutdown(SHORT).unwrap();
}

#[test]
fn one_message_above_the_readers_limit_does_not_make_a_storm_of_connections() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| builder.max_message_len(10));
    let (writer, _) = writer(&place.socket());
    for number in 0..100 {
        writer
            .try_send(format!("message {number} is too long"))
            .unwrap();
    }
    writer.try_send("short").unwrap();
    collector.wait_for(0);
    let _ = writer.shutdown(Duration::from_millis(300)).unwrap();
    assert!(writer.metrics().connects < 20, "{:?}", writer.metrics());
    collector.stop();
}

#[test]
fn a_full_backlog_is_a_reader_that_lives() {
    let place = Place::new();
    let listener = socket2_listener(&place, 0);
    let mut others = Vec::new();
    // Until the kernel lets no more wait.
    loop {
        let other =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        other.set_nonblocking(true).unwrap();
        if other
            .connect(&socket2::SockAddr::unix(place.socket()).unwrap())
            .is_err()
        {
            break;
        }
        others.push(other);
    }
    let (writer, events) = writer_with(&place.socket(), |builder| builder.connect_timeout(SHORT));
    writer.try_send("patience").unwrap();
    events.wait_for("BacklogFull");
    drop(others);
    let mut received = None;
    wait_until("the writer's connection comes through", || {
        if let Ok((stream, _)) = listener.accept() {
            let mut stream = std::os::unix::net::UnixStream::from(stream);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nonblocking(false).unwrap();
            received = std::io::Read::read(&mut stream, &mut [0; 100])
                .ok()
                .filter(|len| *len > 0);
        }
        received.is_some()
    });
    assert_eq!(received, Some(9));
    finish(&writer);
}

fn socket2_listener(place: &Place, backlog: i32) -> socket2::Socket {
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&socket2::SockAddr::unix(place.socket()).unwrap())
        .unwrap();
    listener.listen(backlog).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn a_reader_of_another_user_gets_no_byte_where_one_is_expected() {
    let place = Place::new();
    let raw = RawReader::bind(&place.socket());
    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.socket()).unwrap());
    let (writer, events) = writer_with(&place.socket(), |builder| builder.expect_peer_uid(me + 1));
    writer.try_send("secret").unwrap();
    events.wait_for("WrongPeer");
    assert!(read_to_end(&mut raw.accept()).is_empty());
    assert_eq!(writer.metrics().connects, 0);
    let _ = writer.shutdown(Duration::ZERO).unwrap();

    let (writer, _) = writer_with(&place.socket(), |builder| builder.expect_peer_uid(me));
    writer.try_send("known").unwrap();
    loop {
        // Tries of the first writer may still wait here.
        if read_to_end_of_one(&raw) == b"\x05known" {
            break;
        }
    }
    finish(&writer);
}

fn read_to_end_of_one(raw: &RawReader) -> Vec<u8> {
    let mut buffer = [0; 100];
    let len = std::io::Read::read(&mut raw.accept(), &mut buffer).unwrap_or(0);
    buffer[..len].to_vec()
}

#[test]
fn an_idle_connection_is_kept_alive_by_empty_frames_on_request() {
    let place = Place::new();
    let collector = Collector::start_with(&place.socket(), |builder| {
        builder.idle_timeout(Duration::from_secs(1))
    });
    let (kept, kept_events) = writer_with(&place.socket(), |builder| {
        builder.keepalive(Duration::from_millis(20))
    });
    let (idle, idle_events) = writer(&place.socket());
    kept_events.wait_for("Connected");
    idle_events.wait_for("Lost");
    assert_eq!(kept_events.count(|event| event.starts_with("Lost")), 0);
    kept.try_send("still the same connection").unwrap();
    finish(&kept);
    assert_eq!(kept.metrics().connects, 1);
    assert_eq!(
        kept.metrics().sent.messages,
        1,
        "an empty frame is no message"
    );
    finish(&idle);
    assert_eq!(collector.stop().len(), 1);
}

#[test]
fn a_reader_that_only_listens_and_ends_its_own_sending_side_is_kept() {
    let raw = RawReader::new();
    let (writer, events) = writer(raw.path());
    let mut stream = raw.accept();
    // Its right: frames go one way only.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for message in ["one", "two"] {
        writer.try_send(message).unwrap();
        assert_eq!(read_messages(&mut stream, 1), [message.as_bytes()]);
    }
    assert_eq!(events.count(|event| event.starts_with("Lost")), 0);
    finish(&writer);
    assert!(is_closed(&mut stream));
}

#[test]
fn a_reader_that_comes_back_at_another_file_is_found() {
    let place = Place::new();
    let (writer, events) = writer_with(&place.socket(), |builder| {
        builder.backoff_min(Duration::from_millis(1))
    });
    for round in 1..=3 {
        let raw = RawReader::bind(&place.socket());
        let mut stream = raw.accept();
        wait_until("it is told", || {
            events.count(|event| event.starts_with("Connected")) == round
        });
        writer.try_send(format!("round {round}")).unwrap();
        assert_eq!(
            read_messages(&mut stream, 1),
            [format!("round {round}").into_bytes()]
        );
        std::fs::remove_file(place.socket()).unwrap();
    }
    finish(&writer);
}
