//! What a fuzzer needs of the reader's machines.

use super::connection::decoder::{Decoder, Frame};
use crate::buffer_pool::Pool;

/// Decodes a stream that comes in pieces; gives each message, or `None` for an empty frame, to
/// `frame`. Returns whether the stream can go on.
#[must_use]
pub fn decode(
    max_message_len: usize,
    pieces: &[&[u8]],
    mut frame: impl FnMut(Option<&[u8]>),
) -> bool {
    let pool = Pool::new(2, 1 << 20);
    let mut decoder = Decoder::new(max_message_len);
    for piece in pieces {
        let mut rest = *piece;
        // As the reader does: what is long is read to its place.
        while let Some(room) = decoder.direct() {
            let len = room.len().min(rest.len());
            let (now, later) = rest.split_at(len);
            if let Some(place) = room.get_mut(..len) {
                place.copy_from_slice(now);
            }
            let given = room.len();
            rest = later;
            if let Some(Frame::Message(message)) = decoder.filled(given, len) {
                frame(Some(message));
            }
            decoder.reclaim(&pool);
            if rest.is_empty() {
                break;
            }
        }
        loop {
            match decoder.next(&mut rest, &pool) {
                Ok(Some(Frame::Message(message))) => frame(Some(message)),
                Ok(Some(Frame::AckRequest | Frame::Opening)) => frame(None),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        decoder.reclaim(&pool);
    }
    true
}
