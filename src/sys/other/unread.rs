//! No kernel here says how much of what was sent the peer has not read.

use std::os::fd::{AsFd, AsRawFd};

pub(in crate::sys) fn unread(_: &impl AsRawFd) -> Option<u64> {
    None
}

pub(in crate::sys) fn in_pipe(_: &impl AsFd) -> Option<u64> {
    None
}
