//! Waits for the first of many that is ready: a stub.

use std::io;
use std::time::Duration;

use super::unsupported::unsupported;
use crate::sys::interest::Interest;
use crate::sys::readiness::Ready;

#[derive(Debug)]
pub(crate) struct Poller(());

impl Poller {
    pub(crate) const MOST_KEY: u64 = u64::MAX;

    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn add<T>(&self, _: &T, _key: u64, _: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn arm<T>(&self, _: &T, _key: u64, _: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn wait(&self, _timeout: Option<Duration>) -> io::Result<Ready> {
        unsupported()
    }

    pub(crate) fn has_ready(&self) -> bool {
        false
    }

    pub(crate) fn close(&self) {}
}
