//! The async caller, with any runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use uds_ipc::calls::{AsyncCaller, CallError};

use super::{Gate, LONG, PATIENCE, Place, answer, caller, holding, responder, stop, wait_until};

#[test]
fn many_calls_are_awaited_at_once() {
    let place = Place::new();
    let responder = responder(&place.socket(), answer);
    let blocking = caller(&place.socket());
    let caller = AsyncCaller::new(blocking.clone()).unwrap();
    futures_executor::block_on(async {
        let calls = (0..200u8).map(|number| caller.call("echo", [number], PATIENCE));
        for (number, answer) in join_all(calls).await.into_iter().enumerate() {
            assert_eq!(usize::from(answer.unwrap()[0]), number);
        }
        caller.notify("echo", "", PATIENCE).await.unwrap();
        let answers = caller.call_many("spell", "abc", PATIENCE).unwrap();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
        assert_eq!(answers, [b"a", b"b", b"c"]);
        let short = caller.call("none", "", PATIENCE).await.unwrap_err();
        assert!(matches!(short, CallError::Failed { .. }));
    });
    // Beside it, and when it has gone.
    assert_eq!(blocking.call("echo", "x", PATIENCE).unwrap(), b"x");
    assert!(
        AsyncCaller::new(blocking.clone()).is_err(),
        "it has its thread already"
    );
    drop(caller);
    assert_eq!(blocking.call("echo", "y", PATIENCE).unwrap(), b"y");
    drop(AsyncCaller::new(blocking).unwrap());
    stop(responder);
}

#[test]
fn a_future_that_is_dropped_cancels_its_call() {
    let place = Place::new();
    let responder = responder(&place.socket(), |_, reply| {
        wait_until("it is cancelled", || reply.is_cancelled());
    });
    let caller = AsyncCaller::new(caller(&place.socket())).unwrap();
    let mut call = Box::pin(caller.call("m", "", LONG));
    assert!(call.as_mut().now_or_never().is_none());
    wait_until("it is in hand", || responder.figures().in_hand == 1);
    drop(call);
    wait_until("it is over", || responder.figures().in_hand == 0);
    stop(responder);
}

#[test]
fn the_time_of_an_awaited_call_ends() {
    let place = Place::new();
    let gate = Gate::new();
    let held = gate.clone();
    let responder = responder(&place.socket(), move |_, _| held.pass());
    let caller = AsyncCaller::new(caller(&place.socket())).unwrap();
    let error = futures_executor::block_on(caller.call("m", "", Duration::from_millis(20)));
    assert!(matches!(error, Err(CallError::Timeout { sent: true, .. })));
    gate.open();
    stop(responder);
}

/// A runtime whose wakers panic.
struct Bomb(AtomicUsize);

impl Wake for Bomb {
    #[expect(clippy::panic, reason = "that is what it is for")]
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("as asked");
    }
}

#[test]
fn a_waker_that_panics_ends_no_thread_of_ours() {
    let place = Place::new();
    let (responder, gate) = holding(&place.socket(), |method| method == "hold");
    let caller = AsyncCaller::new(caller(&place.socket())).unwrap();
    let bomb = Arc::new(Bomb(AtomicUsize::new(0)));
    let mut call = Box::pin(caller.call("hold", "", LONG));
    let waker = Waker::from(Arc::clone(&bomb));
    let mut context = Context::from_waker(&waker);
    assert!(call.as_mut().poll(&mut context).is_pending());
    gate.open();
    wait_until("it is woken", || bomb.0.load(Ordering::SeqCst) == 1);
    assert_eq!(call.now_or_never().unwrap().unwrap(), b"");
    let answer = futures_executor::block_on(caller.call("echo", "x", PATIENCE));
    assert_eq!(answer.unwrap(), b"x");
    drop(caller);
    stop(responder);
}
