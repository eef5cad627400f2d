//! What a connection owes its peer: how many of its messages were dealt with, once it has asked.
//! Pure: no I/O, no clock. Cumulative, so that one answer serves all requests before it, and memory
//! stays that of one number.

use integer_encoding::VarInt;

use crate::frame::MAX_PREFIX_LEN;

/// The receipts of one connection.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Messages dealt with since the connection began.
    handled: u64,
    request: Request,
    /// A message has come.
    has_begun: bool,
    /// The peer asked before its first message, as one does that delivers at least once: what no
    /// receipt covers comes again.
    comes_again: bool,
    /// The handler could not keep a batch: what was in it, and comes after it, cannot be covered.
    not_stored: bool,
    /// An answer that the kernel took in part must be completed before the next, or the peer reads
    /// nonsense.
    begun: Begun,
}

/// What the peer has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Request {
    /// Nothing so far: it never gets an answer.
    #[default]
    Never,
    Answered,
    Due,
}

/// Whether there are empty frames in a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asks {
    #[default]
    No,
    /// Before its first message.
    First,
    Later,
}

impl Asks {
    /// There is one, behind so many messages of the batch.
    pub(crate) fn after(self, messages: u64) -> Self {
        match self {
            Self::No if messages == 0 => Self::First,
            Self::No => Self::Later,
            Self::First | Self::Later => self,
        }
    }
}

/// What is to become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    GoesOn,
    /// It ends once what the kernel has of it is handled.
    EndsWithTheRest,
    EndsAtOnce,
}

#[derive(Debug, Default)]
struct Begun {
    bytes: [u8; MAX_PREFIX_LEN],
    len: usize,
    sent: usize,
}

impl Receipts {
    /// A batch is over: so many messages, `stored` or not by the handler's word at its end; the
    /// peer `asks` or not.
    pub(super) fn on_batch_end(&mut self, messages: u64, stored: bool, asks: Asks) {
        self.comes_again |= asks == Asks::First && !self.has_begun;
        self.has_begun |= messages > 0;
        if stored {
            self.handled += messages;
        } else {
            self.not_stored = true;
        }
        if asks != Asks::No {
            self.request = Request::Due;
        }
    }

    /// A peer that delivers at least once sends a batch again that was not stored. Of one that asks
    /// now and then nothing more may be lost, but it is to hear that its messages were not
    /// dealt with. To one that does not ask the end of its connection would say nothing.
    pub(super) fn fate(&self) -> Fate {
        match (self.not_stored, self.request) {
            (false, _) | (true, Request::Never) => Fate::GoesOn,
            (true, Request::Answered | Request::Due) if self.comes_again => Fate::EndsAtOnce,
            (true, Request::Answered | Request::Due) => Fate::EndsWithTheRest,
        }
    }

