//! Waits for one stream, a waker, a file that comes, or a time: a stub, in which only time passes.
//! Nothing calls it, since no waker can be made.

use std::thread;
use std::time::Duration;

use super::stream::Stream;
use super::waker::Waker;
use super::watch::{ArrivalWatch, FileWatch};
use crate::sys::arrival::Arrival;
use crate::sys::readiness::{Readiness, Wanted};

pub(crate) fn wait(
    _: &Waker,
    _: Option<&Stream>,
    _: Wanted,
    timeout: Option<Duration>,
) -> Readiness {
    pass(timeout);
    Readiness::default()
}

pub(crate) fn wait_for_either(_: &Waker, _: &Waker, timeout: Option<Duration>) -> (bool, bool) {
    pass(timeout);
    (false, false)
}

pub(crate) fn wait_for_arrival(
    _: &Waker,
    watch: &ArrivalWatch,
    _timeout: Option<Duration>,
) -> (bool, Option<Arrival>) {
    (false, Some(watch.look()))
}

pub(crate) fn wait_with_file(_: &Waker, file: &FileWatch, _timeout: Option<Duration>) -> bool {
    match *file {}
}

fn pass(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => thread::park_timeout(timeout),
        None => thread::park(),
    }
}
