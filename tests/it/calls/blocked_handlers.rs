//! A handler that blocks holds up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Gate, LONG, PATIENCE, Place, caller, holding, responder, stop, wait_until};

#[test]
fn a_handler_that_blocks_holds_up_no_call_of_any_connection() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |method| method == "block");
    let one = caller(&place.socket());
    thread::scope(|scope| {
        let blocked: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| one.call("block", "b", LONG).unwrap()))
            .collect();
        wait_until("all of them block", || responder.figures().in_hand == 10);
        // On the same connection, and on another.
        for caller in [one.clone(), caller(&place.socket())] {
            for _ in 0..20 {
                assert_eq!(caller.call("echo", "e", PATIENCE).unwrap(), b"e");
            }
        }
        gate.open();
        for blocked in blocked {
            assert_eq!(blocked.join().unwrap(), b"b");
        }
    });
    stop(responder);
}

#[test]
fn what_came_with_a_call_that_blocks_is_answered_meanwhile() {
    // One write, one read: in each place of it a call that blocks.
    for blocking in 0..8 {
        let place = Place::new();
        let gate = Gate::new();
        let held = gate.clone();
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let responder = responder(&place.socket(), move |call, reply| {
            if call.method() == "block" {
                held.pass();
            }
            let _ = reply.send(call.body());
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let caller = caller(&place.socket());
        let methods = (0..8).map(|at| (if at == blocking { "block" } else { "echo" }, "x"));
        thread::scope(|scope| {
            let batch = scope.spawn(|| caller.call_batch(methods, LONG));
            wait_until("the others are answered", || {
                done.load(Ordering::SeqCst) == 7
            });
            let connections = responder.connections();
            assert_eq!(
                connections[0].open.len(),
                1,
                "what is left is the one that blocks"
            );
            gate.open();
            assert!(batch.join().unwrap().iter().all(Result::is_ok));
        });
        stop(responder);
    }
}

#[test]
fn answers_before_a_call_that_blocks_are_with_their_caller() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |method| method == "block");
    // A client that writes by hand, since a batch waits for all.
    let calls: Vec<_> = (1..=40)
        .flat_map(|id| super::strangers::call(id, if id == 40 { "block" } else { "echo" }))
        .collect();
    let mut stream = super::strangers::connect(&place.socket());
    std::io::Write::write_all(&mut stream, &calls).unwrap();
    let mut answered = super::strangers::answers(&mut stream, 39);
    answered.sort_unstable();
    assert_eq!(answered, (1..=39).collect::<Vec<_>>());
    gate.open();
    assert_eq!(super::strangers::answers(&mut stream, 1), [40]);
    stop(responder);
}

#[test]
fn an_answer_is_with_its_caller_though_its_handler_goes_on() {
    let place = Place::new();
    let second = Arc::new(AtomicUsize::new(0));
    let came = Arc::clone(&second);
    let gate = Gate::new();
    let held = gate.clone();
    let responder = uds_ipc::calls::Responder::builder(place.socket())
        .max_threads(2)
        .bind()
        .unwrap()
        .start(move |call, reply| {
            if call.method() == "first" {
                // The thread that was woken for the others has come, and has one of them.
                wait_until("the second is in hand", || came.load(Ordering::SeqCst) > 0);
                let _ = reply.send(call.body());
                held.pass();
            } else {
                came.fetch_add(1, Ordering::SeqCst);
                held.pass();
                let _ = reply.send(call.body());
            }
        })
        .unwrap();
    let calls: Vec<_> = [(1, "first"), (2, "second"), (3, "third")]
        .into_iter()
        .flat_map(|(id, method)| super::strangers::call(id, method))
        .collect();
    let mut stream = super::strangers::connect(&place.socket());
    std::io::Write::write_all(&mut stream, &calls).unwrap();
    assert_eq!(super::strangers::answers(&mut stream, 1), [1]);
    gate.open();
    let mut others = super::strangers::answers(&mut stream, 2);
    others.sort_unstable();
    assert_eq!(others, [2, 3]);
    stop(responder);
}

#[test]
fn a_call_is_answered_though_who_drove_for_it_does_something_else() {
    let place = Place::new();
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        // It drives until its call is sent, and does not wait for answers then.
        let driving = scope.spawn(|| caller.call_many("echo", "many", LONG).unwrap());
        wait_until("it is open", || caller.figures().open == 1);
        let waiting = scope.spawn(|| caller.call("echo", "one", PATIENCE));
        wait_until("both are open", || caller.figures().open == 2);
        let responder = responder(&place.socket(), super::answer);
        let answers = driving.join().unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), b"one");
        drop(answers);
        stop(responder);
    });
}

#[test]
fn with_as_many_threads_as_may_be_the_next_call_waits_for_one() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = uds_ipc::calls::Responder::builder(place.socket())
        .max_threads(3)
        .bind()
        .unwrap()
        .start(move |call, reply| {
            if call.method() == "block" {
                held.pass();
            }
            let _ = reply.send(call.body());
        })
        .unwrap();
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let calls = (0..7).map(|_| ("block", "b"));
        let blocked = scope.spawn(|| caller.call_batch(calls, LONG));
        wait_until("they are in hand", || responder.figures().in_hand == 7);
        assert!(responder.figures().threads <= 3);
        gate.open();
        assert!(blocked.join().unwrap().iter().all(Result::is_ok));
    });
    assert_eq!(caller.call("echo", "e", PATIENCE).unwrap(), b"e");
    stop(responder);
}
