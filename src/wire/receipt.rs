//! A receipt: how many messages of a connection the reader has dealt with, and a word beside that.
//! Pure: no I/O, no clock.
//!
//! ```text
//! receipt = count (unsigned LEB128 varint), padded by as many bytes as its word says
//! ```
//!
//! So `05` says that five messages were dealt with, `85 00` that five were and the sixth is
//! refused, and `85 80 00` that five were and the reader stops. A peer that knows only plain
//! receipts reads the same number in all of them.

use integer_encoding::VarInt;

use super::frame::{self, MAX_PREFIX_LEN, Parsed};

/// What a reader says of the messages of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// How many messages were dealt with, since the connection began.
    pub(crate) count: u64,
    pub(crate) word: Word,
}

/// What a receipt says beside its count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    #[default]
    None,
    /// The message after those will never be taken: it is longer than the reader's limit.
    RefusesNext,
    /// The reader is to close the connection. It gives receipts for all that was written, and waits
    /// until the writer has ended its side.
    Stops,
}

impl Word {
    fn padding(self) -> usize {
        match self {
            Self::None => 0,
            Self::RefusesNext => 1,
            Self::Stops => 2,
        }
    }

    /// Paddings that say nothing yet are kept for later words.
    fn of_padding(len: usize) -> Self {
        match len {
            1 => Self::RefusesNext,
            2 => Self::Stops,
            _ => Self::None,
        }
    }
}

impl Receipt {
    /// Puts the receipt at the front of `bytes`; returns its length.
    ///
    /// A count that leaves no room for the padding, of 2^56 and more, goes out without the word.
    pub(crate) fn encode(self, bytes: &mut [u8; MAX_PREFIX_LEN]) -> usize {
        let len = self.count.encode_var(bytes);
        let padded_len = len + self.word.padding();
        let (Some([last, padding @ ..]), 1..) =
            (bytes.get_mut(len - 1..padded_len), self.word.padding())
        else {
            return len;
        };
        *last |= 0x80;
        padding.fill(0x80);
        if let Some(end) = padding.last_mut() {
            *end = 0;
        }
        padded_len
    }
}

/// Reads receipts from a stream that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReceiptDecoder {
    /// The beginning of a receipt.
    bytes: [u8; MAX_PREFIX_LEN],
    len: usize,
}

/// The stream is none of receipts: more than ten bytes for one number, or no `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidReceipt;

