//! Which receipt a connection owes its peer, and whether the connection must close because a batch
//! was not stored.
//! Pure: no I/O, no clock. Receipts are cumulative: one answers all requests before it.

use crate::wire::frame::MAX_PREFIX_LEN;
use crate::wire::receipt::Receipt;

/// The receipts of one connection.
#[derive(Debug, Default)]
pub(in crate::reader) struct Receipts {
    /// Messages dealt with since the connection began.
    handled: u64,
    request: Request,
    /// The connection was opened with `AtLeastOnce`: what no receipt covers comes again.
    comes_again: bool,
    /// The handler could not store a message or a batch: no receipt can cover that, or what comes
    /// after it.
    not_stored: bool,
    /// The count in the last receipt.
    said: u64,
    /// The message after those dealt with is longer than the limit.
    refuses_next: bool,
    /// A receipt that the kernel took in part must be completed before the next, or the peer reads
    /// nonsense.
    begun: Begun,
}

/// What the peer has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Request {
    /// Nothing so far: it gets no receipt.
    #[default]
    Never,
    Answered,
    Due,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::reader) struct BatchEnd {
    /// The messages that were given to the handler.
    pub(in crate::reader) messages: u64,
    /// The last of them failed, and comes again: nothing was given to the handler behind it.
    pub(in crate::reader) last_failed: bool,
    /// The end of the batch brought no error: those before the failed one are stored.
    pub(in crate::reader) is_stored: bool,
    /// There was an empty frame in it.
    pub(in crate::reader) asks: bool,
}

