//! The user's functions beside the handler: the peer check and the observer.
//! They are called without the lock of what the threads share.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::ReaderEvent;
use crate::observer::Observer;
use crate::panic_guard::guarded;
use crate::peer::Peer;

/// The user's function that lets peers in.
pub(super) struct PeerCheck(pub(super) Box<dyn Fn(&Peer) -> bool + Send + Sync>);

/// The functions may hold the reader itself: kept for ever, they would keep it for ever too.
pub(super) struct Callbacks(Mutex<Option<Arc<Functions>>>);

struct Functions {
    check: Option<PeerCheck>,
    observer: Observer<ReaderEvent>,
}

impl Callbacks {
    pub(super) fn new(check: Option<PeerCheck>, observer: Observer<ReaderEvent>) -> Self {
        Self(Mutex::new(Some(Arc::new(Functions { check, observer }))))
    }

    /// Whether a peer is let in; an error when the check panics.
    pub(super) fn check(&self, peer: &Peer) -> Result<bool, String> {
        let functions = self.0.lock().clone();
        match functions
            .as_ref()
            .and_then(|functions| functions.check.as_ref())
        {
            Some(PeerCheck(check)) => guarded(|| check(peer)),
            None => Ok(true),
        }
    }

    /// Tells the observer of an event; calls `panicked` if it panics.
    pub(super) fn emit(&self, event: impl FnOnce() -> ReaderEvent, panicked: impl FnOnce()) {
        let functions = self.0.lock().clone();
        if let Some(functions) = functions {
            functions.observer.tell(event, panicked);
        }
    }

    /// Gives the functions up. For the last thread that could call them.
    pub(super) fn take(&self) -> Option<impl Sized> {
        self.0.lock().take()
    }
}

impl fmt::Debug for PeerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCheck(..)")
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callbacks(..)")
    }
}
