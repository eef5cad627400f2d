//! Who may call what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use uds_ipc::calls::{CallError, Refusal, Responder};

use super::{PATIENCE, Place, answer, caller, stop};

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
    let caller = uds_ipc::calls::Caller::new(responder.address()).unwrap();
    assert!(is_not_allowed(
        &caller.call("echo", "", PATIENCE).unwrap_err()
    ));
    stop(responder);
}
