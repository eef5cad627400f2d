//! The arenas that writers have passed, and what is known of each: which of its messages have come,
//! and, once its connections are over, whether its writer is dead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::arena::layout::Header;
use crate::arena::passed::PassedArena;
use crate::arena::ticket::Ticket;
use crate::deadline::{after, earlier};
use crate::descriptor_store as store;
use crate::peer::Identity;
use crate::sys::PeerProcess;

/// By which an arena is known: whose it is, and the numbers of its device and file. A reader can
/// pass on what it was given: that changes nothing for whoever made it, but that what is left is
/// delivered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) identity: Identity,
    pub(super) memory: (u64, u64),
}

/// How long after a writer's last connection the system's word that its process lives, or none, is
/// believed, though nobody holds the lock: it takes that again as soon as it sees the loss.
const UNLOCKED_FOR: Duration = Duration::from_secs(3);

/// How often to look at first, and in the end.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_millis(50);
const SELDOM: Duration = Duration::from_secs(1);

/// How long a connection is waited for that the writer made and this reader has not seen.
const UNSEEN_FOR: Duration = Duration::from_secs(10);

/// All arenas that are known.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    /// In boxes: half of the table's places are empty.
    known: HashMap<Key, Box<Known>>,
}

#[derive(Debug)]
struct Known {
    arena: Arc<PassedArena>,
    /// How many of its connections are open.
    open: usize,
    /// The newest.
    ticket: Ticket,
    /// All messages with lower numbers have come: by connections that are over.
    received: u64,
    /// In a box: of most there is none, and each connection has the place for it.
    orphan: Option<Box<Orphan>>,
}

/// An arena without a connection.
#[derive(Debug)]
struct Orphan {
    process: Option<PeerProcess>,
    since: Instant,
    /// Since when nobody holds the lock.
    unlocked_since: Option<Instant>,
    next_look: Instant,
    wait: Duration,
}

/// How long orphans are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes.
    Ever,
    /// The reader stops: it waits for no writer that lives.
    ForDead,
    /// It has stopped: they are its successor's.
    None,
}

/// What a reader that stops leaves to its successor.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) arena: Arc<PassedArena>,
    pub(super) known: store::Known,
}

/// What has become of orphans.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) dead: Vec<Dead>,
    pub(super) left: Vec<Left>,
    /// When to look again.
    pub(super) next: Option<Instant>,
}

/// What is to be read of a dead writer.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) arena: Arc<PassedArena>,
    pub(super) identity: Identity,
    /// What has a lower number has come.
    pub(super) received: u64,
}

/// What there is to see of an orphan.
#[derive(Clone, Copy, Debug)]
struct Signs {
    header: Option<Header>,
    is_locked: bool,
    /// As the system says, where it does.
    is_dead: Option<bool>,
    /// A connection of its writer may yet be found.
    may_come: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is looked at again.
    Wait,
    /// There is nothing in it for this reader.
    Forget,
    Recover,
    /// It is the successor's.
    Leave,
}

impl Arenas {
    /// A connection has brought an arena. Returns how many messages at its beginning had come on an
    /// earlier one.
    pub(super) fn attach(&mut self, arena: PassedArena, ticket: Ticket, peer: Identity) -> u64 {
        let key = Key {
            identity: peer,
            memory: arena.identity(),
        };
        let known = self.known.entry(key).or_insert_with(|| {
            Box::new(Known {
                arena: Arc::new(arena),
                open: 0,
                ticket,
                received: 0,
                orphan: None,
            })
        });
        known.orphan = None;
        // What was closed just now ended that.
        known.arena.keep();
        if ticket.connection > known.ticket.connection && !ticket.is_exact {
            // The numbers of earlier connections mean nothing any more.
            known.received = 0;
        }
        if ticket.connection >= known.ticket.connection {
            known.ticket = ticket;
        }
        let is_only = known.open == 0;
        known.open += 1;
        // While another one is open it is not known what will have come on it.
        let had = known.received.saturating_sub(ticket.first);
        if is_only && ticket.is_exact { had } else { 0 }
    }

