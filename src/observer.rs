//! Calls the user's code and catches its panics (`guarded`); and the observer of events.
//! Knows nothing of what is emitted.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The user's function for events, kept from doing harm.
pub(crate) struct Observer<E>(Option<Callback<E>>);

type Callback<E> = Arc<dyn Fn(E) + Send + Sync>;

impl<E: Clone> Observer<E> {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn new(observer: impl Fn(E) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Tells the event to the observer, if there is one; calls `panicked` if that panics.
    pub(crate) fn tell(&self, event: impl FnOnce() -> E, panicked: impl FnOnce()) {
        let Some(observer) = &self.0 else { return };
        let event = event();
        // There may be an error of the user's in it, and to drop that may panic too. While a panic
        // of the observer's unwinds that would end the process: so the last copy is dropped here.
        let copy = event.clone();
        let told = guarded(|| observer(event));
        let dropped = guarded(|| drop(copy));
        if told.is_err() || dropped.is_err() {
            panicked();
        }
    }
}

impl<E> Clone for Observer<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> fmt::Debug for Observer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Observer(..)"
        } else {
            "Observer(none)"
        })
    }
}

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
