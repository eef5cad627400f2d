//! The wire format: a varint length, then that many bytes.
//! Pure: no I/O, no memory of its own beyond the prefix.

use std::num::NonZeroUsize;

use integer_encoding::VarInt;

/// The longest length prefix: ten groups of seven bits hold a `u64`.
pub(crate) const MAX_PREFIX_LEN: usize = 10;

/// The frame without a message that requests a receipt.
pub(crate) const ACK_REQUEST: &[u8] = &[0x00];

/// The first frame of a connection with `AtLeastOnce`: an empty one, its length padded by one byte.
/// Readers that do not know the word take it for a plain empty frame.
pub(crate) const AT_LEAST_ONCE: &[u8] = &[0x80, 0x00];

/// The encoded length that stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefix {
    bytes: [u8; MAX_PREFIX_LEN],
    len: usize,
}

impl Prefix {
    pub(crate) fn new(payload_len: usize) -> Self {
        let mut bytes = [0; MAX_PREFIX_LEN];
        let len = payload_len.encode_var(&mut bytes);
        Self { bytes, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A length prefix of one or two bytes, as nearly all are, without a detour through memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShortPrefix {
    One(u8),
    Two([u8; 2]),
}

impl ShortPrefix {
    /// `None` where it takes more.
    #[inline]
    pub(crate) fn new(payload_len: usize) -> Option<Self> {
        let [low, high] = u16::try_from(payload_len).ok()?.to_le_bytes();
        match (low, high) {
            (0..=0x7f, 0) => Some(Self::One(low)),
            (_, 0..=0x3f) => Some(Self::Two([low | 0x80, high << 1 | low >> 7])),
            _ => None,
        }
    }
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole prefix of `prefix_len` bytes, which announces `payload_len` bytes. Still a `u64`: it
    /// is compared with the limit before it becomes a size.
    Length {
        payload_len: u64,
        prefix_len: NonZeroUsize,
    },
    /// A good beginning; more bytes decide.
    Incomplete,
    /// No `u64`, whatever follows.
    Invalid,
}

/// Reads the length prefix at the start of `input`. Needless continuation bytes are accepted, as
/// Go's `binary.ReadUvarint` does.
#[inline]
pub(crate) fn parse_prefix(input: &[u8]) -> Parsed {
    match *input {
        [] => Parsed::Incomplete,
        [low @ 0..=0x7f, ..] => length(u64::from(low), 1),
        [low, high @ 0..=0x7f, ..] => length(u64::from(low & 0x7f) | u64::from(high) << 7, 2),
        _ => match u64::decode_var(input) {
            Some((payload_len, prefix_len)) => length(payload_len, prefix_len),
            // decode_var says `None` for "more bytes needed" and for "never": the tenth byte tells
            // them apart.
            None if input.len() < MAX_PREFIX_LEN => Parsed::Incomplete,
            None => Parsed::Invalid,
        },
    }
}

#[inline]
fn length(payload_len: u64, prefix_len: usize) -> Parsed {
    NonZeroUsize::new(prefix_len).map_or(Parsed::Invalid, |prefix_len| Parsed::Length {
        payload_len,
        prefix_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(payload_len: u64, prefix_len: usize) -> Parsed {
        Parsed::Length {
            payload_len,
            prefix_len: NonZeroUsize::new(prefix_len).unwrap(),
        }
    }

    #[test]
    fn vectors_of_the_contract() {
        for (len, hex) in [
            (1, &[0x01][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (10 << 20, &[0x80, 0x80, 0x80, 0x05]),
        ] {
            assert_eq!(Prefix::new(len).as_slice(), hex);
            match ShortPrefix::new(len) {
                Some(ShortPrefix::One(byte)) => assert_eq!([byte], hex),
                Some(ShortPrefix::Two(bytes)) => assert_eq!(bytes, hex),
                None => assert!(hex.len() > 2),
            }
            assert_eq!(
                parse_prefix(hex),
                parsed(u64::try_from(len).unwrap(), hex.len())
            );
        }
        assert_eq!(
            parse_prefix(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            parsed(1 << 63, 10)
        );
    }

    #[test]
    fn padded_lengths_are_accepted_as_go_does() {
        assert_eq!(parse_prefix(&[0x81, 0x80, 0x00]), parsed(1, 3));
        assert_eq!(parse_prefix(&[0x80, 0x00]), parsed(0, 2));
        assert_eq!(
            parse_prefix(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            parsed(0, 10)
        );
    }

    #[test]
    fn a_prefix_beyond_u64_is_invalid_at_its_tenth_byte() {
        let mut ten = [0x80; 10];
        assert_eq!(parse_prefix(&ten[..9]), Parsed::Incomplete);
        assert_eq!(parse_prefix(&ten), Parsed::Invalid);
        ten[9] = 2;
        assert_eq!(parse_prefix(&ten), Parsed::Invalid);
        assert_eq!(parse_prefix(&[0xff; 11]), Parsed::Invalid);
        ten[9] = 1;
        assert_eq!(parse_prefix(&ten), parsed(1 << 63, 10));
    }

    /// Bit by bit, as the definition says, in arithmetic that cannot overflow.
    fn by_definition(input: &[u8]) -> Parsed {
        let mut value = 0u128;
        for (at, byte) in input.iter().take(MAX_PREFIX_LEN).enumerate() {
            value += u128::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return u64::try_from(value).map_or(Parsed::Invalid, |value| parsed(value, at + 1));
            }
        }
        if input.len() < MAX_PREFIX_LEN {
            Parsed::Incomplete
        } else {
            Parsed::Invalid
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_as_the_definition_says(
            input in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8.., Just(0x80), 0u8..3], 0..13),
        ) {
            prop_assert_eq!(parse_prefix(&input), by_definition(&input));
        }

        #[test]
        fn every_length_comes_back(len in any::<usize>()) {
            let prefix = Prefix::new(len);
            prop_assert_eq!(
                parse_prefix(prefix.as_slice()),
                parsed(u64::try_from(len).unwrap(), prefix.as_slice().len())
            );
        }
    }
}
