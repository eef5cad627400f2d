//! What the tool says on standard error.
//! Words only; the figures are made elsewhere.

use std::collections::VecDeque;
use std::error;
use std::fmt::Display;
use std::io::{self, Write};
use std::mem;

use parking_lot::Mutex;
use thiserror::Error;
use uds_ipc::error::SystemError;

use crate::patient::Patient;

/// Held while writing, so that lines of several threads come one by one.
static STATE: Mutex<State> = Mutex::new(State {
    is_over: false,
    is_live: false,
    held: None,
});

/// The most lines that are held back.
const MOST_HELD: usize = 100;

struct State {
    /// The last line has been written.
    is_over: bool,
    /// The cursor is in a line that changes.
    is_live: bool,
    /// Lines that wait until the screen is free.
    held: Option<VecDeque<String>>,
}

/// Writes one line, unless the last has been written.
pub(crate) fn line(text: impl Display) {
    let mut state = STATE.lock();
    if state.is_over {
        return;
    }
    if let Some(held) = &mut state.held {
        if held.len() == MOST_HELD {
            held.pop_front();
        }
        held.push_back(text.to_string());
    } else {
        write(&mut state, text);
    }
}

/// Writes the last line: threads that still run have no word after it.
pub(crate) fn last(text: impl Display) {
    let mut state = STATE.lock();
    write(&mut state, text);
    state.is_over = true;
}

/// Shows a line on a terminal that the next one replaces.
pub(crate) fn live(text: impl Display) {
    let mut state = STATE.lock();
    if !state.is_over {
        // Cut where it is too long for one.
        put(&format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h"));
        state.is_live = true;
    }
}

/// Holds lines back while somebody else has the terminal.
pub(crate) fn hold() -> Held {
    STATE.lock().held = Some(VecDeque::new());
    Held
}

/// Writes what was held back once it is dropped.
pub(crate) struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = STATE.lock();
        for line in state.held.take().unwrap_or_default() {
            write(&mut state, line);
        }
    }
}

/// The last line that is held back.
pub(crate) fn last_held() -> String {
    let state = STATE.lock();
    let held = state.held.as_ref();
    held.and_then(|held| held.back().cloned())
        .unwrap_or_default()
}

fn write(state: &mut State, text: impl Display) {
    let before = if mem::take(&mut state.is_live) {
        "\r\x1b[K"
    } else {
        ""
    };
    put(&format!("{before}{text}\n"));
}

/// In one piece, and when that fails there is nobody to tell.
fn put(text: &str) {
    let _ = Patient(io::stderr()).write_all(text.as_bytes());
}

/// The exit code of wrong usage, as clap has it.
pub(crate) const WRONG_USAGE: u8 = 2;

/// What was asked for cannot be had: the command line must be another.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Writes a line about something that went wrong.
pub(crate) fn problem(text: impl Display) {
    line(format_args!("uds-ipc: {text}"));
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &(dyn error::Error + 'static)) -> String {
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
fn one(error: &(dyn error::Error + 'static)) -> String {
    let text = error.to_string();
    let of_system = error.downcast_ref().and_then(SystemError::raw_os_error);
    let Some(code) = of_system.or_else(|| error.downcast_ref().and_then(io::Error::raw_os_error))
    else {
        return text;
    };
    let words = text
        .strip_suffix(&format!(" (os error {code})"))
        .unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_errors_are_in_lower_case_without_a_number() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(chain(&error), "permission denied");
        assert_eq!(chain(&SystemError::from(error)), "permission denied");
        assert_eq!(
            chain(&io::Error::other("Ours stay as they are")),
            "Ours stay as they are"
        );
    }
}
