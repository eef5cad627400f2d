//! The two messages on the wire, as `calls.proto` has them, and the frames that carry them.
//! Pure: no I/O, no clock.

use std::marker::PhantomData;

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use prost::{Enumeration, Message};

use crate::codec::{FrameCodec, FrameError};
use crate::num::to_u64;
use crate::wire::frame::Prefix;

/// What the lists of either end take of a message besides its bytes, about.
pub(crate) const OVERHEAD: usize = 256;

/// From the caller.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CallFrame {
    /// 0 for a notification.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) body: Bytes,
    /// 0 for ever.
    #[prost(uint64, tag = "3")]
    pub(crate) timeout_ms: u64,
    #[prost(bool, tag = "4")]
    pub(crate) cancel: bool,
    #[prost(string, tag = "5")]
    pub(crate) method: String,
}

impl CallFrame {
    pub(crate) fn cancel(id: u64) -> Self {
        Self {
            id,
            cancel: true,
            ..Self::default()
        }
    }

    /// What it holds while it is open at the responder, where the list of open calls has its method
    /// once more.
    pub(crate) fn held(&self) -> usize {
        self.body.len() + 2 * self.method.len() + OVERHEAD
    }
}

/// From the responder.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReplyFrame {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) body: Bytes,
    #[prost(string, tag = "3")]
    pub(crate) error: String,
    #[prost(bool, tag = "4")]
    pub(crate) more: bool,
    #[prost(enumeration = "Cause", tag = "5")]
    pub(crate) cause: i32,
}

impl ReplyFrame {
    pub(crate) fn failure(id: u64, cause: Cause, error: &str) -> Self {
        // Without a text it would be an answer.
        let error = if error.is_empty() { "failed" } else { error };
        Self {
            id,
            error: error.to_owned(),
            cause: cause.into(),
            ..Self::default()
        }
    }
}

/// Whose an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum Cause {
    Handler = 0,
    Stopping = 1,
    NotAllowed = 2,
    Busy = 3,
    Unanswered = 4,
}

/// One message as a frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let prefix = Prefix::new(len);
    let mut bytes = Vec::with_capacity(prefix.as_slice().len() + len);
    bytes.extend_from_slice(prefix.as_slice());
    message.encode_raw(&mut bytes);
    bytes.into()
}

/// A call as a frame, of what is only lent. As [`frame`] of a [`CallFrame`], without copies of
/// them.
pub(crate) fn frame_of_call(id: u64, method: &str, body: &[u8], timeout_ms: u64) -> Bytes {
    framed(&[
        Field::Number(1, id),
        Field::Bytes(2, body),
        Field::Number(3, timeout_ms),
        Field::Bytes(5, method.as_bytes()),
    ])
}

/// An answer likewise.
pub(crate) fn frame_of_answer(id: u64, body: &[u8], more: bool) -> Bytes {
    framed(&[
        Field::Number(1, id),
        Field::Bytes(2, body),
        Field::Number(4, more.into()),
    ])
}

/// A field of a message, by its number. What is 0 or empty is left out.
#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u32, u64),
    Bytes(u32, &'a [u8]),
}

impl Field<'_> {
    fn len(self) -> usize {
        match self {
            Self::Number(_, 0) | Self::Bytes(_, []) => 0,
            Self::Number(tag, value) => key_len(tag) + encoded_len_varint(value),
            Self::Bytes(tag, bytes) => {
                key_len(tag) + encoded_len_varint(to_u64(bytes.len())) + bytes.len()
            }
        }
    }

    fn append_to(self, buffer: &mut Vec<u8>) {
        match self {
            Self::Number(_, 0) | Self::Bytes(_, []) => {}
            Self::Number(tag, value) => {
                encode_key(tag, WireType::Varint, buffer);
                encode_varint(value, buffer);
            }
            Self::Bytes(tag, bytes) => {
                encode_key(tag, WireType::LengthDelimited, buffer);
                encode_varint(to_u64(bytes.len()), buffer);
                buffer.extend_from_slice(bytes);
            }
        }
    }
}

