//! Sockets that a reader is given and does not make: what it may do with them, and what it must
//! leave alone.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use uds_ipc::error::DescriptorKind;
use uds_ipc::error::{AddressError, BindError};
use uds_ipc::event::ReaderEvent;
use uds_ipc::{BoundReader, Reader, ReaderBuilder};

use crate::support::{
    Collector, Notes, PATIENCE, Place, connect, frame, is_closed, returns, send_and_close,
};

/// A reader on a copy of `listener`: the test keeps the socket, as a service manager would.
fn start(listener: &UnixListener, set: impl FnOnce(ReaderBuilder) -> ReaderBuilder) -> Collector {
    let (messages, events) = (Notes::new(), Notes::new());
    let builder = Reader::builder("@not-looked-at").on_event(events.observer::<ReaderEvent>());
    let bound = set(builder)
        .listen_on(listener.try_clone().unwrap())
        .unwrap();
    let notes = messages.clone();
    let reader = bound.start(move |message| {
        notes.add(message.to_vec());
    });
    Collector {
        reader: reader.unwrap(),
        messages,
        events,
    }
}

fn start_plainly(listener: &UnixListener) -> Collector {
    start(listener, |builder| builder)
}

fn listen_on(socket: impl Into<OwnedFd>) -> Result<BoundReader, BindError> {
    Reader::builder("@not-looked-at").listen_on(socket)
}

#[test]
fn a_given_socket_is_served_under_its_own_address() {
    let place = Place::new();
    let collector = start_plainly(&UnixListener::bind(place.socket()).unwrap());
    assert_eq!(
        collector.reader.address().path(),
        Some(place.socket().as_path())
    );
    send_and_close(&place.socket(), &frame(b"hello"));
    collector.messages.wait_for_len(1);
    let report = collector.reader.shutdown(PATIENCE).unwrap();
    assert_eq!((report.cut, report.metrics.received.messages), (0, 1));
    assert!(
        !collector.events.has("Displaced"),
        "{:?}",
        collector.events.all()
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_given_abstract_socket_has_its_name_for_an_address() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let place = Place::new();
    let name = place.socket().to_str().unwrap().to_owned();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let collector = start_plainly(&UnixListener::bind_addr(&address).unwrap());
    assert_eq!(collector.reader.address().to_string(), format!("@{name}"));
    let mut peer = UnixStream::connect_addr(&address).unwrap();
    peer.write_all(&frame(b"hello")).unwrap();
    collector.messages.wait_for_len(1);
    let _ = collector.reader.shutdown(PATIENCE).unwrap();
}

#[test]
fn the_file_of_a_given_socket_stays_as_it_was() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    fs::set_permissions(place.socket(), Permissions::from_mode(0o606)).unwrap();
    let before = fs::symlink_metadata(place.socket()).unwrap();
    // One that was never started, one that is stopped, one that is dropped.
    drop(listen_on(listener.try_clone().unwrap()).unwrap());
    let collector = start(&listener, |builder| builder.socket_mode(0o660));
    let _ = collector.reader.shutdown(PATIENCE).unwrap();
    drop(start_plainly(&listener));
    let after = fs::symlink_metadata(place.socket()).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert_eq!(place.files(), ["s"], "and there is nothing else");
}

#[test]
fn who_comes_after_a_stop_is_served_by_the_next_reader() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    for round in 0..3 {
        let first = start_plainly(&listener);
        send_and_close(&place.socket(), &frame(b"first"));
        first.messages.wait_for_len(1);
        let _ = first.reader.shutdown(PATIENCE).unwrap();
        // Nobody is there: one that has sent and gone, and one that stays.
        send_and_close(&place.socket(), &frame(b"sent and gone"));
        let mut peer = connect(&place.socket());
        peer.write_all(&frame(b"waits")).unwrap();
        let next = start_plainly(&listener);
        next.messages.wait_for_len(2);
        peer.write_all(&frame(b"goes on")).unwrap();
        next.messages.wait_for_len(3);
        let report = next.reader.shutdown(PATIENCE).unwrap();
        assert_eq!(
            (report.cut, report.metrics.received.messages),
            (0, 3),
            "round {round}"
        );
        assert_eq!(
            first.messages.all(),
            [b"first"],
            "the first has no part in it"
        );
    }
}

