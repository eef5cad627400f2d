//! `top`: on a terminal, which it leaves as it was, and without one.

use std::io::Read;
use std::process::Stdio;

use crate::stage::Place;

/// The words of each row of a table, by its program, from the top.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().skip(2);
    rows.map(|row| row.split_whitespace().collect()).collect()
}

#[test]
fn without_a_terminal_the_table_is_printed_at_the_end() {
    let place = Place::new();
    let arguments = ["top", "s", "--sort", "total"];
    let mut top = place.tool(&arguments, Stdio::null(), Stdio::piped());
    top.wait_for("listening on ");
    // They are alive for as long as the reader has something to find out.
    let few = place.send(b"one\n", &["--at-least-once"]);
    let many = place.send(&b"a line\n".repeat(3_000), &["--at-least-once"]);
    let pids = [many.child.id(), few.child.id()].map(|pid| pid.to_string());
    many.end().assert_code(0);
    few.end().assert_code(0);
    let mut output = top.output();
    let ended = top.stop();
    ended.assert_code(0);
    let mut table = String::new();
    output.read_to_string(&mut table).unwrap();
    let sum = "in all 3,001 messages, 18.00 kB";
    assert!(table.lines().next().unwrap().contains(sum), "{table}");
    let rows = rows(&table);
    assert_eq!(rows.len(), 2, "{table}");
    for ((row, pid), messages) in rows.iter().zip(pids).zip(["3,000", "1"]) {
        assert!(
            row.contains(&messages) && row.contains(&&*own_name()),
            "{table}"
        );
        let is_named = row.contains(&&*pid) && row.contains(&"uds-ipc");
        assert!(!cfg!(target_os = "linux") || is_named, "{table}");
    }
}

/// Of this user, as the table has it.
fn own_name() -> String {
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).unwrap();
    let name = user.map(|user| user.name);
    let name = name.filter(|name| name.len() <= 12);
    name.unwrap_or_else(|| uid.to_string())
}

#[test]
fn messages_may_be_printed_all_the_same() {
    let place = Place::new();
    let arguments = ["top", "s", "--format", "lines"];
    let output = std::fs::File::create(place.path("out")).unwrap();
    let mut top = place.tool(&arguments, Stdio::null(), output.into());
    top.wait_for("listening on ");
    place.send(b"one\ntwo\n", &[]).end().assert_code(0);
    let ended = top.stop();
    ended
        .assert_code(0)
        .assert_said("in all 2 messages, 6 B")
        .assert_said("PROGRAM");
    assert_eq!(place.printed(), b"one\ntwo\n");
}

#[cfg(target_os = "linux")]
mod terminal {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::thread;

    use nix::pty::{Winsize, openpty};
    use nix::sys::signal::Signal;
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use parking_lot::Mutex;

    use crate::stage::{Place, Tool, wait_until};

    const SAYS_TO_US: &str = r#"exec "$0" "$@""#;
    const SAYS_TO_THE_TERMINAL: &str = r#"exec "$0" "$@" 2>/dev/tty"#;

    const ENTER: &str = "\x1b[?1049h";
    const LEAVE: &str = "\x1b[?1049l";

    /// A terminal, all that was written to it, and a tool that has it as its own.
    struct Terminal {
        keyboard: File,
        line: OwnedFd,
        shown: Arc<Mutex<Vec<u8>>>,
    }

    impl Terminal {
        /// Its standard error is ours, unless the script leads it elsewhere.
        fn run(place: &Place, script: &str, arguments: &[&str]) -> (Self, Tool) {
            let size = Winsize {
                ws_row: 24,
                ws_col: 120,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let terminal = openpty(&size, None).unwrap();
            let keyboard = File::from(terminal.master);
            let mut screen = keyboard.try_clone().unwrap();
            let shown = Arc::<Mutex<Vec<u8>>>::default();
            let seen = Arc::clone(&shown);
            thread::spawn(move || {
                let mut piece = [0; 4096];
                // It fails once nobody has the terminal.
                while let Ok(len @ 1..) = screen.read(&mut piece) {
                    seen.lock().extend_from_slice(piece.get(..len).unwrap());
                }
            });
            let stream = || Stdio::from(terminal.slave.try_clone().unwrap());
            let tool = Command::new("setsid")
                .args(["--ctty", "env", "--default-signal=HUP", "sh", "-c", script])
                .arg(env!("CARGO_BIN_EXE_uds-ipc"))
                .args(arguments)
                .current_dir(&place.0)
                .stdin(stream())
                .stdout(stream())
                .stderr(Stdio::piped())
                .spawn();
            let tool = Tool::new(tool.unwrap());
            let line = terminal.slave;
            let terminal = Self {
                keyboard,
                line,
                shown,
            };
            (terminal, tool)
        }

        fn text(&self) -> String {
            String::from_utf8_lossy(&self.shown.lock()).into_owned()
        }

        fn wait_for(&self, words: &str) {
            wait_until(words, || self.text().contains(words));
        }

        fn press(&mut self, key: &[u8]) {
            self.keyboard.write_all(key).unwrap();
        }

        fn flags(&self) -> LocalFlags {
            tcgetattr(&self.line).unwrap().local_flags
        }
    }

