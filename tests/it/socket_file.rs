//! The socket's file: its mode and owner, what may be in its place, who wins it, and what is left.

#![expect(clippy::unwrap_used, reason = "a helper may fail as a test may")]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, thread};

use uds_ipc::error::{AddressError, BindError};
use uds_ipc::{Address, BoundReader, Reader, create_socket_dir, remove_stale_socket};

use crate::support::{
    Child, Collector, Over, PATIENCE, Place, connect, ended_as, finish, frame, python, returns,
    send_and_close, skip, wait_until, writer,
};

fn bind(path: impl AsRef<OsStr>) -> Result<BoundReader, BindError> {
    Reader::builder(path).bind()
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn is_root(place: &Place) -> bool {
    let is_root = fs::metadata(place.path(".")).unwrap().uid() == 0;
    if !is_root {
        skip("not root");
    }
    is_root
}

/// Runs this program's test `name` again under each of `setups`, and waits for its good end.
fn in_processes(name: &str, setups: &[&str]) {
    for setup in setups {
        let place = Place::new();
        Child::start(&mut Child::test(
            &format!("socket_file::{name}"),
            &place.socket(),
            setup,
        ))
        .unwrap()
        .finish();
        assert!(
            place.files().is_empty(),
            "{:?} after {setup}",
            place.files()
        );
    }
}

const UMASKS: [&str; 4] = ["umask 0", "umask 022", "umask 077", "umask 0177"];

#[test]
fn the_mode_is_just_as_asked_whatever_the_umask() {
    let Some(path) = Child::path() else {
        return in_processes("the_mode_is_just_as_asked_whatever_the_umask", &UMASKS);
    };
    let bound = bind(&path).unwrap();
    assert_eq!(mode_of(&path), 0o600, "unless set");
    drop(bound);
    for mode in [0o600, 0o660, 0o666, 0o777, 0o622, 0o000] {
        let bound = Reader::builder(&path).socket_mode(mode).bind().unwrap();
        assert_eq!(mode_of(&path), mode);
        let reader = bound.start(|_| ()).unwrap();
        assert_eq!(mode_of(&path), mode);
        let _ = reader.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn the_mode_is_never_wider_for_a_moment() {
    let Some(path) = Child::path() else {
        return in_processes("the_mode_is_never_wider_for_a_moment", &UMASKS[..1]);
    };
    let (is_over, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                if let Ok(metadata) = fs::symlink_metadata(&path) {
                    let mode = metadata.mode() & 0o7777;
                    assert_eq!(mode & !0o600, 0, "{mode:o}");
                    seen.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let _over = Over(&is_over);
        for _ in 0..500 {
            drop(bind(&path).unwrap());
        }
        let _bound = bind(&path).unwrap();
        let before = seen.load(Ordering::SeqCst);
        wait_until("somebody looks", || seen.load(Ordering::SeqCst) > before);
    });
}

#[test]
fn the_lock_file_is_for_nobody_else_and_is_not_left_behind() {
    let Some(path) = Child::path() else {
        return in_processes(
            "the_lock_file_is_for_nobody_else_and_is_not_left_behind",
            &UMASKS[..1],
        );
    };
    let lock = path.with_file_name("s.lock");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                if let Ok(metadata) = fs::symlink_metadata(&lock) {
                    assert_eq!(metadata.mode() & 0o7777, 0o600);
                }
            }
        });
        let _over = Over(&is_over);
        for _ in 0..300 {
            let bound = bind(&path).unwrap();
            assert!(!lock.exists());
            drop(bound);
            assert!(!lock.exists());
        }
    });
}

#[test]
fn the_owner_and_group_are_as_asked() {
    let place = Place::new();
    if !is_root(&place) {
        return;
    }
    let builder = Reader::builder(place.socket())
        .socket_owner(4_242)
        .socket_group(4_343)
        .socket_mode(0o660);
    let bound = builder.bind().unwrap();
    let metadata = fs::symlink_metadata(place.socket()).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
        (4_242, 4_343, 0o660)
    );
    drop(bound);
    assert!(place.files().is_empty(), "given away or not, it is removed");
    let _bound = Reader::builder(place.socket())
        .socket_group(4_343)
        .bind()
        .unwrap();
    let metadata = fs::symlink_metadata(place.socket()).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
        (0, 4_343, 0o600)
    );
}

