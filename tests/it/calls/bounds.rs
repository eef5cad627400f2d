//! What is above a bound is refused at once, and changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use uds_ipc::calls::{CallError, Caller, Refusal, Responder};
use uds_ipc::error::{BindError, StartError};

use super::{
    Gate, LONG, PATIENCE, Place, answer, assert_lost_for_a_fault, caller, holding, responder, stop,
    wait_until,
};

#[test]
fn a_call_above_the_callers_bounds_is_not_sent() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |_| true);
    let caller = Caller::builder(place.socket())
        .max_call_len(100)
        .max_reply_len(100)
        .max_bytes_in_flight(800)
        .build()
        .unwrap();
    let too_large = caller.call("m", [0; 101], PATIENCE).unwrap_err();
    assert!(
        matches!(too_large, CallError::TooLarge { limit: 100, .. }),
        "{too_large:?}"
    );
    thread::scope(|scope| {
        let one = scope.spawn(|| caller.call("m", [0; 80], LONG));
        wait_until("it is open", || caller.figures().open == 1);
        let two = scope.spawn(|| caller.call("m", "", LONG));
        wait_until("it is open", || caller.figures().open == 2);
        // Each counts for more than its bytes.
        let refused = caller.call("m", [0; 80], PATIENCE).unwrap_err();
        assert!(matches!(
            refused,
            CallError::TooManyBytes {
                limit: 800,
                sent: false,
                ..
            }
        ));
        assert!(!refused.may_have_been_done());
        gate.open();
        assert!(one.join().unwrap().is_ok() && two.join().unwrap().is_ok());
    });
    stop(responder);
}

#[test]
fn no_more_calls_are_open_than_may_be() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |_| true);
    let caller = Caller::builder(place.socket()).max_open_calls(2);
    let caller = caller.build().unwrap();
    thread::scope(|scope| {
        let two = scope.spawn(|| caller.call_batch([("m", ""), ("m", "")], LONG));
        wait_until("they are open", || caller.figures().open == 2);
        let refused = caller.call("m", "", PATIENCE).unwrap_err();
        assert!(matches!(refused, CallError::TooManyOpen { limit: 2, .. }));
        assert!(!refused.may_have_been_done());
        gate.open();
        assert!(two.join().unwrap().iter().all(Result::is_ok));
    });
    stop(responder);
}

#[test]
fn calls_and_answers_without_bytes_hold_something_too() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = Responder::builder(place.socket())
        .max_call_len(1000)
        .max_bytes_in_flight(2000)
        .bind()
        .unwrap()
        .start(move |call, reply| {
            if call.method() == "endless" {
                while reply.send_part("").is_ok() {}
            } else {
                held.pass();
                let _ = reply.send("");
            }
        })
        .unwrap();
    let caller = Caller::builder(place.socket())
        .max_call_len(1000)
        .max_reply_len(1000)
        .max_bytes_in_flight(20_000)
        .build()
        .unwrap();
    let held = thread::scope(|scope| {
        let calls = scope.spawn(|| caller.call_batch([("m", ""); 60], LONG));
        wait_until("some are refused", || responder.figures().refused > 0);
        wait_until("none is on its way", || {
            responder.figures().refused + responder.figures().in_hand == 60
        });
        let held = responder.figures().in_hand;
        gate.open();
        calls.join().unwrap();
        held
    });
    assert!(held < 20, "{held} calls in 2,000 bytes");
    let answers = caller.call_many("endless", "", PATIENCE).unwrap();
    // Another call reads them.
    wait_until("it is given up", || {
        caller.call("m", "", PATIENCE).unwrap();
        responder.figures().in_hand == 0
    });
    let results: Vec<_> = answers.collect();
    assert!(results.last().unwrap().is_err());
    assert!(results.len() < 100, "{} answers", results.len());
    stop(responder);
}

