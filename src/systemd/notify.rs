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
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::ENOBUFS)
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
            Ok(Some(socket)) => Ok(Some(Self { socket, name, owed: VecDeque::new(), has_failed: false })),
            Ok(None) => Err(NotifyError::Unsupported { address: name }),
            Err(source) => Err(NotifyError::Io { address: name, source }),
        }
    }

    /// Tells a change of state, now or as soon as the manager has room. An error is news.
    pub(super) fn tell(&mut self, text: String) -> Result<(), NotifyError> {
        self.owed.push_back(text);
        self.pay()
    }

    /// Tells what the next one will say better, if the manager has room.
    pub(super) fn mention(&mut self, text: &str) -> Result<(), NotifyError> {
        self.pay()?;
        if self.owed.is_empty() {
            let sent = self.socket.send(text);
            self.news(sent)
        } else {
            Ok(())
        }
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
            Err(source) if !mem::replace(&mut self.has_failed, true) => {
                Err(NotifyError::Io { address: self.name.clone(), source })
            }
            Err(_) => Ok(()),
            Ok(()) => {
                self.has_failed = false;
                Ok(())
            }
        }
    }
}
