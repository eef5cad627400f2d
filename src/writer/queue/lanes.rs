//! Moves the messages of the lanes into the queue, and leases the lanes room in its bounds.
//! All of it happens under the queue's lock; the threads go on meanwhile.

use std::mem;

use crate::metrics::Tally;
use crate::num::to_u64;
use crate::sys::asymmetric_fence;
use crate::wire::frame::MAX_PREFIX_LEN;
use crate::writer::counters::MOST_LANES;
use crate::writer::lane::{LaneReceiver, LaneSender, Pushed};
use crate::writer::queue::Refusal;
use crate::writer::queue::block::Block;
use crate::writer::queue::lane_record::LaneRecord;
use crate::writer::queue::writing::WRITE_SIZE;
use crate::writer::queue::{Leases, Queue};
use crate::writer::slot::Slot;
use crate::writer::wake::WakeOn;

/// Smaller leases are not worth their end.
const LEAST_LEASE: u64 = 8;
const LEAST_SIZE: usize = 2 * 1024;

/// A lease is never less than this part of what is free, however many lanes there are.
const MOST_SHARES: u64 = 4;

/// How it stands with a message and the lane of its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It is in there already, and was taken.
    HasIt,
    /// It takes the message.
    Ready,
    /// It does not.
    Without,
}

impl Queue {
    /// Accepts a copy of `message` from a thread whose lane does not take it, and lets the lane
    /// take further ones. A thread without a lane may get one.
    pub(crate) fn push_from(
        &mut self,
        producer: &mut Option<LaneSender>,
        message: &[u8],
    ) -> Result<(), Refusal> {
        match self.ready_lane(producer, message.len())? {
            Lane::HasIt => return Ok(()),
            Lane::Ready => {
                let pushed = producer.as_mut().map(|producer| producer.push(message));
                if pushed == Some(Pushed::Accepted) {
                    return Ok(());
                }
            }
            Lane::Without => {}
        }
        self.push(message)
    }

    /// Lets the thread's lane take a message of `len` bytes, where there is room and it takes any.
    /// A thread without a lane may get one; where there is none, nobody has asked for room.
    pub(crate) fn ready_lane(
        &mut self,
        producer: &mut Option<LaneSender>,
        len: usize,
    ) -> Result<Lane, Refusal> {
        if producer.is_none() {
            *producer = self.open_lane();
        }
        if let Some(producer) = producer {
            if let Some(index) = self.index_of(producer) {
                if self.resolve(index, producer) {
                    return Ok(Lane::HasIt);
                }
                self.settle_at(index, producer);
                self.make_room(len)?;
                // A sender so seldom that the thread sleeps in between would have a lease for each
                // message, and each had to be ended.
                let is_seldom = self.wake_on == WakeOn::Message;
                if !is_seldom && self.lease(index, producer, len) {
                    return Ok(Lane::Ready);
                }
            }
        }
        Ok(Lane::Without)
    }

    /// Takes what the thread has put into its lane so far: what it sends next by another way comes
    /// behind that.
    pub(crate) fn settle(&mut self, producer: Option<&mut LaneSender>) {
        if let Some((producer, index)) =
            producer.and_then(|it| self.index_of(it).map(|index| (it, index)))
        {
            self.resolve(index, producer);
            self.settle_at(index, producer);
        }
    }

    /// Takes what the thread has put into its lane so far, and lets it go on.
    pub(crate) fn take_from_lane(&mut self, producer: Option<&LaneSender>) {
        self.collect(|record| producer.is_some_and(|producer| record.receiver.is_of(producer)));
    }

    /// Takes what all threads have put into their lanes so far, as far as the caller can know of
    /// it.
    pub(crate) fn collect_all(&mut self) {
        self.collect(|_| true);
    }

    /// Ends all leases, and takes what is in the lanes: from now on every message comes to the
    /// queue. Says whether there was any.
    pub(crate) fn recall(&mut self) -> bool {
        let is_leased = |record: &LaneRecord| record.lease.is_some();
        if !self.lanes.iter().any(is_leased) {
            return false;
        }
        for record in self.lanes.iter().filter(|record| is_leased(record)) {
            record.receiver.shut();
        }
        asymmetric_fence::heavy();
        let before = self.next;
        self.collect(|_| true);
        for record in &mut self.lanes {
            record.lease = None;
        }
        self.budget.leased = Tally::default();
        self.next > before
    }

