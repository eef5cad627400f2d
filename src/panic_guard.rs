//! Calls the user's code, and catches its panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often in a row the drop of a payload may panic, with another one.
const MOST_DROPS: usize = 16;

/// Runs what may panic; returns what it panicked with, where that is text.
pub(crate) fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let message = panic_message(&*panic);
        drop_payload(panic);
        message
    })
}

/// To drop a panic's payload can panic too, and so on. What is left when that seems to have no end
/// is kept for ever.
fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..MOST_DROPS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(again) => payload = again,
        }
    }
    Box::leak(payload);
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Panics with the next one each time it is dropped, so many times.
    struct Bomb(usize, &'static AtomicUsize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            if let Some(left) = self.0.checked_sub(1) {
                resume_unwind(Box::new(Self(left, self.1)));
            }
        }
    }

    #[test]
    fn payloads_whose_drop_panics_are_dropped_to_the_last() {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        for panics in [0, 2, MOST_DROPS - 1] {
            let result = guarded(|| resume_unwind(Box::new(Bomb(panics, &DROPPED))));
            assert_eq!(result, Err::<(), _>("a panic without text".to_owned()));
            assert_eq!(DROPPED.swap(0, Ordering::Relaxed), panics + 1);
        }
    }

    static ENDLESS: AtomicUsize = AtomicUsize::new(0);

    /// Without a size, so that keeping it for ever costs no memory.
    struct Endless;

    impl Drop for Endless {
        fn drop(&mut self) {
            ENDLESS.fetch_add(1, Ordering::Relaxed);
            resume_unwind(Box::new(Self));
        }
    }

    #[test]
    fn payloads_without_end_come_to_one_all_the_same() {
        let result = guarded(|| resume_unwind(Box::new(Endless)));
        assert_eq!(result, Err::<(), _>("a panic without text".to_owned()));
        assert_eq!(ENDLESS.load(Ordering::Relaxed), MOST_DROPS);
    }
}
