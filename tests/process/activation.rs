//! Sockets that are passed to a process as systemd passes them: as descriptors from 3 on, with
//! variables that say for whom they are. The test is the manager. It hands its sockets to a shell
//! as standard streams, so that it has no descriptor itself that others could inherit;
//! the shell gives them their numbers.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;
use uds_ipc::error::BindError;
use uds_ipc::systemd::{Activation, ActivationError, take_socket};
use uds_ipc::{BoundReader, Reader};

use crate::stage::{PATIENCE, Role, part, stage, wait_for_cue, wait_until};

/// How a shell passes the first socket as the only one.
const ONE: &str = "exec 3>&1; export LISTEN_PID=$$ LISTEN_FDS=1";

/// Likewise both.
const BOTH: &str = "exec 3>&1 4>&2; export LISTEN_PID=$$ LISTEN_FDS=2";

/// Starts the test `name` with up to two sockets, that `setup` finds as standard output and
/// standard error.
fn pass(
    name: &str,
    place: &Path,
    part: &str,
    setup: &str,
    sockets: impl IntoIterator<Item = OwnedFd>,
) -> Role {
    let mut command = Role::command(name, place, part, setup);
    command.current_dir(place);
    let mut sockets = sockets.into_iter().map(Stdio::from);
    command.stdout(sockets.next().unwrap_or_else(Stdio::null));
    command.stderr(sockets.next().unwrap_or_else(Stdio::null));
    Role::spawn(command, place)
}

fn place() -> TempDir {
    tempfile::Builder::new().prefix("uds").tempdir().unwrap()
}

fn copy(listener: &UnixListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

/// Sends a message on a connection of its own.
fn send(path: &Path, message: &str) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream
        .write_all(&[u8::try_from(message.len()).unwrap()])
        .unwrap();
    stream.write_all(message.as_bytes()).unwrap();
}

/// What the readers of a role have handled.
fn handled(place: &Path) -> String {
    fs::read_to_string(place.join("handled")).unwrap_or_default()
}

#[track_caller]
fn wait_until_handled(place: &Path, messages: &str) {
    wait_until(&format!("{messages:?} is handled"), || {
        handled(place) == messages
    });
}

/// In a role: handles messages by adding them to a file.
fn start(place: &Path, bound: BoundReader) -> Reader {
    let handled = OpenOptions::new()
        .append(true)
        .create(true)
        .open(place.join("handled"))
        .unwrap();
    bound
        .start(move |message| (&handled).write_all(&[message, b";"].concat()))
        .unwrap()
}

/// In a role: which of systemd's variables, and of the descriptors that the tests pass, a child of
/// this process inherits.
fn inherited() -> String {
    let script = "env | grep -o '^LISTEN_[A-Z]*'; for n in 3 4 5; do [ -e /dev/fd/$n ] && echo $n; done; true";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let mut lines: Vec<_> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(String::from_utf8_lossy)
        .collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    lines.join(" ")
}

