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

use uds_ipc::calls::{Call, Caller, Reply, Responder};

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

pub(crate) fn caller(path: &Path) -> Caller {
    Caller::new(path).unwrap()
}

pub(crate) fn stop(responder: Responder) {
    let report = responder.shutdown(PATIENCE).unwrap();
    assert_eq!((report.left, report.figures.in_hand), (0, 0));
    assert_eq!((report.figures.connections, report.figures.threads), (0, 0));
}

/// Longer than any test has patience for.
pub(crate) const LONG: Duration = Duration::from_secs(600);
