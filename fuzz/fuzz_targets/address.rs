//! Any bytes as an address: an error, or an address that means the same when it is read again.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use uds_ipc::Address;

fuzz_target!(|input: &[u8]| {
    let address = match Address::new(OsStr::from_bytes(input)) {
        Ok(address) => address,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(Address::new(&address).unwrap(), address);
    match address.path() {
        Some(path) => {
            let path = path.as_os_str();
            assert!(path.len() <= Address::MAX_LEN && !path.as_bytes().contains(&0));
            assert!(path.as_bytes().starts_with(b"/"));
            assert_eq!(Address::new(path).unwrap(), address);
        }
        None => {
            let name = input.strip_prefix(b"unix:").unwrap_or(input);
            assert!(name.len() > 1 && name.starts_with(b"@"));
        }
    }
    let text = address.to_string();
    assert!(!text.is_empty());
    // What is not UTF-8 is not printed as it is.
    if let Ok(input) = std::str::from_utf8(input) {
        assert_eq!(text.parse::<Address>().unwrap(), address, "{input:?}");
    }
});
