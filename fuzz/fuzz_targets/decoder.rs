//! Any stream in any pieces, against an independent decoder.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 300_000;

fuzz_target!(|input: &[u8]| {
    let (parts, stream) = pieces::cut(input);
    let (expected, can_go_on) = pieces::decode(stream, LIMIT as u64);
    let mut expected = expected.into_iter();
    let decoded = uds_ipc::fuzzing::decode(LIMIT, &parts, |frame| {
        assert_eq!(expected.next(), Some(frame.unwrap_or_default()));
    });
    assert_eq!(expected.next(), None);
    assert_eq!(decoded, can_go_on);
});