    /// A connection is over that brought this arena, and `count` messages.
    pub(super) fn detach(
        &mut self,
        key: Key,
        ticket: Ticket,
        count: u64,
        process: impl FnOnce() -> Option<PeerProcess>,
        now: Instant,
    ) {
        let Some(known) = self.known.get_mut(&key) else {
            return;
        };
        known.open = known.open.saturating_sub(1);
        if ticket.is_exact || ticket.connection == known.ticket.connection {
            let received = ticket.first.saturating_add(count);
            known.received = known.received.max(received);
        }
        if known.open == 0 {
            known.orphan = Some(Box::new(Orphan::new(process(), now)));
        }
    }

    /// An arena that the reader before this one knew.
    pub(super) fn inherit(&mut self, arena: PassedArena, left: store::Known, now: Instant) {
        let key = Key {
            identity: left.identity,
            memory: arena.identity(),
        };
        let known = self.known.entry(key).or_insert_with(|| {
            Box::new(Known {
                arena: Arc::new(arena),
                open: 0,
                ticket: left.ticket,
                received: left.received,
                orphan: Some(Box::new(Orphan::new(None, now))),
            })
        });
        // A second copy of the descriptor was closed just now.
        known.arena.keep();
    }

    pub(super) fn orphans(&self) -> usize {
        let orphans = self.known.values().filter(|known| known.orphan.is_some());
        orphans.count()
    }

    /// How many orphans there are of writers that may be dead.
    pub(super) fn undecided(&self) -> usize {
        let orphans = self.known.values().filter(|known| known.orphan.is_some());
        orphans.filter(|known| !known.arena.is_locked()).count()
    }

    /// Keeps `most` orphans: the oldest go.
    pub(super) fn limit_orphans(&mut self, most: usize) {
        while self.orphans() > most {
            let orphans = self.known.iter();
            let oldest = orphans
                .filter_map(|(key, known)| Some((known.orphan.as_ref()?.since, *key)))
                .min_by_key(|(since, _)| *since);
            let Some((_, key)) = oldest else { return };
            self.known.remove(&key);
        }
    }

    /// Forgets the orphans whose writers live for certain.
    pub(super) fn forget_living(&mut self) {
        self.known
            .retain(|_, known| known.orphan.is_none() || !known.arena.is_locked());
    }

    /// Looks at the orphans that are due; returns those whose writers are dead, those that are left
    /// to a successor, and when to look again. `may_come` says whether a connection of a process
    /// may be there that was not read yet. No more than `most` of the dead are returned: where
    /// there may be others, it is soon to be looked again.
    pub(super) fn look(
        &mut self,
        now: Instant,
        patience: Patience,
        most: usize,
        may_come: impl Fn(Identity) -> bool,
    ) -> Looked {
        let Looked {
            mut dead,
            mut left,
            mut next,
        } = Looked::default();
        self.known.retain(|key, known| {
            let Some(orphan) = &mut known.orphan else {
                return true;
            };
            if dead.len() >= most {
                next = earlier(next, after(now, SOON));
                return true;
            }
            let verdict = if orphan.next_look > now && patience == Patience::Ever {
                Verdict::Wait
            } else {
                let newest = known.ticket.connection;
                // The death first: what the dead said last is looked at after it.
                let is_locked = known.arena.is_locked();
                let is_dead = orphan.process.as_ref().map(PeerProcess::is_dead);
                let header = known.arena.header().ok();
                // To find that out takes a look at all connections.
                let is_missing = header.is_some_and(|header| header.connection > newest);
                let signs = Signs {
                    header,
                    is_locked,
                    is_dead,
                    may_come: is_missing && !is_locked && may_come(key.identity),
                };
                orphan.put_off(now);
                let verdict = orphan.judge(now, signs, newest);
                patience.overrule(verdict, is_locked)
            };
            match verdict {
                Verdict::Wait => {
                    next = earlier(next, Some(orphan.next_look));
                    true
                }
                Verdict::Forget => false,
                Verdict::Leave => {
                    left.push(Left {
                        arena: Arc::clone(&known.arena),
                        known: store::Known {
                            identity: key.identity,
                            ticket: known.ticket,
                            received: known.received,
                        },
                    });
                    false
                }
                // Whoever else has it has it all.
                Verdict::Recover if !known.arena.claim() => false,
                Verdict::Recover => {
                    let connection = known.arena.header().map(|header| header.connection);
                    // Where numbers changed their meaning with a connection that went nowhere, none
                    // says anything.
                    let are_known = known.ticket.is_exact
                        || connection.is_ok_and(|number| number == known.ticket.connection);
                    dead.push(Dead {
                        arena: Arc::clone(&known.arena),
                        identity: key.identity,
                        received: if are_known { known.received } else { 0 },
                    });
                    false
                }
            }
        });
        Looked { dead, left, next }
    }
}