/// In a role: binds as its part says, and notes what that comes to, and what a child inherits then.
fn bind_and_tell(place: &Path) {
    let activation = match &*part() {
        "first" => Activation::First,
        "never" => Activation::Never,
        name => Activation::Named(name.into()),
    };
    let outcome = match Reader::builder(place.join("own"))
        .activation(activation.clone())
        .bind()
    {
        Ok(bound) => format!("bound {}", bound.address()),
        Err(error) => {
            // Nor does it help to try again.
            let again = Reader::builder(place.join("own"))
                .activation(activation)
                .bind()
                .map(drop);
            assert_eq!(again.map_err(|error| chain(&error)), Err(chain(&error)));
            chain(&error)
        }
    };
    fs::write(place.join("outcome"), outcome).unwrap();
    fs::write(place.join("inherited"), inherited()).unwrap();
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Runs [`bind_and_tell`] in the test `name`: what it came to, and what was inherited.
fn outcome(
    name: &str,
    place: &Path,
    part: &str,
    setup: &str,
    sockets: Vec<OwnedFd>,
) -> (String, String) {
    pass(name, place, part, setup, sockets).succeed();
    let read = |file: &str| fs::read_to_string(place.join(file)).unwrap();
    (read("outcome"), read("inherited"))
}

#[test]
fn what_waits_in_a_passed_socket_outlives_its_readers() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let path = place.join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let name = "activation::what_waits_in_a_passed_socket_outlives_its_readers";
        let start = || pass(name, place, "", ONE, [copy(&listener)]);

        send(&path, "before");
        let first = start();
        wait_until_handled(place, "before;");
        first.kill();
        send(&path, "after a kill");
        let second = start();
        wait_until_handled(place, "before;after a kill;");
        second.succeed();
        send(&path, "after a stop");
        let third = start();
        wait_until_handled(place, "before;after a kill;after a stop;");
        third.succeed();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        return;
    };
    let bound = Reader::builder(place.join("own")).bind().unwrap();
    assert_eq!(bound.address().path(), Some(&*place.join("s")));
    let reader = start(&place, bound);
    // The first is killed before.
    wait_for_cue();
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert!(!place.join("own").exists());
}

/// What a reader does with all that the variables may say. In none of these cases anything is left
/// for a child.
#[test]
fn a_reader_takes_what_is_for_it_and_binds_its_own_otherwise() {
    const NAME: &str = "activation::a_reader_takes_what_is_for_it_and_binds_its_own_otherwise";
    const OWN: &str = "bound PLACE/own";
    const PASSED: &str = "bound PLACE/s";
    if let Some(place) = stage() {
        return bind_and_tell(&place);
    }
    for (setup, wanted, outcome_is) in [
        ("", "first", OWN),
        ("", "telemetry", OWN),
        (ONE, "first", PASSED),
        (
            "exec 3>&1; export LISTEN_PID=$PPID LISTEN_FDS=1 LISTEN_FDNAMES=telemetry",
            "telemetry",
            OWN,
        ),
        ("exec 3>&1; export LISTEN_FDS=1", "first", OWN),
        ("export LISTEN_PID=$$", "first", OWN),
        ("export LISTEN_PID=$$ LISTEN_FDS=0", "first", OWN),
        (
            "export LISTEN_PID=$$ LISTEN_FDS=0 LISTEN_FDNAMES=",
            "telemetry",
            OWN,
        ),
        ("export LISTEN_FDNAMES=a:b", "a", OWN),
        // A word of the listenfd crate's own.
        (
            "exec 3>&1 5</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDS_FIRST_FD=5; exec 5<&-",
            "first",
            PASSED,
        ),
        (
            "exec 3</dev/null 4>&1; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=null:telemetry",
            "first",
            PASSED,
        ),
        (
            "exec 3</dev/null 4>&1; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=null:telemetry",
            "telemetry",
            PASSED,
        ),
        (
            "exec 3</dev/null 4>&1; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=null:",
            "null",
            "cannot take over a socket: descriptor 3 (null) is a device: it must come from ListenStream= of a socket unit",
        ),
        (
            "exec 3>&1; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x.socket",
            "telemetry",
            "cannot take over a socket: no socket named \"telemetry\" was passed, only [\"x.socket\"]: set \
             FileDescriptorName=telemetry in the socket unit",
        ),
        (
            "export LISTEN_PID=me LISTEN_FDS=1",
            "first",
            "cannot take over a socket: LISTEN_PID is \"me\", which systemd would not set: unset it, or start the \
             program by a socket unit",
        ),
        (
            "export LISTEN_PID=$$ LISTEN_FDS=2000000000",
            "first",
            "cannot take over a socket: LISTEN_FDS is \"2000000000\", which systemd would not set: unset it, or start \
             the program by a socket unit",
        ),
        (
            "exec 3>&1; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b",
            "first",
            "cannot take over a socket: LISTEN_FDNAMES has 2 names for the 1 descriptors of LISTEN_FDS: both must come \
             from systemd",
        ),
    ] {
        let place = place();
        let place = place.path();
        let listener = UnixListener::bind(place.join("s")).unwrap();
        let (came_to, inherited) = outcome(NAME, place, wanted, setup, vec![listener.into()]);
        assert_eq!(
            came_to.replace(place.to_str().unwrap(), "PLACE"),
            outcome_is,
            "{setup} {wanted}"
        );
        let is_for_another = setup.starts_with("exec") && outcome_is == OWN;
        assert_eq!(
            inherited,
            if is_for_another { "3" } else { "" },
            "{setup} {wanted}"
        );
        assert!(
            place.join("s").exists() && !place.join("own").exists(),
            "{setup} {wanted}"
        );
    }
}

