//! What a call brings.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use uds_ipc::calls::{CallError, Reply};

use super::{PATIENCE, Place, answer, caller, responder, stop, wait_until};

#[test]
fn an_answer_is_that_of_its_call() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    assert_eq!(caller.call("echo", "hi", PATIENCE).unwrap(), b"hi");
    assert_eq!(caller.call("echo", "", PATIENCE).unwrap(), b"");
    let long = vec![7; 1_000_000];
    assert_eq!(caller.call("echo", &long, PATIENCE).unwrap(), long);
    let figures = caller.figures();
    assert_eq!((figures.open, figures.connects, figures.late), (0, 1, 0));
    stop(responder);
}

#[test]
fn an_error_of_the_handler_comes_in_its_words() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    let error = caller.call("fail", "", PATIENCE).unwrap_err();
    assert!(matches!(&error, CallError::Failed { error, .. } if error == "as asked"));
    assert!(error.may_have_been_done());
    assert_eq!(error.to_string(), "the call failed: as asked");
    stop(responder);
}

#[test]
fn a_handler_that_ends_without_an_answer_leaves_nobody_waiting() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    for method in ["drop", "panic"] {
        let error = caller.call(method, "", PATIENCE).unwrap_err();
        assert_eq!(error, CallError::Unanswered);
        assert!(error.may_have_been_done());
    }
    assert_eq!(caller.call("echo", "on", PATIENCE).unwrap(), b"on");
    wait_until("the panic is counted", || responder.figures().panics == 1);
    stop(responder);
}

#[test]
fn answers_come_in_any_order_to_the_threads_that_asked() {
    let place = Place::new();
    let kept: &Mutex<Vec<(Vec<u8>, Reply)>> = Box::leak(Box::default());
    let responder = responder(&place.socket(), |call, reply| {
        kept.lock().push((call.body().to_vec(), reply));
    });
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20u8)
            .map(|number| {
                let caller = &caller;
                scope.spawn(move || (number, caller.call("keep", [number], PATIENCE).unwrap()))
            })
            .collect();
        wait_until("all calls are there", || kept.lock().len() == 20);
        for info in responder.connections() {
            assert_eq!(info.open.len(), 20);
            assert!(
                info.open
                    .iter()
                    .all(|open| open.method == "keep" && !open.is_cancelled)
            );
        }
        // The last first, from a thread of this test.
        for (body, reply) in kept.lock().drain(..).rev() {
            reply.send(body).unwrap();
        }
        for thread in threads {
            let (number, answer) = thread.join().unwrap();
            assert_eq!(answer, [number]);
        }
    });
    assert_eq!(responder.connections().len(), 1, "one connection for all");
    assert_eq!(responder.connections()[0].answered, 20);
    stop(responder);
}

#[test]
fn many_threads_share_a_caller_and_none_waits_for_ever() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        for thread in 0..16u32 {
            let caller = caller.clone();
            scope.spawn(move || {
                for number in 0..500u32 {
                    let body = [thread.to_le_bytes(), number.to_le_bytes()].concat();
                    assert_eq!(caller.call("echo", &body, PATIENCE).unwrap(), body);
                }
            });
        }
    });
    let figures = caller.figures();
    assert_eq!((figures.open, figures.connects, figures.late), (0, 1, 0));
    stop(responder);
}

#[test]
fn a_notification_is_done_and_gets_no_answer() {
    let place = Place::new();
    let (sender, came) = mpsc::channel();
    let responder = responder(&place.socket(), move |call, reply| {
        assert!(call.is_notification() && !reply.is_wanted() && !reply.is_cancelled());
        sender.send(call.body().to_vec()).unwrap();
        reply.send("nobody reads this").unwrap();
    });
    let caller = caller(&place.socket());
    caller.notify("log-level", "debug", PATIENCE).unwrap();
    assert_eq!(came.recv_timeout(PATIENCE).unwrap(), b"debug");
    assert_eq!(caller.figures().open, 0);
    stop(responder);
}

#[test]
fn several_answers_come_in_order_and_end() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    let mut answers = caller.call_many("spell", "abc", PATIENCE).unwrap();
    for letter in [b"a", b"b", b"c"] {
        assert_eq!(answers.next().unwrap().unwrap(), letter);
    }
    assert!(answers.next().is_none() && answers.next().is_none());
    // One whole answer is an answer of a call of many too.
    let answers: Vec<_> = caller.call_many("echo", "x", PATIENCE).unwrap().collect();
    assert_eq!(answers, [Ok(b"x".to_vec())]);
    let failed: Vec<_> = caller.call_many("fail", "", PATIENCE).unwrap().collect();
    assert!(matches!(&failed[..], [Err(CallError::Failed { .. })]));
    let error = caller.call("spell", "ab", PATIENCE).unwrap_err();
    assert_eq!(error, CallError::SeveralAnswers);
    assert_eq!(caller.call("echo", "on", PATIENCE).unwrap(), b"on");
    stop(responder);
}

