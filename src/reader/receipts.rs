//! What a connection owes its peer: how many of its messages were dealt with, once it has asked.
//! Pure: no I/O, no clock. Cumulative, so that one answer serves all requests before it, and memory
//! stays that of one number.

use crate::wire::frame::MAX_PREFIX_LEN;
use crate::wire::receipt::Receipt;

/// The receipts of one connection.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Messages dealt with since the connection began.
    handled: u64,
    request: Request,
    /// The connection was opened as one that delivers at least once: what no receipt covers comes
    /// again.
    comes_again: bool,
    /// The handler could not keep a batch: what was in it, and comes after it, cannot be covered.
    not_stored: bool,
    /// The message after those is longer than the limit.
    refuses_next: bool,
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
    /// The first frame of the connection said that it delivers at least once.
    pub(super) fn on_opening(&mut self) {
        self.comes_again = true;
    }

    /// A batch is over: so many messages, `stored` or not by the handler's word at its end; the
    /// peer `asks` or not.
    pub(super) fn on_batch_end(&mut self, messages: u64, stored: bool, asks: bool) {
        if stored {
            self.handled += messages;
        } else {
            self.not_stored = true;
        }
        if asks {
            self.request = Request::Due;
        }
    }

    /// The batch ended because the next message is longer than the limit. A peer that has ever
    /// asked is told so: it would only send the same again.
    pub(super) fn refuse_next(&mut self) {
        if self.request != Request::Never {
            self.refuses_next = true;
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
            self.begin();
        } else if self.begun.sent == 0 {
            // Nothing of it went out: better the newest number.
            self.begin();
        }
        self.begun.bytes.get(self.begun.sent..self.begun.len)
    }

    fn begin(&mut self) {
        let receipt = Receipt {
            count: self.handled,
            refuses_next: self.refuses_next,
        };
        self.begun.len = receipt.encode(&mut self.begun.bytes);
        self.begun.sent = 0;
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
    use crate::wire::receipt::ReceiptDecoder;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_sent_unasked() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(5, true, false);
        assert_eq!(receipts.next(), None);
        receipts.on_batch_end(0, true, true);
        assert_eq!(receipts.next(), Some(&[5][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(1, true, false);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn what_was_not_stored_ends_only_the_connection_of_a_peer_that_asks() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(1, false, false);
        assert_eq!(receipts.fate(), Fate::GoesOn);
        receipts.on_batch_end(0, true, true);
        assert_eq!(
            (receipts.fate(), receipts.next()),
            (Fate::EndsWithTheRest, None)
        );
    }

    #[test]
    fn only_a_peer_that_opened_so_sends_what_was_not_stored_again() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(0, true, true);
        receipts.on_batch_end(1, false, false);
        assert_eq!(receipts.fate(), Fate::EndsWithTheRest);

        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(3, true, true);
        assert_eq!(receipts.fate(), Fate::GoesOn);
        receipts.on_batch_end(1, false, false);
        assert_eq!(receipts.fate(), Fate::EndsAtOnce);
    }

    #[test]
    fn a_peer_that_ever_asked_hears_which_message_is_refused() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(5, true, true);
        assert_eq!(receipts.next(), Some(&[5][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(295, true, false);
        receipts.refuse_next();
        assert_eq!(receipts.next(), Some(&[0xac, 0x82, 0x00][..]));
        receipts.on_sent(3);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn a_refusal_stands_behind_a_receipt_that_was_begun() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(300, true, true);
        assert_eq!(receipts.next(), Some(&[0xac, 0x02][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(0, true, false);
        receipts.refuse_next();
        assert_eq!(receipts.next(), Some(&[0x02][..]));
        receipts.on_sent(1);
        assert_eq!(receipts.next(), Some(&[0xac, 0x82, 0x00][..]));
    }

    #[test]
    fn a_peer_that_never_asked_or_whose_messages_were_not_stored_hears_of_no_refusal() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(5, true, false);
        receipts.refuse_next();
        assert_eq!(receipts.next(), None);

        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(5, false, true);
        receipts.refuse_next();
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn one_answer_serves_all_requests_before_it() {
        let mut receipts = Receipts::default();
        for _ in 0..1_000_000 {
            receipts.on_batch_end(0, true, true);
        }
        receipts.on_batch_end(300, true, false);
        assert_eq!(receipts.next(), Some(&[0xac, 0x02][..]));
        receipts.on_sent(2);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn an_answer_that_was_begun_is_completed_before_the_next() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(0, true, true);
        receipts.on_batch_end(300, true, false);
        assert_eq!(receipts.next().map(<[u8]>::len), Some(2));
        receipts.on_sent(0);
        receipts.on_batch_end(1, true, false);
        assert_eq!(
            receipts.next(),
            Some(&[0xad, 0x02][..]),
            "nothing went out, so the newest number may"
        );
        receipts.on_sent(1);
        receipts.on_batch_end(1000, true, false);
        receipts.on_batch_end(0, true, true);
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
            refuses_next: bool,
        ) {
            let mut receipts = Receipts::default();
            let (mut stream, mut handled, mut at_request) = (Vec::new(), 0, None);
            for (step, messages, len) in steps {
                match step {
                    0 => {
                        receipts.on_batch_end(0, true, true);
                        at_request = Some(handled);
                    }
                    1 => {
                        receipts.on_batch_end(messages, true, false);
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
            if refuses_next {
                receipts.refuse_next();
            }
            while let Some(bytes) = receipts.next().map(<[u8]>::to_vec) {
                receipts.on_sent(bytes.len());
                stream.extend(bytes);
            }
            let mut decoder = ReceiptDecoder::default();
            let (mut said, mut rest) = (Vec::new(), &stream[..]);
            while let Some(receipt) = decoder.next(&mut rest).unwrap() {
                said.push(receipt);
            }
            prop_assert!(said.is_sorted_by_key(|receipt| receipt.count));
            prop_assert_eq!(said.is_empty(), at_request.is_none());
            let last = said.last().map(|receipt| receipt.count);
            prop_assert!(last.is_none_or(|last| last <= handled && Some(last) >= at_request));
            let refusals = said.iter().filter(|receipt| receipt.refuses_next).count();
            prop_assert_eq!(refusals, usize::from(refuses_next && !said.is_empty()));
            prop_assert!(!refuses_next || last.is_none_or(|last| last == handled));
        }
    }
}
