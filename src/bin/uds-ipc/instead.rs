//! What is at a path where a socket should be. The system only says that it refuses.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// What it is. `None` where there is a socket, or nothing.
pub(crate) fn of_socket(path: &Path) -> Option<String> {
    let kind = fs::metadata(path).ok()?.file_type();
    let name = if kind.is_socket() {
        return None;
    } else if kind.is_file() {
        "a regular file"
    } else if kind.is_dir() {
        "a directory"
    } else {
        "a device or a pipe"
    };
    Some(format!(
        "this is {name}, not a socket: give the path of the socket"
    ))
}