/// What is to become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseDecision {
    GoesOn,
    /// It is closed once all that the kernel holds of it is handled.
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
    /// The first frame of the connection was that of `AtLeastOnce`.
    pub(in crate::reader) fn on_opening(&mut self) {
        self.comes_again = true;
    }

    /// Whether a message on which the handler fails comes again, and what is behind it.
    #[inline]
    pub(in crate::reader) fn comes_again(&self) -> bool {
        self.comes_again
    }

    /// A batch is over.
    pub(in crate::reader) fn on_batch_end(&mut self, end: BatchEnd) {
        if end.is_stored {
            self.handled += end.messages - u64::from(end.last_failed);
        }
        self.not_stored |= !end.is_stored || end.last_failed;
        if end.asks {
            self.request = Request::Due;
        }
        if self.close_decision() == CloseDecision::EndsAtOnce {
            // What is stored is confirmed: the requests for that may stand behind what failed. A
            // receipt that confirms nothing new has no use.
            self.request = if self.said < self.handled {
                Request::Due
            } else {
                Request::Answered
            };
        }
    }

    /// The batch ended because the next message is longer than the limit. A peer that has ever
    /// asked is told so: it would only send the same again.
    pub(in crate::reader) fn refuse_next(&mut self) {
        if self.close_decision() == CloseDecision::GoesOn && self.request != Request::Never {
            self.refuses_next = true;
            self.request = Request::Due;
        }
    }

    /// What becomes of the connection after something was not stored. A peer with `AtLeastOnce`
    /// sends it again: the connection ends at once. A peer with `AtMostOnce` that asks for receipts
    /// must not take it for handled, but what it sent since must not be lost: the connection ends
    /// after that. A peer that never asks would learn nothing from an end.
    pub(in crate::reader) fn close_decision(&self) -> CloseDecision {
        match (self.not_stored, self.request) {
            (false, _) | (true, Request::Never) => CloseDecision::GoesOn,
            (true, Request::Answered | Request::Due) if self.comes_again => {
                CloseDecision::EndsAtOnce
            }
            (true, Request::Answered | Request::Due) => CloseDecision::EndsWithTheRest,
        }
    }

    /// What to send next, if anything is owed. [`Receipts::on_sent`] says how much of it went out.
    pub(in crate::reader) fn next(&mut self) -> Option<&[u8]> {
        if self.close_decision() == CloseDecision::EndsWithTheRest {
            return None;
        }
        if self.begun.sent == self.begun.len {
            if self.request != Request::Due {
                return None;
            }
            self.begin();
        } else if self.begun.sent == 0 {
            // Nothing of it went out yet: it may say the newest count.
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
    pub(in crate::reader) fn on_sent(&mut self, len: usize) {
        if self.begun.sent == 0 && len > 0 {
            // A request that comes from now on wants an answer of its own.
            self.request = Request::Answered;
            self.said = self.handled;
        }
        self.begun.sent = self.begun.len.min(self.begun.sent + len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::receipt::ReceiptDecoder;
    use proptest::prelude::*;

    /// A batch that was stored.
    fn stored(messages: u64) -> BatchEnd {
        BatchEnd {
            messages,
            is_stored: true,
            ..BatchEnd::default()
        }
    }

    /// Likewise, with an empty frame in it.
    fn asked(messages: u64) -> BatchEnd {
        BatchEnd {
            asks: true,
            ..stored(messages)
        }
    }

    fn not_stored(messages: u64) -> BatchEnd {
        BatchEnd {
            messages,
            ..BatchEnd::default()
        }
    }

    /// The last message failed; those before it were stored.
    fn failed(messages: u64) -> BatchEnd {
        BatchEnd {
            last_failed: true,
            ..stored(messages)
        }
    }

    #[test]
    fn nothing_is_sent_unasked() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(stored(5));
        assert_eq!(receipts.next(), None);
        receipts.on_batch_end(asked(0));
        assert_eq!(receipts.next(), Some(&[5][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(stored(1));
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn what_was_not_stored_ends_only_the_connection_of_a_peer_that_asks() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(not_stored(1));
        assert_eq!(receipts.close_decision(), CloseDecision::GoesOn);
        receipts.on_batch_end(asked(0));
        assert_eq!(
            (receipts.close_decision(), receipts.next()),
            (CloseDecision::EndsWithTheRest, None)
        );
    }

    #[test]
    fn only_a_peer_that_opened_so_sends_what_was_not_stored_again() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(asked(0));
        receipts.on_batch_end(not_stored(1));
        assert_eq!(receipts.close_decision(), CloseDecision::EndsWithTheRest);

        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(asked(3));
        assert_eq!(receipts.close_decision(), CloseDecision::GoesOn);
        receipts.on_batch_end(not_stored(1));
        assert_eq!(receipts.close_decision(), CloseDecision::EndsAtOnce);
    }

    #[test]
    fn what_was_stored_before_a_message_that_failed_is_confirmed_and_the_rest_comes_again() {
        for (before, end, said) in [
            (asked(0), failed(5), Some(&[4][..])),
            (asked(3), failed(5), Some(&[7])),
            (asked(3), failed(1), None),
            (asked(0), failed(1), None),
            (
                asked(3),
                BatchEnd {
                    asks: true,
                    ..failed(1)
                },
                None,
            ),
            (
                asked(3),
                BatchEnd {
                    is_stored: false,
                    ..failed(5)
                },
                None,
            ),
            (asked(3), not_stored(5), None),
        ] {
            let mut receipts = Receipts::default();
            receipts.on_opening();
            receipts.on_batch_end(before);
            assert_eq!(receipts.next().map(<[u8]>::len), Some(1));
            receipts.on_sent(1);
            receipts.on_batch_end(end);
            assert_eq!(
                receipts.close_decision(),
                CloseDecision::EndsAtOnce,
                "{end:?}"
            );
            assert_eq!(receipts.next(), said, "{end:?}");
        }
    }

    #[test]
    fn what_was_stored_is_confirmed_also_where_the_first_batch_fails() {
        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(BatchEnd {
            asks: true,
            ..failed(5)
        });
        assert_eq!(receipts.next(), Some(&[4][..]));
    }

    #[test]
    fn a_peer_that_ever_asked_hears_which_message_is_refused() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(asked(5));
        assert_eq!(receipts.next(), Some(&[5][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(stored(295));
        receipts.refuse_next();
        assert_eq!(receipts.next(), Some(&[0xac, 0x82, 0x00][..]));
        receipts.on_sent(3);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn a_refusal_stands_behind_a_receipt_that_was_begun() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(asked(300));
        assert_eq!(receipts.next(), Some(&[0xac, 0x02][..]));
        receipts.on_sent(1);
        receipts.on_batch_end(stored(0));
        receipts.refuse_next();
        assert_eq!(receipts.next(), Some(&[0x02][..]));
        receipts.on_sent(1);
        assert_eq!(receipts.next(), Some(&[0xac, 0x82, 0x00][..]));
    }

    #[test]
    fn a_peer_that_never_asked_or_whose_messages_were_not_stored_hears_of_no_refusal() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(stored(5));
        receipts.refuse_next();
        assert_eq!(receipts.next(), None);

        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(BatchEnd {
            asks: true,
            ..not_stored(5)
        });
        receipts.refuse_next();
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn one_answer_serves_all_requests_before_it() {
        let mut receipts = Receipts::default();
        for _ in 0..1_000_000 {
            receipts.on_batch_end(asked(0));
        }
        receipts.on_batch_end(stored(300));
        assert_eq!(receipts.next(), Some(&[0xac, 0x02][..]));
        receipts.on_sent(2);
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn an_answer_that_was_begun_is_completed_before_the_next() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(asked(0));
        receipts.on_batch_end(stored(300));
        assert_eq!(receipts.next().map(<[u8]>::len), Some(2));
        receipts.on_sent(0);
        receipts.on_batch_end(stored(1));
        assert_eq!(
            receipts.next(),
            Some(&[0xad, 0x02][..]),
            "nothing went out, so the newest number may"
        );
        receipts.on_sent(1);
        receipts.on_batch_end(stored(1000));
        receipts.on_batch_end(asked(0));
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
                        receipts.on_batch_end(asked(0));
                        at_request = Some(handled);
                    }
                    1 => {
                        receipts.on_batch_end(stored(messages));
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