impl Patience {
    /// What becomes of an orphan that is judged so.
    fn overrule(self, verdict: Verdict, is_locked: bool) -> Verdict {
        match (self, verdict) {
            (Self::ForDead, Verdict::Wait) if is_locked => Verdict::Forget,
            (Self::None, Verdict::Wait | Verdict::Recover) => Verdict::Leave,
            (Self::Ever | Self::ForDead | Self::None, verdict) => verdict,
        }
    }
}

impl Orphan {
    fn new(process: Option<PeerProcess>, now: Instant) -> Self {
        Self {
            process,
            since: now,
            unlocked_since: None,
            next_look: now,
            wait: FIRST_LOOK,
        }
    }

    fn put_off(&mut self, now: Instant) {
        self.next_look = after(now, self.wait).unwrap_or(now);
        let is_young = now.saturating_duration_since(self.since) < UNLOCKED_FOR;
        self.wait = (self.wait * 2).min(if is_young { SOON } else { SELDOM });
    }

    /// `newest` is the number of the newest connection that has come.
    fn judge(&mut self, now: Instant, signs: Signs, newest: u64) -> Verdict {
        let Some(header) = signs.header.filter(|header| !header.has_ended) else {
            return Verdict::Forget;
        };
        if signs.is_locked {
            self.unlocked_since = None;
            return Verdict::Wait;
        }
        let since = *self.unlocked_since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= UNLOCKED_FOR;
        if signs.is_dead != Some(true) && !is_over {
            return Verdict::Wait;
        }
        let unseen_for = now.saturating_duration_since(since);
        if header.connection > newest && signs.may_come && unseen_for < UNSEEN_FOR {
            // It may have sent something on a connection that has yet to be accepted.
            return Verdict::Wait;
        }
        if header.live > newest {
            // Another reader has it.
            Verdict::Forget
        } else {
            Verdict::Recover
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to count from"
)]
mod tests {
    use super::*;
    use crate::arena::layout::Layout;
    #[cfg(target_os = "linux")]
    use crate::arena::passed::testing::memory;

    const HEADER: Header = Header {
        layout: Layout {
            records: 1,
            slots: 1,
        },
        has_ended: false,
        connection: 3,
        live: 3,
        records_used: 0,
        slots_used: 0,
        first: 0,
        lost: 0,
    };

    const DEAD: Signs = Signs {
        header: Some(HEADER),
        is_locked: false,
        is_dead: Some(true),
        may_come: true,
    };

    fn verdicts(signs: Signs, newest: u64, patience: Patience) -> Vec<Verdict> {
        let now = Instant::now();
        let mut orphan = Orphan::new(None, now);
        let verdict = |seconds| {
            let verdict = orphan.judge(now + Duration::from_secs(seconds), signs, newest);
            patience.overrule(verdict, signs.is_locked)
        };
        [0, 2, 3, 10].map(verdict).to_vec()
    }