#[test]
fn a_dropped_iterator_cancels_its_call() {
    let place = Place::new();
    let (sender, ended) = mpsc::channel();
    let responder = responder(&place.socket(), move |_, reply| {
        while reply.send_part("on and on").is_ok() {}
        sender.send(reply.is_cancelled()).unwrap();
    });
    let caller = caller(&place.socket());
    let mut answers = caller.call_many("endless", "", super::LONG).unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), b"on and on");
    drop(answers);
    // What fills the socket is read while another call waits: then the word gets through.
    let other = thread::spawn(move || caller.call("endless", "", PATIENCE));
    assert!(ended.recv_timeout(PATIENCE).unwrap());
    assert_eq!(other.join().unwrap(), Err(CallError::SeveralAnswers));
    assert!(ended.recv_timeout(PATIENCE).unwrap());
    stop(responder);
}

#[test]
fn a_handler_that_sends_as_long_as_it_is_heard_ends_at_once_for_a_notification() {
    let place = Place::new();
    let (sender, ended) = mpsc::channel();
    let responder = responder(&place.socket(), move |_, reply| {
        while reply.send_part("on and on").is_ok() {}
        sender.send(()).unwrap();
    });
    let caller = caller(&place.socket());
    caller.notify("endless", "", PATIENCE).unwrap();
    ended.recv_timeout(PATIENCE).unwrap();
    stop(responder);
}

#[test]
fn a_batch_has_its_results_in_order() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let caller = caller(&place.socket());
    let numbers: Vec<_> = (0..300u32).map(|number| number.to_string()).collect();
    let calls = numbers.iter().map(|number| ("echo", number));
    let answers = caller.call_batch(calls, PATIENCE);
    for (number, answer) in numbers.iter().zip(&answers) {
        assert_eq!(answer.as_deref(), Ok(number.as_bytes()));
    }
    assert_eq!(answers.len(), 300);
    let mixed = caller.call_batch([("echo", "a"), ("fail", ""), ("echo", "b")], PATIENCE);
    assert!(matches!(
        &mixed[..],
        [Ok(_), Err(CallError::Failed { .. }), Ok(_)]
    ));
    stop(responder);
}

#[test]
fn the_handler_knows_who_calls() {
    let place = Place::new();
    let responder = responder(&place.socket(), |call, reply| {
        let credentials = call.peer().identity.credentials().unwrap();
        let deadline = call.deadline().is_some();
        let _ = reply.send(format!(
            "{} {:?} {deadline}",
            credentials.uid, credentials.pid
        ));
    });
    let caller = caller(&place.socket());
    let us = format!("{} {:?}", nix::unistd::geteuid(), Some(std::process::id()));
    let answer = String::from_utf8(caller.call("who", "", PATIENCE).unwrap()).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(answer, format!("{us} true"));
    }
    let answer = caller.call("who", "", Duration::MAX).unwrap();
    assert!(
        String::from_utf8(answer).unwrap().ends_with("false"),
        "no deadline"
    );
    stop(responder);
}

#[test]
fn callers_over_tcp_and_by_name_are_served_too() {
    let responder = uds_ipc::calls::Responder::builder("tcp:127.0.0.1:0")
        .allow(|_, method| method == "echo")
        .bind()
        .unwrap()
        .start(answer)
        .unwrap();
    let caller = uds_ipc::calls::Caller::new(responder.address()).unwrap();
    assert_eq!(caller.call("echo", "far", PATIENCE).unwrap(), b"far");
    stop(responder);
}

/// A set of all numbers: no answer may be lost, or come twice.
#[test]
fn callers_side_by_side_get_their_own_answers() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let all = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for number in 0..30u8 {
            let (all, path) = (&all, place.socket());
            scope.spawn(move || {
                let caller = caller(&path);
                let batch = (0..50u8).map(|call| ("echo", [number, call]));
                for answer in caller.call_batch(batch, PATIENCE) {
                    assert!(all.lock().insert(answer.unwrap()));
                }
            });
        }
    });
    assert_eq!(all.lock().len(), 30 * 50);
    stop(responder);
}

/// One thread may write what another waits for.
#[test]
fn notifications_of_several_threads_return_once_they_are_written() {
    const THREADS: usize = 3;
    let place = Place::new();
    let responder = responder(&place.socket(), |_, _| ());
    let caller = caller(&place.socket());
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..THREADS {
        let (caller, done) = (caller.clone(), Arc::clone(&done));
        thread::spawn(move || {
            for _ in 0..3_000 {
                caller.notify("note", "", Duration::MAX).unwrap();
            }
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    wait_until("all are written", || done.load(Ordering::SeqCst) == THREADS);
    stop(responder);
}
