//! Calls between processes of which one is killed.

use std::thread;
use std::time::Duration;

use uds_ipc::calls::{CallError, Caller, Responder};

use crate::stage::{PATIENCE, Role, stage, wait_for_cue, wait_until};

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
