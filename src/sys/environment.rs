//! Removes a variable that children must not inherit.
//! Unsafe code: no safe form exists.

use std::env;

/// Removes a variable from the environment, if it is there.
///
/// Calls of the standard library take turns with this; C code that reads the environment on another
/// thread does not. The docs of what calls this must say so.
#[expect(
    unsafe_code,
    reason = "no safe form exists, and a child that inherits the variables takes our sockets for its own"
)]
pub(crate) fn remove_variable(name: &str) {
    if env::var_os(name).is_some() {
        // SAFETY: sound as long as no C code reads the environment meanwhile, which
        // `ReaderBuilder::bind` tells its callers. The `listenfd` crate does the same to
        // the other variables of this protocol.
        unsafe { env::remove_var(name) };
    }
}
