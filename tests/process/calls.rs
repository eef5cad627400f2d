//! Calls between processes of which one is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::calls::{CallError, Caller, Reply, ReplyError, Responder};

use crate::stage::{PATIENCE, Role, in_forked_child, stage, wait_for_cue, wait_until};

/// Longer than any test has patience for.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_killed_responder_leaves_its_callers_with_unknown() {
    const NAME: &str = "calls::a_killed_responder_leaves_its_callers_with_unknown";
    if let Some(place) = stage() {
        let _responder = Responder::builder(place.join("s"))
            .bind()
            .unwrap()
            .start(|call, reply| {
                if call.method() == "never" {
                    thread::park_timeout(LONG);
                }
                let _ = reply.send(call.body());
            })
            .unwrap();
        return wait_for_cue();
    }
    let place = tempfile::tempdir().unwrap();
    let caller = Caller::new(place.path().join("s")).unwrap();
    for round in 1..=3 {
        let role = Role::start(NAME, place.path());
        assert_eq!(caller.call("echo", "x", PATIENCE).unwrap(), b"x");
        thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| caller.call("never", "", LONG)))
                .collect();
            wait_until("they are open", || caller.figures().open == 4);
            // It answers behind them: so they have come.
            assert!(caller.call("echo", "", PATIENCE).is_ok());
            role.kill();
            for call in calls {
                let error = call.join().unwrap().unwrap_err();
                assert!(error.may_have_been_done(), "{error:?}");
                assert!(
                    matches!(error, CallError::Lost { sent: true, .. }),
                    "{error:?}"
                );
            }
        });
        // The next round's responder replaces the stale socket, and is found.
        assert_eq!(caller.figures().connects, round);
    }
}

#[test]
fn a_killed_caller_cancels_its_calls() {
    const NAME: &str = "calls::a_killed_caller_cancels_its_calls";
    if let Some(place) = stage() {
        let _ = Caller::new(place.join("s")).unwrap().call("wait", "", LONG);
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let responder = Responder::builder(place.path().join("s"))
        .bind()
        .unwrap()
        .start(|_, reply| {
            wait_until("it is cancelled", || reply.is_cancelled());
            assert!(reply.send("to nobody").is_err());
        })
        .unwrap();
    let role = Role::start(NAME, place.path());
    wait_until("it has called", || responder.figures().in_hand == 1);
    role.kill();
    wait_until("the handler has seen it", || {
        responder.figures().in_hand == 0
    });
    wait_until("the connection is gone", || {
        responder.connections().is_empty()
    });
    let report = responder.shutdown(PATIENCE).unwrap();
    assert_eq!((report.left, report.figures.panics), (0, 0));
}

/// A handler may keep what it is to answer, and the peer has gone long ago.
#[cfg(target_os = "linux")]
#[test]
fn calls_of_connections_that_have_gone_keep_no_descriptor() {
    const NAME: &str = "calls::calls_of_connections_that_have_gone_keep_no_descriptor";
    const PEERS: usize = 50;
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        assert!(Role::start(NAME, place.path()).end().success());
        return;
    };
    let kept = Arc::new(Mutex::new(Vec::new()));
    let handles = Arc::clone(&kept);
    let bound = Responder::builder(place.join("s")).bind().unwrap();
    let responder = bound
        .start(move |_, reply| handles.lock().push(reply))
        .unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for peer in 0..PEERS {
        let caller = Caller::new(place.join("s")).unwrap();
        let answers = caller.call_many("m", "", LONG).unwrap();
        wait_until("it has come", || kept.lock().len() > peer);
        drop(answers);
    }
    wait_until("they have gone", || responder.connections().is_empty());
    wait_until("their descriptors too", || descriptors() <= before);
    assert!(kept.lock().iter().all(Reply::is_cancelled));
    kept.lock().clear();
    assert_eq!(responder.shutdown(PATIENCE).unwrap().left, 0);
}

/// At the moment of a fork any lock may be held by a thread that the child has not.
#[test]
fn every_call_in_a_forked_child_returns_at_once() {
    const NAME: &str = "calls::every_call_in_a_forked_child_returns_at_once";
    const FORKS: usize = 300;
    let Some(place) = stage() else {
        let place = tempfile::tempdir().unwrap();
        assert!(Role::start(NAME, place.path()).end().success());
        return;
    };
    let path = place.join("s");
    let kept = Arc::new(Mutex::new(None));
    let handle = Arc::clone(&kept);
    let bound = Responder::builder(&path).bind().unwrap();
    let responder = bound.start(move |call, reply| {
        if call.method() == "keep" {
            *handle.lock() = Some(reply);
        } else {
            let _ = reply.send(call.body());
        }
    });
    let responder = responder.unwrap();
    let mut unstarted = Some(Responder::builder(place.join("t")).bind().unwrap());
    let caller = Caller::new(&path).unwrap();
    let mut answers = Some(caller.call_many("keep", "", LONG).unwrap());
    wait_until("it is kept", || kept.lock().is_some());
    let mut kept = kept.lock().take();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = caller.call("echo", "x", PATIENCE);
                    let _ = responder.connections();
                }
            });
        }
        let mut every_call_returns = || {
            let forked = CallError::InForkedChild;
            let reply = kept.take().unwrap();
            let is_well = caller.call("echo", "", LONG) == Err(forked.clone())
                && caller.notify("echo", "", LONG) == Err(forked.clone())
                && caller.call_batch([("echo", "")], LONG) == [Err(forked.clone())]
                && answers.as_mut().and_then(Iterator::next) == Some(Err(forked))
                && caller.figures().open == 0
                && cannot_be_awaited(&caller)
                && responder.connections().is_empty()
                && responder.figures().in_hand == 0
                && reply.is_cancelled()
                && !reply.is_wanted()
                && reply.send_part("") == Err(ReplyError::InForkedChild)
                && reply.send("") == Err(ReplyError::InForkedChild);
            drop((answers.take(), unstarted.take()));
            is_well && place.join("t").exists()
        };
        let well = (0..FORKS)
            .take_while(|_| in_forked_child(&mut every_call_returns))
            .count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(well, FORKS, "so many children came back");
    });
    kept.take().unwrap().send("").unwrap();
    assert_eq!(answers.unwrap().count(), 0);
    assert_eq!(responder.shutdown(PATIENCE).unwrap().left, 0);
}

#[cfg(feature = "async")]
fn cannot_be_awaited(caller: &Caller) -> bool {
    uds_ipc::calls::AsyncCaller::new(caller.clone()).is_err()
}

#[cfg(not(feature = "async"))]
fn cannot_be_awaited(_: &Caller) -> bool {
    true
}