/// Tries to bind where something else lies: it must be named, and stay as it is.
#[track_caller]
fn is_left_alone(kind: &str, make: impl FnOnce(&Place)) {
    let place = Place::new();
    make(&place);
    let (files, before) = (place.files(), fs::symlink_metadata(place.socket()).unwrap());
    for result in [
        bind(place.socket()).map(drop),
        remove_stale_socket(place.socket()).map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, BindError::NotASocket { kind: found, .. } if *found == kind),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(kind) && text.contains(place.socket().to_str().unwrap()),
            "{text}"
        );
        let after = fs::symlink_metadata(place.socket()).unwrap();
        assert_eq!(
            (before.ino(), before.len(), before.mode()),
            (after.ino(), after.len(), after.mode())
        );
        assert_eq!(place.files(), files);
    }
}

#[test]
fn a_regular_file_is_refused_and_left_alone() {
    is_left_alone("a regular file", |place| {
        fs::write(place.socket(), "precious").unwrap();
    });
}

#[test]
fn a_directory_is_refused_and_left_alone() {
    is_left_alone("a directory", |place| {
        fs::create_dir(place.socket()).unwrap();
    });
}

#[test]
fn a_dangling_link_is_refused_and_not_followed() {
    is_left_alone("a symbolic link", |place| {
        symlink(place.path("nothing"), place.socket()).unwrap();
    });
}

#[test]
fn a_link_to_a_stale_socket_is_refused_and_not_followed() {
    is_left_alone("a symbolic link", |place| {
        drop(UnixListener::bind(place.path("stale")).unwrap());
        symlink(place.path("stale"), place.socket()).unwrap();
    });
}

#[test]
fn a_pipe_is_refused_and_left_alone() {
    if !Command::new("mkfifo")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        skip("no mkfifo");
        return;
    }
    is_left_alone("a named pipe", |place| {
        assert!(
            Command::new("mkfifo")
                .arg(place.socket())
                .status()
                .unwrap()
                .success()
        );
    });
}

#[test]
fn a_datagram_socket_with_somebody_behind_it_is_refused_and_left_alone() {
    let mut socket = None;
    is_left_alone("a datagram socket", |place| {
        socket = Some(UnixDatagram::bind(place.socket()).unwrap());
    });
}

#[test]
fn an_error_about_a_datagram_socket_does_not_deny_that_it_is_a_socket() {
    let place = Place::new();
    let _socket = UnixDatagram::bind(place.socket()).unwrap();
    let text = bind(place.socket()).unwrap_err().to_string();
    assert!(!text.contains("not a socket"), "{text}");
}

#[test]
fn a_live_socket_is_in_use_and_goes_on() {
    let place = Place::new();
    let collector = Collector::start(&place.socket());
    let inode = fs::symlink_metadata(place.socket()).unwrap().ino();
    for _ in 0..20 {
        let error = bind(place.socket()).unwrap_err();
        assert!(matches!(&error, BindError::InUse { .. }), "{error:?}");
        assert!(
            error.to_string().contains(place.socket().to_str().unwrap()),
            "{error}"
        );
        assert!(matches!(
            remove_stale_socket(place.socket()),
            Err(BindError::InUse { .. })
        ));
    }
    assert_eq!(fs::symlink_metadata(place.socket()).unwrap().ino(), inode);
    send_and_close(&place.socket(), &frame(b"a"));
    collector.wait_for(1);
    assert!(!collector.events.has("Displaced"));
    assert_eq!(
        collector.reader.metrics().protocol_errors.total(),
        0,
        "a look is no fault"
    );
    collector.stop();
}

#[test]
fn a_bound_reader_that_was_not_started_is_in_use_as_well() {
    let place = Place::new();
    let bound = bind(place.socket()).unwrap();
    assert!(matches!(bind(place.socket()), Err(BindError::InUse { .. })));
    assert_eq!(bound.address().path(), Some(&*place.socket()));
}