    /// Takes what is in the lanes before a write: all of it when there is nothing else to write,
    /// and else only what has waited for one write already. A thread that is at work will hand
    /// over far more soon, as one block.
    pub(crate) fn gather(&mut self) {
        let is_idle = self.outbox.remaining_len() == 0 && !self.is_sealed_full();
        let mut room = WRITE_SIZE;
        self.collect(|record| {
            let has_waited = record.has_waited();
            let takes = (has_waited || is_idle) && room > 0;
            if takes {
                room = room.saturating_sub(record.receiver.fresh().len);
            }
            takes
        });
    }

    /// Takes the slots of threads that have ended, after a recall.
    pub(crate) fn take_unused_lanes(&mut self) -> Vec<Slot> {
        let receivers = self.lanes.iter_mut().map(|record| &mut record.receiver);
        receivers
            .filter_map(LaneReceiver::take_unused_slot)
            .collect()
    }

    /// The messages in the lanes that have not been taken.
    pub(crate) fn in_lanes(&self) -> Tally {
        let fresh = self.lanes.iter().filter(|record| record.is_fresh());
        fresh.fold(Tally::default(), |sum, record| {
            sum + record.receiver.fresh().tally
        })
    }

    /// Whether there are any.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lanes.iter().any(LaneRecord::is_fresh)
    }

    fn open_lane(&mut self) -> Option<LaneSender> {
        if let Some(producer) = self
            .lanes
            .iter_mut()
            .find_map(|record| record.receiver.give_to_thread())
        {
            return Some(producer);
        }
        if self.lanes.len() == MOST_LANES {
            return None;
        }
        let (mut receiver, lane) = LaneReceiver::new();
        self.counters.add_lane(lane);
        let producer = receiver.give_to_thread();
        self.lanes.push(LaneRecord::new(receiver));
        producer
    }

    fn index_of(&self, producer: &LaneSender) -> Option<usize> {
        self.lanes
            .iter()
            .position(|record| record.receiver.is_of(producer))
    }

    /// Whether the thread's last message, of which it did not know whether it counts, was taken. If
    /// not, it is not in the lane any more.
    fn resolve(&mut self, index: usize, producer: &mut LaneSender) -> bool {
        self.lanes
            .get_mut(index)
            .is_some_and(|record| record.receiver.resolve(producer))
    }

    /// Takes what the thread has put into its lane, and ends its lease.
    fn settle_at(&mut self, index: usize, producer: &mut LaneSender) {
        let mut lanes = mem::take(&mut self.lanes);
        if let Some(record) = lanes.get_mut(index) {
            self.budget.leased -= record.end_lease(producer).unwrap_or_default();
            self.take_from(&mut record.receiver);
        }
        self.lanes = lanes;
    }

    /// Leases room for at least one message of `len` bytes, if there is plenty.
    fn lease(&mut self, index: usize, producer: &mut LaneSender, len: usize) -> bool {
        let free = self.budget.free();
        // Others need room too; what a lease does not use comes back to them, at the cost of a
        // barrier.
        let leases = self
            .lanes
            .iter()
            .filter(|record| record.lease.is_some())
            .count();
        let shares = to_u64(leases + 1).min(MOST_SHARES);
        let Some(record) = self.lanes.get_mut(index) else {
            return false;
        };
        // No more than a block: the thread must hear of a queue that fills before it is full.
        let size = usize::try_from(free.bytes / shares)
            .map_or(self.block_size, |size| size.min(self.block_size));
        let most = (free.messages / shares).min(self.block_messages);
        let needed = MAX_PREFIX_LEN + len;
        let is_forbidden = self.closed || self.is_tight || self.leases == Leases::Forbidden;
        if is_forbidden || most < LEAST_LEASE || size < needed.max(LEAST_SIZE) {
            return false;
        }
        let is_short = |producer: &LaneSender| producer.room() < needed.max(LEAST_SIZE);
        let is_left = !producer.is_in(self.arena.as_ref());
        if is_left || !record.receiver.restart(producer) && is_short(producer) {
            let left = record.receiver.replace(producer, self.spare.slot());
            self.spare.keep_slot(left);
        }
        let size = size.min(record.lease_size.max(needed)).min(producer.room());
        // Not many more than fit: there may be many threads.
        let messages = most.min(to_u64(2 * size / needed) + LEAST_LEASE);
        self.budget.leased += record.lease(producer, size, messages);
        true
    }

    /// Takes what is in the lanes that `wants` chooses.
    fn collect(&mut self, mut wants: impl FnMut(&mut LaneRecord) -> bool) {
        let mut lanes = mem::take(&mut self.lanes);
        for record in lanes.iter_mut().filter(|record| record.is_fresh()) {
            if wants(record) {
                let taken = self.take_from(&mut record.receiver);
                if let Some(lease) = &mut record.lease {
                    lease.left -= taken;
                    self.budget.leased -= taken;
                }
            }
        }
        self.lanes = lanes;
    }

    /// Makes what is new in a lane a block behind all others.
    fn take_from(&mut self, receiver: &mut LaneReceiver) -> Tally {
        let Some((frames, tally)) = receiver.take() else {
            return Tally::default();
        };
        self.seal();
        let first = self.next;
        self.next += tally.messages;
        self.budget.held += tally;
        let fill = self.fill(frames.len(), tally.messages);
        self.seal_block(Block::of(frames, first, tally), fill);
        tally
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use parking_lot::Mutex;

    use super::*;
    use crate::writer::counters::Counters;
    use crate::writer::settings::Delivery;
    use crate::writer::settings::{Limits, Overflow};

    const THREADS: usize = 3;
    const EACH: u32 = if cfg!(miri) { 150 } else { 30_000 };

    /// Writes what is there, whole or in part.
    fn write(queue: &Mutex<Queue>, written: &mut Vec<u8>, part: usize) {
        let outbox = queue.lock().begin_write();
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.fill(&mut slices);
        let bytes: Vec<u8> = slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        let len = bytes.len() / part;
        written.extend_from_slice(&bytes[..len]);
        queue.lock().end_write(outbox, len);
    }

    /// Threads send as fast as they can while leases are ended under them, at every moment there
    /// is.
    #[test]
    fn every_message_of_every_thread_counts_once_and_in_order_whenever_leases_end() {
        #[cfg(not(miri))]
        asymmetric_fence::prepare();
        let limits = Limits {
            messages: 500,
            bytes: 1 << 20,
            overflow: Overflow::Refuse,
        };
        let counters = Arc::new(Counters::new(
            Delivery::AtMostOnce,
            limits,
            Default::default,
        ));
        let queue = Mutex::new(Queue::new(
            limits,
            Delivery::AtMostOnce,
            Arc::clone(&counters),
            None,
        ));
        let (running, by_lane) = (AtomicUsize::new(THREADS), AtomicUsize::new(0));
        let mut written = Vec::new();
        thread::scope(|scope| {
            for sender in (0..THREADS).map(|sender| u8::try_from(sender).unwrap()) {
                let (queue, running, by_lane) = (&queue, &running, &by_lane);
                scope.spawn(move || {
                    let mut producer: Option<LaneSender> = None;
                    for number in 0..EACH {
                        let [_, high, middle, low] = number.to_be_bytes();
                        let message = [sender, high, middle, low];
                        match producer.as_mut().map(|producer| producer.push(&message)) {
                            Some(Pushed::Accepted) => {
                                by_lane.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => {
                                while queue.lock().push_from(&mut producer, &message).is_err() {
                                    thread::yield_now();
                                }
                            }
                        }
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
            let mut turn = 0;
            while running.load(Ordering::SeqCst) > 0 {
                turn += 1;
                match turn % 7 {
                    0 => drop(queue.lock().recall()),
                    1 => queue.lock().collect_all(),
                    2 => write(&queue, &mut written, 3),
                    _ => write(&queue, &mut written, 1),
                }
            }
        });
        queue.lock().close();
        while queue.lock().held().messages > 0 {
            write(&queue, &mut written, 1);
        }
        let mut next = [0; THREADS];
        for frame in written.chunks(5) {
            let [4, sender, high, middle, low] = *frame else {
                panic!("{frame:?}")
            };
            let expected = &mut next[usize::from(sender)];
            assert_eq!(
                u32::from_be_bytes([0, high, middle, low]),
                *expected,
                "of thread {sender}"
            );
            *expected += 1;
        }
        assert_eq!(next, [EACH; THREADS]);
        assert!(by_lane.into_inner() > 0, "no lane was ever used");
        assert_eq!(
            counters.metrics().accepted.messages,
            to_u64(THREADS) * u64::from(EACH)
        );
        assert_eq!(counters.metrics().sent, counters.metrics().accepted);
    }
}
