//! Any bytes as receipts: never more covered than was written.
#![no_main]

#[allow(dead_code, reason = "others use the rest")]
mod pieces;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((written, rest)) = input.split_first_chunk() else { return };
    let (parts, stream) = pieces::cut(rest);
    let written = u64::from(u32::from_le_bytes(*written));
    let covered = uds_ipc::fuzzing::take_receipts(written, &parts);
    // The same, told independently: varints that never fall, none above what was written.
    let (mut expected, mut number, mut bytes) = (Some(0), 0u128, 0);
    for byte in stream {
        number |= u128::from(byte & 0x7f) << (7 * bytes);
        bytes += 1;
        if *byte < 0x80 {
            expected = expected.filter(|before| *before <= number && number <= u128::from(written)).map(|_| number);
            (number, bytes) = (0, 0);
        } else if bytes == 10 {
            expected = None;
        }
        if expected.is_none() {
            break;
        }
    }
    assert_eq!(covered.map(u128::from), expected);
});
