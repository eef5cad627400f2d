//! Any bytes as an address: an error that says something, or an address that means the same when it
//! is read again.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use uds_ipc::{Address, error::AddressError};

fuzz_target!(|input: &[u8]| {
    let address = match Address::new(OsStr::from_bytes(input)) {
        Ok(address) => address,
        Err(error) => return check_error(&error, input),
    };
    assert_eq!(Address::new(&address).unwrap(), address);
    let text = address.to_string();
    let kind = text.split(':').next().unwrap();
    match (address.path(), address.port()) {
        (Some(path), None) => {
            let path = path.as_os_str();
            assert!(path.len() <= Address::MAX_LEN && !path.as_bytes().contains(&0));
            assert!(path.as_bytes().starts_with(b"/"));
            assert_eq!(Address::new(path).unwrap(), address);
        }
        (None, Some(port)) => {
            assert!(kind == "tcp" && text.ends_with(&format!(":{port}")));
            assert!(input.starts_with(b"tcp:") || input.starts_with(b"tab.tcp://"));
            assert!(text.is_ascii() && text.len() <= "tcp:".len() + 254 + ":65535".len());
        }
        (Some(_), Some(_)) => panic!("a path with a port: {address:?}"),
        (None, None) if kind == "fd" => assert_eq!(text.as_bytes(), input),
        (None, None) if text == "-" => assert_eq!(input, b"-"),
        (None, None) => {
            let name = input.strip_prefix(b"unix:").unwrap_or(input);
            assert!(name.len() > 1 && name.starts_with(b"@"));
        }
    }
    assert!(!text.is_empty());
    // What is not UTF-8 is not printed as it is.
    if let Ok(input) = std::str::from_utf8(input) {
        assert_eq!(text.parse::<Address>().unwrap(), address, "{input:?}");
    }
});

/// What it says to write is an address, where it is one that begins with a kind and has no words
/// behind it.
fn check_error(error: &AddressError, input: &[u8]) {
    assert!(!error.to_string().is_empty());
    let instead = match error {
        AddressError::LooksLike { instead, .. }
        | AddressError::NoSuchKind { instead, .. }
        | AddressError::BadHost { instead, .. }
        | AddressError::NoPort { instead, .. }
        | AddressError::BadPort { instead, .. }
        | AddressError::BadDescriptor { instead, .. } => instead,
        _ => return,
    };
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let file = format!(", or ./{input} for such a file");
    let instead = match instead.strip_suffix(&*file) {
        Some(instead) => {
            assert!(Address::new(format!("./{input}")).unwrap().path().is_some());
            instead
        }
        None => instead,
    };
    // Those with capitals are patterns, such as tcp:HOST:PORT: what is near a host or a number is
    // in lower case.
    let is_pattern = instead.contains(|letter: char| letter.is_ascii_uppercase());
    if !is_pattern && (instead.starts_with("tcp:") || instead.starts_with("fd:")) {
        assert!(Address::new(instead).is_ok(), "{input:?}: {instead:?}");
    }
}
