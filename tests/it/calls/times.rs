//! Times: a call that takes too long is over at both ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uds_ipc::calls::CallError;

use super::{Gate, LONG, PATIENCE, Place, answer, caller, responder, stop, wait_until};

#[test]
fn a_time_that_is_over_cancels_the_call_at_the_other_end() {
    let place = Place::new();
    let (sender, cancelled) = mpsc::channel();
    let responder = responder(&place.socket(), move |call, reply| {
        if call.method() == "echo" {
            let _ = reply.send(call.body());
            return;
        }
        wait_until("it is cancelled", || reply.is_cancelled());
        assert!(!reply.is_wanted());
        sender.send(reply.send("too late").is_err()).unwrap();
    });
    let caller = caller(&place.socket());
    let error = caller
        .call("slow", "", Duration::from_millis(20))
        .unwrap_err();
    assert!(matches!(error, CallError::Timeout { sent: true, .. }));
    assert!(error.may_have_been_done());
    assert!(cancelled.recv_timeout(PATIENCE).unwrap());
    // The connection goes on, and nothing that was too late is taken for an answer.
    assert_eq!(caller.call("echo", "x", PATIENCE).unwrap(), b"x");
    assert_eq!(caller.figures().connects, 1);
    stop(responder);
}

/// The call's own time is long: only the word tells the handler.
#[test]
fn a_cancelled_call_is_told_by_a_word_though_its_time_is_not_over() {
    let place = Place::new();
    let (sender, cancelled) = mpsc::channel();
    let responder = responder(&place.socket(), move |_, reply| {
        wait_until("it is cancelled", || reply.is_cancelled());
        sender.send(()).unwrap();
    });
    let caller = caller(&place.socket());
    let answers = caller.call_many("slow", "", LONG).unwrap();
    wait_until("it is in hand", || responder.figures().in_hand == 1);
    drop(answers);
    cancelled.recv_timeout(PATIENCE).unwrap();
    stop(responder);
}

#[test]
fn where_nobody_listens_the_call_was_not_done() {
    let place = Place::new();
    let caller = caller(&place.socket());
    let error = caller
        .call("echo", "", Duration::from_millis(50))
        .unwrap_err();
    assert!(
        matches!(&error, CallError::NotConnected { .. }),
        "{error:?}"
    );
    assert!(!error.may_have_been_done());
    let error = caller
        .notify("echo", "", Duration::from_millis(50))
        .unwrap_err();
    assert!(!error.may_have_been_done());
    assert_eq!(caller.figures().open, 0);
}

#[test]
fn a_responder_that_comes_in_time_is_found() {
    let place = Place::new();
    let path = place.socket();
    let calling = std::thread::spawn(move || caller(&path).call("echo", "x", PATIENCE));
    wait_until("it has begun", || !calling.is_finished());
    let responder = responder(&place.socket(), answer);
    assert_eq!(calling.join().unwrap().unwrap(), b"x");
    stop(responder);
}

#[test]
fn a_time_is_over_though_another_thread_waits_longer() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = responder(&place.socket(), move |_, reply| {
        held.pass();
        let _ = reply.send("");
    });
    let caller = caller(&place.socket());
    std::thread::scope(|scope| {
        let long = scope.spawn(|| caller.call("long", "", LONG));
        wait_until("it waits", || responder.figures().in_hand == 1);
        let begun = Instant::now();
        let short = caller
            .call("short", "", Duration::from_millis(30))
            .unwrap_err();
        assert!(matches!(short, CallError::Timeout { sent: true, .. }));
        assert!(begun.elapsed() >= Duration::from_millis(30));
        gate.open();
        long.join().unwrap().unwrap();
    });
    stop(responder);
}

#[test]
fn answers_that_came_in_time_are_there_though_they_are_taken_late() {
    let place = Place::new();
    let sent = Arc::new(AtomicBool::new(false));
    let is_sent = Arc::clone(&sent);
    let responder = responder(&place.socket(), move |_, reply| {
        for _ in 0..10 {
            reply.send_part([7; 10_000]).unwrap();
        }
        reply.send("the last").unwrap();
        is_sent.store(true, Ordering::SeqCst);
    });
    let caller = caller(&place.socket());
    let time = Duration::from_millis(300);
    let begun = Instant::now();
    let answers = caller.call_many("m", "", time).unwrap();
    wait_until("they are in the socket", || sent.load(Ordering::SeqCst));
    let was_in_time = begun.elapsed() < time;
    wait_until("the time is over", || begun.elapsed() > time);
    let answers: Vec<_> = answers.collect();
    if was_in_time {
        assert_eq!(answers.len(), 11);
        assert!(answers.iter().all(Result::is_ok));
    }
    stop(responder);
}
