//! What this process was started with, by its number: a stub.

use std::io;
use std::os::windows::io::OwnedHandle;

use crate::sys::transfer::AdoptError;

pub(crate) fn take<T, E: From<AdoptError>>(
    _number: i32,
    _adopt: impl FnOnce(OwnedHandle) -> Result<T, E>,
) -> Result<T, E> {
    Err(AdoptError::Io(io::ErrorKind::Unsupported.into()).into())
}
