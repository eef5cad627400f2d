//! Turns a stream of bytes into messages, which may come in pieces; `wire::frame` has the lengths.
//! Pure: no I/O, no clock. Memory follows the bytes that came, never a length that was only
//! announced.

use crate::buffer_pool::Pool;
use crate::num::to_u64;
use crate::wire::frame::{self, AT_LEAST_ONCE, MAX_PREFIX_LEN, Parsed};

/// Once so many bytes of a message have come, and as many are missing, the rest is read into the
/// message's own memory rather than copied there.
const DIRECT: usize = 64 * 1024;

/// The most that is read so at a time.
const MOST_DIRECT: usize = 256 * 1024;

/// What stands at the front of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message(&'a [u8]),
    /// An empty frame: it asks for a receipt.
    AckRequest,
    /// The first frame of a connection with `AtLeastOnce`. It asks for a receipt too.
    Opening,
}

/// Why a stream cannot go on. There is no way to find the next frame after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooLarge { len: u64 },
    InvalidPrefix,
}

/// Where in the stream the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    BetweenFrames,
    InPrefix,
    /// In a message of which so many bytes have come.
    InPayload {
        received: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Decoder {
    limit: u64,
    /// How many frames have begun: so a frame that goes on is told from a new one.
    frames: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Between,
    Prefix {
        bytes: [u8; MAX_PREFIX_LEN],
        len: usize,
    },
    Payload {
        payload: Vec<u8>,
        missing: usize,
    },
    /// The half message became whole with the last frame that was handed out.
    Delivered {
        payload: Vec<u8>,
    },
    Malformed(Malformed),
}

impl Decoder {
    pub(crate) fn new(max_message_len: usize) -> Self {
        Self {
            limit: to_u64(max_message_len),
            frames: 0,
            state: State::Between,
        }
    }

    /// The next frame of `input`, which goes on where the last call left off and is shortened by
    /// what was used. `None` when it is used up.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "left to itself the compiler calls it, and hands each frame over in memory: a third of a reader's time for short messages"
    )]
    #[expect(
        single_use_lifetimes,
        reason = "the input outlives the borrow of the decoder: that needs its name"
    )]
    pub(crate) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        pool: &Pool,
    ) -> Result<Option<Frame<'a>>, Malformed> {
        if matches!(self.state, State::Delivered { .. }) {
            self.reclaim(pool);
        }
        if matches!(self.state, State::Between) {
            // Nearly every frame: whole, and in the buffer.
            if let Parsed::Length {
                payload_len,
                prefix_len,
            } = frame::parse_prefix(input)
            {
                if payload_len <= self.limit {
                    let whole = input
                        .split_at_checked(prefix_len.get())
                        .and_then(|(_, rest)| {
                            usize::try_from(payload_len)
                                .ok()
                                .and_then(|len| rest.split_at_checked(len))
                        });
                    if let Some((payload, rest)) = whole {
                        *input = rest;
                        self.frames += 1;
                        if payload.is_empty() {
                            return Ok(Some(empty_frame(self.frames, prefix_len.get())));
                        }
                        return Ok(Some(Frame::Message(payload)));
                    }
                }
            }
        }
        self.next_in_pieces(input, pool)
    }

    fn next_in_pieces<'a>(
        &'a mut self,
        input: &mut &[u8],
        pool: &Pool,
    ) -> Result<Option<Frame<'a>>, Malformed> {
        loop {
            match &mut self.state {
                State::Malformed(malformed) => return Err(*malformed),
                State::Between if input.is_empty() => return Ok(None),
                State::Between | State::Delivered { .. } => {
                    self.frames += 1;
                    self.state = State::Prefix {
                        bytes: [0; MAX_PREFIX_LEN],
                        len: 0,
                    };
                }
                State::Prefix { bytes, len } => {
                    let Some((byte, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    *input = rest;
                    if let Some(place) = bytes.get_mut(*len) {
                        *place = *byte;
                    }
                    *len += 1;
                    match frame::parse_prefix(bytes.get(..*len).unwrap_or(bytes)) {
                        Parsed::Incomplete => {}
                        Parsed::Invalid => self.state = State::Malformed(Malformed::InvalidPrefix),
                        Parsed::Length { payload_len: 0, .. } => {
                            let frame = empty_frame(self.frames, *len);
                            self.state = State::Between;
                            return Ok(Some(frame));
                        }
                        Parsed::Length { payload_len, .. } => {
                            self.state = match usize::try_from(payload_len) {
                                Ok(missing) if payload_len <= self.limit => {
                                    let mut payload = pool.take();
                                    payload.clear();
                                    State::Payload { payload, missing }
                                }
                                _ => State::Malformed(Malformed::TooLarge { len: payload_len }),
                            };
                        }
                    }
                }
                State::Payload { payload, missing } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let (part, rest) = input.split_at(input.len().min(*missing));
                    *input = rest;
                    make_room(payload, part.len(), *missing);
                    payload.extend_from_slice(part);
                    *missing -= part.len();
                    if *missing == 0 {
                        return Ok(self.deliver());
                    }
                }
            }
        }
    }

    /// Memory to read the rest of a long message into, where that saves a copy. [`Decoder::filled`]
    /// must follow.
    pub(crate) fn direct(&mut self) -> Option<&mut [u8]> {
        let State::Payload { payload, missing } = &mut self.state else {
            return None;
        };
        if payload.len().min(*missing) < DIRECT {
            return None;
        }
        let start = payload.len();
        let ahead = (*missing).min(payload.len());
        make_room(payload, ahead, *missing);
        // The memory must be zeroed first: no more of it than one read is likely to fill.
        let ahead = ahead.min(MOST_DIRECT);
        payload.resize(start + ahead, 0);
        payload.get_mut(start..)
    }

    /// The first `len` of the `given` bytes of memory from [`Decoder::direct`] were read into.
    pub(crate) fn filled(&mut self, given: usize, len: usize) -> Option<Frame<'_>> {
        let State::Payload { payload, missing } = &mut self.state else {
            return None;
        };
        payload.truncate(payload.len().saturating_sub(given - len));
        *missing -= len;
        if *missing == 0 { self.deliver() } else { None }
    }

    fn deliver(&mut self) -> Option<Frame<'_>> {
        if let State::Payload { payload, .. } = std::mem::replace(&mut self.state, State::Between) {
            self.state = State::Delivered { payload };
        }
        match &self.state {
            State::Delivered { payload } => Some(Frame::Message(payload)),
            State::Between | State::Prefix { .. } | State::Payload { .. } | State::Malformed(_) => {
                None
            }
        }
    }

    /// Gives the memory of the last message that was handed out back to the pool.
    pub(crate) fn reclaim(&mut self, pool: &Pool) {
        if let State::Delivered { payload } = &mut self.state {
            pool.give(std::mem::take(payload));
            self.state = State::Between;
        }
    }

    /// Nothing more will come: forgets a half message.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Between;
    }

    pub(crate) fn position(&self) -> Position {
        match &self.state {
            State::Between | State::Delivered { .. } | State::Malformed(_) => {
                Position::BetweenFrames
            }
            State::Prefix { .. } => Position::InPrefix,
            State::Payload { payload, .. } => Position::InPayload {
                received: to_u64(payload.len()),
            },
        }
    }

    /// How many frames have begun.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// The memory that a half message holds, in bytes.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Payload { payload, .. } | State::Delivered { payload } => payload.capacity(),
            State::Between | State::Prefix { .. } | State::Malformed(_) => 0,
        }
    }
}