    #[test]
    fn the_screen_shows_who_sends_and_leaves_the_terminal_as_it_was() {
        for end in ["q", "\x03", "SIGTERM"] {
            let place = Place::new();
            let (mut terminal, top) =
                Terminal::run(&place, SAYS_TO_US, &["top", "s", "--interval", "0.01"]);
            terminal.wait_for(ENTER);
            let during = terminal.flags();
            let before = during | LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
            assert_ne!(during, before);
            let sender = place.send(b"one\ntwo\n", &["--at-least-once"]);
            sender.end().assert_code(0);
            terminal.wait_for("in all 2 messages, 6 B");
            terminal.wait_for("uds-ipc (ended)");
            terminal.press(b"pr");
            if end == "SIGTERM" {
                top.signal(Signal::SIGTERM);
            } else {
                terminal.press(end.as_bytes());
            }
            top.end().assert_code(0);
            assert_eq!(terminal.flags(), before);
            // And the table stays there to be read.
            let table = || {
                let text = terminal.text();
                let (_, after) = text.rsplit_once(LEAVE)?;
                Some(after.to_owned())
            };
            wait_until("the table is there", || {
                table().is_some_and(|table| table.contains("uds-ipc (ended)"))
            });
            assert!(!table().unwrap().contains(ENTER));
        }
    }

    #[test]
    fn a_sender_that_lives_when_top_ends_has_not_ended() {
        for delivery in [&[][..], &["--at-least-once"]] {
            let place = Place::new();
            let options = ["top", "s", "--interval", "0.01", "--idle-timeout", "600"];
            let (mut terminal, top) = Terminal::run(&place, SAYS_TO_US, &options);
            terminal.wait_for(ENTER);
            let arguments = [&["send", "s"], delivery].concat();
            let mut lives = place.tool(&arguments, Stdio::piped(), Stdio::null());
            let mut input = lives.child.stdin.take().unwrap();
            input.write_all(b"one\n").unwrap();
            terminal.wait_for("in all 1 message, ");
            place.send(b"two\n", delivery).end().assert_code(0);
            // It may have been gone before its name was read.
            terminal.wait_for(" (ended)");
            terminal.press(b"p");
            terminal.wait_for("PID▲");
            terminal.press(b"q");
            top.end().assert_code(0);
            let table = || {
                let text = terminal.text();
                let (_, table) = text.rsplit_once(LEAVE)?;
                table.ends_with('\n').then(|| table.to_owned())
            };
            wait_until("the table is there", || {
                table().is_some_and(|table| table.lines().count() == 4)
            });
            let table = table().unwrap();
            assert_eq!(table.matches("(ended)").count(), 1, "{table}");
            assert_eq!(table.matches("(closed)").count(), 0, "{table}");
            drop((input, lives));
        }
    }

    #[test]
    fn what_is_said_meanwhile_is_on_the_screen_and_said_afterwards() {
        let place = Place::new();
        let options = [
            "top",
            "s",
            "--interval",
            "0.01",
            "--allow-uid",
            "4294967294",
        ];
        let (mut terminal, top) = Terminal::run(&place, SAYS_TO_US, &options);
        // What is said before the screen is there is said at once.
        terminal.wait_for("q quit");
        let sender = place.send(b"one\n", &["--timeout", "50"]);
        terminal.wait_for("the peer check refused it");
        drop(sender);
        terminal.press(b"q");
        top.end()
            .assert_code(0)
            .assert_said("the peer check refused it");
    }

    #[test]
    fn figures_are_one_line_that_changes() {
        let place = Place::new();
        let options = ["listen", "s", "--format", "none", "--figures-every", "0.01"];
        let (terminal, listener) = Terminal::run(&place, SAYS_TO_THE_TERMINAL, &options);
        terminal.wait_for("listening on ");
        place.send(b"one\ntwo\n", &[]).end().assert_code(0);
        terminal.wait_for("2 messages, ");
        listener.stop().assert_code(0);
        terminal.wait_for("received 2 messages, 6 B over 1 connection in ");
        let text = terminal.text();
        let (_, after) = text.split_once("listening on ").unwrap();
        // Nothing but the last line begins a further one.
        assert_eq!(after.matches('\n').count(), 2, "{text}");
    }
}
