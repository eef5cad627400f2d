//! A listening socket: bound, guarded, accepted from, ended.
//! One that a service manager passed to us is never shut down, and its file never removed.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::stat::{Mode, fchmod};
use socket2::Socket;

use super::file::{self, FileIdentity, PathLock, Pinned};
use super::passed;
use super::socket::{Stream, new_socket, resume, sockaddr};
use crate::activation::PassedKind;
use crate::address::Address;
use crate::error::BindError;

/// As many as the kernel allows (`net.core.somaxconn`, usually 4096): beyond the connection limit
/// peers wait here.
const BACKLOG: i32 = 4096;

/// How a socket is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerOptions {
    pub(crate) mode: u32,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) recv_buffer_size: Option<usize>,
}

/// Somebody may be there, or have been faster without knowing of the lock.
fn bind_error(error: io::Error, address: &Address) -> BindError {
    if error.kind() == ErrorKind::AddrInUse {
        BindError::InUse {
            address: address.clone(),
        }
    } else {
        doing("bind", Path::new(address), error)
    }
}

/// The type of a mode differs between platforms, which is why one of the conversions is none.
#[expect(
    clippy::useless_conversion,
    reason = "it is not useless on macOS and FreeBSD"
)]
pub(super) fn mode_bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode.try_into().unwrap_or(0o600))
}

/// What the system refused.
pub(super) fn doing(doing: &'static str, path: &Path, source: io::Error) -> BindError {
    BindError::Io {
        doing,
        path: path.into(),
        source,
    }
}

/// What an accept brought.
#[derive(Debug)]
pub(crate) enum Accepted {
    Stream(Stream),
    /// Nobody waits.
    Nobody,
    /// This one is gone already, or was no good: the next may be.
    Gone(io::Error),
    /// The system is short of something: descriptors or memory.
    Short(io::Error),
    /// The listener has ended, and all who waited were accepted.
    Ended,
}

/// How far the end of a listener had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Far,
    Near,
    /// Nobody came after a look that followed.
    Here,
}