#[test]
fn a_call_above_the_responders_bounds_is_refused_with_a_word() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = Responder::builder(place.socket())
        .max_open_calls(3)
        .bind()
        .unwrap()
        .start(move |_, reply| {
            held.pass();
            let _ = reply.send("");
        })
        .unwrap();
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let three = scope.spawn(|| caller.call_batch([("a", ""), ("b", ""), ("c", "")], LONG));
        wait_until("they are in hand", || responder.figures().in_hand == 3);
        let refused = caller.call("d", "", PATIENCE).unwrap_err();
        assert!(
            matches!(
                refused,
                CallError::Refused {
                    refusal: Refusal::Busy,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(!refused.may_have_been_done());
        gate.open();
        assert!(three.join().unwrap().iter().all(Result::is_ok));
    });
    assert!(
        caller.call("e", "", PATIENCE).is_ok(),
        "there is room again"
    );
    stop(responder);
}

#[test]
fn an_answer_above_the_responders_bound_fails_its_call_and_no_other() {
    let place = Place::new();
    let responder = Responder::builder(place.socket())
        .max_reply_len(1000)
        .bind()
        .unwrap()
        .start(|call, reply| {
            let len = call.body().len();
            let sent = reply.send(vec![1; len * 100]);
            assert_eq!(sent.is_err(), len > 9);
        })
        .unwrap();
    let caller = caller(&place.socket());
    let error = caller.call("m", [0; 10], PATIENCE).unwrap_err();
    assert!(error.to_string().contains("max_reply_len"), "{error}");
    assert_eq!(caller.call("m", [0; 9], PATIENCE).unwrap().len(), 900);
    assert_eq!(caller.figures().connects, 1);
    stop(responder);
}

#[test]
fn an_answer_above_the_callers_bound_costs_the_connection() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = Caller::builder(place.socket())
        .max_reply_len(500)
        .build()
        .unwrap();
    let error = caller.call("echo", [0; 600], PATIENCE).unwrap_err();
    assert_lost_for_a_fault(&error);
    assert_eq!(caller.call("echo", [0; 400], PATIENCE).unwrap().len(), 400);
    assert_eq!(caller.figures().connects, 2);
    stop(responder);
}

#[test]
fn answers_that_nobody_takes_hold_no_more_than_they_may() {
    let place = Place::new();
    let parts = AtomicUsize::new(0);
    let responder = responder(&place.socket(), move |call, reply| {
        if call.method() == "endless" {
            while reply.send_part([0; 1000]).is_ok() {
                parts.fetch_add(1, Ordering::SeqCst);
            }
        } else {
            // Behind one more than may be held: at that the other call is given up.
            wait_until("some were sent", || parts.load(Ordering::SeqCst) >= 6);
            let _ = reply.send("");
        }
    });
    let caller = Caller::builder(place.socket())
        .max_call_len(1000)
        .max_reply_len(2000)
        .max_bytes_in_flight(7000)
        .build()
        .unwrap();
    let answers = caller.call_many("endless", "", PATIENCE).unwrap();
    // Another call reads them.
    assert!(caller.call("m", "", PATIENCE).is_ok());
    let results: Vec<_> = answers.collect();
    let (end, good) = results.split_last().unwrap();
    assert!(matches!(
        end,
        Err(CallError::TooManyBytes {
            limit: 7000,
            sent: true,
            ..
        })
    ));
    assert_eq!(good.len(), 5);
    assert!(good.iter().all(Result::is_ok));
    // Who reads nothing more hears of nothing: the handler would wait for that, and the stop for
    // it.
    drop(caller);
    stop(responder);
}

#[test]
fn settings_out_of_their_bounds_are_named() {
    let place = Place::new();
    let refused = Caller::builder(place.socket())
        .max_open_calls(0)
        .build()
        .unwrap_err();
    assert!(
        matches!(&refused, StartError::Setting(setting) if setting.setting == "max_open_calls")
    );
    let refused = Caller::builder(place.socket())
        .max_bytes_in_flight(1)
        .build()
        .unwrap_err();
    assert!(
        matches!(&refused, StartError::Setting(setting) if setting.setting == "max_bytes_in_flight")
    );
    let refused = Responder::builder(place.socket())
        .max_threads(1)
        .bind()
        .unwrap_err();
    assert!(matches!(&refused, BindError::Setting(setting) if setting.setting == "max_threads"));
    for nowhere in ["fd:7", "-", "tcp:127.0.0.1:0"] {
        assert!(Caller::new(nowhere).is_err(), "{nowhere}");
    }
    assert!(place.files().is_empty());
}
