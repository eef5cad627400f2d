//! A connection that is lost ends its calls with what is known of them.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use uds_ipc::calls::{CallError, Responder};

use super::{Gate, LONG, PATIENCE, Place, answer, caller, responder, stop, strangers, wait_until};

#[test]
fn a_lost_connection_ends_every_open_call_as_unknown() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let caller = caller(&place.socket());
    thread::scope(|scope| {
        let calls: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| caller.call("m", "", LONG)))
            .collect();
        let (mut stream, _) = listener.accept().unwrap();
        assert_eq!(strangers::calls(&mut stream, 5).len(), 5);
        drop((stream, listener));
        for call in calls {
            let error = call.join().unwrap().unwrap_err();
            assert!(
                matches!(error, CallError::Lost { sent: true, .. }),
                "{error:?}"
            );
            assert!(error.may_have_been_done());
        }
    });
}

#[test]
fn nothing_is_sent_twice_after_a_loss() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let caller = caller(&place.socket());
    let waiting = caller.clone();
    let lost = thread::spawn(move || waiting.call("first", "", LONG));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(strangers::calls(&mut stream, 1), [(1, "first".to_owned())]);
    drop(stream);
    assert!(lost.join().unwrap().unwrap_err().may_have_been_done());
    let again = thread::spawn(move || caller.call("second", "", LONG));
    let (mut stream, _) = listener.accept().unwrap();
    // The next is the new call, and its id is not one that was used.
    assert_eq!(strangers::calls(&mut stream, 1), [(2, "second".to_owned())]);
    drop(stream);
    assert!(again.join().unwrap().is_err());
}

#[test]
fn a_responder_that_was_restarted_is_called_again_without_an_error() {
    let place = Place::new();
    let caller = caller(&place.socket());
    for round in 1..=3 {
        let responder = responder(&place.socket(), answer);
        assert_eq!(caller.call("echo", "x", PATIENCE).unwrap(), b"x");
        assert_eq!(caller.figures().connects, round);
        stop(responder);
    }
}

#[test]
fn the_handler_of_a_caller_that_has_gone_is_told() {
    let place = Place::new();
    let (sender, told) = mpsc::channel();
    let responder = responder(&place.socket(), move |_, reply| {
        wait_until("it is cancelled", || reply.is_cancelled());
        sender.send(reply.send("nobody").is_err()).unwrap();
    });
    let mut stream = strangers::connect(&place.socket());
    stream.write_all(&strangers::call(1, "m")).unwrap();
    wait_until("it is in hand", || responder.figures().in_hand == 1);
    drop(stream);
    assert!(told.recv_timeout(PATIENCE).unwrap());
    wait_until("the connection is gone", || {
        responder.connections().is_empty()
    });
    stop(responder);
}

#[test]
fn a_notification_is_done_though_its_sender_has_gone() {
    let place = Place::new();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let gate = Gate::new();
    let held = gate.clone();
    let responder = responder(&place.socket(), move |_, reply| {
        held.pass();
        assert!(!reply.is_cancelled());
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let notes: Vec<_> = (0..10).flat_map(|_| strangers::call(0, "note")).collect();
    let mut stream = strangers::connect(&place.socket());
    stream.write_all(&notes).unwrap();
    wait_until("they have come", || responder.figures().in_hand == 10);
    drop(stream);
    wait_until("it has gone", || responder.connections().is_empty());
    gate.open();
    wait_until("all are done", || done.load(Ordering::SeqCst) == 10);
    stop(responder);
}

/// All of it is there when the socket is first looked at: what was sent, and the end behind it.
#[test]
fn a_peer_that_calls_and_goes_at_once_is_known_to_have_gone() {
    let place = Place::new();
    let bound = Responder::builder(place.socket()).bind().unwrap();
    let mut stream = strangers::connect(&place.socket());
    stream.write_all(&strangers::call(1, "m")).unwrap();
    drop(stream);
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    let responder = bound.start(move |_, reply| {
        wait_until("it is cancelled", || reply.is_cancelled());
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let responder = responder.unwrap();
    wait_until("it was handled", || handled.load(Ordering::SeqCst) == 1);
    wait_until("it has gone", || responder.connections().is_empty());
    stop(responder);
}
