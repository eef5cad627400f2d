//! Takes a descriptor that this process was started with, by its number.
//! Unsafe code: a number says nothing of who owns the descriptor.

#![expect(
    unsafe_code,
    reason = "a number is no proof that the descriptor is ours"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::unistd;
use parking_lot::Mutex;

use super::transfer::AdoptError;
use crate::descriptor_kind::DescriptorKind;

/// Each is taken once: after that another file may have its number.
static TAKEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Gives the descriptor to `adopt`, under another number, and closes it under this one if that
/// succeeds.
///
/// The numbers of standard input, output and error stay open: the program goes on to use them.
pub(crate) fn take<T, E: From<AdoptError>>(
    number: i32,
    adopt: impl FnOnce(OwnedFd) -> Result<T, E>,
) -> Result<T, E> {
    // Never waited for: a forked child may have it locked for ever.
    let Some(mut taken) = TAKEN.try_lock() else {
        return Err(AdoptError::Io(io::ErrorKind::WouldBlock.into()).into());
    };
    if taken.contains(&number) {
        return Err(AdoptError::Kind(DescriptorKind::Taken).into());
    }
    // SAFETY: it is borrowed for one `dup`, which fails where nothing is open. Whoever names a
    // descriptor by its number says that it is meant for this.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let descriptor = borrowed.try_clone_to_owned().map_err(AdoptError::from)?;
    let adopted = adopt(descriptor)?;
    if number > 2 {
        let _ = unistd::close(number);
        taken.push(number);
    }
    Ok(adopted)
}
