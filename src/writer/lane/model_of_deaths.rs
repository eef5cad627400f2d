//! What a reader would find if the process died, under loom: at every point in every order in which
//! threads publish in their slots while the queue takes what is in the lanes, is done with it, and
//! gives slots on.
//!
//! The words of the arena are the real ones, and no atomics of loom's: whoever reads them after a
//! death finds all stores that had happened, and nothing is to be learned from older values. What
//! loom must try is only where each thread is by then. So each store is followed by a look at what
//! would be found, and by a point at which the other thread may go on. That point orders nothing
//! else: what the threads see of each other is as in `model.rs`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails where something is not as it must be"
)]

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc as Shared;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{LaneReceiver, LaneSender, Pushed};
use crate::arena::layout::Layout;
use crate::writer::arena::{Arena, Record, testing, watch};
use crate::writer::slot::{Frames, Slot};

const LAYOUT: Layout = Layout {
    records: 8,
    slots: 3,
};

/// How it is with the messages of a thread, of which each is a byte: its number among all threads.
#[derive(Clone, Debug)]
struct Messages {
    first: u8,
    /// Those of which the send has begun have lower numbers.
    begun: u8,
    /// It has returned.
    accepted: u8,
    /// The queue is done with these, or about to be.
    done: Range<u8>,
}

/// All of them, whichever thread of the model runs: it is one to the system.
#[derive(Debug)]
struct Known {
    arena: Shared<Arena>,
    threads: [Messages; 2],
}

type Books = Rc<RefCell<Known>>;

thread_local! {
    static BOOKS: RefCell<Option<Books>> = const { RefCell::new(None) };
}

/// Changes what is known of the messages of a thread.
fn note(thread: usize, change: impl FnOnce(&mut Messages)) {
    let books = BOOKS.with(|books| books.borrow().clone());
    let books = books.expect("a model runs");
    change(&mut books.borrow_mut().threads[thread]);
}

impl Known {
    /// What a reader finds now must be right.
    fn look(&self) {
        let found = self.arena.recover(0).into_iter();
        let frames: Vec<u8> = found
            .flat_map(|(frames, skip)| {
                assert_eq!(skip, 0);
                frames
            })
            .collect();
        let found = frames.chunks(2).map(|frame| match *frame {
            [1, message] => message,
            _ => panic!("torn: {frames:?}"),
        });
        let found: Vec<_> = found.collect();
        for messages in &self.threads {
            let of_thread = |message: &&u8| **message / 10 == messages.first / 10;
            let found: Vec<_> = found.iter().filter(of_thread).copied().collect();
            assert!(
                found.is_sorted_by(|one, next| one < next),
                "{found:?} is found: {messages:?}"
            );
            for message in &found {
                assert!(
                    *message >= messages.done.start && *message < messages.begun,
                    "{found:?} is found: {messages:?}"
                );
            }
            for message in messages.done.end..messages.accepted {
                assert!(found.contains(&message), "{found:?} is found: {messages:?}");
            }
        }
    }
}

/// Runs a model in an arena of its own, which is looked at after each store.
fn check(model: impl Fn(&Shared<Arena>) + Send + Sync + 'static) {
    loom::model(move || {
        let arena = testing::ordinary(LAYOUT);
        let messages = |first| Messages {
            first,
            begun: first,
            accepted: first,
            done: first..first,
        };
        let books = Rc::new(RefCell::new(Known {
            arena: Shared::clone(&arena),
            threads: [messages(0), messages(10)],
        }));
        let known = Rc::clone(&books);
        BOOKS.with(|place| *place.borrow_mut() = Some(Rc::clone(&books)));
        let point = AtomicU64::new(0);
        watch::set(Some(Rc::new(move || {
            books.borrow().look();
            let _ = point.fetch_add(1, Ordering::Relaxed);
        })));
        model(&arena);
        known.borrow().look();
        watch::set(None);
        BOOKS.with(|place| *place.borrow_mut() = None);
    });
}

/// The queue behind its lock.
struct Queue {
    receiver: LaneReceiver,
    /// What was taken, and waits to be written.
    blocks: Vec<(Frames, Option<Record>, u8)>,
    is_leased: bool,
    next: u64,
    arena: Shared<Arena>,
    /// Of blocks that are done with.
    spare: Vec<Slot>,
    /// Another thread's lane.
    other: Option<(LaneReceiver, LaneSender)>,
}

impl Queue {
    /// A lane with a slot of the arena and a lease, and its thread's side.
    fn new(arena: &Shared<Arena>) -> (Self, LaneSender) {
        let (mut receiver, _) = LaneReceiver::new();
        let mut sender = receiver.give_to_thread().unwrap();
        let _ = receiver.replace(&mut sender, Slot::from(Some(arena)));
        receiver.lease(&mut sender, 16, 2);
        let queue = Self {
            receiver,
            blocks: Vec::new(),
            is_leased: true,
            next: 0,
            arena: Shared::clone(arena),
            spare: Vec::new(),
            other: None,
        };
        (queue, sender)
    }

