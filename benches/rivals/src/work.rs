//! What a calling end does: the same for all ways that can do it.

use std::future::Future;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::measure::{Figures, Measurement, Outcome};
use crate::process::{Order, tell_outcome, wait_for_go};

/// How many calls are open at once.
pub(crate) const OPEN: usize = 64;

/// The time that every call has, whatever the way: it travels with the call, except over the raw
/// socket.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// One call at a time.
    One,
    /// 64 written together, and their answers awaited, again and again.
    Batch,
    /// 64 threads that make one call at a time, through one caller.
    Threads,
    /// 64 tasks that make one call at a time, through one caller.
    Tasks,
}

/// A caller that blocks.
pub(crate) trait Blocking {
    fn connect(path: &Path) -> Self;
    /// Makes a call, whose answer must have the length of its body.
    fn call(&mut self, body: &[u8]);
}

/// A caller that is awaited.
pub(crate) trait Awaited: Clone + Send + Sync + 'static {
    fn connect(path: &Path) -> impl Future<Output = Self> + Send;
    fn call(&mut self, body: &[u8]) -> impl Future<Output = ()> + Send;
}

/// `once`, which makes `each` calls, until all are made.
pub(crate) fn repeat(order: &Order, each: usize, mut once: impl FnMut()) {
    let count = order.calls / each;
    for _ in 0..count.div_ceil(10) {
        once();
    }
    wait_for_go();
    let measurement = Measurement::begin();
    let times = (0..count)
        .map(|_| {
            let begun = Instant::now();
            once();
            begun.elapsed()
        })
        .collect();
    tell_outcome(&measurement.end(times, each));
}

/// From 64 threads, each with a caller of its own that `caller` gives.
pub(crate) fn threads<C: Blocking + Send>(order: &Order, caller: impl Fn() -> C) {
    let body = vec![7; order.len];
    let run = |calls: usize| {
        let callers: Vec<_> = (0..OPEN).map(|_| caller()).collect();
        thread::scope(|scope| {
            let threads: Vec<_> = callers
                .into_iter()
                .map(|mut caller| {
                    let body = &body;
                    scope.spawn(move || {
                        let one = |_| {
                            let begun = Instant::now();
                            caller.call(body);
                            begun.elapsed()
                        };
                        (0..calls / OPEN).map(one).collect::<Vec<_>>()
                    })
                })
                .collect();
            let times = threads.into_iter().map(ScopedJoinHandle::join);
            times.flat_map(|times| times.expect("it calls")).collect()
        })
    };
    let _: Vec<_> = run(order.calls / 10);
    wait_for_go();
    let measurement = Measurement::begin();
    let times = run(order.calls);
    tell_outcome(&measurement.end(times, 1));
}

/// One call of each of so many callers, which then wait.
pub(crate) fn idle<C: Blocking>(order: &Order, path: &Path) {
    let body = vec![7; order.len];
    let connect = || {
        let mut caller = C::connect(path);
        caller.call(&body);
        caller
    };
    let _first = connect();
    wait_for_go();
    let before = Figures::now();
    let mut callers: Vec<_> = (0..order.calls).map(|_| connect()).collect();
    let after = Figures::now();
    let measurement = Measurement::begin();
    let last = callers.last_mut().expect("at least one");
    let one = |_| {
        let begun = Instant::now();
        last.call(&body);
        begun.elapsed()
    };
    let times = (0..order.calls.min(1000)).map(one).collect();
    let outcome = measurement.end(times, 1);
    tell_outcome(&Outcome {
        growth: Some(before.growth(&after)),
        ..outcome
    });
}

/// What an awaited caller can do, on a runtime that is given.
pub(crate) fn run<C: Awaited>(runtime: &Runtime, order: &Order, path: &Path) {
    let (order, path) = (*order, path.to_owned());
    // In a task: in a runtime with several threads it is then on one of them.
    let task = runtime.spawn(async move {
        match order.work {
            Some(Work::Tasks) => tasks::<C>(order, &path).await,
            Some(_) => one::<C>(order, &path).await,
            None => awaited_idle::<C>(order, &path).await,
        }
    });
    runtime.block_on(task).expect("it calls");
}

async fn in_turn<C: Awaited>(mut caller: C, len: usize, calls: usize) -> Vec<Duration> {
    let body = vec![7; len];
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begun = Instant::now();
        caller.call(&body).await;
        times.push(begun.elapsed());
    }
    times
}

async fn one<C: Awaited>(order: Order, path: &Path) {
    let caller = C::connect(path).await;
    in_turn(caller.clone(), order.len, order.calls.div_ceil(10)).await;
    wait_for_go();
    let measurement = Measurement::begin();
    let times = in_turn(caller, order.len, order.calls).await;
    tell_outcome(&measurement.end(times, 1));
}

async fn tasks<C: Awaited>(order: Order, path: &Path) {
    let caller = C::connect(path).await;
    let all = |calls: usize| {
        let tasks: Vec<_> = (0..OPEN)
            .map(|_| tokio::spawn(in_turn(caller.clone(), order.len, calls / OPEN)))
            .collect();
        async move {
            let mut times = Vec::with_capacity(calls);
            for task in tasks {
                times.extend(task.await.expect("it calls"));
            }
            times
        }
    };
    all(order.calls / 10).await;
    wait_for_go();
    let measurement = Measurement::begin();
    let times = all(order.calls).await;
    tell_outcome(&measurement.end(times, 1));
}

async fn awaited_idle<C: Awaited>(order: Order, path: &Path) {
    let body = vec![7; order.len];
    let connect = async || {
        let mut caller = C::connect(path).await;
        caller.call(&body).await;
        caller
    };
    let _first = connect().await;
    wait_for_go();
    let before = Figures::now();
    let mut callers = Vec::with_capacity(order.calls);
    for _ in 0..order.calls {
        callers.push(connect().await);
    }
    let after = Figures::now();
    let measurement = Measurement::begin();
    let last = callers.last().expect("at least one").clone();
    let times = in_turn(last, order.len, order.calls.min(1000)).await;
    let outcome = measurement.end(times, 1);
    tell_outcome(&Outcome {
        growth: Some(before.growth(&after)),
        ..outcome
    });
}
