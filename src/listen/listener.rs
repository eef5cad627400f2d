//! A listening socket that is accepted from, and ended so that no peer that waits is lost.
//! One that was taken over is never shut down, and its file never removed.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::socket_file::SocketFile;
use crate::address::Address;
use crate::sys::{Family, FileWatch, ListeningSocket, NotAccepted, Stream, Waker};

/// What an accept brought.
#[derive(Debug)]
pub(crate) enum Accepted {
    Stream(Stream),
    /// No peer waits in the backlog.
    Empty,
    /// The peer has gone already: the next one may be accepted.
    Gone(io::Error),
    /// The system is short of something: descriptors or memory.
    Short(io::Error),
    /// The listener has ended, and all peers that waited were accepted.
    Ended,
}

/// How far the end of a listener had come when an accept was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not begun.
    Far,
    /// The socket may be shut down already.
    Near,
    /// The socket was shut down before: no peer comes any more.
    Here,
}

/// What it means that an accept failed.
fn sort(error: io::Error, end: End) -> Accepted {
    match ListeningSocket::why_not_accepted(&error) {
        // After `end` no peer can come any more. Before, another process that has the socket has
        // shut it down.
        NotAccepted::Shut if end != End::Far => Accepted::Ended,
        NotAccepted::Empty if end == End::Here => Accepted::Ended,
        NotAccepted::Empty => Accepted::Empty,
        NotAccepted::Gone => Accepted::Gone(error),
        NotAccepted::Shut | NotAccepted::Short => Accepted::Short(error),
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    socket: ListeningSocket,
    file: Option<SocketFile>,
    /// Set before the socket is shut down, where `has_ended` is set after it: an accept that runs
    /// between the two sees only this one.
    is_ending: AtomicBool,
    has_ended: AtomicBool,
    owner: Owner,
}

/// What made the socket and its file, and so is to end them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This listener.
    Us,
    /// Another process, such as a service manager: peers that wait in its backlog are served by the
    /// next start.
    Other,
}

impl Listener {
    pub(super) fn new(socket: ListeningSocket, file: Option<SocketFile>, owner: Owner) -> Self {
        Self {
            socket,
            file,
            is_ending: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            owner,
        }
    }

    /// What is ready when there is something to accept.
    pub(crate) fn socket(&self) -> &ListeningSocket {
        &self.socket
    }

    /// Where it listens, where that has a name.
    pub(crate) fn address(&self) -> Option<Address> {
        self.socket.address()
    }

    /// Whether newcomers are let in for as long as it is open, though it has ended.
    pub(crate) fn must_be_closed(&self) -> bool {
        self.socket.family() == Family::Tcp && self.owner == Owner::Us
    }

    /// The network address at which it listens, if it has one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.socket.ip()
    }

    /// Whether users other than the owner of its file can connect.
    pub(crate) fn is_open_to_others(&self) -> bool {
        self.file.as_ref().is_none_or(SocketFile::is_open_to_others)
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&self) -> Accepted {
        // Read before the accept: a peer that came between an accept that found none and the end
        // still waits.
        let had_ended = self.has_ended.load(Ordering::Acquire);
        if had_ended && self.owner == Owner::Other {
            return Accepted::Ended;
        }
        let accepted = self.socket.accept();
        let end = if had_ended {
            End::Here
        } else if self.is_ending.load(Ordering::Acquire) {
            End::Near
        } else {
            End::Far
        };
        let accepted = accepted.map_or_else(|error| sort(error, end), Accepted::Stream);
        // In this order: `is_ending` is set before this listener shuts the socket down.
        let is_deaf = matches!(accepted, Accepted::Empty)
            && self.socket.is_shut()
            && !self.is_ending.load(Ordering::Acquire);
        if is_deaf {
            // No peer can come, and the socket is ready all the same: it would be accepted from
            // again and again.
            return Accepted::Short(ListeningSocket::shut_error());
        }
        accepted
    }

    /// Turns new peers away, where the system can do that and keep those that wait: they can still
    /// be accepted.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        if self.owner == Owner::Other {
            self.has_ended.store(true, Ordering::Release);
            return;
        }
        if !self.socket.shut() {
            self.remove_file();
        }
        // Only now: after this an accept that finds no peer is the last one.
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether the socket's file is not at its path any more.
    pub(crate) fn is_displaced(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_displaced)
    }

    /// Whether it has a file at all, as far as is known.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Tells when something happens to the listener's file, where the system can.
    pub(crate) fn watch_file(&self, waker: &Arc<Waker>) -> Option<FileWatch> {
        self.file.as_ref().and_then(|file| file.watch(waker))
    }

    /// Removes the file that this listener made, if it is still there.
    pub(crate) fn remove_file(&self) {
        if let (Some(file), Owner::Us) = (&self.file, self.owner) {
            file.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn after_an_accept_that_failed_the_next_comes_at_once_unless_the_system_is_short_of_something()
    {
        let sorted = |error| sort(io::Error::from_raw_os_error(error), End::Far);
        for error in [libc::ECONNABORTED, libc::EPROTO, libc::EPERM] {
            assert!(matches!(sorted(error), Accepted::Gone(_)), "{error}");
        }
        for error in [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EACCES,
        ] {
            let short = sorted(error);
            assert!(
                matches!(&short, Accepted::Short(cause) if cause.raw_os_error() == Some(error)),
                "{short:?}"
            );
        }
        assert!(matches!(sorted(libc::EAGAIN), Accepted::Empty));
        assert!(
            matches!(sorted(libc::EINVAL), Accepted::Short(_)),
            "another process shut it down"
        );
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EINVAL), End::Near),
            Accepted::Ended
        ));
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EAGAIN), End::Near),
            Accepted::Empty
        ));
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EAGAIN), End::Here),
            Accepted::Ended
        ));
    }
}
