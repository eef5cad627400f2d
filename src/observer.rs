//! The user's function for events. Knows nothing of what is emitted.

use std::fmt;
use std::sync::Arc;

use crate::panic_guard::guarded;

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