fn framed(fields: &[Field<'_>]) -> Bytes {
    let len = fields.iter().map(|field| field.len()).sum();
    let prefix = Prefix::new(len);
    let mut bytes = Vec::with_capacity(prefix.as_slice().len() + len);
    bytes.extend_from_slice(prefix.as_slice());
    for field in fields {
        field.append_to(&mut bytes);
    }
    bytes.into()
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a frame is no message of this protocol: {0}")]
    Message(String),
    #[error("the peer says what cannot be: {0}")]
    Lie(&'static str),
}

/// Takes messages out of a stream that comes in pieces. Memory follows the bytes that came, never a
/// length that was only announced.
#[derive(Debug)]
pub(crate) struct Frames<M> {
    codec: FrameCodec,
    /// The beginning of a frame.
    half: Vec<u8>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Frames<M> {
    pub(crate) fn new(max_message_len: usize) -> Self {
        Self {
            codec: FrameCodec::with_max_message_len(max_message_len),
            half: Vec::new(),
            message: PhantomData,
        }
    }

    /// Appends the messages that `bytes`, which came next, make whole. After an error nothing more
    /// can be read; what came before it is there.
    pub(crate) fn feed(&mut self, bytes: &[u8], messages: &mut Vec<M>) -> Result<(), Malformed> {
        if self.half.is_empty() {
            let rest = take_all(self.codec, bytes, messages)?;
            self.half.extend_from_slice(rest);
            return Ok(());
        }
        self.half.extend_from_slice(bytes);
        let rest_len = take_all(self.codec, &self.half, messages)?.len();
        if rest_len == 0 {
            // Long frames are rare: an idle connection keeps no memory.
            self.half = Vec::new();
        } else if rest_len < self.half.len() {
            // Without the room of those that came before.
            self.half = self.half.split_off(self.half.len() - rest_len);
        }
        Ok(())
    }

    /// How many bytes of a frame wait for the rest.
    pub(crate) fn half_len(&self) -> usize {
        self.half.len()
    }

    /// What they hold, with the room for more.
    pub(crate) fn held(&self) -> usize {
        self.half.capacity()
    }
}

/// Takes the whole frames; returns what is behind them. An empty frame says nothing.
fn take_all<'a, M: Message + Default>(
    codec: FrameCodec,
    bytes: &'a [u8],
    messages: &mut Vec<M>,
) -> Result<&'a [u8], Malformed> {
    let mut rest = bytes;
    while let Some(frame) = codec.take(&mut rest)? {
        if !frame.is_empty() {
            let decoded = M::decode(frame);
            messages.push(decoded.map_err(|error| Malformed::Message(error.to_string()))?);
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(id: u64, body: &[u8]) -> CallFrame {
        CallFrame {
            id,
            body: Bytes::copy_from_slice(body),
            timeout_ms: 1500,
            method: "ping".to_owned(),
            ..CallFrame::default()
        }
    }

    #[test]
    fn a_call_on_the_wire_is_what_the_proto_file_says() {
        let bytes = frame(&call(1, b"hi"));
        let expected = b"\x0f\x08\x01\x12\x02hi\x18\xdc\x0b\x2a\x04ping";
        assert_eq!(&bytes[..], &expected[..]);
        let failure = frame(&ReplyFrame::failure(1, Cause::Busy, ""));
        assert_eq!(&failure[..], b"\x0c\x08\x01\x1a\x06failed\x28\x03");
        assert_eq!(&frame(&CallFrame::cancel(7))[..], b"\x04\x08\x07\x20\x01");
    }

    #[test]
    fn fields_that_are_not_known_are_skipped() {
        // Field 15, a varint, and field 16, bytes.
        let known = call(3, b"x").encode_to_vec();
        let more = [&known[..], b"\x78\x05\x82\x01\x01z"].concat();
        let mut stream = Prefix::new(more.len()).as_slice().to_vec();
        stream.extend_from_slice(&more);
        let mut messages = Vec::new();
        Frames::<CallFrame>::new(100)
            .feed(&stream, &mut messages)
            .unwrap();
        assert_eq!(messages, [call(3, b"x")]);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_by_its_length_alone() {
        let mut frames = Frames::<CallFrame>::new(5);
        let refused = frames.feed(b"\x06", &mut Vec::new()).unwrap_err();
        assert!(matches!(
            refused,
            Malformed::Frame(FrameError::TooLong {
                len: 6,
                limit: 5,
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn what_is_lent_is_framed_as_what_is_owned(
            id in prop_oneof![0..3u64, any::<u64>()],
            method in ".{0,20}",
            body in prop::collection::vec(any::<u8>(), 0..300),
            timeout_ms in prop_oneof![0..200u64, any::<u64>()],
            more in any::<bool>(),
        ) {
            let call = frame_of_call(id, &method, &body, timeout_ms);
            let answer = frame_of_answer(id, &body, more);
            let body = Bytes::from(body);
            let owned = CallFrame { id, body: body.clone(), timeout_ms, cancel: false, method };
            prop_assert_eq!(call, frame(&owned));
            let owned = ReplyFrame { id, body, more, ..ReplyFrame::default() };
            prop_assert_eq!(answer, frame(&owned));
        }

        #[test]
        fn messages_come_back_however_the_stream_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
            sizes in prop::collection::vec(1usize..200, 1..6),
        ) {
            let sent: Vec<_> = (1..).zip(&bodies).map(|(id, body)| call(id, body)).collect();
            let mut stream = vec![0];
            for call in &sent {
                stream.extend_from_slice(&frame(call));
            }
            let (mut frames, mut came) = (Frames::<CallFrame>::new(1000), Vec::new());
            let (mut rest, mut sizes) = (&stream[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                rest = later;
                frames.feed(piece, &mut came).unwrap();
            }
            prop_assert_eq!(came, sent);
            prop_assert_eq!(frames.half_len(), 0);
        }

        #[test]
        fn any_bytes_are_read_the_same_however_they_are_cut(
            stream in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..24], 0..80),
            size in 1usize..20,
        ) {
            let (mut whole, mut cut) = (Vec::new(), Vec::new());
            let at_once = Frames::<ReplyFrame>::new(60).feed(&stream, &mut whole);
            let mut frames = Frames::<ReplyFrame>::new(60);
            let in_pieces = stream.chunks(size).try_for_each(|piece| frames.feed(piece, &mut cut));
            prop_assert_eq!(at_once, in_pieces);
            prop_assert_eq!(whole, cut);
        }
    }
}
