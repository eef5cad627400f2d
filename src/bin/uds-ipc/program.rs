//! The name of a process, as far as the system tells it.

use std::fs;

/// How the program calls itself that runs as this process now: on Linux, and up to 15 bytes.
pub(crate) fn of(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(&name))
}

/// A process may give itself any name, and who makes users too: none may move a terminal's cursor,
/// or stretch a table.
pub(crate) fn printable(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name));
    let is_plain = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    name.chars()
        .map(|letter| if is_plain(letter) { letter } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_moves_no_cursor_and_stretches_no_table() {
        assert_eq!(printable(b"tmux: server\n"), "tmux: server");
        assert_eq!(printable(b"\x1b[2J\ta\nb\xff\xc3\xa4"), "?[2J?a?b??");
    }
}