    /// What to send next, if anything is owed. [`Receipts::on_sent`] says how much of it went out.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        if self.fate() != Fate::GoesOn {
            return None;
        }
        if self.begun.sent == self.begun.len {
            if self.request != Request::Due {
                return None;
            }
            self.begun.len = self.handled.encode_var(&mut self.begun.bytes);
            self.begun.sent = 0;
        } else if self.begun.sent == 0 {
            // Nothing of it went out: better the newest number.
            self.begun.len = self.handled.encode_var(&mut self.begun.bytes);
        }
        self.begun.bytes.get(self.begun.sent..self.begun.len)
    }

    /// The kernel took `len` bytes of what [`Receipts::next`] gave.
    pub(super) fn on_sent(&mut self, len: usize) {
        if self.begun.sent == 0 && len > 0 {
            // A request that comes from now on wants an answer of its own.
            self.request = Request::Answered;
        }
        self.begun.sent = self.begun.len.min(self.begun.sent + len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_sent_unasked() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(5, true, Asks::No);
        assert_eq!(receipts.next(), None);
        receipts.on_batch_end(0, true, Asks::Later);
        assert_eq!(receipts.next(), Some(&[5][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(1, true, Asks::No);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn what_was_not_stored_ends_only_the_connection_of_a_peer_that_asks() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(1, false, Asks::No);
        assert_eq!(receipts.fate(), Fate::GoesOn);
        receipts.on_batch_end(0, true, Asks::First);
        assert_eq!(
            (receipts.fate(), receipts.next()),
            (Fate::EndsWithTheRest, None)
        );
    }

    #[test]
    fn only_who_asks_before_its_first_message_sends_what_was_not_stored_again() {
        let end = |batches: &[(u64, Asks)]| {
            let mut receipts = Receipts::default();
            for (messages, asks) in batches {
                receipts.on_batch_end(*messages, true, *asks);
            }
            receipts.on_batch_end(1, false, Asks::No);
            receipts.fate()
        };
        assert_eq!(end(&[(0, Asks::First)]), Fate::EndsAtOnce);
        assert_eq!(end(&[(3, Asks::First)]), Fate::EndsAtOnce);
        assert_eq!(end(&[(3, Asks::Later)]), Fate::EndsWithTheRest);
        assert_eq!(
            end(&[(3, Asks::No), (3, Asks::First)]),
            Fate::EndsWithTheRest
        );
        assert_eq!(end(&[(3, Asks::No)]), Fate::GoesOn);
        assert_eq!(Asks::default().after(0).after(3), Asks::First);
        assert_eq!(Asks::default().after(3).after(3), Asks::Later);
    }

    #[test]
    fn one_answer_serves_all_requests_before_it() {
        let mut receipts = Receipts::default();
        for _ in 0..1_000_000 {
            receipts.on_batch_end(0, true, Asks::Later);
        }
        receipts.on_batch_end(300, true, Asks::No);
        assert_eq!(receipts.next(), Some(&[0xac, 0x02][..]));
        receipts.on_sent(2);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn an_answer_that_was_begun_is_completed_before_the_next() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(0, true, Asks::Later);
        receipts.on_batch_end(300, true, Asks::No);
        assert_eq!(receipts.next().map(<[u8]>::len), Some(2));
        receipts.on_sent(0);
        receipts.on_batch_end(1, true, Asks::No);
        assert_eq!(
            receipts.next(),
            Some(&[0xad, 0x02][..]),
            "nothing went out, so the newest number may"
        );
        receipts.on_sent(1);
        receipts.on_batch_end(1000, true, Asks::No);
        receipts.on_batch_end(0, true, Asks::Later);
        assert_eq!(receipts.next(), Some(&[0x02][..]));
        receipts.on_sent(1);
        assert_eq!(receipts.next(), Some(&[0x95, 0x0a][..]));
        receipts.on_sent(2);
        assert_eq!(receipts.next(), None);
    }

    proptest! {
        /// However it is cut, the peer reads rising numbers, the last of which covers all that was
        /// handled before its last request.
        #[test]
        fn the_peer_reads_rising_numbers(
            steps in prop::collection::vec((0u8..3, 0u64..100_000, 0usize..4), 0..200),
        ) {
            let mut receipts = Receipts::default();
            let (mut stream, mut handled, mut at_request) = (Vec::new(), 0, None);
            for (step, messages, len) in steps {
                match step {
                    0 => {
                        receipts.on_batch_end(0, true, Asks::Later);
                        at_request = Some(handled);
                    }
                    1 => {
                        receipts.on_batch_end(messages, true, Asks::No);
                        handled += messages;
                    }
                    _ => {
                        let sent = receipts.next().map(|bytes| bytes[..bytes.len().min(len)].to_vec());
                        if let Some(sent) = sent {
                            receipts.on_sent(sent.len());
                            stream.extend(sent);
                        }
                    }
                }
            }
            while let Some(bytes) = receipts.next().map(<[u8]>::to_vec) {
                receipts.on_sent(bytes.len());
                stream.extend(bytes);
            }
            let mut numbers = Vec::new();
            let mut rest = &stream[..];
            while let Some((number, len)) = u64::decode_var(rest) {
                numbers.push(number);
                rest = &rest[len..];
            }
            prop_assert!(rest.is_empty());
            prop_assert!(numbers.is_sorted());
            prop_assert_eq!(numbers.is_empty(), at_request.is_none());
            prop_assert!(numbers.last().is_none_or(|last| *last <= handled && Some(*last) >= at_request));
        }
    }
}
