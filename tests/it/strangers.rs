//! Other users: who of them gets in, what they can do to the socket's file, and who starts in vain.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use uds_ipc::error::BindError;
use uds_ipc::event::ReaderEvent;
use uds_ipc::{Peer, Reader, create_socket_dir, remove_stale_socket};

use crate::support::{
    Child, Collector, Gate, Notes, Over, PATIENCE, Place, Scripted, connect, ended_as, finish,
    frame, skip, stranger, writer,
};

fn is_root(place: &Place) -> bool {
    let is_root = fs::metadata(place.path(".")).unwrap().uid() == 0;
    if !is_root {
        skip("not root");
    }
    is_root
}

#[test]
fn peers_can_be_refused_by_their_user_or_group() {
    let checks: [fn(&Peer) -> bool; 2] = [
        |peer| peer.identity.uid() != Some(4_242),
        |peer| {
            peer.identity
                .credentials()
                .is_some_and(|peer| peer.gid != 4_343)
        },
    ];
    for check in checks {
        let place = Place::new();
        let reader = Scripted::start_with(&place.socket(), |builder| {
            builder.socket_mode(0o666).peer_check(check)
        });
        let Some(stranger) = stranger(&place, place.socket().as_os_str()) else {
            return;
        };
        reader.events.wait_for("cause: Check");
        stranger.finish();
        connect(&place.socket())
            .write_all(&frame(b"from us"))
            .unwrap();
        reader.wait_for("from us", 1);
        let metrics = reader.reader.shutdown(PATIENCE).unwrap().metrics;
        assert_eq!((metrics.refused_peers, metrics.received.messages), (1, 1));
    }
}

/// A peer learns by a reset, not by an end, that what it sent was thrown away unread.
#[test]
#[cfg(target_os = "linux")]
fn not_one_byte_of_a_refused_peer_is_read() {
    let place = Place::new();
    let gate = Gate::new();
    let at_gate = gate.clone();
    let check = move |_: &Peer| {
        at_gate.pass();
        false
    };
    let reader = Scripted::start_with(&place.socket(), |builder| builder.peer_check(check));
    let mut refused = connect(&place.socket());
    refused.write_all(b"x").unwrap();
    gate.open();
    assert_eq!(
        refused.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        reader
            .reader
            .shutdown(PATIENCE)
            .unwrap()
            .metrics
            .received
            .messages,
        0
    );
}

#[test]
#[cfg(target_os = "linux")]
fn the_mode_does_not_guard_an_abstract_name_but_a_check_does() {
    for is_checked in [false, true] {
        let place = Place::new();
        let name = format!("@{}", place.socket().display());
        let check = move |peer: &Peer| !is_checked || peer.identity.uid() != Some(4_242);
        let reader = Scripted::start_with(Path::new(&name), |builder| {
            builder
                .socket_mode(0o600)
                .peer_check(check)
                .max_connections(4)
        });
        let Some(stranger) = stranger(&place, name.as_ref()) else {
            return;
        };
        if is_checked {
            reader.events.wait_for("cause: Check");
        } else {
            reader.wait_for("a", 1);
        }
        stranger.finish();
        assert_eq!(
            reader
                .reader
                .shutdown(PATIENCE)
                .unwrap()
                .metrics
                .refused_peers,
            u64::from(is_checked)
        );
    }
}

/// Who comes first has it, whoever that is: only the writer can tell.
#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_of_another_user_is_in_use_and_gets_no_byte() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let place = Place::new();
    let name = format!("@{}", place.socket().display());
    let squatter =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
    assert!(matches!(
        Reader::builder(&name).bind(),
        Err(BindError::InUse { .. })
    ));
    let me = fs::metadata(place.path(".")).unwrap().uid();
    let (writer, events) =
        crate::support::writer_with(Path::new(&name), |builder| builder.expect_peer_uid(me + 1));
    writer.try_send("secret").unwrap();
    events.wait_for("WrongPeer");
    let (mut stream, _) = squatter.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let _ = writer.shutdown(std::time::Duration::ZERO).unwrap();
}

/// Such a folder is allowed, since who gave the group the right to write means it. But a reader
/// that runs as root must not be led astray in it.
#[test]
fn a_link_that_is_put_in_the_place_of_a_socket_being_made_leads_nowhere() {
    let place = Place::new();
    let (path, victim) = (place.path("folder/s"), place.path("victim"));
    fs::create_dir(place.path("folder")).unwrap();
    fs::set_permissions(place.path("folder"), Permissions::from_mode(0o770)).unwrap();
    fs::write(&victim, "precious").unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let link = place.path("folder/link");
                let _ = symlink(&victim, &link).and_then(|()| fs::rename(&link, &path));
            }
        });
        let _over = Over(&is_over);
        for _ in 0..1_000 {
            drop(Reader::builder(&path).socket_mode(0o666).bind());
            assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o600);
            let _ = fs::remove_file(&path);
        }
    });
}

