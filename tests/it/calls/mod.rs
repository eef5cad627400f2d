//! Calls and their answers, over real sockets.

#[cfg(feature = "async")]
mod awaiting;
mod blocked_handlers;
mod bounds;
mod calling;
mod losses;
mod permission;
mod stopping;
mod strangers;
mod times;

use std::path::Path;
use std::time::Duration;

use uds_ipc::calls::{Call, CallError, Caller, Reply, Responder};

pub(crate) use crate::support::{Gate, PATIENCE, Place, wait_until};

/// Answers with the body, or as the method says.
#[expect(
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "that is what a handler is given, and one of them panics"
)]
pub(crate) fn answer(call: Call, reply: Reply) {
    let sent = match call.method() {
        "echo" => reply.send(call.body()),
        "fail" => reply.fail("as asked"),
        "drop" => {
            drop(reply);
            return;
        }
        "panic" => panic!("as asked"),
        "spell" => {
            for byte in call.body() {
                if reply.send_part([*byte]).is_err() {
                    return;
                }
            }
            reply.send("")
        }
        other => reply.fail(format!("no method {other:?}")),
    };
    drop(sent);
}

pub(crate) fn responder(
    path: &Path,
    handle: impl Fn(Call, Reply) + Send + Sync + 'static,
) -> Responder {
    Responder::builder(path)
        .bind()
        .unwrap()
        .start(handle)
        .unwrap()
}

/// Answers with the body, and holds the calls of some methods up until the gate is open.
pub(crate) fn holding(
    path: &Path,
    holds: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> (Responder, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let responder = responder(path, move |call, reply| {
        if holds(call.method()) {
            held.pass();
        }
        let _ = reply.send(call.body());
    });
    (responder, gate)
}

/// The caller has hung up, for what the other end has said.
#[track_caller]
pub(crate) fn assert_lost_for_a_fault(error: &CallError) {
    let is_it = matches!(
        error,
        CallError::Lost {
            sent: true,
            source: Some(_),
            ..
        }
    );
    assert!(is_it, "{error:?}");
}

pub(crate) fn caller(path: &Path) -> Caller {
    Caller::new(path).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "it is over then")]
pub(crate) fn stop(responder: Responder) {
    let report = responder.shutdown(PATIENCE).unwrap();
    assert_eq!((report.left, report.figures.in_hand), (0, 0));
    assert_eq!((report.figures.connections, report.figures.threads), (0, 0));
}

/// Longer than any test has patience for.
pub(crate) const LONG: Duration = Duration::from_secs(600);
