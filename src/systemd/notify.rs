//! The notifications of a service to systemd: sent in order, without waiting for room.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io;
use std::mem;

use crate::event::NotifyError;
use crate::sys::NotifySocket;

/// The socket of systemd, and what it had no room for.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: NotifySocket,
    /// Its address, as it was given.
    name: OsString,
    /// Changes of state that found no room: they go out before anything else.
    unsent: VecDeque<String>,
    /// The last notification failed, and that was reported.
    has_failed: bool,
}

impl Notifier {
    /// The one that `NOTIFY_SOCKET` names; `None` outside of a unit with `Type=notify`.
    pub(super) fn from_environment() -> Result<Option<Self>, NotifyError> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        match NotifySocket::new(&name) {
            Ok(Some(socket)) => Ok(Some(Self {
                socket,
                name,
                unsent: VecDeque::new(),
                has_failed: false,
            })),
            Ok(None) => Err(NotifyError::Unsupported { address: name }),
            Err(source) => Err(NotifyError::Io {
                address: name,
                source: source.into(),
            }),
        }
    }

    /// Sends a change of state, now or as soon as there is room.
    pub(super) fn notify(&mut self, text: String) -> Result<(), NotifyError> {
        self.unsent.push_back(text);
        self.send_unsent()
    }

    /// Sends what the next notification will say better, if there is room. Says whether there was.
    pub(super) fn notify_if_room(&mut self, text: &str) -> Result<bool, NotifyError> {
        self.send_unsent()?;
        if self.has_unsent() {
            return Ok(false);
        }
        let sent = self.socket.send(text);
        self.report_change(sent)
    }

    /// Tries again what found no room.
    pub(super) fn send_unsent(&mut self) -> Result<(), NotifyError> {
        while let Some(text) = self.unsent.front() {
            let sent = self.socket.send(text);
            if matches!(sent, Ok(false)) {
                break;
            }
            // A notification that failed is not tried again.
            self.unsent.pop_front();
            self.report_change(sent)?;
        }
        Ok(())
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reports the first of several failures in a row. Says whether there was room.
    fn report_change(&mut self, sent: io::Result<bool>) -> Result<bool, NotifyError> {
        match sent {
            Ok(has_room) => {
                self.has_failed &= !has_room;
                Ok(has_room)
            }
            Err(source) if !mem::replace(&mut self.has_failed, true) => Err(NotifyError::Io {
                address: self.name.clone(),
                source: source.into(),
            }),
            Err(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// What systemd would listen on, and the way to it.
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
                unsent: VecDeque::new(),
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

    /// Notifies until there is no room. How often there was.
    fn fill(notifier: &mut Notifier) -> usize {
        let mut count = 0;
        while notifier.notify_if_room("noise").unwrap() {
            count += 1;
            assert!(count < 100_000, "it has room for ever");
        }
        count
    }

    #[test]
    fn what_found_no_room_goes_out_in_order_and_before_anything_else() {
        let (_place, manager, mut notifier) = pair();
        let room = fill(&mut notifier);
        assert!(
            !notifier.has_unsent(),
            "what the next says better is forgotten"
        );
        let states: Vec<_> = (0..room + 2)
            .map(|number| format!("state {number}"))
            .collect();
        for state in &states {
            notifier.notify(state.clone()).unwrap();
        }
        assert_eq!(heard(&manager), vec!["noise"; room]);
        assert!(
            !notifier.notify_if_room("lost").unwrap(),
            "there is room again, but not for all"
        );
        assert_eq!(heard(&manager), states[..room]);
        assert!(notifier.notify_if_room("last").unwrap());
        assert_eq!(
            heard(&manager),
            [&states[room..], &["last".to_owned()]].concat()
        );
        assert!(!notifier.has_unsent());
    }

    #[test]
    fn a_failure_is_reported_once_until_something_was_sent() {
        let (_place, manager, mut notifier) = pair();
        let path = notifier.name.clone();
        let mut manager = Some(manager);
        for _ in 0..2 {
            drop(manager.take());
            assert!(
                matches!(notifier.notify("one".into()), Err(NotifyError::Io { address, .. }) if address == path)
            );
            notifier.notify("two".into()).unwrap();
            assert!(!notifier.notify_if_room("three").unwrap());
            assert!(!notifier.has_unsent(), "what failed is not kept");
            std::fs::remove_file(&path).unwrap();
            let next = UnixDatagram::bind(&path).unwrap();
            next.set_nonblocking(true).unwrap();
            assert!(notifier.notify_if_room("four").unwrap());
            assert_eq!(heard(&next), ["four"]);
            manager = Some(next);
        }
    }
}