#[test]
fn a_folder_of_another_user_is_no_folder_of_ours() {
    let place = Place::new();
    if !is_root(&place) {
        return;
    }
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(4_242), None).unwrap();
    let error = create_socket_dir(folder.join("s")).unwrap_err();
    assert!(matches!(&error, BindError::UnsafeDirectory { directory, .. } if *directory == folder));
    chown(&folder, Some(0), None).unwrap();
    create_socket_dir(folder.join("s")).unwrap();
}

#[test]
fn an_owner_that_cannot_be_set_is_an_error_and_leaves_no_file() {
    const NAME: &str = "strangers::an_owner_that_cannot_be_set_is_an_error_and_leaves_no_file";
    if let Some(path) = Child::path() {
        let by_owner = Reader::builder(&path).socket_owner(0).bind().map(drop);
        let by_group = Reader::builder(&path).socket_group(0).bind().map(drop);
        let is_good = |result: &Result<(), BindError>| match result {
            Err(BindError::Io { source, .. }) => source.kind() == ErrorKind::PermissionDenied,
            _ => false,
        };
        let folder = path.parent().unwrap().read_dir().unwrap().count();
        let told = is_good(&by_owner) && is_good(&by_group) && folder == 0;
        Child::say(if told { "good" } else { "bad" });
        return;
    }
    let place = Place::new();
    if !is_root(&place) {
        return;
    }
    chown(place.path("."), Some(4_242), Some(4_242)).unwrap();
    let mut command = Child::test(NAME, &place.socket(), "");
    let Some(child) = ended_as(4_242, &mut command) else {
        return;
    };
    child.lines.wait_for("good");
}

#[test]
fn starters_in_vain_do_no_harm_to_a_reader_that_is_not_started_yet() {
    /// More than the kernel usually lets wait.
    const MOST: usize = 5_000;

    let place = Place::new();
    let (messages, events) = (Notes::new(), Notes::new());
    let builder = Reader::builder(place.socket()).socket_mode(0o666);
    let bound = builder
        .on_event(events.observer::<ReaderEvent>())
        .bind()
        .unwrap();
    // Each look leaves a connection without a peer behind, until no more may wait.
    let is_full = || {
        let address = socket2::SockAddr::unix(place.socket()).unwrap();
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address).is_err()
    };
    let mut looks = 0;
    while looks < MOST && !is_full() {
        assert!(matches!(
            remove_stale_socket(place.socket()),
            Err(BindError::InUse { .. })
        ));
        looks += 1;
    }
    for _ in 0..3 {
        assert!(matches!(
            Reader::builder(place.socket()).bind(),
            Err(BindError::InUse { .. })
        ));
    }
    let (writer, writers_events) = writer(&place.socket());
    writer.try_send("patience").unwrap();
    if cfg!(target_os = "linux") && looks < MOST {
        writers_events.wait_for("BacklogFull");
    }
    let notes = messages.clone();
    let handler = move |message: &[u8]| {
        notes.add(message.to_vec());
    };
    let reader = bound.start(handler).unwrap();
    messages.wait_for_len(1);
    finish(&writer);
    let metrics = reader.shutdown(PATIENCE).unwrap().metrics;
    // They come and go, and keep nobody's place.
    assert_eq!(
        (
            metrics.received.messages,
            metrics.refused_peers,
            metrics.protocol_errors.total()
        ),
        (1, 0, 0)
    );
    assert!(metrics.connections > u64::try_from(looks).unwrap() && metrics.open == 0);
    assert!(!events.has("AcceptPaused") && !events.has("Displaced"));
    assert!(place.files().is_empty());
}

#[test]
fn a_link_to_a_live_socket_is_not_followed() {
    let place = Place::new();
    let collector = Collector::start(&place.path("live"));
    symlink(place.path("live"), place.socket()).unwrap();
    let error = Reader::builder(place.socket()).bind().unwrap_err();
    assert!(
        matches!(
            error,
            BindError::NotASocket {
                kind: "a symbolic link",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        collector
            .reader
            .shutdown(PATIENCE)
            .unwrap()
            .metrics
            .connections,
        0,
        "nobody looked"
    );
    assert_eq!(place.files(), ["s"]);
}