#[test]
fn a_reader_that_wants_no_passed_socket_leaves_everything_as_it_is() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let listener = UnixListener::bind(place.join("s")).unwrap();
        let name = "activation::a_reader_that_wants_no_passed_socket_leaves_everything_as_it_is";
        let (outcome, inherited) = outcome(name, place, "never", ONE, vec![listener.into()]);
        assert_eq!(outcome, format!("bound {}", place.join("own").display()));
        assert_eq!(inherited, "3 LISTEN_FDS LISTEN_PID");
        return;
    };
    bind_and_tell(&place);
}

#[test]
fn what_does_not_listen_is_named_by_its_number_with_what_to_change() {
    const NAME: &str =
        "activation::what_does_not_listen_is_named_by_its_number_with_what_to_change";
    if let Some(place) = stage() {
        return bind_and_tell(&place);
    }
    let place = place();
    let place = place.path();
    let unix = |kind: Type, name: &str| {
        let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
        socket
            .bind(&SockAddr::unix(place.join(name)).unwrap())
            .unwrap();
        socket
    };
    let packets = unix(Type::SEQPACKET, "packets");
    packets.listen(1).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    fs::write(place.join("plain"), "").unwrap();
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    for (socket, exec, words) in [
        (
            unix(Type::DGRAM, "datagrams").into(),
            "3>&1",
            "3 (unknown) is a datagram socket: the socket unit needs ListenStream= in",
        ),
        (
            packets.into(),
            "3>&1",
            "3 (unknown) is a socket of packets: the socket unit needs ListenStream= in the place of",
        ),
        (
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
            "3>&1",
            "3 (unknown) is a network socket: ListenStream= in",
        ),
        (
            TcpListener::bind("[::1]:0").map_or_else(|_| null(), Into::into),
            "3>&1",
            "3 (unknown) is a ",
        ),
        (
            near.into(),
            "3>&1",
            "3 (unknown) is a connection, not a socket that listens: the socket unit needs Accept=no",
        ),
        (
            unix(Type::STREAM, "bound").into(),
            "3>&1",
            "3 (unknown) is a socket that does not listen: it must come from",
        ),
        (null(), "3>&1", "3 (unknown) is a device"),
        (null(), "3<plain", "3 (unknown) is a regular file"),
        (null(), "3<.", "3 (unknown) is a directory"),
        (null(), "3<&0", "3 (unknown) is a named pipe"),
        (
            null(),
            "3>&-",
            "3 is one of those that LISTEN_FDS announces, and is not open",
        ),
    ] {
        let setup = format!("exec {exec}; export LISTEN_PID=$$ LISTEN_FDS=1");
        let (outcome, inherited) = outcome(NAME, place, "first", &setup, vec![socket]);
        assert!(
            outcome.contains(&format!("cannot take over a socket: descriptor {words}")),
            "{outcome}"
        );
        assert_eq!(inherited, "", "{words}");
        assert!(!place.join("own").exists(), "nothing is made in its place");
    }
}

