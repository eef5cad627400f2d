//! What comes after a writer, and is none: the program that its process becomes, and a child that
//! lives on.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use uds_ipc::{Reader, SendError, Writer};

use super::{
    Gate, Lines, OpensAtEnd, Stopped, Told, kill_this_process, leave_nine_lines, ten_lines,
};
use crate::stage::{PATIENCE, Role, in_forked_child, stage, wait_for_cue, wait_until};

/// This test and the next wait so long: the reader believes a process that lives for three seconds.
#[test]
fn a_process_that_becomes_another_program_leaves_what_it_had() {
    const NAME: &str =
        "deaths::successors::a_process_that_becomes_another_program_leaves_what_it_had";
    if let Some(place) = stage() {
        let _writer = leave_nine_lines(&place);
        // It ends with its standard input.
        panic!("there is no such program: {}", Command::new("cat").exec());
    }
    let place = tempfile::tempdir().unwrap();
    let (lines, told) = (Lines::default(), Told::default());
    let reader = told.bind(Reader::builder(place.path().join("s")));
    let reader = reader.start_handler(lines.clone()).unwrap();
    let mut role = Role::start(NAME, place.path());
    wait_until("all lines have come", || lines.0.lock().len() == 10);
    assert!(!role.has_ended(), "its process lives");
    assert!(role.end().success());
    assert_eq!(*lines.0.lock(), ten_lines());
    let _ = reader.shutdown(PATIENCE).unwrap();
    assert_eq!(told.messages(), [9]);
}

/// What the connection that ends last leaves behind is waited for too.
#[test]
fn a_stop_waits_for_what_such_a_process_has_left() {
    const NAME: &str = "deaths::successors::a_stop_waits_for_what_such_a_process_has_left";
    if let Some(place) = stage() {
        let _writer = leave_nine_lines(&place);
        panic!("there is no such program: {}", Command::new("cat").exec());
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let (lines, told, gate) = (Lines::default(), Told::default(), Arc::new(Gate::default()));
    let stopped = Stopped {
        gate: Arc::clone(&gate),
        lines: lines.clone(),
    };
    let reader = told.bind(Reader::builder(&path));
    let reader = reader.start_handler(stopped).unwrap();
    let opens_at_end = OpensAtEnd(gate);
    let role = Role::start(NAME, place.path());
    let name = format!("/proc/{}/comm", role.child().id());
    wait_until("it is another program", || {
        fs::read_to_string(&name).is_ok_and(|name| name == "cat\n")
    });
    thread::scope(|scope| {
        let stop = scope.spawn(|| reader.shutdown(PATIENCE).unwrap());
        wait_until("the reader stops", || UnixStream::connect(&path).is_err());
        drop(opens_at_end);
        assert_eq!(stop.join().unwrap().cut, 0);
    });
    assert!(role.end().success());
    assert_eq!(*lines.0.lock(), ten_lines());
    assert_eq!(told.messages(), [9]);
}

/// What the child found out, and whether it lives.
fn said_by_child(place: &Path) -> String {
    fs::read_to_string(place.join("child")).unwrap_or_default()
}

/// In the child: its copy of the writer sends nothing, and its end takes nothing from the parent.
fn live_on(place: &Path, writer: Writer) {
    let is_refused = writer.try_send("from the child") == Err(SendError::InForkedChild(()));
    drop(writer);
    let word = format!("{} {is_refused}", process::id());
    fs::write(place.join("to be"), word).unwrap();
    fs::rename(place.join("to be"), place.join("child")).unwrap();
    wait_for_cue();
}

#[test]
fn a_forked_child_that_lives_on_keeps_no_dead_writer_alive() {
    const NAME: &str =
        "deaths::successors::a_forked_child_that_lives_on_keeps_no_dead_writer_alive";
    if let Some(place) = stage() {
        let mut writer = Some(leave_nine_lines(&place));
        match fork::fork().unwrap() {
            fork::Fork::Child => {
                live_on(&place, writer.take().unwrap());
                end_child();
            }
            fork::Fork::Parent(_) => {
                wait_until("the child is there", || !said_by_child(&place).is_empty());
                kill_this_process();
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    let (lines, told) = (Lines::default(), Told::default());
    // The child has the socket too: only for its silence the reader closes it.
    let reader = Reader::builder(place.path().join("s"));
    let reader = told.bind(reader.idle_timeout(Duration::from_millis(100)));
    let reader = reader.start_handler(lines.clone()).unwrap();
    let mut role = Role::start(NAME, place.path());
    wait_until("all lines have come", || lines.0.lock().len() == 10);
    wait_until("it is dead", || role.has_ended());
    let said = said_by_child(place.path());
    let (child, is_refused) = said.split_once(' ').expect("the child's word");
    assert_eq!(is_refused, "true");
    let child = Pid::from_raw(child.parse().unwrap());
    assert!(kill(child, None).is_ok(), "the child lives");
    let recovered = reader
        .shutdown(PATIENCE)
        .unwrap()
        .metrics
        .recovered
        .messages;
    let lines = lines.0.lock().clone();
    let text = |lines: &[(String, bool)]| lines.iter().map(|(line, _)| line.clone()).collect();
    let (came, expected): (Vec<_>, Vec<_>) = (text(&lines), text(&ten_lines()));
    assert_eq!(came, expected);
    // On a machine that is busy it may have been silent for so long before it died: then it has
    // sent them itself.
    assert_eq!(told.messages().iter().sum::<u64>(), recovered);
    drop(role);
    wait_until("the child has ended", || has_ended(child));
}

/// Whoever is to wait for it may not do so.
fn has_ended(process: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = state.rsplit_once(") ").map(|(_, state)| state);
    state.is_none_or(|state| state.starts_with('Z'))
}

#[expect(clippy::exit, reason = "a forked child must not go on as a test")]
fn end_child() {
    process::exit(0);
}

/// The queue is the child's to drop, once the parent's thread has ended; the memory it has not.
#[test]
fn a_forked_child_may_drop_a_writer_that_was_shut_down() {
    const NAME: &str = "deaths::successors::a_forked_child_may_drop_a_writer_that_was_shut_down";
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        let bound = Reader::builder(place.path().join("s")).bind().unwrap();
        let reader = bound.start(|_| ()).unwrap();
        let role = Role::start(NAME, place.path());
        assert!(role.end().success());
        let _ = reader.shutdown(PATIENCE).unwrap();
        return;
    };
    for _ in 0..5 {
        let writer = leave_nine_lines(&place);
        writer.try_send(vec![1; 500_000]).unwrap();
        let _ = writer.shutdown(Duration::ZERO).unwrap();
        let mut writer = Some(writer);
        assert!(in_forked_child(|| {
            drop(writer.take());
            true
        }));
    }
}
