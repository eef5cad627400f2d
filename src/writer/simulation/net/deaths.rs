//! The writer's process dies, at any moment: what its reader would find in the arena.

use std::collections::BTreeSet;

use super::{Connection, Net, message, number_of};
use crate::arena::ticket::Ticket;
use crate::num::to_u64;
use crate::reader::SimulatedFate;
use crate::wire::frame::{self, Parsed};
use crate::writer::arena::Arena;
use crate::writer::settings::{Delivery, Overflow};

/// When the death comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A call is under way: what it sends, drops or gives up may be there or not.
    InCall,
    BetweenCalls,
}

/// What a connection has brought, as its reader would know once it is over.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    ticket: Ticket,
    /// In order.
    messages: Vec<usize>,
}

impl Connection {
    /// What it brings if it ends now: all that lies in the kernel is read first.
    fn arrival(&self, net: &Net) -> Option<Arrival> {
        let handled = usize::try_from(self.machine.handled()).unwrap();
        let goes_on = !self.is_gone && self.machine.fate() == SimulatedFate::GoesOn;
        let count = match net.setting.delivery {
            _ if goes_on => {
                let limit = net.setting.reader_limit;
                let fits = |number: &usize| net.fates[*number].len <= limit;
                let refused = self.taken_whole.iter().position(|number| !fits(number));
                refused.unwrap_or(self.taken_whole.len())
            }
            Delivery::AtLeastOnce => handled,
            Delivery::AtMostOnce => self.decoded,
        };
        Some(Arrival {
            ticket: self.ticket?,
            messages: self.taken_whole[..count].to_vec(),
        })
    }
}

impl Net {
    /// The queue stands in other memory from now on: what was passed says nothing of that.
    pub(super) fn forget_passed(&mut self) {
        self.arrivals.clear();
        for connection in self.connection.iter_mut().chain(&mut self.old) {
            connection.ticket = None;
        }
    }

    /// The writer has closed a connection that the reader has closed before.
    pub(super) fn note_arrival(&mut self, connection: &Connection) {
        self.arrivals.extend(connection.arrival(self));
    }

    /// Checks what a reader finds if the writer dies at this moment.
    pub(crate) fn check_death(&self, moment: Moment) {
        let Some(arena) = &self.arena else { return };
        let header = arena.header();
        if header.has_ended {
            return;
        }
        self.check_successor(arena, moment);
        let there = self.connection.iter().chain(&self.old);
        let there = there.filter_map(|connection| connection.arrival(self));
        let mut arrivals: Vec<_> = self.arrivals.iter().cloned().chain(there).collect();
        arrivals.sort_by_key(|arrival| arrival.ticket.connection);
        let is_exact = self.setting.are_numbers_exact();
        if !is_exact {
            // Numbers may mean other messages than on an earlier connection.
            let newest = arrivals.pop();
            arrivals.clear();
            arrivals.extend(newest.filter(|newest| newest.ticket.connection == header.connection));
        }
        let received = arrivals
            .iter()
            .map(|arrival| arrival.ticket.first + to_u64(arrival.messages.len()))
            .max();
        let had: BTreeSet<usize> = arrivals
            .iter()
            .flat_map(|arrival| arrival.messages.iter().copied())
            .collect();
        let found = decode_found(arena.recover(received.unwrap_or_default()));
        assert!(
            found.is_sorted_by(|number, next| number < next),
            "recovered out of order: {found:?}"
        );
        for number in &found {
            assert!(!had.contains(number), "{number} is recovered, and had come");
            let Some(fate) = self.fates.get(*number) else {
                assert!(
                    *number == self.fates.len() && moment == Moment::InCall,
                    "{number} is recovered, and was not accepted"
                );
                continue;
            };
            assert!(!fate.gone, "{number} is recovered, and was dropped");
            // What a reader left unread is lost, or saved by this.
            let is_once = self.setting.delivery == Delivery::AtMostOnce;
            assert!(
                !(is_once && fate.read),
                "{number} is recovered, and was read"
            );
        }
        let found: BTreeSet<_> = found.into_iter().collect();
        let is_owed = |number: &usize| {
            let fate = &self.fates[*number];
            let is_done = match self.setting.delivery {
                Delivery::AtMostOnce => fate.taken,
                Delivery::AtLeastOnce => fate.settled || had.contains(number),
            };
            let is_refused = fate.len > self.setting.reader_limit;
            !(fate.gone || is_done || is_refused || found.contains(number))
        };
        let mut missing = (0..self.fates.len()).filter(is_owed).collect::<Vec<_>>();
        if moment == Moment::InCall {
            self.forgive(&mut missing, &found);
        }
        assert!(missing.is_empty(), "lost with the process: {missing:?}");
    }

