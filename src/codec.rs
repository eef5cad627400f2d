//! The frames of this crate for streams of your own: a varint length, then that many bytes.
//! Pure: no I/O.

use thiserror::Error;

use crate::num::to_u64;
use crate::wire::frame::{self, Parsed, Prefix};

/// Frames for a stream that is not this crate's: the length of each message as a varint, then its
/// bytes.
///
/// It is what Protocol Buffers libraries call delimited messages, tokio-util a varint
/// length-delimited codec, and Vector `varint_length_delimited` framing. With the feature
/// `tokio-util` it is an `Encoder` and a `Decoder` of `tokio_util::codec`, for any `AsyncRead` and
/// `AsyncWrite`. It encodes whatever is `AsRef<[u8]>`: where nothing else says what, as in
/// `SinkExt::<&[u8]>::flush(&mut framed)`, name it.
///
/// An empty message is a frame here as any other. On the stream between a
/// [`Writer`](crate::Writer) and a [`Reader`](crate::Reader) an empty frame is none: it asks for a
/// receipt, which comes on the way back as a varint without a frame.
///
/// ```
/// use uds_ipc::FrameCodec;
///
/// let codec = FrameCodec::default();
/// let mut stream = Vec::new();
/// codec.append(b"one", &mut stream)?;
/// codec.append(b"two", &mut stream)?;
/// assert_eq!(stream, b"\x03one\x03two");
///
/// let mut rest = &stream[..6];
/// assert_eq!(codec.take(&mut rest)?, Some(&b"one"[..]));
/// assert_eq!(codec.take(&mut rest)?, None, "it has not come whole");
/// assert_eq!(rest, b"\x03t");
/// # Ok::<(), uds_ipc::error::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCodec {
    max_message_len: usize,
}

/// The longest message is 10 MiB.
impl Default for FrameCodec {
    fn default() -> Self {
        Self::with_max_message_len(10 * 1024 * 1024)
    }
}

impl FrameCodec {
    /// Frames of messages up to this length, in bytes.
    #[must_use]
    pub fn with_max_message_len(bytes: usize) -> Self {
        Self {
            max_message_len: bytes,
        }
    }

    /// Appends the frame of `message` to `stream`.
    ///
    /// # Errors
    /// When the message is too long: nothing is appended.
    pub fn append(&self, message: &[u8], stream: &mut Vec<u8>) -> Result<(), FrameError> {
        let prefix = self.prefix(message.len())?;
        stream.extend_from_slice(prefix.as_slice());
        stream.extend_from_slice(message);
        Ok(())
    }

    /// The message in the frame at the start of `stream`, which is shortened by that frame; `None`,
    /// and nothing changed, where more bytes must come first.
    ///
    /// # Errors
    /// When the frame's length is above the limit, or no 64-bit varint: known before the message
    /// has come. There is no way to find the next frame then.
    pub fn take<'a>(&self, stream: &mut &'a [u8]) -> Result<Option<&'a [u8]>, FrameError> {
        let Some((prefix_len, len)) = self.length(stream)? else {
            return Ok(None);
        };
        let (_, rest) = stream.split_at(prefix_len);
        Ok(rest.split_at_checked(len).map(|(message, rest)| {
            *stream = rest;
            message
        }))
    }

    fn prefix(self, len: usize) -> Result<Prefix, FrameError> {
        if len > self.max_message_len {
            return Err(self.too_long(to_u64(len)));
        }
        Ok(Prefix::new(len))
    }

    /// The lengths of the prefix and of the message, once the prefix has come.
    fn length(self, stream: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
        match frame::parse_prefix(stream) {
            Parsed::Incomplete => Ok(None),
            Parsed::Invalid => Err(FrameError::InvalidLength),
            Parsed::Length {
                payload_len,
                prefix_len,
            } => match usize::try_from(payload_len) {
                Ok(len) if len <= self.max_message_len => Ok(Some((prefix_len.get(), len))),
                _ => Err(self.too_long(payload_len)),
            },
        }
    }

    fn too_long(self, len: u64) -> FrameError {
        FrameError::TooLong {
            len,
            limit: self.max_message_len,
        }
    }
}

/// Why there is no such frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message is longer than the codec's limit.
    #[error(
        "the message is {len} bytes long, above the limit of {limit}: make the codecs of both ends with_max_message_len"
    )]
    #[non_exhaustive]
    TooLong {
        /// Its length, in bytes.
        len: u64,
        /// The most there can be, in bytes.
        limit: usize,
    },
    /// The length is no 64-bit varint: this is no stream of frames, or a byte was lost.
    #[error("the length of a frame is no varint of 64 bits: the stream has no frames of this kind")]
    InvalidLength,
}

#[cfg(feature = "tokio-util")]
mod tokio {
    use std::io;

    use bytes::{Bytes, BytesMut};
    use tokio_util::codec::{Decoder, Encoder};

    use super::{FrameCodec, FrameError};

    fn io_error(error: FrameError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// With the feature `tokio-util`. A [`FrameError`] is within the `io::Error`, whose kind is
    /// `InvalidData`.
    impl<M: AsRef<[u8]>> Encoder<M> for FrameCodec {
        type Error = io::Error;

        fn encode(&mut self, message: M, stream: &mut BytesMut) -> io::Result<()> {
            let message = message.as_ref();
            let prefix = self.prefix(message.len()).map_err(io_error)?;
            stream.extend_from_slice(prefix.as_slice());
            stream.extend_from_slice(message);
            Ok(())
        }
    }

    /// With the feature `tokio-util`. Memory follows the bytes that come, not a length that was
    /// announced. A stream that ends inside a frame is an error.
    impl Decoder for FrameCodec {
        type Item = Bytes;
        type Error = io::Error;

        fn decode(&mut self, stream: &mut BytesMut) -> io::Result<Option<Bytes>> {
            let Some((prefix_len, len)) = self.length(stream).map_err(io_error)? else {
                return Ok(None);
            };
            if stream.len() - prefix_len < len {
                return Ok(None);
            }
            let _ = stream.split_to(prefix_len);
            Ok(Some(stream.split_to(len).freeze()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_message_has_come() {
        let codec = FrameCodec::with_max_message_len(3);
        let mut stream = Vec::new();
        let error = codec.append(b"four", &mut stream).unwrap_err();
        assert_eq!(error, FrameError::TooLong { len: 4, limit: 3 });
        assert!(stream.is_empty());
        assert_eq!(codec.take(&mut &b"\x04"[..]), Err(error));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(matches!(
            FrameCodec::with_max_message_len(usize::MAX / 2).take(&mut &most[..]),
            Err(FrameError::TooLong { len: u64::MAX, .. })
        ));
        assert_eq!(
            codec.take(&mut &[0x80; 10][..]),
            Err(FrameError::InvalidLength)
        );
    }

    proptest! {
        #[test]
        fn messages_come_back_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 0_usize..2500,
        ) {
            let codec = FrameCodec::with_max_message_len(300);
            let mut stream = Vec::new();
            for message in &messages {
                codec.append(message, &mut stream).unwrap();
            }
            let mut decoded = Vec::new();
            let mut rest = &stream[..cut.min(stream.len())];
            while let Some(message) = codec.take(&mut rest).unwrap() {
                decoded.push(message.to_vec());
            }
            let mut rest = &stream[cut.min(stream.len()) - rest.len()..];
            while let Some(message) = codec.take(&mut rest).unwrap() {
                decoded.push(message.to_vec());
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(decoded, messages);
        }
    }
}