#[test]
fn a_live_socket_whose_backlog_is_full_is_in_use_not_stale() {
    let place = Place::new();
    let program = "
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(0)
peers = []
while True:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    try:
        peer.connect(sys.argv[1])
    except BlockingIOError:
        break
    peers.append(peer)
print('full', flush=True)
sys.stdin.read()
";
    if !cfg!(target_os = "linux") {
        skip("elsewhere a full backlog refuses");
        return;
    }
    let Some(owner) = python(program, &[place.socket().as_os_str()]) else {
        return;
    };
    owner.lines.wait_for("full");
    let path = place.socket();
    let error = returns("the bind", move || bind(path).map(drop).unwrap_err());
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    assert!(matches!(
        remove_stale_socket(place.socket()),
        Err(BindError::InUse { .. })
    ));
    assert!(place.socket().exists());
    owner.finish();
}

#[test]
fn a_live_socket_that_we_may_not_connect_to_is_in_use() {
    const NAME: &str = "socket_file::a_live_socket_that_we_may_not_connect_to_is_in_use";
    if let Some(path) = Child::path() {
        let error = bind(path).unwrap_err();
        Child::say(if matches!(error, BindError::InUse { .. }) {
            "in use"
        } else {
            "another error"
        });
        return;
    }
    let place = Place::new();
    if !is_root(&place) {
        return;
    }
    // The folder is another user's, but the socket in it is ours and for us only.
    let _bound = bind(place.socket()).unwrap();
    chown(place.path("."), Some(4_242), Some(4_242)).unwrap();
    let mut command = Child::test(NAME, &place.socket(), "");
    let Some(child) = ended_as(4_242, &mut command) else {
        return;
    };
    child.lines.wait_for("in use");
    assert!(place.socket().exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let collector = Collector::start(&place.socket());
    send_and_close(&place.socket(), &frame(b"a"));
    collector.wait_for(1);
    collector.stop();
    assert!(place.files().is_empty());
}

#[test]
fn a_killed_reader_leaves_a_stale_socket_that_is_replaced() {
    const NAME: &str = "socket_file::a_killed_reader_leaves_a_stale_socket_that_is_replaced";
    if let Some(path) = Child::path() {
        let _collector = Collector::start(&path);
        Child::say("ready");
        return Child::wait_for_end();
    }
    let place = Place::new();
    let mut child = Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
    child.lines.wait_for("ready");
    assert!(matches!(bind(place.socket()), Err(BindError::InUse { .. })));
    child.kill();
    assert_eq!(
        UnixStream::connect(place.socket()).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let collector = Collector::start(&place.socket());
    send_and_close(&place.socket(), &frame(b"a"));
    collector.wait_for(1);
    collector.stop();
    assert!(place.files().is_empty());
}

/// Has many threads bind at once; exactly one may win, and its socket must be the one at the path.
fn race(starters: usize, rounds: usize, prepare: impl Fn(&Place)) {
    let place = Place::new();
    for _ in 0..rounds {
        prepare(&place);
        let start = Barrier::new(starters);
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..starters)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        bind(place.socket())
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        for error in lost {
            assert!(matches!(error, Err(BindError::InUse { .. })), "{error:?}");
        }
        assert_eq!(place.files(), ["s"], "no lock is left");
        drop(connect(&place.socket()));
        drop(won);
        assert!(place.files().is_empty());
    }
}

#[test]
fn of_two_that_start_at_once_exactly_one_wins() {
    race(2, 200, |_| {});
}

#[test]
fn of_many_that_start_at_once_exactly_one_wins() {
    race(16, 30, |_| {});
}

#[test]
fn of_many_that_replace_a_stale_socket_at_once_exactly_one_wins() {
    race(16, 30, |place| {
        drop(UnixListener::bind(place.socket()).unwrap());
    });
}

#[test]
fn of_many_processes_that_start_at_once_exactly_one_wins() {
    const NAME: &str = "socket_file::of_many_processes_that_start_at_once_exactly_one_wins";
    if let Some(path) = Child::path() {
        // All wait for the file that says go.
        Child::say("ready");
        wait_until("it begins", || path.with_file_name("go").exists());
        let bound = bind(&path);
        Child::say(match &bound {
            Ok(_) => "won",
            Err(BindError::InUse { .. }) => "in use",
            Err(_) => "another error",
        });
        return Child::wait_for_end();
    }
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    let start = || Child::start(&mut Child::test(NAME, &place.socket(), "")).unwrap();
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    for child in &children {
        child.lines.wait_for("ready");
    }
    fs::write(place.path("go"), "").unwrap();
    let has_said = |child: &Child, text: &str| child.lines.count(|line| line == text);
    wait_until("all have tried", || {
        children
            .iter()
            .all(|child| has_said(child, "won") + has_said(child, "in use") == 1)
    });
    assert_eq!(
        children
            .iter()
            .map(|child| has_said(child, "won"))
            .sum::<usize>(),
        1
    );
    drop(connect(&place.socket()));
    children.into_iter().for_each(Child::finish);
    assert_eq!(place.files(), ["go"]);
}

#[test]
fn a_winner_keeps_its_path_while_others_start_and_stop() {
    let place = Place::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wins = 0;
                while wins < 10 {
                    match bind(place.socket()) {
                        Ok(bound) => {
                            // It accepts, or the looks of the others would fill its backlog.
                            let reader = bound.start(|_| ()).unwrap();
                            // Ours, as long as we have it.
                            let inode = fs::symlink_metadata(place.socket()).unwrap().ino();
                            for _ in 0..20 {
                                thread::yield_now();
                                drop(connect(&place.socket()));
                                assert_eq!(
                                    fs::symlink_metadata(place.socket()).unwrap().ino(),
                                    inode
                                );
                            }
                            let _ = reader.shutdown(PATIENCE).unwrap();
                            wins += 1;
                        }
                        Err(BindError::InUse { .. }) => {
                            thread::park_timeout(Duration::from_millis(1));
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    assert!(place.files().is_empty());
}

#[test]
fn a_pipe_in_the_place_of_the_lock_does_not_hold_up_a_start() {
    let place = Place::new();
    if !Command::new("mkfifo")
        .arg(place.path("s.lock"))
        .status()
        .is_ok_and(|status| status.success())
    {
        skip("no mkfifo");
        return;
    }
    let path = place.socket();
    let result = returns("the bind", move || bind(path).map(drop));
    assert!(matches!(result, Err(BindError::Io { .. })), "{result:?}");
    assert_eq!(place.files(), ["s.lock"]);
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let place = Place::new();
    symlink(place.path("victim"), place.path("s.lock")).unwrap();
    assert!(matches!(bind(place.socket()), Err(BindError::Io { .. })));
    assert_eq!(place.files(), ["s.lock"]);
}

#[test]
fn a_file_of_the_users_in_the_place_of_the_lock_keeps_its_content() {
    let place = Place::new();
    fs::write(place.path("s.lock"), "precious").unwrap();
    let bound = bind(place.socket());
    assert_eq!(
        fs::read_to_string(place.path("s.lock")).unwrap_or_default(),
        "precious",
        "{bound:?}"
    );
}

#[test]
fn what_is_no_address_is_refused_when_the_reader_is_built() {
    let place = Place::new();
    let too_long = place.path(&"x".repeat(Address::MAX_LEN));
    for (address, wanted) in [("", "is empty"), ("/tmp/a\0b", "NUL"), ("@", "after the @")] {
        let error = bind(address).unwrap_err();
        assert!(matches!(error, BindError::Address(_)), "{error:?}");
        assert!(
            cfg!(target_os = "linux") && error.to_string().contains(wanted),
            "{error}"
        );
        assert!(matches!(
            create_socket_dir(address),
            Err(BindError::Address(_))
        ));
        assert!(matches!(
            remove_stale_socket(address),
            Err(BindError::Address(_))
        ));
    }
    let error = bind(&too_long).unwrap_err();
    assert!(
        matches!(error, BindError::Address(AddressError::TooLong { .. })),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains(too_long.to_str().unwrap()) && text.contains(&Address::MAX_LEN.to_string()),
        "{text}"
    );
    assert!(place.files().is_empty());
}

#[test]
fn a_path_as_long_as_can_be_works() {
    let place = Place::new();
    let longest = place.path(&"x".repeat(Address::MAX_LEN - place.path("").as_os_str().len()));
    assert_eq!(longest.as_os_str().len(), Address::MAX_LEN);
    let collector = Collector::start(&longest);
    send_and_close(&longest, &frame(b"a"));
    collector.wait_for(1);
    collector.stop();
    assert!(place.files().is_empty());
}

#[test]
fn a_path_that_is_no_text_works() {
    let place = Place::new();
    let path = place.path(".").join(OsStr::from_bytes(b"\xff\xfe socket"));
    let collector = Collector::start(&path);
    send_and_close(&path, &frame(b"a"));
    collector.wait_for(1);
    collector.stop();
    assert!(!path.exists());
}

#[test]
fn a_relative_path_is_resolved_once() {
    let Some(path) = Child::path() else {
        return in_processes("a_relative_path_is_resolved_once", &[""]);
    };
    let folder = path.parent().unwrap();
    env::set_current_dir(folder).unwrap();
    let builder = Reader::builder("s");
    env::set_current_dir("/").unwrap();
    let bound = builder.bind().unwrap();
    assert_eq!(bound.address().path(), Some(&*path));
    let reader = bound.start(|_| ()).unwrap();
    drop(connect(&path));
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert!(!path.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_works_is_exclusive_and_free_again_after_a_stop() {
    let place = Place::new();
    let name = format!("@{}", place.socket().display());
    let collector = Collector::start(Path::new(&name));
    assert!(matches!(bind(&name), Err(BindError::InUse { .. })));
    assert!(!remove_stale_socket(&name).unwrap());
    let (writer, _) = writer(Path::new(&name));
    writer.try_send("a").unwrap();
    collector.wait_for(1);
    finish(&writer);
    assert!(place.files().is_empty(), "no file at all");
    collector.stop();
    drop(bind(&name).unwrap());
    Collector::start(Path::new(&name)).stop();
}

#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_is_open_to_all_so_one_user_has_half_of_the_connections() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let place = Place::new();
    let name = format!("@{}", place.socket().display());
    let collector = Collector::start_with(Path::new(&name), |builder| builder.max_connections(2));
    let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    let _peers = [(); 2].map(|()| UnixStream::connect_addr(&address).unwrap());
    collector
        .events
        .wait_for("cause: TooManyOfUser { limit: 1 }");
}

#[test]
fn a_directory_where_anybody_could_replace_the_socket_is_refused() {
    let place = Place::new();
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    for (mode, is_good) in [
        (0o777, false),
        (0o757, false),
        (0o702, false),
        (0o1777, true),
        (0o775, true),
    ] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let result = bind(folder.join("s")).map(drop);
        match &result {
            Ok(()) => assert!(is_good, "{mode:o}"),
            Err(BindError::UnsafeDirectory { directory, .. }) => {
                assert!(!is_good && *directory == folder);
            }
            Err(error) => panic!("{error:?} for {mode:o}"),
        }
        let made = create_socket_dir(folder.join("s"));
        assert_eq!(made.is_ok(), is_good, "{mode:o}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let place = Place::new();
    let path = place.path("nowhere").join("s");
    let error = bind(&path).unwrap_err();
    assert!(
        matches!(&error, BindError::NoDirectory { directory, .. } if *directory == place.path("nowhere"))
    );
    let text = error.to_string();
    assert!(
        text.contains("nowhere") && text.contains("create_socket_dir"),
        "{text}"
    );
    assert!(!remove_stale_socket(&path).unwrap());
    create_socket_dir(&path).unwrap();
    drop(bind(&path).unwrap());
}

#[test]
fn a_stop_removes_its_own_file_only() {
    let place = Place::new();
    let first = Collector::start(&place.socket());
    fs::remove_file(place.socket()).unwrap();
    let second = Collector::start(&place.socket());
    first.stop();
    send_and_close(&place.socket(), &frame(b"a"));
    second.wait_for(1);
    assert!(!second.events.has("Displaced"));
    second.stop();
    assert!(place.files().is_empty());
}

#[test]
fn a_reader_that_was_never_started_removes_its_own_file_only() {
    let place = Place::new();
    drop(bind(place.socket()).unwrap());
    assert!(place.files().is_empty());
    let first = bind(place.socket()).unwrap();
    fs::rename(place.socket(), place.path("moved")).unwrap();
    let second = bind(place.socket()).unwrap();
    drop(first);
    assert_eq!(place.files(), ["moved", "s"]);
    drop(connect(&place.socket()));
    drop(second);
    assert_eq!(place.files(), ["moved"]);
}

#[test]
fn a_socket_directory_is_made_for_owner_and_group_only() {
    let Some(path) = Child::path() else {
        return in_processes(
            "a_socket_directory_is_made_for_owner_and_group_only",
            &UMASKS[..3],
        );
    };
    let (above, folder) = (path.join("above"), path.join("above/folder"));
    fs::create_dir(&path).unwrap();
    create_socket_dir(folder.join("s")).unwrap();
    for made in [&above, &folder] {
        assert_eq!(mode_of(made) & !0o750, 0, "{:o}", mode_of(made));
    }
    // What exists stays as it is.
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    create_socket_dir(folder.join("s")).unwrap();
    assert_eq!(mode_of(&folder), 0o755);
    drop(bind(folder.join("s")).unwrap());
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_stale_socket_is_removed_on_request_and_nothing_else() {
    let place = Place::new();
    assert!(!remove_stale_socket(place.socket()).unwrap());
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(remove_stale_socket(place.socket()).unwrap());
    assert!(place.files().is_empty());
    let bound = bind(place.socket()).unwrap();
    assert!(matches!(
        remove_stale_socket(place.socket()),
        Err(BindError::InUse { .. })
    ));
    assert!(
        fs::symlink_metadata(place.socket())
            .unwrap()
            .file_type()
            .is_socket()
    );
    drop(bound);
}

#[cfg(feature = "systemd")]
#[test]
fn the_runtime_directory_is_taken_from_the_environment() {
    let Some(_) = Child::path() else {
        return in_processes(
            "the_runtime_directory_is_taken_from_the_environment",
            &[
                "unset RUNTIME_DIRECTORY; export WANTED=",
                "export RUNTIME_DIRECTORY= WANTED=",
                "export RUNTIME_DIRECTORY=/run/a WANTED=/run/a/s",
                "export RUNTIME_DIRECTORY=/run/a:/run/b WANTED=/run/a/s",
            ],
        );
    };
    let wanted = env::var_os("WANTED")
        .filter(|wanted| !wanted.is_empty())
        .map(std::path::PathBuf::from);
    assert_eq!(uds_ipc::systemd::runtime_path("s"), wanted);
}

#[test]
fn a_path_in_full_is_not_moved_by_the_runtime_directory() {
    let Some(path) = Child::path() else {
        return in_processes(
            "a_path_in_full_is_not_moved_by_the_runtime_directory",
            &["export RUNTIME_DIRECTORY=/nowhere"],
        );
    };
    let bound = bind(&path).unwrap();
    assert_eq!(bound.address().path(), Some(&*path));
    assert!(path.exists());
}

/// What a child of ours has open, apart from its own: every line of `ls` about a socket or
/// something to wait with.
fn inherited() -> Vec<String> {
    let listing = Command::new("sh")
        .arg("-c")
        .arg("ls -l /proc/self/fd")
        .output()
        .unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let links = listing
        .lines()
        .filter_map(|line| line.split_once(" -> ").map(|(_, target)| target));
    links
        .filter(|target| target.starts_with("socket:") || target.starts_with("anon_inode:"))
        .map(str::to_owned)
        .collect()
}

#[test]
#[cfg(target_os = "linux")]
fn no_descriptor_is_left_for_children_to_inherit() {
    let place = Place::new();
    let before = inherited();
    let collector = Collector::start(&place.socket());
    let (writer, _) = writer(&place.socket());
    writer.try_send("a").unwrap();
    let mut peer = connect(&place.socket());
    peer.write_all(&frame(b"b")).unwrap();
    collector.wait_for(2);
    assert_eq!(inherited(), before);
}
