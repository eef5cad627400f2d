//! The planned stop.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use uds_ipc::calls::{CallError, Refusal};
use uds_ipc::error::ShutdownError;

use super::{Gate, LONG, PATIENCE, Place, answer, caller, holding, responder, stop, wait_until};

#[test]
fn a_stop_answers_what_is_in_hand_and_refuses_new_calls_with_a_word() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |_| true);
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let in_hand = scope.spawn(|| caller.call("m", "in hand", LONG));
        wait_until("it is in hand", || responder.figures().in_hand == 1);
        let stopping = scope.spawn(|| responder.shutdown(PATIENCE).unwrap());
        wait_until("new calls are refused", || {
            // The first may have come before the stop: its time is short.
            match caller.call("m", "new", Duration::from_millis(20)) {
                Err(CallError::Refused { refusal, .. }) => refusal == Refusal::Stopping,
                Err(CallError::Timeout { .. }) => false,
                other => panic!("{other:?}"),
            }
        });
        assert!(!in_hand.is_finished());
        gate.open();
        assert_eq!(in_hand.join().unwrap().unwrap(), b"in hand");
        let report = stopping.join().unwrap();
        assert_eq!((report.left, report.figures.connections), (0, 0));
        assert!(report.figures.refused >= 1);
    });
    assert!(
        place.files().iter().all(|file| file != "s"),
        "{:?}",
        place.files()
    );
}

#[test]
fn a_stop_whose_time_is_over_tells_how_many_calls_are_left() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = responder(&place.socket(), move |_, reply| {
        held.pass();
        assert!(reply.is_cancelled());
    });
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let left = scope.spawn(|| caller.call("m", "", LONG));
        wait_until("it is in hand", || responder.figures().in_hand == 1);
        let report = responder.shutdown(Duration::from_millis(20)).unwrap();
        assert_eq!(report.left, 1);
        let error = left.join().unwrap().unwrap_err();
        assert!(
            matches!(error, CallError::Lost { sent: true, .. }),
            "{error:?}"
        );
    });
    gate.open();
}

#[test]
fn a_handler_cannot_stop_its_own_responder() {
    let place = Place::new();
    let own = Arc::new(parking_lot::Mutex::new(None));
    let taken = Arc::clone(&own);
    let bound = responder(&place.socket(), move |_, reply| {
        let responder: uds_ipc::calls::Responder = taken.lock().take().unwrap();
        let refused = responder.shutdown(PATIENCE).unwrap_err();
        assert_eq!(refused, ShutdownError::InCallback);
        let _ = reply.send("refused");
    });
    *own.lock() = Some(bound);
    // The responder is dropped within: at once, so that its answer may be lost with the connection.
    let _ = caller(&place.socket()).call("m", "", PATIENCE);
    wait_until("its socket is gone", || {
        !place.files().contains(&"s".to_owned())
    });
}

#[test]
fn a_dropped_responder_leaves_no_thread_and_no_file() {
    let place = Place::new();
    let dropped = responder(&place.socket(), answer);
    assert!(caller(&place.socket()).call("echo", "", PATIENCE).is_ok());
    drop(dropped);
    assert!(
        !place.files().contains(&"s".to_owned()),
        "{:?}",
        place.files()
    );
    // The path is free again.
    stop(responder(&place.socket(), answer));
}

#[test]
fn a_feed_sees_that_the_responder_stops_and_everybody_waits_for_the_same_end() {
    let place = Place::new();
    let responder = responder(&place.socket(), |_, reply| {
        while !reply.is_stopping() && reply.send_part("x").is_ok() {}
        let _ = reply.send("the last");
    });
    let caller = caller(&place.socket());
    let mut answers = caller.call_many("feed", "", Duration::MAX).unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), b"x");
    thread::scope(|scope| {
        let stops: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| responder.shutdown(LONG).unwrap()))
            .collect();
        assert_eq!(answers.last().unwrap().unwrap(), b"the last");
        for stop in stops {
            assert_eq!(stop.join().unwrap().left, 0);
        }
    });
}
