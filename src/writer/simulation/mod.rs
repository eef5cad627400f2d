//! The writer's own thread and queue in a world without a kernel, against the machines of the
//! reader: the clock is a number, a connection two runs of bytes, and everything that can go wrong
//! does, from a seed. After every step the promises are checked.
//!
//! ```text
//! UDS_IPC_HISTORIES=1000000 cargo test --release --lib simulation
//! UDS_IPC_SEED=42 cargo test --lib simulation
//! ```
//!
//! A failure prints its seed, and the shortest history found that still fails. `.ci/faults` proves
//! that it finds faults.

#![expect(
    clippy::disallowed_methods,
    reason = "any moment will do to count from"
)]
#![expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what one side does not do, the other does"
)]

mod history;
mod net;
mod senders;
mod world;

use std::cell::Cell;
use std::env;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use history::{Act, Setting, history};
use world::World;

/// How often the histories are looked at, and how often one may be the same: most take well below a
/// millisecond.
const LOOK: Duration = Duration::from_millis(50);
const MOST_LOOKS: u32 = 600;

/// Histories in an ordinary run of the tests. CI runs many more.
const HISTORIES: u64 = 1_000;

fn run(setting: Setting, seed: u64, acts: &[Act]) {
    let mut world = World::new(setting, seed);
    for act in acts {
        world.act(*act);
    }
    world.finish();
}

thread_local! {
    /// A failure is told once, when it is short.
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// What a history fails with, if it does.
fn failure(setting: Setting, seed: u64, acts: &[Act]) -> Option<String> {
    IS_TRYING.set(true);
    let run = catch_unwind(AssertUnwindSafe(|| run(setting, seed, acts)));
    IS_TRYING.set(false);
    let panic = run.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default(),
    )
}

/// Leaves out whatever is not needed to fail, in ever smaller pieces.
fn shrink(setting: Setting, seed: u64, mut acts: Vec<Act>) -> Vec<Act> {
    let mut piece = acts.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(at..(at + piece).min(acts.len()));
            if failure(setting, seed, &fewer).is_some() {
                acts = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    acts
}

/// Runs the histories from number `first`, `count` of them, on all processors. Returns the first
/// that is found to fail.
fn first_to_fail(first: u64, count: u64) -> Option<u64> {
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // What each thread is at; `None` once it has ended.
    let current: Vec<_> = (0..threads).map(|_| Mutex::new(Some(first))).collect();
    thread::scope(|scope| {
        for current in &current {
            let (next, found) = (&next, &found);
            scope.spawn(move || {
                while found.load(Ordering::Relaxed) == u64::MAX {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    *current.lock() = Some(first + number);
                    let (setting, acts) = history(first + number);
                    if failure(setting, first + number, &acts).is_some() {
                        found.fetch_min(first + number, Ordering::Relaxed);
                    }
                }
                *current.lock() = None;
            });
        }
        watch(&current);
    });
    Some(found.into_inner()).filter(|found| *found != u64::MAX)
}

/// Looks on until all threads have ended. One that is at the same history for too long never will:
/// then this names the history, and ends the process.
#[expect(
    clippy::exit,
    reason = "there is no other way to end a thread that goes on for ever"
)]
fn watch(current: &[Mutex<Option<u64>>]) {
    let look = || {
        current
            .iter()
            .map(|current| *current.lock())
            .collect::<Vec<_>>()
    };
    let mut before = look();
    let mut looks = vec![0; before.len()];
    while before.iter().any(Option::is_some) {
        thread::park_timeout(LOOK);
        let now = look();
        for ((now, before), looks) in now.iter().zip(&before).zip(&mut looks) {
            *looks = if now == before { *looks + 1 } else { 0 };
            if let (Some(seed), true) = (now, *looks >= MOST_LOOKS) {
                // What a macro prints is kept by the harness, which ends here.
                let _ = writeln!(io::stderr(), "this never ends: UDS_IPC_SEED={seed}");
                process::exit(101);
            }
        }
        before = now;
    }
}

#[test]
fn no_simulated_history_breaks_a_promise() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !IS_TRYING.get() {
            hook(info);
        }
    }));
    let number = |name| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect(name))
    };
    let (first, count) = if let Some(seed) = number("UDS_IPC_SEED") {
        (seed, 1)
    } else {
        (
            fastrand::u64(..u64::MAX / 2),
            number("UDS_IPC_HISTORIES").unwrap_or(HISTORIES),
        )
    };
    if let Some(seed) = first_to_fail(first, count) {
        let (setting, acts) = history(seed);
        let short = shrink(setting, seed, acts);
        let what = failure(setting, seed, &short).unwrap_or_default();
        let acts: Vec<_> = short.iter().map(|act| format!("    {act:?}\n")).collect();
        panic!(
            "{what}\nUDS_IPC_SEED={seed} fails with\n    {setting:?}\nafter\n{}",
            acts.concat()
        );
    }
}