/// Those who wait in the backlog of a socket that goes on are left for the next, not cut off with
/// those who are here.
#[test]
fn a_stop_leaves_those_who_wait_to_the_next_reader() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let first = start(&listener, |builder| builder.max_connections(1));
    let mut here = connect(&place.socket());
    here.write_all(&frame(b"here")).unwrap();
    first.messages.wait_for_len(1);
    let mut waiting: Vec<_> = (0..3).map(|_| connect(&place.socket())).collect();
    for peer in &mut waiting {
        peer.write_all(&frame(b"waits")).unwrap();
    }
    let report = first.reader.shutdown(PATIENCE).unwrap();
    assert_eq!((report.cut, report.metrics.connections), (0, 1));
    assert!(is_closed(&mut here));
    let next = start_plainly(&listener);
    next.messages.wait_for_len(3);
    assert_eq!(next.messages.all(), vec![b"waits"; 3]);
    let _ = next.reader.shutdown(PATIENCE).unwrap();
}

#[test]
fn a_stop_that_is_out_of_time_leaves_those_who_wait_all_the_same() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let bound = Reader::builder("@not-looked-at")
        .max_connections(1)
        .listen_on(listener.try_clone().unwrap());
    let gate = crate::support::Gate::new();
    let (held, calls) = (gate.clone(), Notes::new());
    let noted = calls.clone();
    let reader = bound.unwrap().start(move |message| {
        noted.add(message.to_vec());
        held.pass();
    });
    let reader = reader.unwrap();
    send_and_close(&place.socket(), &frame(b"hangs"));
    calls.wait_for_len(1);
    send_and_close(&place.socket(), &frame(b"waits"));
    let report = reader.shutdown(Duration::ZERO).unwrap();
    assert_eq!(report.cut, 1, "only the one that hangs");
    let next = start_plainly(&listener);
    next.messages.wait_for_len(1);
    gate.open();
    assert_eq!(
        (calls.len(), next.messages.all()),
        (1, vec![b"waits".to_vec()])
    );
    let _ = next.reader.shutdown(PATIENCE).unwrap();
}

/// As many connections as there may be, and nobody waits: the listener never becomes ready, and the
/// end of the last one must do.
#[test]
fn a_full_reader_of_a_given_socket_stops_when_its_connections_have() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let collector = start(&listener, |builder| builder.max_connections(1));
    let mut peer = connect(&place.socket());
    peer.write_all(&frame(b"here")).unwrap();
    collector.messages.wait_for_len(1);
    let report = returns("the shutdown", move || {
        collector.reader.shutdown(Duration::MAX).unwrap()
    });
    assert_eq!(report.cut, 0);
    assert!(is_closed(&mut peer));
}

