//! Where the system refuses something: a filter of system calls, a file system that knows no modes,
//! a container without `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;

use nix::libc;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chroot, geteuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use uds_ipc::error::BindError;
use uds_ipc::event::ReaderEvent;
use uds_ipc::{FlushLevel, Reader, Writer};

use crate::stage::{PATIENCE, Role, part, stage, wait_until};

/// From now on all threads of this process meet this error where they make one of the calls.
pub(crate) fn refuse(calls: &[libc::c_long], error: i32) {
    refuse_where(
        calls.iter().map(|call| (*call, Vec::new())).collect(),
        error,
    );
}

/// Likewise, where the arguments are these.
fn refuse_where(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) {
    let refused = SeccompAction::Errno(u32::try_from(error).unwrap());
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

/// A message goes from a writer to the reader.
#[track_caller]
fn works(path: &Path, mode: u32) {
    let bound = Reader::builder(path).socket_mode(mode).bind().unwrap();
    let found = fs::symlink_metadata(path).unwrap().permissions().mode();
    assert_eq!(found & 0o777, mode);
    let reader = bound.start(|_| ()).unwrap();
    let writer = Writer::start(path).unwrap();
    writer.try_send("a").unwrap();
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert!(!path.exists());
}

/// The ways to change the mode of a file by its name.
const CHANGE_MODE: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
];

#[test]
fn a_mode_that_the_file_has_already_needs_no_change() {
    let Some(place) = stage() else {
        for error in [libc::EINVAL, libc::EPERM, libc::EOPNOTSUPP] {
            let place = tempfile::tempdir().unwrap();
            let name = "refusals::a_mode_that_the_file_has_already_needs_no_change";
            let role = Role::start_part(name, place.path(), &error.to_string());
            assert!(role.end().success());
        }
        return;
    };
    umask(Mode::from_bits_truncate(0o022));
    refuse(CHANGE_MODE, part().parse().unwrap());
    works(&place.join("s"), 0o644);
}

#[test]
fn a_mode_that_cannot_be_had_is_an_error_with_both_modes() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "refusals::a_mode_that_cannot_be_had_is_an_error_with_both_modes";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    umask(Mode::from_bits_truncate(0o022));
    refuse(CHANGE_MODE, libc::EPERM);
    let path = place.join("s");
    let error = Reader::builder(&path)
        .socket_mode(0o666)
        .bind()
        .unwrap_err();
    let BindError::Mode {
        wanted,
        found,
        source,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*wanted, *found), (0o666, 0o644));
    assert!(source.as_ref().unwrap().to_string().contains("permitted"));
    let text = error.to_string();
    assert!(text.contains("666") && text.contains("644"), "{text}");
    assert!(!path.exists(), "nothing is left behind");
    works(&path, 0o644);
}

/// A user may have 128 instances of inotify, and other programs may have them all.
#[test]
fn a_reader_notices_that_its_file_is_gone_where_nothing_watches_it() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "refusals::a_reader_notices_that_its_file_is_gone_where_nothing_watches_it";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    refuse(&[libc::SYS_inotify_init1], libc::EMFILE);
    let path = place.join("s");
    let (tell, told) = mpsc::channel();
    let builder = Reader::builder(&path).on_event(move |event| drop(tell.send(event)));
    let reader = builder.bind().unwrap().start(|_| ()).unwrap();
    // Not just at its start.
    let writer = Writer::start(&path).unwrap();
    writer.try_send("a").unwrap();
    writer.flush(FlushLevel::Handled, PATIENCE).unwrap();
    assert_eq!(writer.shutdown(PATIENCE).unwrap().left.messages, 0);
    fs::remove_file(&path).unwrap();
    let is_displaced = |event: &ReaderEvent| matches!(event, ReaderEvent::Displaced { .. });
    wait_until("it is noticed", || {
        told.try_iter().any(|event| is_displaced(&event))
    });
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert!(
        !told.iter().any(|event| is_displaced(&event)),
        "it is told once"
    );
}

/// Each error says what was being done.
#[test]
fn what_the_system_refuses_is_named() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "refusals::what_the_system_refuses_is_named";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let bound = Reader::builder(place.join("s")).bind().unwrap();
    refuse(&[libc::SYS_eventfd2], libc::EPERM);
    let error = Writer::start(place.join("s")).unwrap_err().to_string();
    assert!(error.contains("make what wakes the thread"), "{error}");
    let error = bound.start(|_| ()).unwrap_err().to_string();
    assert!(error.contains("make what the threads wait with"), "{error}");
}

/// The bound on what one user's pollers watch (`fs.epoll.max_user_watches`).
#[test]
fn a_connection_that_cannot_be_watched_is_told_of() {
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let name = "refusals::a_connection_that_cannot_be_watched_is_told_of";
        assert!(Role::start(name, place.path()).end().success());
        return;
    };
    let (sender, events) = mpsc::channel();
    let reader = Reader::builder(place.join("s"))
        .on_event(move |event| {
            let _ = sender.send(event.to_string());
        })
        .bind()
        .unwrap()
        .start(|_| ())
        .unwrap();
    let add = u64::try_from(libc::EPOLL_CTL_ADD).unwrap();
    let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, add);
    let rule = SeccompRule::new(vec![condition.unwrap()]).unwrap();
    refuse_where(
        BTreeMap::from([(libc::SYS_epoll_ctl, vec![rule])]),
        libc::ENOSPC,
    );
    let mut peer = UnixStream::connect(place.join("s")).unwrap();
    // It is closed, for its writer to come again.
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    let event = events.recv_timeout(PATIENCE).unwrap();
    assert!(event.contains("pauses: No space left"), "{event}");
    let report = reader.shutdown(PATIENCE).unwrap();
    assert_eq!((report.cut, report.metrics.accept_pauses), (0, 1));
}

/// As in a `chroot`, or a container of the smallest kind.
#[test]
#[expect(clippy::print_stdout, reason = "it says why it is skipped")]
fn nothing_needs_proc() {
    let Some(place) = stage() else {
        if !geteuid().is_root() {
            println!("skipped: only root may change its root directory");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        assert!(
            Role::start("refusals::nothing_needs_proc", place.path())
                .end()
                .success()
        );
        return;
    };
    umask(Mode::from_bits_truncate(0o077));
    chroot(&place).unwrap();
    std::env::set_current_dir("/").unwrap();
    assert!(!Path::new("/proc").exists());
    // With a mode that must be changed, and one that needs no change.
    for mode in [0o660, 0o600] {
        works(Path::new("/s"), mode);
    }
}
