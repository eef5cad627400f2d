//! From the bytes of what is given back to it.

use std::ffi::OsStr;

#[cfg(not(unix))]
use super::error::AddressError;

/// A part of what is given: its bytes from or up to an ASCII one.
#[cfg(unix)]
pub(super) fn os_str(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Likewise. It was [checked](check).
#[cfg(not(unix))]
pub(super) fn os_str(bytes: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(bytes).unwrap_or_default())
}

/// Elsewhere the bytes are the standard library's own: only those of text may be put together.
#[cfg(not(unix))]
pub(super) fn check(given: &OsStr) -> Result<(), AddressError> {
    match given.to_str() {
        Some(_) => Ok(()),
        None => Err(AddressError::NoSuchKind {
            address: given.into(),
            what: "a file whose name is no Unicode",
            instead: "a name in Unicode".into(),
        }),
    }
}
