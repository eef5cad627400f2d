//! No descriptor goes along with bytes: there is no memory to pass.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(in crate::sys) fn send(
    _: &impl AsFd,
    _: &[IoSlice<'_>],
    _: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the bytes may go without the descriptors: always.
pub(in crate::sys) fn is_refused(_: &io::Error) -> bool {
    true
}

pub(in crate::sys) fn receive(_: &impl AsFd, _: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing comes along, since no room is given for it.
pub(in crate::sys) fn take_descriptors_only(_: &impl AsFd) {}
