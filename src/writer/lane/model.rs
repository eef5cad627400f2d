//! The lane's protocol under loom, which tries the orders in which a thread publishes, the queue
//! ends its lease, and the lane goes to another thread; and the values that a load may see then, as
//! far as loom knows them (its documentation names what it does not reorder).
//!
//! It shows that a message counts once, in its place, and that what the thread wrote before it is
//! there for the queue. The light fence is a real one here, as where the kernel makes none on
//! request: that the two kinds are worth the same is the kernel's promise (`membarrier(2)`). That
//! nobody writes where another reads is for Miri, as the model sees no addresses. Blocks that are
//! handed over, and the figures, are not in it.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test fails where something is not as it must be; loom's cells are read through pointers"
)]

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{LaneReceiver, LaneSender, Pushed};
use crate::sys::asymmetric_fence;
use crate::writer::slot::{Frames, Slot};

const MESSAGES: usize = 2;

/// The queue behind its lock: which messages it has.
struct Queue {
    receiver: LaneReceiver,
    taken: Vec<u8>,
    /// What was taken, as long as it waits to be written: then the lane goes on behind it.
    held: Vec<Frames>,
    is_leased: bool,
    /// What the thread writes before each message.
    written: Arc<Vec<UnsafeCell<u8>>>,
}

impl Queue {
    fn collect(&mut self) {
        let Some((frames, _)) = self.receiver.take() else {
            return;
        };
        for frame in frames.chunks(2) {
            let [1, message] = *frame else {
                panic!("{frame:?}");
            };
            // Loom fails where this is not ordered behind the write.
            let before = self.written[usize::from(message)].with(|at| {
                // SAFETY: loom lets one thread run at a time.
                unsafe { *at }
            });
            assert_eq!(before, message);
            self.taken.push(message);
        }
        self.held.push(frames);
    }

    /// Ends the lease.
    fn recall(&mut self) {
        if self.is_leased {
            self.receiver.shut();
            asymmetric_fence::heavy();
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
        assert_eq!(self.receiver.restart(sender), self.held.is_empty());
        self.receiver.end_lease(sender);
        self.receiver.lease(sender, 16, 2);
        self.is_leased = true;
        assert_eq!(sender.push(&[message]), Pushed::Accepted);
    }
}

/// A thread sends, and `queue_side` runs beside it. Every message must be there once, in order.
fn check(queue_side: impl Fn(&Mutex<Queue>) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let written = Arc::new((0..MESSAGES).map(|_| UnsafeCell::new(u8::MAX)).collect());
        let (mut receiver, _) = LaneReceiver::new();
        let mut sender = receiver.give_to_thread().unwrap();
        let _ = receiver.replace(&mut sender, Slot::new());
        receiver.lease(&mut sender, 16, 2);
        let queue = Arc::new(Mutex::new(Queue {
            receiver,
            taken: Vec::new(),
            held: Vec::new(),
            is_leased: true,
            written: Arc::clone(&written),
        }));
        let other = Arc::clone(&queue);
        let other = thread::spawn(move || queue_side(&other));
        for message in 0..MESSAGES {
            let message = u8::try_from(message).unwrap();
            // SAFETY: likewise.
            written[usize::from(message)].with_mut(|at| unsafe { *at = message });
            if sender.push(&[message]) != Pushed::Accepted {
                queue.lock().unwrap().push(&mut sender, message);
            }
        }
        other.join().unwrap();
        let mut queue = queue.lock().unwrap();
        queue.recall();
        assert_eq!(queue.taken, [0, 1]);
        assert_eq!(sender.accepted.messages, 2);
    });
}

/// Whoever has the lane next sees all that the one before has published.
#[test]
fn a_lane_goes_from_one_thread_to_the_next() {
    loom::model(|| {
        let (mut receiver, _) = LaneReceiver::new();
        let mut sender = receiver.give_to_thread().unwrap();
        let _ = receiver.replace(&mut sender, Slot::new());
        receiver.lease(&mut sender, 16, 2);
        let other = thread::spawn(move || {
            assert_eq!(sender.push(&[0]), Pushed::Accepted);
            drop(sender);
        });
        // None while the other one has it.
        let next = receiver.give_to_thread();
        if let Some(next) = &next {
            assert_eq!(next.mark, receiver.published().pack());
            assert_eq!(receiver.published().tally.messages, 1);
        }
        other.join().unwrap();
        drop(next);
        // It goes on behind what waits.
        let mut next = receiver.give_to_thread().unwrap();
        let (first, _) = receiver.take().unwrap();
        receiver.lease(&mut next, 16, 2);
        assert_eq!(next.push(&[1]), Pushed::Accepted);
        let (second, _) = receiver.take().unwrap();
        assert_eq!((&*first, &*second), (&[1, 0][..], &[1, 1][..]));
    });
}

#[test]
fn a_lease_ends_at_any_moment() {
    check(|queue| queue.lock().unwrap().recall());
}

#[test]
fn messages_are_taken_while_others_come_and_then_the_lease_ends() {
    check(|queue| {
        queue.lock().unwrap().collect();
        queue.lock().unwrap().recall();
    });
}
