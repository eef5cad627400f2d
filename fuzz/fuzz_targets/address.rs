//! Any bytes as an address: an error, or an address that means the same when it is read again.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use uds_ipc::{Address, MAX_PATH_LEN};

fuzz_target!(|input: &[u8]| {
    let Ok(address) = Address::new(OsStr::from_bytes(input)) else { return };
    match address.path() {
        Some(path) => {
            let path = path.as_os_str();
            assert!(path.len() <= MAX_PATH_LEN && !path.as_bytes().contains(&0));
            assert_eq!(Address::new(path).unwrap(), address);
        }
        None => assert!(input.len() > 1 && input.starts_with(b"@")),
    }
    assert!(!address.to_string().is_empty());
});
