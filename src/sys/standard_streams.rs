//! Keeps the numbers 0, 1 and 2 to standard input, output and error. A daemon that closes them has
//! their numbers given to whatever is opened next, and what it prints then would go there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

/// The lowest number that is not one of theirs.
const FIRST: i32 = 3;

/// Makes a descriptor with another number: again and again while it has one of theirs.
pub(crate) fn above_standard<T: AsFd>(make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    // Kept until the end, so that they are not given out once more.
    let mut low = Vec::new();
    loop {
        let made = make()?;
        if made.as_fd().as_raw_fd() >= FIRST {
            if !low.is_empty() {
                drop(low);
                occupy();
            }
            return Ok(made);
        }
        low.push(made);
    }
}

/// Gives the free ones of their numbers to `/dev/null` for good, as Rust's runtime does when a
/// program starts: what comes next, an accepted connection perhaps, has another number from the
/// beginning. Where there is no `/dev/null`, the next one is moved as well.
fn occupy() {
    while let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() >= FIRST {
            break;
        }
        let _kept = null.into_raw_fd();
    }
}

/// Gives a descriptor that cannot be made again another number, if it has one of theirs.
pub(super) fn moved_above_standard(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST {
        Ok(descriptor)
    } else {
        // std looks for numbers from 3 on only.
        let moved = descriptor.try_clone()?;
        drop(descriptor);
        occupy();
        Ok(moved)
    }
}