/// What it means that an accept failed.
fn sort(error: io::Error, end: End) -> Accepted {
    match error.raw_os_error() {
        // After `end` nobody can come any more, and Linux says EINVAL then. Before, somebody else
        // who has the socket has shut it down.
        Some(libc::EINVAL) if end != End::Far => Accepted::Ended,
        Some(libc::EAGAIN) if end == End::Here => Accepted::Ended,
        Some(libc::EAGAIN) => Accepted::Nobody,
        Some(libc::ECONNABORTED | libc::EPROTO | libc::EPERM) => Accepted::Gone(error),
        // EMFILE, ENFILE, ENOBUFS, ENOMEM; and whatever else there may be is worth another try too.
        _ => Accepted::Short(error),
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    file: Option<SocketFile>,
    /// Set before the socket is shut down, and after: what lies between is seen by accepts that
    /// run meanwhile.
    is_ending: AtomicBool,
    has_ended: AtomicBool,
    owner: Owner,
}

/// Who made the socket and its file, and so is to end them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Us,
    /// Somebody else, such as a service manager: who waits in its backlog is served by the next
    /// start.
    Other,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

impl Listener {
    /// Binds and listens. Nobody can connect before the socket has its mode, owner and group.
    pub(crate) fn bind(address: &Address, options: &ListenerOptions) -> Result<Self, BindError> {
        let socket = Self::prepare(options)
            .map_err(|source| doing("make a socket for", Path::new(address), source))?;
        match address.path() {
            Some(path) => Self::bind_path(socket, address, path, options),
            None => Self::bind_name(socket, address),
        }
    }

    fn prepare(options: &ListenerOptions) -> io::Result<Socket> {
        let socket = new_socket()?;
        socket.set_nonblocking(true)?;
        if let Some(size) = options.recv_buffer_size {
            socket.set_recv_buffer_size(size)?;
        }
        // Linux makes the file with these bits less the umask's, so that it is never open wider
        // than asked. Where that is not possible (FreeBSD before 14.3) nobody can connect
        // before `listen` all the same.
        let _ = fchmod(&socket, mode_bits(options.mode));
        Ok(socket)
    }

    fn bind_name(socket: Socket, address: &Address) -> Result<Self, BindError> {
        let bound = sockaddr(address)
            .and_then(|sockaddr| socket.bind(&sockaddr))
            .and_then(|()| socket.listen(BACKLOG));
        bound.map_err(|error| bind_error(error, address))?;
        Ok(Self {
            socket,
            file: None,
            is_ending: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            owner: Owner::Us,
        })
    }

    fn bind_path(
        socket: Socket,
        address: &Address,
        path: &Path,
        options: &ListenerOptions,
    ) -> Result<Self, BindError> {
        file::check_directory(path)?;
        let _lock = PathLock::acquire(path, file::PATIENT)?;
        file::clear(path, address)?;
        let bound = sockaddr(address).and_then(|sockaddr| socket.bind(&sockaddr));
        bound.map_err(|error| bind_error(error, address))?;
        let file = Pinned::at(path, address)?;
        let identity = file
            .identity()
            .map_err(|source| doing("look at", path, source))?;
        Self::open_up(&socket, &file, path, options).inspect_err(|_| {
            if FileIdentity::at(path).is_ok_and(|now| now == identity) {
                let _ = fs::remove_file(path);
            }
        })?;
        let file = Some(SocketFile {
            path: path.into(),
            identity,
        });
        Ok(Self {
            socket,
            file,
            is_ending: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            owner: Owner::Us,
        })
    }

    /// Takes a socket that listens already, and stays somebody else's. `Err` when it is something
    /// else.
    pub(crate) fn adopt(socket: impl Into<OwnedFd>) -> Result<Self, PassedKind> {
        let socket = Socket::from(socket.into());
        passed::fitness(&socket)?;
        // It fails for no socket.
        let _ = socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_cloexec(true));
        let mut listener = Self {
            socket,
            file: None,
            is_ending: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            owner: Owner::Other,
        };
        // In a service's own view of the file system it may be somewhere else, or nowhere.
        let path = listener
            .address()
            .and_then(|address| address.path().map(PathBuf::from));
        listener.file = path.and_then(|path| {
            FileIdentity::at(&path)
                .ok()
                .map(|identity| SocketFile { path, identity })
        });
        Ok(listener)
    }

    /// Where it listens, where that has a name.
    pub(crate) fn address(&self) -> Option<Address> {
        let address = self.socket.local_addr().ok()?;
        if let Some(path) = address.as_pathname() {
            return Address::new(path).ok();
        }
        let name = address.as_abstract_namespace()?;
        Address::new(OsStr::from_bytes(&[b"@", name].concat())).ok()
    }

    /// Whether others than the owner of its file can connect.
    pub(crate) fn is_open_to_others(&self) -> bool {
        let file = self
            .file
            .as_ref()
            .and_then(|file| fs::symlink_metadata(&file.path).ok());
        file.is_none_or(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }

    fn open_up(
        socket: &Socket,
        file: &Pinned,
        path: &Path,
        options: &ListenerOptions,
    ) -> Result<(), BindError> {
        if options.owner.is_some() || options.group.is_some() {
            file.set_owner(options.owner, options.group)
                .map_err(|source| doing("set the owner and group of", path, source))?;
        }
        // After the owner: changing it may take bits away.
        file.set_mode(options.mode)
            .map_err(|source| doing("set the mode of", path, source))?;
        socket
            .listen(BACKLOG)
            .map_err(|source| doing("listen on", path, source))
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&self) -> Accepted {
        // Before the look: who came between a look that found nobody and the end is still there.
        let had_ended = self.has_ended.load(Ordering::Acquire);
        if had_ended && self.owner == Owner::Other {
            return Accepted::Ended;
        }
        let accepted =
            resume(|| self.socket.accept()).and_then(|(socket, _)| Stream::accepted(socket));
        let end = if had_ended {
            End::Here
        } else if self.is_ending.load(Ordering::Acquire) {
            End::Near
        } else {
            End::Far
        };
        let accepted = accepted.map_or_else(|error| sort(error, end), Accepted::Stream);
        // In this order: our own end is said to be near before the socket is shut down.
        let is_deaf = matches!(accepted, Accepted::Nobody)
            && self.is_shut()
            && !self.is_ending.load(Ordering::Acquire);
        if is_deaf {
            // Nobody can come, and the socket is ready all the same: it would be looked at again
            // and again.
            return Accepted::Short(io::Error::from_raw_os_error(libc::ESHUTDOWN));
        }
        accepted
    }

    /// Whether somebody else who has the socket too has shut it down.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn is_shut(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let mut looks = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        poll(&mut looks, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// There a listening socket cannot be shut down.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[expect(clippy::unused_self, reason = "where it can, it is asked")]
    fn is_shut(&self) -> bool {
        false
    }

    /// Turns newcomers away, where that can be told apart from those who wait already: they can
    /// still be accepted.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        if self.owner == Owner::Other {
            self.has_ended.store(true, Ordering::Release);
            return;
        }
        let keeps_those_who_wait = cfg!(any(target_os = "linux", target_os = "android"));
        if keeps_those_who_wait {
            let _ = self.socket.shutdown(Shutdown::Read);
        } else {
            self.remove_file();
        }
        // Only now: an accept that finds nobody after this found nobody for good.
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether the socket's file is not at its path any more.
    pub(crate) fn is_displaced(&self) -> bool {
        self.file.as_ref().is_some_and(|file| {
            !FileIdentity::at(&file.path).is_ok_and(|identity| identity == file.identity)
        })
    }

    /// A descriptor that becomes readable when something happens to the listener's file, where
    /// there is such a thing.
    pub(crate) fn watch_file(&self) -> Option<FileWatch> {
        self.file
            .as_ref()
            .and_then(|file| FileWatch::new(&file.path))
    }

    /// Removes the file that this listener made, if it is still there.
    pub(crate) fn remove_file(&self) {
        if let (Some(file), Owner::Us) = (&self.file, self.owner) {
            file::remove_own(&file.path, file.identity);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Tells when something happens to a file.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(crate) struct FileWatch(nix::sys::inotify::Inotify);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl FileWatch {
    fn new(path: &Path) -> Option<Self> {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        // Unlinking a file that is open changes its link count, which is an attribute.
        let flags =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(path, flags).ok()?;
        // A directory that is renamed takes the file along, and so does a link on the way that
        // leads elsewhere. What may not be watched is left out.
        let flags = AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        let real = path
            .parent()
            .and_then(|directory| directory.canonicalize().ok());
        for directory in path
            .ancestors()
            .skip(1)
            .chain(real.iter().flat_map(|real| real.ancestors()))
        {
            let _ = inotify.add_watch(directory, flags);
        }
        Some(Self(inotify))
    }

    /// Forgets what has happened so far.
    pub(crate) fn reset(&self) {
        let _ = self.0.read_events();
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
pub(crate) enum FileWatch {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl FileWatch {
    fn new(_: &Path) -> Option<Self> {
        None
    }

    pub(crate) fn reset(&self) {
        match *self {}
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
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
        assert!(matches!(sorted(libc::EAGAIN), Accepted::Nobody));
        assert!(
            matches!(sorted(libc::EINVAL), Accepted::Short(_)),
            "somebody else shut it down"
        );
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EINVAL), End::Near),
            Accepted::Ended
        ));
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EAGAIN), End::Near),
            Accepted::Nobody
        ));
        assert!(matches!(
            sort(io::Error::from_raw_os_error(libc::EAGAIN), End::Here),
            Accepted::Ended
        ));
    }

    #[test]
    fn an_interrupted_accept_is_called_again() {
        let mut calls = 0;
        let accepted = resume(|| {
            calls += 1;
            if calls < 3 {
                Err(ErrorKind::Interrupted.into())
            } else {
                Ok(calls)
            }
        });
        assert_eq!(accepted.unwrap(), 3);
    }
}
