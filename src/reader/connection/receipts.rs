//! Which receipt a connection owes its peer, and whether the connection must close because a batch
//! was not stored.
//! Pure: no I/O, no clock. Receipts are cumulative: one answers all requests before it.

use super::batch_end::BatchEnd;
use super::unconfirmed::Unconfirmed;
use crate::wire::frame::MAX_PREFIX_LEN;
use crate::wire::receipt::{Receipt, Word};

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
    /// What is said beside the count.
    word: Word,
    /// A receipt that the kernel took in part must be completed before the next, or the peer reads
    /// nonsense.
    begun: Begun,
    /// Nothing can be said to the peer any more.
    is_mute: bool,
    /// What is out with a receiver of batches.
    unconfirmed: Unconfirmed,
    /// What the connection waits for before it is served again.
    waits_for: Option<Wanted>,
}

/// What a connection waits for whose batches are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// That so much was settled that it may be read on.
    Room,
    /// That all were settled.
    All,
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

    /// How many messages were dealt with since the connection began.
    pub(in crate::reader) fn handled(&self) -> u64 {
        self.handled
    }

    /// A batch is over.
    pub(in crate::reader) fn on_batch_end(&mut self, end: BatchEnd) {
        if end.messages == 0 && !self.unconfirmed.is_empty() {
            if end.asks {
                self.unconfirmed.ask();
            }
            return;
        }
        self.count(end);
    }

    fn count(&mut self, end: BatchEnd) {
        if end.is_stored {
            self.handled += end.messages - u64::from(end.last_failed);
        }
        self.not_stored |= !end.is_stored || end.last_failed;
        if end.asks || self.word == Word::Stops && end.messages > 0 {
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

    /// A batch goes to a receiver, who has yet to confirm it: so much memory with it. Returns the
    /// number by which it is settled.
    pub(in crate::reader) fn hand_out(&mut self, end: BatchEnd, bytes: usize) -> u64 {
        if self.is_void() {
            // An older one was dropped during the turn.
            return self.unconfirmed.skip();
        }
        self.unconfirmed.push(end, bytes)
    }

    /// The receiver has confirmed a batch, or dropped it. Those behind it count once all before
    /// them are settled. False if its fate counts no more: it comes again, whatever became of it.
    pub(in crate::reader) fn settle(&mut self, number: u64, is_stored: bool) -> bool {
        if !self.unconfirmed.settle(number, is_stored) {
            return false;
        }
        while let Some(end) = self.unconfirmed.next_settled() {
            self.count(end);
            if self.is_void() {
                self.unconfirmed.give_up();
            }
        }
        true
    }

    /// What the connection brought and was not confirmed comes again.
    pub(in crate::reader) fn is_void(&self) -> bool {
        self.close_decision() == CloseDecision::EndsAtOnce
    }

    /// Batches are out, and not settled.
    pub(in crate::reader) fn is_out(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// The connection is being served: it waits no more.
    pub(in crate::reader) fn on_turn(&mut self) {
        self.waits_for = None;
    }

    /// Whether the connection must wait before more is read from it. If so, and [`must_serve`]
    /// says when that is over.
    ///
    /// [`must_serve`]: Self::must_serve
    pub(in crate::reader) fn wait_for_room(&mut self) -> bool {
        let must_wait = !self.has_room();
        if must_wait {
            self.waits_for = Some(Wanted::Room);
        }
        must_wait
    }

    /// Likewise, before the connection may end. Where it waits for room, it is read on before that.
    pub(in crate::reader) fn wait_for_all(&mut self) -> bool {
        let must_wait = self.is_out();
        if must_wait {
            self.waits_for.get_or_insert(Wanted::All);
        }
        must_wait
    }

    /// What would be read behind a batch that comes again could only come again too.
    fn has_room(&self) -> bool {
        let is_end_near = self.comes_again && self.unconfirmed.has_dropped();
        !self.unconfirmed.is_full() && !is_end_near
    }

    /// Whether something is to be done at the connection, after a batch was settled.
    pub(in crate::reader) fn must_serve(&mut self) -> bool {
        let has_room = self.waits_for == Some(Wanted::Room) && self.has_room();
        has_room || self.must_end() || self.unconfirmed.has_news() || self.next().is_some()
    }

    /// Whether the connection is to be read to its end.
    pub(in crate::reader) fn must_end(&self) -> bool {
        let is_over = self.waits_for == Some(Wanted::All) && !self.is_out();
        is_over || self.close_decision() != CloseDecision::GoesOn
    }

    /// Whether a batch was dropped since this was last asked.
    pub(in crate::reader) fn take_dropped(&mut self) -> bool {
        self.unconfirmed.take_news()
    }

    /// The batch ended because the next message is longer than the limit. A peer that has ever
    /// asked is told so: it would only send the same again.
    pub(in crate::reader) fn refuse_next(&mut self) {
        if self.close_decision() == CloseDecision::GoesOn && self.request != Request::Never {
            self.word = Word::RefusesNext;
            self.request = Request::Due;
        }
    }

    /// Whether the peer can be told that the reader is to close the connection: it waits for
    /// receipts.
    pub(in crate::reader) fn can_say_stop(&self) -> bool {
        self.comes_again && !self.is_mute
    }

    /// The reader is to close the connection once the peer has ended its side. The peer is told so,
    /// and is given a receipt for each batch from now on: the requests for them may not come any
    /// more. False if it cannot be told.
    pub(in crate::reader) fn say_stop(&mut self) -> bool {
        let can = self.can_say_stop();
        if can && self.word == Word::None {
            self.word = Word::Stops;
            self.request = Request::Due;
        }
        can
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
        if self.is_mute || self.close_decision() == CloseDecision::EndsWithTheRest {
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

    /// There is no way back, or none any more: nothing is owed.
    pub(in crate::reader) fn fall_silent(&mut self) {
        self.is_mute = true;
    }

    fn begin(&mut self) {
        let receipt = Receipt {
            count: self.handled,
            word: self.word,
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
    fn a_question_behind_batches_is_answered_once_they_are_settled() {
        let mut receipts = Receipts::default();
        receipts.on_opening();
        let first = receipts.hand_out(stored(1), 10);
        let second = receipts.hand_out(stored(1), 10);
        receipts.on_batch_end(asked(0));
        assert_eq!(receipts.next(), None);
        receipts.settle(second, true);
        assert_eq!(receipts.next(), None);
        receipts.settle(first, true);
        assert_eq!(receipts.next(), Some(&[2][..]));
    }

    #[test]
    fn at_a_stop_it_is_read_on_where_there_is_room_before_all_is_settled() {
        let mut receipts = Receipts::default();
        let first = receipts.hand_out(stored(1), usize::MAX / 2);
        let _second = receipts.hand_out(stored(1), 10);
        assert!(receipts.wait_for_room() && receipts.wait_for_all());
        receipts.settle(first, true);
        assert!(receipts.must_serve());
    }

    #[test]
    fn who_waits_for_receipts_hears_of_a_stop_and_of_each_batch_from_then_on() {
        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.on_batch_end(asked(5));
        assert!(receipts.say_stop());
        assert_eq!(receipts.next(), Some(&[0x85, 0x80, 0x00][..]));
        receipts.on_sent(3);
        assert_eq!(receipts.next(), None);
        receipts.on_batch_end(stored(0));
        assert_eq!(receipts.next(), None, "nothing new");
        receipts.on_batch_end(stored(1));
        assert_eq!(receipts.next(), Some(&[0x86, 0x80, 0x00][..]));
        receipts.on_sent(3);
        receipts.refuse_next();
        assert_eq!(receipts.next(), Some(&[0x86, 0x00][..]));
    }

    #[test]
    fn who_waits_for_no_receipts_or_cannot_be_told_hears_of_no_stop() {
        let mut receipts = Receipts::default();
        receipts.on_batch_end(asked(5));
        assert!(!receipts.say_stop());
        assert_eq!(receipts.next(), Some(&[5][..]));

        let mut receipts = Receipts::default();
        receipts.on_opening();
        receipts.fall_silent();
        assert!(!receipts.say_stop());
        assert_eq!(receipts.next(), None);
    }

    #[test]
    fn what_is_handed_out_behind_a_batch_that_was_dropped_meanwhile_counts_no_more() {
        let mut receipts = Receipts::default();
        receipts.on_opening();
        let first = receipts.hand_out(asked(1), 10);
        assert!(receipts.settle(first, false));
        assert_eq!(receipts.close_decision(), CloseDecision::EndsAtOnce);
        let later = receipts.hand_out(stored(1), 10);
        assert!(!receipts.settle(later, true) && !receipts.is_out());
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
            let refusals = said.iter().filter(|receipt| receipt.word == Word::RefusesNext).count();
            prop_assert_eq!(refusals, usize::from(refuses_next && !said.is_empty()));
            prop_assert!(!refuses_next || last.is_none_or(|last| last == handled));
        }
    }
}
