//! Shared by the targets: how an input is cut, and what it means by the wire format, told
//! independently of the crate.

/// The first byte of the input says how long its pieces are: a stream arrives in any.
pub fn cut(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((first, stream)) = input.split_first() else { return (Vec::new(), input) };
    let len = match first {
        0..=63 => usize::from(*first) + 1,
        64..=191 => usize::from(*first) * 97,
        192..=255 => usize::MAX,
    };
    (stream.chunks(len.max(1)).collect(), stream)
}

/// The frames of a stream: a message each, empty ones too; and whether it can go on.
pub fn decode(stream: &[u8], limit: u64) -> (Vec<&[u8]>, bool) {
    let (mut frames, mut at) = (Vec::new(), 0);
    loop {
        let (mut len, mut bytes) = (0u128, 0);
        loop {
            let Some(byte) = stream.get(at + bytes) else { return (frames, true) };
            len |= u128::from(byte & 0x7f) << (7 * bytes);
            bytes += 1;
            if *byte < 0x80 {
                break;
            }
            if bytes == 10 {
                return (frames, false);
            }
        }
        if len > u128::from(limit) {
            return (frames, false);
        }
        at += bytes;
        let Some(message) = stream.get(at..at + usize::try_from(len).unwrap()) else { return (frames, true) };
        frames.push(message);
        at += message.len();
    }
}
