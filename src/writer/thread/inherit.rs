//! What the process before this one had in its queue when it died, as the service manager has kept
//! it: what of it is this writer's to send.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::arena::frames::Frames;
use crate::arena::passed::PassedArena;
use crate::clock::now;
use crate::deadline::after;
use crate::descriptor_store::{Store, StoreError, Stored};
use crate::metrics::Tally;
use crate::writer::settings::Delivery;
use crate::writer::shared::Shared;

/// How long a reader is waited for that may have yet to read the last connection.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// What is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// What is in this writer's queue now.
    pub(crate) messages: Tally,
    /// How many may have come, and are not to come twice.
    pub(crate) skipped: u64,
    /// Something else could not be read.
    pub(crate) is_cut: bool,
}

/// Takes what is nobody else's, the oldest first, and has it removed from the store: also where
/// that fails, since what was claimed comes from nobody else.
pub(crate) fn take(store: &Store, delivery: Delivery) -> (Vec<Frames>, Option<StoreError>) {
    let (mut left, mut failed) = (Vec::new(), None);
    let mut stored = store.take();
    stored.sort_by_cached_key(|(name, _)| Stored::decode(name));
    for (name, descriptor) in stored {
        let arena = PassedArena::check(descriptor);
        if arena.as_ref().is_ok_and(PassedArena::is_locked) {
            // Its process lives. It stays there for the next one.
            continue;
        }
        failed = failed.or(store.remove(&name).err());
        if let Ok(arena) = arena {
            wait_for_reader(&arena);
            left.extend(claim(arena, delivery));
        }
    }
    (left, failed)
}

/// Where the last connection was not seen to end, its reader may be about to read it, and to have
/// the memory by that.
fn wait_for_reader(arena: &PassedArena) {
    let until = after(now(), READ_WITHIN);
    let may_come = || arena.header().is_ok_and(|header| header.may_be_read());
    while may_come() && !arena.is_kept() && until.is_some_and(|until| now() < until) {
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// What this writer is to send of it: nothing where a reader has it, which does it better.
fn claim(arena: PassedArena, delivery: Delivery) -> Option<Frames> {
    let header = arena.header().ok()?;
    let first = header.first_to_send(delivery == Delivery::AtLeastOnce);
    let runs = arena.runs(first).ok()?;
    if header.has_ended || arena.is_kept() || !arena.claim() {
        return None;
    }
    // What is too long is for the queue to say.
    Some(Frames::new(Arc::new(arena), runs, usize::MAX))
}

/// Puts it into the queue: whole, in order, and ahead of all that is sent from now on.
pub(crate) fn send(left: Vec<Frames>, shared: &Shared) -> Inherited {
    let mut inherited = Inherited::default();
    for mut frames in left {
        frames.each_message(|message| {
            if shared.inherit(message) {
                inherited.messages += Tally::one(message.len());
            }
        });
        inherited.skipped += frames.skipped();
        inherited.is_cut |= !frames.is_whole();
    }
    inherited
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::layout::HeaderWord;
    use crate::arena::passed::testing::memory;

    fn is_claimed(words: &[(HeaderWord, u64)], prepare: impl FnOnce(&PassedArena)) -> bool {
        let memory = memory(words);
        let arena = PassedArena::check(memory.try_clone().unwrap()).unwrap();
        prepare(&arena);
        claim(arena, Delivery::AtMostOnce).is_some()
    }

    #[test]
    fn what_a_reader_is_to_recover_is_not_inherited() {
        assert!(is_claimed(&[], |_| ()));
        assert!(!is_claimed(&[], |arena| assert!(arena.claim())));
        assert!(!is_claimed(&[(HeaderWord::Ended, 1)], |_| ()));
        let memory = memory(&[]);
        let arena = || PassedArena::check(memory.try_clone().unwrap()).unwrap();
        let elsewhere = arena().keep_elsewhere();
        assert!(claim(arena(), Delivery::AtLeastOnce).is_none());
        drop(elsewhere);
        let left = claim(arena(), Delivery::AtLeastOnce);
        assert!(left.is_some(), "whoever had it has it no more");
        assert!(claim(arena(), Delivery::AtLeastOnce).is_none(), "once");
    }
}
