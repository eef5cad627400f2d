//! What handlers and observers note down, and what holds them up.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{PATIENCE, SHORT, let_pass, skip, wait_until};

/// What handlers and observers note down.
#[derive(Clone)]
pub(crate) struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone + Send + 'static> Notes<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn add(&self, note: T) {
        self.0.lock().push(note);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().clone()
    }

    pub(crate) fn count(&self, is_meant: impl Fn(&T) -> bool) -> usize {
        self.0.lock().iter().filter(|note| is_meant(note)).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    #[track_caller]
    pub(crate) fn wait_for_len(&self, len: usize) {
        wait_until(&format!("there are {len} notes"), || self.len() >= len);
    }
}

impl Notes<String> {
    /// An observer for a writer or reader, that notes each event as its debug text.
    pub(crate) fn observer<E: Debug>(&self) -> impl Fn(E) + Send + Sync + 'static {
        let notes = self.clone();
        move |event| notes.add(format!("{event:?}"))
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.count(|note| note.contains(text)) > 0
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.has(text) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain for {text:?} in {:#?}",
                self.all()
            );
            thread::park_timeout(Duration::from_micros(200));
        }
    }
}

/// The thread that a writer's observer runs on, to see whether it rests. Only Linux tells.
#[derive(Clone)]
pub(crate) struct WatchedThread(Notes<PathBuf>);

impl WatchedThread {
    pub(crate) fn new() -> Self {
        Self(Notes::new())
    }

    /// To be called on the thread.
    pub(crate) fn note(&self) {
        let _ = fs::read_link("/proc/thread-self").map(|thread| self.0.add(thread));
    }

    /// Waits until the thread does not run at all for a while.
    #[track_caller]
    pub(crate) fn wait_for_rest(&self) {
        let Some(thread) = self.0.all().pop() else {
            return skip("no /proc/thread-self");
        };
        let file = Path::new("/proc").join(thread).join("schedstat");
        let has_run = || fs::read_to_string(&file).ok();
        if has_run().is_none() {
            return skip("no schedstat");
        }
        wait_until("the thread rests", || {
            let before = has_run();
            let_pass(SHORT);
            has_run() == before
        });
    }
}

/// Holds up those who come to it, until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    /// Waits until it is open. Not for ever, so that a failure ends.
    pub(crate) fn pass(&self) {
        let (is_open, opened) = &*self.0;
        let mut is_open = is_open.lock();
        opened.wait_while_for(&mut is_open, |is_open| !*is_open, 2 * PATIENCE);
    }

    pub(crate) fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock() = true;
        opened.notify_all();
    }
}

/// Says that something is over, also where a failure is what ends it: others wait for that.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
