//! Who may call what.

use std::error::Error;
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uds_ipc::calls::{CallError, Caller, Refusal, Responder};

use super::{PATIENCE, Place, answer, caller, responder, stop};

fn is_not_allowed(error: &CallError) -> bool {
    let refusal = matches!(
        error,
        CallError::Refused {
            refusal: Refusal::NotAllowed,
            ..
        }
    );
    refusal && !error.may_have_been_done()
}

#[test]
fn what_is_not_allowed_does_not_come_to_the_handler() {
    let place = Place::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    let responder = Responder::builder(place.socket())
        .allow(|peer, method| peer.identity.uid().is_some() && method == "echo")
        .bind()
        .unwrap()
        .start(move |call, reply| {
            counted.fetch_add(1, Ordering::SeqCst);
            answer(call, reply);
        })
        .unwrap();
    let caller = caller(&place.socket());
    assert_eq!(caller.call("echo", "x", PATIENCE).unwrap(), b"x");
    assert!(is_not_allowed(
        &caller.call("fail", "x", PATIENCE).unwrap_err()
    ));
    caller.notify("fail", "x", PATIENCE).unwrap();
    assert_eq!(caller.call("echo", "y", PATIENCE).unwrap(), b"y");
    assert_eq!(handled.load(Ordering::SeqCst), 2);
    assert_eq!(responder.figures().refused, 2);
    stop(responder);
}

#[test]
fn a_rule_that_panics_is_a_no() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .allow(|_, _| panic!("as asked"))
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let caller = caller(&place.socket());
    assert!(is_not_allowed(
        &caller.call("echo", "", PATIENCE).unwrap_err()
    ));
    assert_eq!(responder.figures().panics, 1);
    stop(responder);
}

#[test]
fn a_peer_of_whom_no_user_is_known_may_call_nothing_unless_allowed() {
    let responder = Responder::builder("tcp:127.0.0.1:0")
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let caller = Caller::new(responder.address()).unwrap();
    assert!(is_not_allowed(
        &caller.call("echo", "", PATIENCE).unwrap_err()
    ));
    stop(responder);
}

#[cfg(target_os = "linux")]
#[test]
fn a_responder_of_another_user_than_expected_is_called_by_nobody() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let us = std::fs::metadata(place.socket()).unwrap().uid();
    let stranger = Caller::builder(place.socket()).expect_peer_uid(us + 1);
    let refused = stranger.build().unwrap();
    let refused = refused.call("echo", "", Duration::from_millis(50));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, CallError::NotConnected { .. }));
    assert!(refused.source().unwrap().to_string().contains("uid"));
    assert_eq!(responder.figures().refused, 0);
    let friend = Caller::builder(place.socket()).expect_peer_uid(us);
    let friend = friend.build().unwrap();
    assert_eq!(friend.call("echo", "x", PATIENCE).unwrap(), b"x");
    let nobody_knows = Caller::builder("tcp:127.0.0.1:9").expect_peer_uid(us);
    assert!(nobody_knows.build().is_err());
    stop(responder);
}
