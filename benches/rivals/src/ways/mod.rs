//! The ways that are measured, and which of them can do what.

mod calls;
mod raw;
mod tarpc;
mod tonic;

use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::measure::raise_limit;
use crate::process::{Order, tell_figures};
use crate::work::{self, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// A blocking Unix socket, and a thread for it at each end: nothing has fewer system calls.
    Raw,
    /// `uds_ipc::calls`, whose caller blocks.
    Calls,
    /// The same, whose caller is awaited.
    AsyncCalls(Runs),
    Tonic(Runs),
    Tarpc(Runs),
}

/// The threads of tokio's runtime, at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runs {
    OnOneThread,
    /// As many as there are processors.
    OnAll,
}

impl Way {
    pub(crate) const ALL: &[Self] = &[
        Self::Raw,
        Self::Calls,
        Self::AsyncCalls(Runs::OnOneThread),
        Self::AsyncCalls(Runs::OnAll),
        Self::Tonic(Runs::OnOneThread),
        Self::Tonic(Runs::OnAll),
        Self::Tarpc(Runs::OnOneThread),
        Self::Tarpc(Runs::OnAll),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw socket",
            Self::Calls => "Caller",
            Self::AsyncCalls(Runs::OnOneThread) => "AsyncCaller, one thread",
            Self::AsyncCalls(Runs::OnAll) => "AsyncCaller, all threads",
            Self::Tonic(Runs::OnOneThread) => "tonic, one thread",
            Self::Tonic(Runs::OnAll) => "tonic, all threads",
            Self::Tarpc(Runs::OnOneThread) => "tarpc, one thread",
            Self::Tarpc(Runs::OnAll) => "tarpc, all threads",
        }
    }

    pub(crate) fn works(self) -> &'static [Work] {
        match self {
            Self::Raw => &[Work::One, Work::Batch],
            Self::Calls => &[Work::One, Work::Batch, Work::Threads],
            Self::AsyncCalls(_) | Self::Tonic(_) | Self::Tarpc(_) => &[Work::One, Work::Tasks],
        }
    }

    /// Idle callers hold the same, however many threads there are.
    pub(crate) fn has_idle(self) -> bool {
        !matches!(
            self,
            Self::AsyncCalls(Runs::OnAll) | Self::Tonic(Runs::OnAll) | Self::Tarpc(Runs::OnAll)
        )
    }
}

impl Runs {
    fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::OnOneThread => Builder::new_current_thread(),
            Self::OnAll => Builder::new_multi_thread(),
        };
        builder.enable_all().build().expect("a runtime")
    }
}

/// In the answering end: answers each call with its body, until nobody can ask any more.
pub(crate) fn answer(way: Way, path: &Path) {
    raise_limit();
    match way {
        Way::Raw => {
            raw::answer(path);
            tell_figures();
        }
        Way::Calls | Way::AsyncCalls(_) => {
            let _responder = calls::answer(path);
            tell_figures();
        }
        Way::Tonic(runs) => tell_beside(&runs.runtime(), tonic::answer(path)),
        Way::Tarpc(runs) => tell_beside(&runs.runtime(), tarpc::answer(path)),
    }
}

/// Tells figures from a thread of its own while `listening`, and then what it gives, run. The end
/// of the input ends both.
fn tell_beside<S: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    listening: impl Future<Output = S>,
) {
    let serving = runtime.block_on(listening);
    let serving = runtime.spawn(serving);
    let telling = thread::spawn(tell_figures);
    runtime.block_on(async {
        let told = tokio::task::spawn_blocking(move || telling.join().expect("it tells"));
        tokio::select! {
            _ = serving => {}
            told = told => told.expect("it tells"),
        }
    });
}

/// In the calling end: does what it is told.
pub(crate) fn call(order: Order, path: &Path) {
    raise_limit();
    match order.way {
        Way::Raw => raw::call(&order, path),
        Way::Calls => calls::call(&order, path),
        Way::AsyncCalls(runs) => work::run::<calls::Async>(&runs.runtime(), &order, path),
        Way::Tonic(runs) => work::run::<tonic::Client>(&runs.runtime(), &order, path),
        Way::Tarpc(runs) => work::run::<tarpc::Client>(&runs.runtime(), &order, path),
    }
}
