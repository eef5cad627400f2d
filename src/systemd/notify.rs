//! What a service tells its manager, in order and without waiting.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io;
use std::mem;

use nix::libc;

use crate::event::NotifyError;
use crate::sys::NotifySocket;

/// The manager has too much to read: it can be told later.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The way to the manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: NotifySocket,
    /// Its address, as it was given.
    name: OsString,
    /// Changes of state that the manager had no room for: they go out before anything else.
    owed: VecDeque<String>,
    /// The last one failed, and that was told.
    has_failed: bool,
}

impl Notifier {
    /// The way that `NOTIFY_SOCKET` names; `None` where nobody wants to be told.
    pub(super) fn from_environment() -> Result<Option<Self>, NotifyError> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        match NotifySocket::new(&name) {
            Ok(Some(socket)) => Ok(Some(Self {
                socket,
                name,
                owed: VecDeque::new(),
                has_failed: false,
            })),
            Ok(None) => Err(NotifyError::Unsupported { address: name }),
            Err(source) => Err(NotifyError::Io {
                address: name,
                source,
            }),
        }
    }

    /// Tells a change of state, now or as soon as the manager has room. An error is news.
    pub(super) fn tell(&mut self, text: String) -> Result<(), NotifyError> {
        self.owed.push_back(text);
        self.pay()
    }

    /// Tells what the next one will say better, if the manager has room. Says whether it had.
    pub(super) fn mention(&mut self, text: &str) -> Result<bool, NotifyError> {
        self.pay()?;
        if self.owes() {
            return Ok(false);
        }
        let sent = self.socket.send(text);
        let is_sent = sent.is_ok();
        self.news(sent).map(|()| is_sent)
    }

    /// Tries again what is owed.
    pub(super) fn pay(&mut self) -> Result<(), NotifyError> {
        while let Some(text) = self.owed.front() {
            match self.socket.send(text) {
                Err(error) if is_full(&error) => break,
                sent => {
                    self.owed.pop_front();
                    self.news(sent)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Keeps an error to itself if the one before was not the last.
    fn news(&mut self, sent: io::Result<()>) -> Result<(), NotifyError> {
        match sent {
            Err(error) if is_full(&error) => Ok(()),
            Err(source) if !mem::replace(&mut self.has_failed, true) => Err(NotifyError::Io {
                address: self.name.clone(),
                source,
            }),
            Err(_) => Ok(()),
            Ok(()) => {
                self.has_failed = false;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A manager and the way to it.
    fn pair() -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let place = tempfile::tempdir().unwrap();
        let name = place.path().join("notify").into_os_string();
        let manager = UnixDatagram::bind(&name).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = NotifySocket::new(&name).unwrap().unwrap();
        (
            place,
            manager,
            Notifier {
                socket,
                name,
                owed: VecDeque::new(),
                has_failed: false,
            },
        )
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 100];
        let next = || {
            manager
                .recv(&mut buffer)
                .ok()
                .map(|len| String::from_utf8_lossy(&buffer[..len]).into())
        };
        std::iter::from_fn(next).collect()
    }

    /// Says something until the manager has no room. How often it had.
    fn fill(notifier: &mut Notifier) -> usize {
        let mut count = 0;
        while notifier.mention("noise").unwrap() {
            count += 1;
            assert!(count < 100_000, "it has room for ever");
        }
        count
    }

    #[test]
    fn what_is_owed_goes_out_in_order_and_before_what_is_mentioned() {
        let (_place, manager, mut notifier) = pair();
        let room = fill(&mut notifier);
        assert!(!notifier.owes(), "what is only mentioned is forgotten");
        let states: Vec<_> = (0..room + 2)
            .map(|number| format!("state {number}"))
            .collect();
        for state in &states {
            notifier.tell(state.clone()).unwrap();
        }
        assert_eq!(heard(&manager), vec!["noise"; room]);
        assert!(
            !notifier.mention("lost").unwrap(),
            "there is room again, but not for all"
        );
        assert_eq!(heard(&manager), states[..room]);
        assert!(notifier.mention("last").unwrap());
        assert_eq!(
            heard(&manager),
            [&states[room..], &["last".to_owned()]].concat()
        );
        assert!(!notifier.owes());
    }

    #[test]
    fn a_failure_is_news_once_until_something_was_sent() {
        let (_place, manager, mut notifier) = pair();
        let path = notifier.name.clone();
        let mut manager = Some(manager);
        for _ in 0..2 {
            drop(manager.take());
            assert!(
                matches!(notifier.tell("one".into()), Err(NotifyError::Io { address, .. }) if address == path)
            );
            notifier.tell("two".into()).unwrap();
            assert!(!notifier.mention("three").unwrap());
            assert!(
                !notifier.owes(),
                "a manager that is not there is owed nothing"
            );
            std::fs::remove_file(&path).unwrap();
            let next = UnixDatagram::bind(&path).unwrap();
            next.set_nonblocking(true).unwrap();
            assert!(notifier.mention("four").unwrap());
            assert_eq!(heard(&next), ["four"]);
            manager = Some(next);
        }
    }
}