    /// Checks what a successor of the writer would send, which knows of no reader.
    fn check_successor(&self, arena: &Arena, moment: Moment) {
        let is_once = self.setting.delivery == Delivery::AtMostOnce;
        let first = arena.header().first_to_send(!is_once);
        let sent = decode_found(arena.recover(first));
        for number in &sent {
            let Some(fate) = self.fates.get(*number) else {
                assert!(
                    *number == self.fates.len() && moment == Moment::InCall,
                    "{number} is inherited, and was not accepted"
                );
                continue;
            };
            assert!(!fate.gone, "{number} is inherited, and was dropped");
            assert!(
                !(is_once && (fate.taken || fate.read)),
                "{number} is inherited, and was sent"
            );
        }
        // What has a number is left out where that is not known.
        let is_known = first != u64::MAX;
        let left = if is_known {
            sent.clone()
        } else {
            decode_found(arena.recover(0))
        };
        assert!(
            left.is_sorted_by(|number, next| number < next),
            "inherited out of order: {left:?}"
        );
        assert!(left.ends_with(&sent), "{sent:?} of {left:?}");
        let left: BTreeSet<_> = left.into_iter().collect();
        let is_owed = |number: &usize| {
            let fate = &self.fates[*number];
            let is_done = if is_once { fate.taken } else { fate.settled };
            !(fate.gone || is_done || left.contains(number))
        };
        let mut missing = (0..self.fates.len()).filter(is_owed).collect::<Vec<_>>();
        if moment == Moment::InCall {
            self.forgive(&mut missing, &left);
        }
        assert!(missing.is_empty(), "not inherited: {missing:?}");
    }

    /// What a call is just dropping to make room, or giving up.
    fn forgive(&self, missing: &mut Vec<usize>, found: &BTreeSet<usize>) {
        if let Some(ended) = self.ended {
            missing.retain(|number| ended.cut != Some(*number) && ended.refused != Some(*number));
        }
        if self.setting.limits.overflow == Overflow::DropOldest {
            let loose = self.live.iter().skip(self.loose_from());
            let dropped = loose.take_while(|number| !found.contains(number));
            let dropped: BTreeSet<_> = dropped.collect();
            missing.retain(|number| !dropped.contains(number));
        }
    }
}

/// Which messages these frames are, without those that are to be skipped.
fn decode_found(found: Vec<(Vec<u8>, u64)>) -> Vec<usize> {
    let mut numbers = Vec::new();
    for (frames, mut skip) in found {
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let Parsed::Length {
                payload_len,
                prefix_len,
            } = frame::parse_prefix(rest)
            else {
                panic!("no frame in what is recovered")
            };
            let len = prefix_len.get() + usize::try_from(payload_len).unwrap();
            let (whole, next) = rest.split_at_checked(len).expect("a frame is torn");
            let bytes = &whole[prefix_len.get()..];
            rest = next;
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let number = number_of(bytes);
            assert_eq!(bytes, message(number, bytes.len()), "a message was torn");
            numbers.push(number);
        }
    }
    numbers
}
