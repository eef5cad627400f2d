//! The terminal as a screen: its own page, keys one by one, and all as before at the end.
//! Draws and reads; what, is decided elsewhere.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::thread;

use console::Term;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Another page, no cursor, and lines that are cut where they are too long.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The first line; then for each line the rest of it, and for the page what is below.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

pub(crate) struct Screen {
    terminal: File,
    size: Term,
    before: Termios,
}

impl Screen {
    /// Takes the terminal, wherever the standard streams lead. `None` where there is none that
    /// shows us: no terminal, or we are in its background.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        if !io::stderr().is_terminal() && !io::stdout().is_terminal() {
            return Ok(None);
        }
        let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
            return Ok(None);
        };
        if tcgetpgrp(&terminal) != Ok(getpgrp()) {
            return Ok(None);
        }
        let size = Term::read_write_pair(terminal.try_clone()?, terminal.try_clone()?);
        let before = tcgetattr(&terminal)?;
        let mut ours = before.clone();
        // A key at a time, unseen; those that would be signals are keys too.
        ours.local_flags -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        // Nor does one hold up what is drawn.
        ours.input_flags -= InputFlags::IXON;
        tcsetattr(&terminal, SetArg::TCSADRAIN, &ours)?;
        let mut screen = Self {
            terminal,
            size,
            before,
        };
        screen.terminal.write_all(ENTER.as_bytes())?;
        Ok(Some(screen))
    }

    /// How many lines it has.
    pub(crate) fn height(&self) -> usize {
        self.size.size().0.into()
    }

    /// Shows these lines, of which there are no more than it has.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| format!("{line}{END_OF_LINE}"))
            .collect();
        let page = format!("{HOME}{}{BELOW}", lines.join("\r\n"));
        // In one piece, so that nothing flickers.
        self.terminal.write_all(page.as_bytes())
    }

    /// Calls `on_key` for each key, on a thread of its own, until that says no more; and once with
    /// none when the terminal is gone.
    pub(crate) fn keys(
        &self,
        on_key: impl Fn(Option<u8>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let mut terminal = self.terminal.try_clone()?;
        let read = move || {
            let mut key = [0];
            while let Ok(1) = terminal.read(&mut key) {
                let [key] = key;
                if !on_key(Some(key)) {
                    return;
                }
            }
            on_key(None);
        };
        thread::Builder::new()
            .name("uds-ipc-keys".into())
            .spawn(read)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be put back.
        let _ = self.terminal.write_all(LEAVE.as_bytes());
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
