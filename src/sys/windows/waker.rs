//! Ends a wait from another thread: a stub.

use std::io;

use super::unsupported::unsupported;

#[derive(Debug)]
pub(crate) struct Waker(());

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn wake(&self) {}

    pub(crate) fn reset(&self) {}
}
