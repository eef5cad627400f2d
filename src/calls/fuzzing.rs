//! What a fuzzer needs of the machines of both ends.

use std::time::Duration;

use super::caller::machine::{Answers, Limits, Machine};
use super::message::{CallFrame, Frames, ReplyFrame};
use super::responder::machine as responder;
use crate::clock::now;

const MOST: usize = 1 << 16;

/// Takes a stream that comes in pieces for calls. Returns how many came whole, how many of them
/// were begun, and whether the stream can go on.
#[must_use]
pub fn read_calls(pieces: &[&[u8]]) -> (usize, usize, bool) {
    let (mut frames, mut calls) = (Frames::<CallFrame>::new(MOST), Vec::new());
    let is_good = pieces
        .iter()
        .all(|piece| frames.feed(piece, &mut calls).is_ok());
    let mut machine = responder::Machine::new(responder::Limits {
        max_open_calls: 16,
        max_bytes_in_flight: MOST,
    });
    let at = now();
    let is_true = calls
        .iter()
        .all(|call| machine.received(call, None, at).is_ok());
    (calls.len(), machine.open().len(), is_good && is_true)
}

/// Takes such a stream for the answers to eight calls. Returns how many came whole, how many of the
/// calls are still open, and whether the stream can go on.
#[must_use]
pub fn read_replies(pieces: &[&[u8]]) -> (usize, usize, bool) {
    let mut machine = Machine::new(Limits {
        max_open_calls: 16,
        max_bytes_in_flight: MOST,
        max_call_len: MOST,
        max_reply_len: MOST,
    });
    let at = now();
    for number in 0..8 {
        let answers = if number % 2 == 0 {
            Answers::One
        } else {
            Answers::Many
        };
        let _ = machine.open("m", b"", answers, Duration::MAX, at);
    }
    let len = machine.begin_write(8).iter().map(bytes::Bytes::len).sum();
    machine.wrote(len, &mut Vec::new());
    let (mut frames, mut replies) = (Frames::<ReplyFrame>::new(MOST), Vec::new());
    let is_good = pieces
        .iter()
        .all(|piece| frames.feed(piece, &mut replies).is_ok());
    let count = replies.len();
    let is_true = replies
        .into_iter()
        .all(|reply| machine.received(reply).is_ok());
    let open = (1..=8).filter(|key| !machine.has_news(*key)).count();
    (count, open, is_good && is_true)
}
