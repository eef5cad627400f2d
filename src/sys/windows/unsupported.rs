//! What the calls of the stub return.

use std::io;

pub(super) fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
