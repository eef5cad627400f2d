//! Keeps the numbers 0, 1 and 2 to standard input, output and error. A daemon that closes them has
//! their numbers given to whatever is opened next, and what it prints then would go there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The lowest number that is not one of theirs.
const FIRST: i32 = 3;

/// Makes a descriptor with another number: again and again while it has one of theirs.
pub(crate) fn above_standard<T: AsFd>(make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    // Kept until the end, so that they are not given out once more.
    let mut low = Vec::new();
    loop {
        let made = make()?;
        if made.as_fd().as_raw_fd() >= FIRST {
            return Ok(made);
        }
        low.push(made);
    }
}

/// Gives a descriptor that cannot be made again another number, if it has one of theirs.
pub(super) fn moved_above_standard(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST {
        Ok(descriptor)
    } else {
        // std looks for numbers from 3 on only.
        descriptor.try_clone()
    }
}