impl ReceiptDecoder {
    /// The next receipt of `input`, which goes on where the last call left off and is shortened by
    /// what was used. `None` when it is used up. After an error nothing more can be read.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Receipt>, InvalidReceipt> {
        while let Some((byte, rest)) = input.split_first() {
            let place = self.bytes.get_mut(self.len).ok_or(InvalidReceipt)?;
            *place = *byte;
            self.len += 1;
            *input = rest;
            let begun = self.bytes.get(..self.len).unwrap_or_default();
            match frame::parse_prefix(begun) {
                Parsed::Incomplete => {}
                Parsed::Invalid => return Err(InvalidReceipt),
                Parsed::Length {
                    payload_len: count,
                    prefix_len,
                } => {
                    self.len = 0;
                    let padding = prefix_len.get() - count.required_space();
                    return Ok(Some(Receipt {
                        count,
                        word: Word::of_padding(padding),
                    }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(word: Word, count: u64) -> Receipt {
        Receipt { count, word }
    }

    fn plain(count: u64) -> Receipt {
        with(Word::None, count)
    }

    fn refusal(count: u64) -> Receipt {
        with(Word::RefusesNext, count)
    }

    fn stop(count: u64) -> Receipt {
        with(Word::Stops, count)
    }

    fn encoded(receipt: Receipt) -> Vec<u8> {
        let mut bytes = [0xff; MAX_PREFIX_LEN];
        let len = receipt.encode(&mut bytes);
        bytes[..len].to_vec()
    }

    /// What comes out of `stream`, cut into pieces of `sizes`.
    fn decoded(stream: &[u8], sizes: &[usize]) -> Result<Vec<Receipt>, InvalidReceipt> {
        let mut decoder = ReceiptDecoder::default();
        let (mut receipts, mut rest) = (Vec::new(), stream);
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            rest = later;
            while let Some(receipt) = decoder.next(&mut piece)? {
                receipts.push(receipt);
            }
            assert!(piece.is_empty());
        }
        Ok(receipts)
    }

    #[test]
    fn vectors_of_the_contract() {
        for (receipt, bytes) in [
            (plain(0), &[0x00][..]),
            (plain(5), &[0x05]),
            (plain(300), &[0xac, 0x02]),
            (refusal(0), &[0x80, 0x00]),
            (refusal(5), &[0x85, 0x00]),
            (refusal(127), &[0xff, 0x00]),
            (refusal(300), &[0xac, 0x82, 0x00]),
            (stop(0), &[0x80, 0x80, 0x00]),
            (stop(5), &[0x85, 0x80, 0x00]),
            (stop(127), &[0xff, 0x80, 0x00]),
            (stop(300), &[0xac, 0x82, 0x80, 0x00]),
        ] {
            assert_eq!(encoded(receipt), bytes);
            assert_eq!(decoded(bytes, &[1]), Ok(vec![receipt]));
        }
    }

    #[test]
    fn padding_that_is_no_word_yet_says_nothing() {
        for padding in 3..=8 {
            let padded = [&[0xac, 0x82][..], &vec![0x80; padding - 1], &[0x00]].concat();
            assert_eq!(decoded(&padded, &[2]), Ok(vec![plain(300)]));
        }
    }

    #[test]
    fn a_peer_that_knows_only_plain_receipts_reads_the_same_number() {
        for count in [0, 5, 127, 128, 300, (1 << 56) - 1] {
            for receipt in [refusal(count), stop(count)] {
                let number = u64::decode_var(&encoded(receipt));
                assert_eq!(number.map(|(number, _)| number), Some(count));
            }
        }
    }

    #[test]
    fn what_leaves_no_room_for_its_word_is_a_plain_receipt() {
        for count in [1 << 63, u64::MAX] {
            assert_eq!(encoded(refusal(count)), encoded(plain(count)));
            assert_eq!(encoded(stop(count)), encoded(plain(count)));
        }
        assert_eq!(encoded(refusal((1 << 63) - 1)).len(), 10);
        assert_eq!(encoded(stop((1 << 63) - 1)), encoded(plain((1 << 63) - 1)));
        assert_eq!(encoded(stop((1 << 56) - 1)).len(), 10);
    }

    #[test]
    fn what_is_no_number_is_an_error_at_its_tenth_byte() {
        assert_eq!(decoded(&[0x80; 9], &[1]), Ok(vec![]));
        assert_eq!(decoded(&[0x80; 10], &[1]), Err(InvalidReceipt));
        assert_eq!(decoded(&[0xff; 11], &[11]), Err(InvalidReceipt));
        let beyond_u64 = [&[0xff; 9][..], &[0x02]].concat();
        assert_eq!(decoded(&beyond_u64, &[3]), Err(InvalidReceipt));
    }

    fn any_receipt() -> impl Strategy<Value = Receipt> {
        let count = prop_oneof![0u64..300, any::<u32>().prop_map(u64::from), 0u64..1 << 56];
        let word = prop_oneof![Just(Word::None), Just(Word::RefusesNext), Just(Word::Stops)];
        (count, word).prop_map(|(count, word)| Receipt { count, word })
    }

    proptest! {
        #[test]
        fn receipts_come_back_however_they_are_cut(
            receipts in prop::collection::vec(any_receipt(), 0..20),
            sizes in prop::collection::vec(1usize..12, 1..6),
        ) {
            let stream: Vec<u8> = receipts.iter().flat_map(|receipt| encoded(*receipt)).collect();
            prop_assert_eq!(decoded(&stream, &sizes), Ok(receipts));
        }

        #[test]
        fn any_bytes_are_read_the_same_however_they_are_cut(
            stream in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), 0u8..3], 0..60),
            sizes in prop::collection::vec(1usize..12, 1..6),
        ) {
            prop_assert_eq!(decoded(&stream, &sizes), decoded(&stream, &[stream.len().max(1)]));
        }
    }
}
