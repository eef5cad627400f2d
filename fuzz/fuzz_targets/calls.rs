//! Any bytes as calls, and as their answers: nothing panics, however they are cut.
#![no_main]

#[allow(dead_code, reason = "others use the rest")]
mod pieces;

use libfuzzer_sys::fuzz_target;
use uds_ipc::fuzzing::{read_calls, read_replies};

fuzz_target!(|input: &[u8]| {
    let (parts, stream) = pieces::cut(input);
    assert_eq!(read_calls(&parts), read_calls(&[stream]));
    assert_eq!(read_replies(&parts), read_replies(&[stream]));
});
