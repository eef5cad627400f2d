//! `uds_ipc::calls`.

use std::path::Path;

use uds_ipc::calls::{AsyncCaller, Caller, Responder};

use crate::process::Order;
use crate::work::{self, Awaited, Blocking, OPEN, TIMEOUT, Work};

/// The method, as short as the name of one would be.
const METHOD: &str = "echo";

pub(super) fn answer(path: &Path) -> Responder {
    Responder::builder(path)
        .max_connections(20_000)
        .bind()
        .expect("a socket")
        .start(|call, reply| drop(reply.send(call.body())))
        .expect("a responder")
}

impl Blocking for Caller {
    fn connect(path: &Path) -> Self {
        Self::new(path).expect("a caller")
    }

    fn call(&mut self, body: &[u8]) {
        let answer = Self::call(self, METHOD, body, TIMEOUT).expect("an answer");
        assert_eq!(answer.len(), body.len());
    }
}

/// The caller that is awaited.
#[derive(Clone, Debug)]
pub(super) struct Async(AsyncCaller);

impl Awaited for Async {
    async fn connect(path: &Path) -> Self {
        Self(AsyncCaller::new(Caller::connect(path)).expect("a thread"))
    }

    async fn call(&mut self, body: &[u8]) {
        let answer = self.0.call(METHOD, body, TIMEOUT).await;
        assert_eq!(answer.expect("an answer").len(), body.len());
    }
}

pub(super) fn call(order: &Order, path: &Path) {
    let body = vec![7; order.len];
    let mut caller = Caller::connect(path);
    match order.work {
        Some(Work::Batch) => work::repeat(order, OPEN, || {
            let calls = (0..OPEN).map(|_| (METHOD, &body));
            for answer in caller.call_batch(calls, TIMEOUT) {
                assert_eq!(answer.expect("an answer").len(), body.len());
            }
        }),
        Some(Work::Threads) => work::threads(order, || caller.clone()),
        Some(_) => work::repeat(order, 1, || Blocking::call(&mut caller, &body)),
        None => work::idle::<Caller>(order, path),
    }
}