    /// What is in the lane becomes a block.
    fn collect(&mut self) {
        let Some((frames, tally)) = self.receiver.take() else {
            return;
        };
        let record = frames.record(self.next);
        assert!(record.is_some());
        self.next += tally.messages;
        let count = tally.messages.try_into().unwrap();
        self.blocks.push((frames, record, count));
    }

    /// The kernel has all that was collected.
    fn write(&mut self) {
        for (frames, record, count) in self.blocks.drain(..) {
            note(0, |messages| messages.done.end += count);
            drop(record);
            self.spare.extend(frames.into_slot());
            note(0, |messages| messages.done.start += count);
        }
    }

    /// Ends the lease.
    fn recall(&mut self) {
        if self.is_leased {
            self.receiver.shut();
            crate::sys::asymmetric_fence::heavy();
            self.collect();
            self.is_leased = false;
        }
    }

    /// A message of a thread whose lane does not take it.
    fn push(&mut self, sender: &mut LaneSender, message: u8) {
        if self.receiver.resolve(sender) {
            return;
        }
        self.collect();
        if !self.receiver.restart(sender) {
            let slot = Slot::from(Some(&self.arena));
            let left = self.receiver.replace(sender, slot);
            self.spare.extend(left);
        }
        self.receiver.lease(sender, 16, 2);
        self.is_leased = true;
        assert_eq!(sender.push(&[message]), Pushed::Accepted);
    }

    /// Another thread sends a message, in this slot.
    fn send_by_another(&mut self, slot: Slot) {
        let (mut receiver, _) = LaneReceiver::new();
        let mut sender = receiver.give_to_thread().unwrap();
        let _ = receiver.replace(&mut sender, slot);
        receiver.lease(&mut sender, 16, 2);
        note(1, |messages| messages.begun += 1);
        assert_eq!(sender.push(&[10]), Pushed::Accepted);
        note(1, |messages| messages.accepted += 1);
        self.other = Some((receiver, sender));
    }
}

/// A thread sends two messages while `queue_side` runs beside it.
fn send_beside(queue_side: impl Fn(&Mutex<Queue>) + Send + Sync + Copy + 'static) {
    check(move |arena| {
        let (queue, mut sender) = Queue::new(arena);
        let queue = Arc::new(Mutex::new(queue));
        let other = Arc::clone(&queue);
        let other = thread::spawn(move || queue_side(&other));
        for message in 0..2 {
            note(0, |messages| messages.begun += 1);
            if sender.push(&[message]) != Pushed::Accepted {
                queue.lock().unwrap().push(&mut sender, message);
            }
            note(0, |messages| messages.accepted += 1);
        }
        other.join().unwrap();
        let mut queue = queue.lock().unwrap();
        queue.recall();
        queue.write();
    });
}

#[test]
fn what_is_published_is_found_once_while_a_lease_ends() {
    send_beside(|queue| queue.lock().unwrap().recall());
}

#[test]
fn what_is_published_is_found_once_while_others_are_taken_and_written() {
    send_beside(|queue| {
        queue.lock().unwrap().collect();
        queue.lock().unwrap().write();
        queue.lock().unwrap().recall();
    });
}

#[test]
fn a_slot_that_is_written_goes_to_another_thread() {
    send_beside(|queue| {
        queue.lock().unwrap().recall();
        let mut queue = queue.lock().unwrap();
        queue.write();
        if let Some(slot) = queue.spare.pop() {
            queue.send_by_another(slot);
        }
    });
}

/// A thread ends, and another one fills its slot once the queue is done with what it sent.
#[test]
fn a_slot_of_a_thread_that_has_ended_goes_to_another() {
    check(|arena| {
        let (mut queue, mut sender) = Queue::new(arena);
        let other = thread::spawn(move || {
            for message in 0..2 {
                note(0, |messages| messages.begun += 1);
                assert_eq!(sender.push(&[message]), Pushed::Accepted);
                note(0, |messages| messages.accepted += 1);
            }
            drop(sender);
        });
        queue.collect();
        queue.write();
        let slot = queue.receiver.take_unused_slot();
        let was_unused = slot.is_some();
        if let Some(slot) = slot {
            queue.send_by_another(slot);
        }
        other.join().unwrap();
        queue.collect();
        queue.write();
        if !was_unused {
            let slot = queue.receiver.take_unused_slot();
            queue.send_by_another(slot.expect("nobody has it"));
        }
    });
}