    #[test]
    fn only_who_holds_no_lock_and_is_dead_for_the_system_is_dead() {
        use Patience::{Ever, ForDead};
        use Verdict::{Forget, Leave, Recover, Wait};

        assert_eq!(verdicts(DEAD, 3, Ever), [Recover; 4]);
        let locked = Signs {
            is_locked: true,
            ..DEAD
        };
        assert_eq!(verdicts(locked, 3, Ever), [Wait; 4]);
        assert_eq!(verdicts(locked, 3, ForDead), [Forget; 4]);
        for signs in [locked, DEAD] {
            assert_eq!(verdicts(signs, 3, Patience::None), [Leave; 4]);
        }
        // It closed a copy of the descriptor, or became another program; or nobody knows.
        for is_dead in [Some(false), None] {
            let signs = Signs { is_dead, ..DEAD };
            assert_eq!(verdicts(signs, 3, Ever), [Wait, Wait, Recover, Recover]);
        }
        let ended = Signs {
            header: Some(Header {
                has_ended: true,
                ..HEADER
            }),
            ..DEAD
        };
        assert_eq!(verdicts(ended, 3, Ever), [Forget; 4]);
        assert_eq!(verdicts(ended, 3, Patience::None), [Forget; 4]);
        let nonsense = Signs {
            header: None,
            ..DEAD
        };
        assert_eq!(verdicts(nonsense, 3, Ever), [Forget; 4]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reader_goes_on_with_what_the_one_before_it_knew() {
        let (memory, peer, now) = (memory(&[]), Identity::Unknown, Instant::now());
        let again = || PassedArena::check(memory.try_clone().unwrap()).unwrap();
        let ticket = |connection, first| Ticket {
            connection,
            first,
            is_exact: true,
        };
        let mut before = Arenas::default();
        let key = Key {
            identity: peer,
            memory: again().identity(),
        };
        assert_eq!(before.attach(again(), ticket(1, 0), peer), 0);
        before.detach(key, ticket(1, 0), 7, || None, now);
        let looked = before.look(now, Patience::None, 9, |_| false);
        let [left] = &looked.left[..] else {
            panic!("{looked:?}")
        };
        let mut next = Arenas::default();
        next.inherit(again(), left.known, now);
        assert_eq!((before.orphans(), next.orphans()), (0, 1));
        // Its connections go on counting: five of the next messages have come.
        assert_eq!(next.attach(again(), ticket(2, 2), peer), 5);
        assert_eq!(next.orphans(), 0);
        // What is stored late is known better by now.
        next.inherit(again(), left.known, now);
        assert_eq!(next.orphans(), 0);
    }

    /// What is closed ends the lock: each connection brings a copy.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_arena_is_seen_to_be_kept_however_often_it_comes() {
        let (memory, peer) = (memory(&[]), Identity::Unknown);
        let again = || PassedArena::check(memory.try_clone().unwrap()).unwrap();
        let (_, inode) = again().identity();
        let size = HEADER.layout.size().unwrap();
        let is_kept = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let of_it = format!(":{inode} {size} {size}");
            locks
                .lines()
                .any(|lock| lock.contains(" READ ") && lock.ends_with(&of_it))
        };
        let mut arenas = Arenas::default();
        for connection in 1..4 {
            let ticket = Ticket {
                connection,
                first: 0,
                is_exact: true,
            };
            arenas.attach(again(), ticket, peer);
            assert!(is_kept(), "{connection}");
        }
        drop(again());
        assert!(!is_kept());
        let known = store::Known {
            identity: peer,
            ticket: Ticket {
                connection: 1,
                first: 0,
                is_exact: true,
            },
            received: 0,
        };
        let mut next = Arenas::default();
        next.inherit(again(), known, Instant::now());
        assert!(is_kept());
        drop(next);
        assert!(!is_kept());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_two_that_have_an_arena_one_recovers() {
        let (memory, peer) = (memory(&[]), Identity::Unknown);
        let ticket = Ticket {
            connection: 1,
            first: 0,
            is_exact: true,
        };
        let now = Instant::now();
        let two = [(); 2].map(|()| {
            let mut arenas = Arenas::default();
            let arena = PassedArena::check(memory.try_clone().unwrap()).unwrap();
            let memory = arena.identity();
            arenas.attach(arena, ticket, peer);
            let key = Key {
                identity: peer,
                memory,
            };
            arenas.detach(key, ticket, 0, || None, now);
            arenas
        });
        let later = now + 2 * UNLOCKED_FOR;
        let dead = two.map(|mut arenas| {
            assert!(
                arenas
                    .look(now, Patience::Ever, 9, |_| false)
                    .dead
                    .is_empty()
            );
            let dead = arenas.look(later, Patience::Ever, 9, |_| false).dead;
            assert_eq!(arenas.orphans(), 0);
            dead.len()
        });
        assert_eq!(dead, [1, 0]);
    }

    #[test]
    fn a_connection_that_has_not_come_is_waited_for() {
        use Patience::Ever;
        use Verdict::{Forget, Recover, Wait};

        assert_eq!(verdicts(DEAD, 2, Ever), [Wait, Wait, Wait, Forget]);
        let nowhere = Signs {
            may_come: false,
            ..DEAD
        };
        assert_eq!(verdicts(nowhere, 2, Ever), [Forget; 4], "another reader's");
        let first_byte = Header { live: 2, ..HEADER };
        let header = Some(first_byte);
        assert_eq!(verdicts(Signs { header, ..nowhere }, 2, Ever), [Recover; 4]);
        assert_eq!(
            verdicts(Signs { header, ..DEAD }, 2, Ever),
            [Wait, Wait, Wait, Recover]
        );
    }
}
