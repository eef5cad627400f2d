//! Calls the user's code, and catches its panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what may panic; returns what it panicked with, where that is text.
pub(crate) fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let message = panic_message(&*panic);
        // To drop a panic's payload can panic too. What that panics with is kept for
        // ever, or there would be no end to it.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            Box::leak(again);
        }
        message
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}