#[test]
fn of_several_the_one_that_is_not_open_is_named() {
    const NAME: &str = "activation::of_several_the_one_that_is_not_open_is_named";
    if let Some(place) = stage() {
        return bind_and_tell(&place);
    }
    for (exec, count, closed) in [("3>&1 4>&-", "2", 4), ("3>&1 4>&1 5>&-", "1000000", 5)] {
        let place = place();
        let place = place.path();
        let listener = UnixListener::bind(place.join("s")).unwrap();
        let setup = format!("exec {exec}; export LISTEN_PID=$$ LISTEN_FDS={count}");
        let (outcome, inherited) = outcome(NAME, place, "first", &setup, vec![listener.into()]);
        assert!(
            outcome.contains(&format!("descriptor {closed} is one of those")),
            "{outcome}"
        );
        assert_eq!(inherited, "");
    }
}

/// Linux tells one process from another that had its id before.
#[test]
#[cfg(target_os = "linux")]
fn the_number_of_a_process_descriptor_must_fit_where_the_kernel_has_one() {
    use rustix::fs::fstat;
    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    const NAME: &str =
        "activation::the_number_of_a_process_descriptor_must_fit_where_the_kernel_has_one";
    if let Some(place) = stage() {
        return bind_and_tell(&place);
    }
    let number_of = |process| {
        fstat(pidfd_open(process, PidfdFlags::empty()).unwrap())
            .unwrap()
            .st_ino
    };
    let setup = format!("read LISTEN_PIDFDID; export LISTEN_PIDFDID; {ONE}");
    for (wrong_by, taken) in [(0, "s"), (1, "own")] {
        let place = place();
        let place = place.path();
        let listener = UnixListener::bind(place.join("s")).unwrap();
        let mut role = pass(NAME, place, "first", &setup, [listener.into()]);
        let number = number_of(Pid::from_child(role.child()));
        role.say(&(number + wrong_by).to_string());
        role.succeed();
        let outcome = fs::read_to_string(place.join("outcome")).unwrap();
        // Older kernels give all processes the same.
        if number != number_of(getpid()) || wrong_by == 0 {
            assert_eq!(outcome, format!("bound {}", place.join(taken).display()));
        }
        let inherited = fs::read_to_string(place.join("inherited")).unwrap();
        assert!(!inherited.contains("LISTEN"), "{inherited}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_passed_socket_may_have_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;

    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let address = place.join("s").to_str().unwrap().to_owned();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(address).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let name = "activation::a_passed_socket_may_have_an_abstract_name";
        let (outcome, _) = outcome(name, place, "first", ONE, vec![listener.into()]);
        assert_eq!(outcome, format!("bound @{}", place.join("s").display()));
        return;
    };
    bind_and_tell(&place);
}

#[test]
fn each_reader_of_a_process_takes_a_socket_of_its_own() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let [one, two] =
            ["one", "two"].map(|name| UnixListener::bind(place.join(name)).unwrap().into());
        let name = "activation::each_reader_of_a_process_takes_a_socket_of_its_own";
        let setup = format!("{BOTH} LISTEN_FDNAMES=one:two");
        let role = pass(name, place, "", &setup, [one, two]);
        for (path, all) in [
            ("one", "one;"),
            ("two", "one;two;"),
            ("own", "one;two;own;"),
        ] {
            let path = place.join(path);
            wait_until("all are bound", || {
                place.join("own").exists() && UnixStream::connect(&path).is_ok()
            });
            send(&path, path.file_name().unwrap().to_str().unwrap());
            wait_until_handled(place, all);
        }
        role.succeed();
        assert!(
            place.join("one").exists() && place.join("two").exists() && !place.join("own").exists()
        );
        return;
    };
    let bind = |activation| {
        Reader::builder(place.join("own"))
            .activation(activation)
            .bind()
    };
    let named = |name: &str| bind(Activation::Named(name.into()));
    let two = named("two").unwrap();
    assert_eq!(two.address().path(), Some(&*place.join("two")));
    assert!(
        matches!(named("two"), Err(BindError::Activation(ActivationError::Taken { name, .. })) if name == "two")
    );
    assert!(take_socket("two").unwrap().is_none());
    let one = bind(Activation::First).unwrap();
    assert_eq!(one.address().path(), Some(&*place.join("one")));
    let own = bind(Activation::First).unwrap();
    assert_eq!(own.address().path(), Some(&*place.join("own")));
    assert!(named("three").is_err());
    let readers = [one, two, own].map(|bound| start(&place, bound));
    assert_eq!(inherited(), "");
    wait_for_cue();
    drop(readers);
}

