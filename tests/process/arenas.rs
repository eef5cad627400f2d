//! Where the system does not give a writer what its queue would outlive it in, or does not pass it:
//! all is as without, and an event says why, once.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;
use std::sync::Arc;

use nix::libc;
use parking_lot::Mutex;
use uds_ipc::event::{CrashProofError, WriterEvent};
use uds_ipc::{FlushLevel, Reader, Writer};

use crate::refusals::refuse;
use crate::stage::{PATIENCE, Role, stage};

/// Sends messages through a writer that is to be crash-proof, and says why it is not.
fn causes(path: &Path, level: FlushLevel, count: usize) -> Vec<CrashProofError> {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&causes);
    let writer = Writer::builder(path).crash_proof(true);
    let writer = writer.on_event(move |event| {
        if let WriterEvent::NotCrashProof { cause, .. } = event {
            told.lock().push(cause);
        }
    });
    let writer = writer.start().unwrap();
    for number in 0..count {
        writer
            .send_timeout(format!("message {number}"), PATIENCE)
            .unwrap();
    }
    writer.flush(level, PATIENCE).unwrap();
    let report = writer.shutdown(PATIENCE).unwrap();
    assert_eq!(report.left.messages, 0);
    assert_eq!(report.metrics.sent.messages, u64::try_from(count).unwrap());
    std::mem::take(&mut *causes.lock())
}

/// Has a role write to a reader here, which gets all of it.
#[track_caller]
fn arrives(name: &str, setup: &str) {
    let place = tempfile::tempdir().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let reader = Reader::builder(place.path().join("s")).bind().unwrap();
    let reader = reader
        .start(move |message| kept.lock().push(message.to_vec()))
        .unwrap();
    let command = Role::command(name, place.path(), "", setup);
    Role::spawn(command, place.path()).succeed();
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(report.metrics.recovered.messages, 0);
    let expected: Vec<_> = (0..1000)
        .map(|number| format!("message {number}").into_bytes())
        .collect();
    assert_eq!(*lines.lock(), expected);
}

/// The system ends a process that makes its memory larger than that.
#[test]
fn a_limit_on_the_size_of_files_is_told_and_ends_nobody() {
    let Some(place) = stage() else {
        let name = "arenas::a_limit_on_the_size_of_files_is_told_and_ends_nobody";
        return arrives(name, "ulimit -f 2000");
    };
    let causes = causes(&place.join("s"), FlushLevel::Handled, 1000);
    let [CrashProofError::FileSizeLimit { limit, .. }] = causes[..] else {
        panic!("{causes:?}")
    };
    // In blocks of 512 or of 1024 bytes.
    assert!([1_024_000, 2_048_000].contains(&limit), "{limit}");
    assert!(causes[0].to_string().contains("LimitFSIZE"));
}

#[test]
fn a_filter_that_refuses_the_memory_is_told() {
    let Some(place) = stage() else {
        return arrives("arenas::a_filter_that_refuses_the_memory_is_told", "");
    };
    refuse(&[libc::SYS_memfd_create], libc::EPERM);
    let causes = causes(&place.join("s"), FlushLevel::Handled, 1000);
    let [CrashProofError::Io(error)] = &causes[..] else {
        panic!("{causes:?}")
    };
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

/// An older kernel has no such seal, or no such call; and some have no lock for it.
#[test]
fn what_the_kernel_does_not_have_is_told() {
    let Some(place) = stage() else {
        return arrives("arenas::what_the_kernel_does_not_have_is_told", "");
    };
    refuse(&[libc::SYS_memfd_create], libc::ENOSYS);
    let causes = causes(&place.join("s"), FlushLevel::Handled, 1000);
    assert_eq!(causes, [CrashProofError::Unsupported]);
}

/// A user may have so many descriptors on their way as one process may have open. Who reads nothing
/// keeps them there.
#[test]
#[expect(clippy::print_stdout, reason = "it says why it is skipped")]
fn descriptors_that_are_one_too_many_on_their_way_do_not_hold_up_the_bytes() {
    const NAME: &str =
        "arenas::descriptors_that_are_one_too_many_on_their_way_do_not_hold_up_the_bytes";
    if let Some(place) = stage() {
        let mut told = 0;
        for number in 0..60 {
            let causes = causes(&place.join("s"), FlushLevel::Written, 1);
            assert!(causes.len() <= 1, "once a writer");
            let is_it = |cause: &CrashProofError| *cause == CrashProofError::NotPassed;
            assert!(causes.iter().all(is_it), "{causes:?}");
            assert!(causes.is_empty() || number > 10, "there is room at first");
            told += causes.len();
        }
        assert!(told > 20, "{told}");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    if fs::metadata(place.path()).unwrap().uid() != 0 {
        println!("skipped: only root can be somebody else");
        return;
    }
    let user = 100_000 + process::id();
    chown(place.path(), Some(user), Some(user)).unwrap();
    let listener = UnixListener::bind(place.path().join("s")).unwrap();
    fs::set_permissions(place.path().join("s"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Role::command(NAME, place.path(), "", "ulimit -n 40");
    command.uid(user).gid(user);
    let mut role = Role::spawn(command, place.path());
    let mut streams = Vec::new();
    while streams.len() < 60 {
        if role.has_ended() {
            break;
        }
        listener.set_nonblocking(true).unwrap();
        streams.extend(listener.accept().ok().map(|(stream, _)| stream));
        std::thread::park_timeout(std::time::Duration::from_micros(200));
    }
    if streams.is_empty() && !place.path().join("entered").exists() {
        println!("skipped: this program cannot be run by another user");
        return;
    }
    role.succeed();
    for mut stream in streams {
        let mut bytes = Vec::new();
        stream.set_nonblocking(false).unwrap();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x09message 0");
    }
}