/// What an empty frame says: it is frame number `number` of its connection, and its length takes
/// `prefix_len` bytes. Other paddings, and other places, say nothing more than a plain zero.
///
/// Cold: inlined, it costs each message seven instructions of some fifty.
#[cold]
fn empty_frame<'a>(number: u64, prefix_len: usize) -> Frame<'a> {
    if number == 1 && prefix_len == AT_LEAST_ONCE.len() {
        Frame::Opening
    } else {
        Frame::AckRequest
    }
}

/// Makes room for `more` bytes of the `missing` ones: doubling, so that a long message is not
/// copied too often, and never beyond its end.
fn make_room(payload: &mut Vec<u8>, more: usize, missing: usize) {
    if payload.capacity() - payload.len() < more {
        let double = payload.len().max(more).min(missing.max(more));
        payload.reserve_exact(double);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Prefix;
    use proptest::prelude::*;

    const LIMIT: usize = 300_000;

    fn stream_of(messages: &[Vec<u8>]) -> Vec<u8> {
        messages
            .iter()
            .flat_map(|message| [Prefix::new(message.len()).as_slice(), message].concat())
            .collect()
    }

    /// What a decoder delivers when `stream` comes in pieces of `sizes`, read directly where the
    /// decoder offers it.
    fn decode(stream: &[u8], sizes: &[usize]) -> (Vec<Vec<u8>>, Option<Malformed>, Position) {
        let pool = Pool::new(2, 4096);
        let mut decoder = Decoder::new(LIMIT);
        let mut messages = Vec::new();
        let mut rest = stream;
        let mut sizes = sizes.iter().copied().cycle();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(stream.len()).clamp(1, rest.len());
            if let Some(room) = decoder.direct() {
                let (given, len) = (room.len(), room.len().min(size));
                room[..len].copy_from_slice(&rest[..len]);
                rest = &rest[len..];
                if let Some(Frame::Message(message)) = decoder.filled(given, len) {
                    messages.push(message.to_vec());
                }
                decoder.reclaim(&pool);
                continue;
            }
            let (mut piece, later) = rest.split_at(size);
            rest = later;
            loop {
                match decoder.next(&mut piece, &pool) {
                    Ok(Some(Frame::Message(message))) => messages.push(message.to_vec()),
                    Ok(Some(Frame::AckRequest | Frame::Opening)) => {}
                    Ok(None) => break,
                    Err(malformed) => return (messages, Some(malformed), decoder.position()),
                }
            }
        }
        (messages, None, decoder.position())
    }

    /// A second decoder, as plain as can be, over the whole stream at once.
    fn independent(stream: &[u8]) -> (Vec<Vec<u8>>, Option<Malformed>) {
        let mut messages = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let mut len = 0u128;
            let mut bytes = 0;
            loop {
                let Some(byte) = stream.get(at + bytes) else {
                    return (messages, None);
                };
                len += u128::from(byte & 0x7f) << (7 * bytes);
                bytes += 1;
                if byte & 0x80 == 0 {
                    break;
                }
                if bytes == 10 {
                    return (messages, Some(Malformed::InvalidPrefix));
                }
            }
            let Ok(len) = u64::try_from(len) else {
                return (messages, Some(Malformed::InvalidPrefix));
            };
            if len > to_u64(LIMIT) {
                return (messages, Some(Malformed::TooLarge { len }));
            }
            at += bytes;
            let Some(message) = stream.get(at..at + usize::try_from(len).unwrap()) else {
                return (messages, None);
            };
            if len > 0 {
                messages.push(message.to_vec());
            }
            at += message.len();
        }
        (messages, None)
    }

    fn any_messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let len = prop_oneof![8 => 0usize..5, 8 => 100usize..400, 2 => 4000usize..20_000, 1 => 60_000usize..LIMIT + 1];
        prop::collection::vec(len, 0..12).prop_map(|lens| {
            lens.into_iter()
                .enumerate()
                .map(|(at, len)| vec![u8::try_from(at).unwrap(); len])
                .collect()
        })
    }

    #[test]
    fn every_split_of_a_stream_in_two_decodes_to_the_same_messages() {
        let messages: Vec<_> = [1, 127, 128, 255, 0, 5]
            .map(|len: u8| vec![len; len.into()])
            .into();
        let messages: Vec<_> = messages.into_iter().chain([vec![9; 300]]).collect();
        let stream = stream_of(&messages);
        let wanted: Vec<_> = messages
            .into_iter()
            .filter(|message| !message.is_empty())
            .collect();
        for cut in 0..=stream.len() {
            let (messages, malformed, position) = decode(&stream, &[cut.max(1), stream.len()]);
            assert_eq!(
                (messages, malformed),
                (wanted.clone(), None),
                "cut at {cut}"
            );
            assert_eq!(position, Position::BetweenFrames);
        }
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_delivers_nothing_of_it() {
        let stream = stream_of(&[vec![1; 200]]);
        for end in 1..stream.len() {
            let (messages, malformed, position) = decode(&stream[..end], &[7]);
            assert_eq!((messages.len(), malformed), (0, None));
            assert_eq!(
                position,
                match end.checked_sub(2) {
                    None => Position::InPrefix,
                    Some(received) => Position::InPayload {
                        received: to_u64(received),
                    },
                }
            );
        }
    }

    #[test]
    fn a_message_at_the_limit_is_delivered_and_one_above_is_refused_at_its_prefix() {
        let (messages, malformed, _) = decode(&stream_of(&[vec![1; LIMIT]]), &[1000]);
        assert_eq!((messages.len(), malformed), (1, None));
        for len in [
            to_u64(LIMIT) + 1,
            u64::from(u32::MAX),
            (1 << 63) - 1,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut prefix = [0; 10];
            let used = integer_encoding::VarInt::encode_var(len, &mut prefix);
            for size in [1, 10] {
                let (messages, malformed, _) = decode(&prefix[..used], &[size]);
                assert_eq!(
                    (messages.len(), malformed),
                    (0, Some(Malformed::TooLarge { len }))
                );
            }
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_came_not_the_length_announced() {
        let pool = Pool::new(1, 4096);
        let mut decoder = Decoder::new(10 << 20);
        let prefix = Prefix::new(10 << 20);
        let mut input = prefix.as_slice();
        assert_eq!(decoder.next(&mut input, &pool), Ok(None));
        assert_eq!(decoder.held(), 0);
        let mut came = 0;
        while came < 4 << 20 {
            let mut input = &[0; 1000][..];
            assert_eq!(decoder.next(&mut input, &pool), Ok(None));
            came += 1000;
            assert!(decoder.held() <= 2 * came, "{} for {came}", decoder.held());
        }
        let room = decoder.direct().unwrap().len();
        assert!(room <= came, "{room} more for {came}");
        assert!(decoder.held() <= 2 * came, "{} for {came}", decoder.held());
    }

    #[test]
    fn only_the_message_that_was_spread_over_two_reads_is_copied() {
        let pool = Pool::new(1, 4096);
        let mut decoder = Decoder::new(100);
        let stream = stream_of(&[vec![1; 50], vec![2; 50], vec![3; 50]]);
        let (mut first, mut second) = stream.split_at(20);
        assert_eq!(decoder.next(&mut first, &pool), Ok(None));
        for is_copied in [true, false, false] {
            let Ok(Some(Frame::Message(message))) = decoder.next(&mut second, &pool) else {
                panic!()
            };
            assert_eq!(
                !stream.as_ptr_range().contains(&message.as_ptr()),
                is_copied
            );
        }
    }

    #[test]
    fn empty_frames_cost_no_memory() {
        let pool = Pool::new(1, 4096);
        let mut decoder = Decoder::new(100);
        let zeros = [0; 10_000];
        let mut input = &zeros[..];
        for _ in 0..zeros.len() {
            assert_eq!(decoder.next(&mut input, &pool), Ok(Some(Frame::AckRequest)));
        }
        assert_eq!(decoder.next(&mut input, &pool), Ok(None));
        assert_eq!(decoder.held(), 0);
    }

    /// What the empty frames of `stream` say, in two pieces.
    fn empty_frames(stream: &[u8], cut: usize) -> Vec<&'static str> {
        let pool = Pool::new(1, 4096);
        let mut decoder = Decoder::new(100);
        let (first, second) = stream.split_at(cut);
        let mut words = Vec::new();
        for mut piece in [first, second] {
            while let Some(frame) = decoder.next(&mut piece, &pool).unwrap() {
                words.push(match frame {
                    Frame::Message(_) => "message",
                    Frame::AckRequest => "ask",
                    Frame::Opening => "opening",
                });
            }
        }
        words
    }

    #[test]
    fn only_a_first_zero_padded_by_just_one_byte_opens_a_connection_that_delivers_at_least_once() {
        for (stream, words) in [
            (&[0x80, 0x00][..], &["opening"][..]),
            (&[0x80, 0x00, 0x80, 0x00], &["opening", "ask"]),
            (&[0x80, 0x00, 0x01, b'a'], &["opening", "message"]),
            (&[0x80, 0x00, 0x00], &["opening", "ask"]),
            (&[0x00], &["ask"]),
            (&[0x00, 0x80, 0x00], &["ask", "ask"]),
            (&[0x80, 0x80, 0x00], &["ask"]),
            (&[0x80, 0x80, 0x00, 0x80, 0x00], &["ask", "ask"]),
            (&[0x01, b'a', 0x80, 0x00], &["message", "ask"]),
            (&[0x81, 0x00, b'a', 0x80, 0x00], &["message", "ask"]),
        ] {
            for cut in 0..=stream.len() {
                assert_eq!(
                    empty_frames(stream, cut),
                    words,
                    "{stream:02x?} cut at {cut}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn every_split_of_every_stream_decodes_to_the_same_messages(
            messages in any_messages(), sizes in prop::collection::vec(1usize..100_000, 1..8),
        ) {
            let stream = stream_of(&messages);
            let wanted: Vec<_> = messages.into_iter().filter(|message| !message.is_empty()).collect();
            prop_assert_eq!(decode(&stream, &sizes), (wanted, None, Position::BetweenFrames));
        }

        #[test]
        fn a_mutated_stream_decodes_as_an_independent_decoder_says(
            messages in any_messages(),
            mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            sizes in prop::collection::vec(1usize..5_000, 1..8),
        ) {
            let mut stream = stream_of(&messages);
            for (index, value) in mutations {
                if !stream.is_empty() {
                    let at = index.index(stream.len());
                    stream[at] = value;
                }
            }
            let (delivered, malformed, _) = decode(&stream, &sizes);
            prop_assert_eq!((delivered, malformed), independent(&stream));
        }

        #[test]
        fn garbage_never_panics_and_is_read_as_an_independent_decoder_does(
            stream in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, Just(0x80)], 0..400),
            sizes in prop::collection::vec(1usize..50, 1..5),
        ) {
            let (delivered, malformed, _) = decode(&stream, &sizes);
            prop_assert_eq!((delivered, malformed), independent(&stream));
        }
    }
}