#[test]
fn the_share_of_one_user_follows_the_mode_of_a_given_socket() {
    for (mode, refused) in [(0o600, 0), (0o660, 2), (0o602, 2)] {
        let place = Place::new();
        let listener = UnixListener::bind(place.socket()).unwrap();
        fs::set_permissions(place.socket(), Permissions::from_mode(mode)).unwrap();
        // The reader's own setting does not count.
        let collector = start(&listener, |builder| {
            builder.max_connections(4).socket_mode(0o600)
        });
        let mut peers: Vec<_> = (0..4).map(|_| connect(&place.socket())).collect();
        for _ in 0..refused {
            assert!(is_closed(&mut peers.pop().unwrap()), "{mode:o}");
        }
        for peer in &mut peers {
            peer.write_all(&frame(b"in")).unwrap();
        }
        collector.messages.wait_for_len(peers.len());
        assert_eq!(
            collector.reader.metrics().refused_peers,
            refused,
            "{mode:o}"
        );
        let _ = collector.reader.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn what_does_not_listen_is_refused_and_said_to_be_what_it_is() {
    let place = Place::new();
    let kind_of = |socket: OwnedFd| match listen_on(socket) {
        Err(BindError::NotListening { kind, .. }) => kind,
        other => panic!("{other:?}"),
    };
    let unix = |kind: Type| Socket::new(Domain::UNIX, kind, None).unwrap();
    let bound = unix(Type::STREAM);
    bound
        .bind(&socket2::SockAddr::unix(place.socket()).unwrap())
        .unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let (of_one_gone, gone) = UnixStream::pair().unwrap();
    drop(gone);
    let packets = unix(Type::SEQPACKET);
    packets
        .bind(&socket2::SockAddr::unix(place.path("packets")).unwrap())
        .unwrap();
    packets.listen(1).unwrap();
    for (socket, kind) in [
        (
            UnixDatagram::unbound().unwrap().into(),
            DescriptorKind::Datagram,
        ),
        (near.into(), DescriptorKind::Connection),
        (of_one_gone.into(), DescriptorKind::Connection),
        (unix(Type::STREAM).into(), DescriptorKind::NotListening),
        (bound.into(), DescriptorKind::NotListening),
        (packets.into(), DescriptorKind::SeqPacket),
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            DescriptorKind::Internet,
        ),
    ] {
        assert_eq!(kind_of(socket), kind);
    }
    drop(far);
    assert!(
        kind_of(fs::File::open("/dev/null").unwrap().into())
            .to_string()
            .starts_with("a device")
    );
    let directory = fs::File::open(place.path(".")).unwrap();
    assert!(
        kind_of(directory.into())
            .to_string()
            .starts_with("a directory")
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_of_no_known_family_is_still_called_a_socket() {
    // ListenNetlink=, which a socket unit can have too.
    let netlink = Socket::new(Domain::from(nix::libc::AF_NETLINK), Type::DGRAM, None).unwrap();
    let error = listen_on(netlink).unwrap_err();
    let reason = error.to_string();
    assert!(reason.contains("is a socket of another kind"), "{reason}");
}

#[test]
fn the_rest_of_the_settings_is_checked_for_a_given_socket_too() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let copy = || listener.try_clone().unwrap();
    let no_threads = Reader::builder(place.socket())
        .max_threads(0)
        .listen_on(copy());
    assert!(
        matches!(no_threads, Err(BindError::Setting(_))),
        "{no_threads:?}"
    );
    let no_address = Reader::builder("").listen_on(copy());
    assert!(
        matches!(no_address, Err(BindError::Address(AddressError::Empty))),
        "{no_address:?}"
    );
    assert!(listen_on(copy()).is_ok());
}

/// Whoever else has the socket can do that. It is no stop of ours.
#[test]
#[cfg(target_os = "linux")]
fn a_given_socket_that_somebody_else_shuts_down_is_trouble_with_accepting() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let collector = start_plainly(&listener);
    Socket::from(OwnedFd::from(listener))
        .shutdown(std::net::Shutdown::Read)
        .unwrap();
    collector.events.wait_for("AcceptPaused");
    assert_eq!(collector.reader.metrics().accept_pauses, 1);
    assert_eq!(collector.reader.shutdown(PATIENCE).unwrap().cut, 0);
}

#[test]
fn a_tcp_socket_that_listens_is_taken_over() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let messages = Notes::new();
    let notes = messages.clone();
    let bound = Reader::builder("tcp:127.0.0.1:0")
        .listen_on(listener)
        .unwrap();
    assert_eq!(bound.address().to_string(), format!("tcp:{address}"));
    let reader = bound
        .start(move |message| notes.add(message.to_vec()))
        .unwrap();
    let writer = uds_ipc::Writer::start(reader.address()).unwrap();
    writer.try_send("hello").unwrap();
    messages.wait_for_len(1);
    assert_eq!(reader.shutdown(PATIENCE).unwrap().cut, 0);
}
