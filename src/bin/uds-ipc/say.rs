//! What the tool says on standard error.
//! Words only; the figures are made elsewhere.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line, in one piece, so that lines of several threads do not mix. There is nobody to tell when that fails.
pub(crate) fn line(text: impl Display) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Writes a line about something that went wrong.
pub(crate) fn problem(text: impl Display) {
    line(format_args!("uds-ipc: {text}"));
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = one(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&one(error));
        cause = error.source();
    }
    text
}

/// The system's errors begin with a capital and end with a number; ours do neither.
fn one(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) else {
        return text;
    };
    let words = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_errors_are_in_lower_case_without_a_number() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(chain(&error), "permission denied");
        assert_eq!(chain(&io::Error::other("Ours stay as they are")), "Ours stay as they are");
    }
}