#[test]
fn of_many_readers_that_bind_at_once_each_passed_socket_has_one() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let [one, two] =
            ["one", "two"].map(|name| UnixListener::bind(place.join(name)).unwrap().into());
        let name = "activation::of_many_readers_that_bind_at_once_each_passed_socket_has_one";
        pass(name, place, "", BOTH, [one, two]).succeed();
        return;
    };
    let start = Barrier::new(8);
    let bind = |number: usize| {
        start.wait();
        Reader::builder(place.join(number.to_string()))
            .bind()
            .unwrap()
    };
    let bound: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || bind(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for name in ["one", "two"] {
        let path = place.join(name);
        assert_eq!(
            bound
                .iter()
                .filter(|bound| bound.address().path() == Some(&path))
                .count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn sockets_of_other_kinds_are_there_for_the_rest_of_the_service() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        let datagrams = UnixDatagram::bind(place.join("datagrams")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let name = "activation::sockets_of_other_kinds_are_there_for_the_rest_of_the_service";
        let setup =
            format!("exec 5</dev/null; {BOTH} LISTEN_FDS=3 LISTEN_FDNAMES=datagrams:http:null");
        let role = pass(name, place, "", &setup, [datagrams.into(), tcp.into()]);
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"hello", place.join("datagrams")).unwrap();
        drop(std::net::TcpStream::connect(at).unwrap());
        role.succeed();
        return;
    };
    let datagrams = UnixDatagram::from(take_socket("datagrams").unwrap().unwrap());
    let mut buffer = [0; 10];
    let len = datagrams.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"hello");
    let http = TcpListener::from(take_socket("http").unwrap().unwrap());
    http.accept().unwrap();
    for name in ["datagrams", "null", "other"] {
        assert!(take_socket(name).unwrap().is_none(), "{name}");
    }
    // Somebody has found what was meant for him: what is left is no mistake, and the reader has its
    // own.
    let bound = Reader::builder(place.join("own")).bind().unwrap();
    assert_eq!(bound.address().path(), Some(&*place.join("own")));
    assert_eq!(inherited(), "", "also of what somebody has taken");
}

/// Only a bare name is moved there.
#[test]
fn a_bare_file_name_is_in_the_first_runtime_directory() {
    let Some(place) = stage() else {
        let place = place();
        let place = place.path();
        for directory in ["run", "second"] {
            fs::create_dir(place.join(directory)).unwrap();
        }
        let name = "activation::a_bare_file_name_is_in_the_first_runtime_directory";
        let setup = "export RUNTIME_DIRECTORY=\"$PWD/run:$PWD/second\"";
        pass(name, place, "", setup, []).succeed();
        let left = |directory: &str| fs::read_dir(place.join(directory)).unwrap().count();
        assert_eq!(
            (left("run"), left("second")),
            (0, 0),
            "the socket's file goes with its reader"
        );
        return;
    };
    let full = place.join("full").to_str().unwrap().to_owned();
    for (name, path) in [
        ("s", "run/s"),
        ("./s", "s"),
        ("second/s", "second/s"),
        (&*full, "full"),
    ] {
        let expected = place.join(path);
        let bound = Reader::builder(name).bind().unwrap();
        assert_eq!(bound.address().path(), Some(&*expected), "{name}");
        let reader = start(&place, bound);
        send(&expected, "hello");
        let _ = reader.shutdown(PATIENCE).unwrap();
        assert!(!expected.exists(), "{name}");
    }
}
