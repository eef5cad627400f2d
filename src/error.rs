//! The errors of calls, one type for each kind of call.
//!
//! | call | its error |
//! | --- | --- |
//! | [`Writer::start`](crate::Writer::start), [`WriterBuilder::start`](crate::WriterBuilder::start), [`BoundReader::start`](crate::BoundReader::start) | [`StartError`] |
//! | [`Writer::try_send`](crate::Writer::try_send), [`Writer::send_timeout`](crate::Writer::send_timeout) | [`SendError`](crate::SendError) |
//! | [`Writer::try_send_with`](crate::Writer::try_send_with), [`Writer::send_timeout_with`](crate::Writer::send_timeout_with) | [`EncodeError`](crate::EncodeError) |
//! | [`Writer::flush`](crate::Writer::flush) | [`FlushError`] |
//! | [`Writer::shutdown`](crate::Writer::shutdown), [`Reader::shutdown`](crate::Reader::shutdown) | [`ShutdownError`] |
//! | [`ReaderBuilder::bind`](crate::ReaderBuilder::bind), [`ReaderBuilder::listen_on`](crate::ReaderBuilder::listen_on), [`create_socket_dir`](crate::create_socket_dir), [`remove_stale_socket`](crate::remove_stale_socket) | [`BindError`] |
//! | [`Reader::serve`](crate::Reader::serve) | [`ServeError`] |
//! | [`Address::new`](crate::Address::new) | [`AddressError`] |
//! | `MessageSink`, feature `async` | `SinkError`, at the root of the crate |
//! | [`FrameCodec::append`](crate::FrameCodec::append), [`FrameCodec::take`](crate::FrameCodec::take) | [`FrameError`] |
//!
//! Each names what was wrong, its bound and what to do; [`source`](std::error::Error::source) has
//! the cause. What goes wrong later, on a thread, is an [event](crate::event).

use core::net::IpAddr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

#[cfg(all(unix, feature = "systemd"))]
use crate::activation::ActivationError;
use crate::address::Address;
pub use crate::address::AddressError;
pub use crate::codec::FrameError;
pub use crate::descriptor_kind::DescriptorKind;
pub use crate::system_error::SystemError;

/// A setting that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting} is {value}: it must be {bound}")]
#[non_exhaustive]
pub struct SettingError {
    /// The setter's name.
    pub setting: &'static str,
    /// What it was given.
    pub value: String,
    /// What it may be.
    pub bound: &'static str,
}

impl SettingError {
    /// Makes the error unless `value` `is_good`.
    pub(crate) fn check(
        setting: &'static str,
        value: impl fmt::Debug,
        is_good: bool,
        bound: &'static str,
    ) -> Result<(), Self> {
        if is_good {
            Ok(())
        } else {
            Err(Self {
                setting,
                value: format!("{value:?}"),
                bound,
            })
        }
    }

    /// Makes the error unless a thread can have this name.
    pub(crate) fn check_thread_name(name: &str) -> Result<(), Self> {
        Self::check(
            "thread_name",
            name,
            !name.contains('\0'),
            "without NUL bytes",
        )
    }
}

/// Why a writer or reader could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no such address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The address is no loopback address, and TCP neither tells who is there nor encrypts.
    #[error(
        "{found} is no loopback address, and TCP neither tells who is there nor encrypts: lead the stream through ssh, stunnel or WireGuard, or set allow_remote"
    )]
    #[non_exhaustive]
    NotLoopback {
        /// Which address.
        found: IpAddr,
    },
    /// The port is 0, which only whoever listens can have.
    #[error(
        "the port of {address} is 0: write to the port that the reader has, as its Reader::address says"
    )]
    #[non_exhaustive]
    NoPort {
        /// Where the writer was to send.
        address: Address,
    },
    /// What was given to write to is no stream that is connected.
    #[error(
        "what was given to write to is {kind}: it must be a stream socket that is connected, or a pipe"
    )]
    #[non_exhaustive]
    NotAStream {
        /// What it is.
        kind: DescriptorKind,
    },
    /// The system refused a thread, or the descriptors to wait with.
    #[error("cannot {doing} for {address}")]
    #[non_exhaustive]
    System {
        /// What was being done, in words.
        doing: &'static str,
        /// Where the writer or reader was to be.
        address: Address,
        /// The system's word.
        source: io::Error,
    },
}

impl StartError {
    /// What the system refused while `doing` something for what is to be at `address`.
    pub(crate) fn system(doing: &'static str, address: &Address) -> impl Fn(io::Error) -> Self {
        move |source| Self::System {
            doing,
            address: address.clone(),
            source,
        }
    }
}

/// Why a flush did not reach its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The time was over first. That loses nothing.
    #[error("the time was over, and {left} messages were not there yet")]
    #[non_exhaustive]
    Timeout {
        /// How many of the messages that this flush waited for are missing: unwritten ones while
        /// there are any, else those that are not known to have come to the level.
        left: u64,
    },
    /// The writer ended first, and left messages behind.
    #[error("the writer ended, and {left} of the messages before the call were left")]
    #[non_exhaustive]
    Stopped {
        /// How many of the messages that this flush waited for were left.
        left: u64,
    },
    /// A connection ended during the call, before it was known that all messages on it had come to
    /// the level: some may be lost. All that can still come has. Never with `AtLeastOnce`, which
    /// sends them again.
    #[error(
        "a connection ended before it was known that the reader had all messages on it: some may be lost; deliver AtLeastOnce where none may be"
    )]
    #[non_exhaustive]
    Lost {
        /// How many connections the writer has lost so, in all: see
        /// [`Flushed::losses`](crate::Flushed::losses).
        losses: u64,
    },
    /// The stream does not tell that. What the reader has read is told on Linux only, and not over
    /// TCP; what it has handled, wherever there is a way back: not over a pipe.
    #[error("the stream does not tell that: ask for Written, or over a socket for Handled")]
    Unsupported,
    /// It was called from inside the writer's own observer, for which it would have to wait.
    #[error("flush was called from inside this writer's own observer: call it from another thread")]
    InCallback,
    /// It was called in a process made by `fork`, which has the writer but not its thread.
    #[error(
        "this process was made by fork, and the writer's thread is not in it: start a writer after the fork"
    )]
    InForkedChild,
}

/// Why a shutdown was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// It was called from inside a callback of the same object, for whose end it would have to
    /// wait.
    #[error(
        "shutdown was called from inside a callback of the same object: call it from another thread"
    )]
    InCallback,
    /// It was called in a process made by `fork`, which has the object but not its threads.
    #[error(
        "shutdown was called in a forked child, which has no thread to shut down: start after the fork"
    )]
    InForkedChild,
}

/// Why a reader does not serve a stream. The stream is closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It is no stream that is connected.
    #[error(
        "what was given to serve is {kind}: it must be a stream socket that is connected, or a pipe to read from"
    )]
    #[non_exhaustive]
    NotAStream {
        /// What it is.
        kind: DescriptorKind,
    },
    /// The reader has as many connections as it may.
    #[error("the reader serves {limit} connections already: raise max_connections")]
    #[non_exhaustive]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The peer's user has as many connections as one may.
    #[error(
        "the user of this peer has {limit} connections already: raise max_connections_per_user"
    )]
    #[non_exhaustive]
    TooManyOfUser {
        /// The limit.
        limit: usize,
    },
    /// The reader stops, or has stopped.
    #[error("the reader has stopped")]
    Stopped,
    /// It was called in a process made by `fork`, which has the reader but not its threads.
    #[error(
        "this process was made by fork, and the reader's threads are not in it: start a reader after the fork"
    )]
    InForkedChild,
    /// The system refused something.
    #[error("cannot serve the stream")]
    Io(#[source] SystemError),
}

/// Why there is no socket to listen on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is no such address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Another process accepts there already.
    #[error("the address {address} is in use: stop the other reader or choose another address")]
    #[non_exhaustive]
    InUse {
        /// Where.
        address: Address,
    },
    /// The sockets that systemd passed to this process are not as they must be.
    #[cfg(all(unix, feature = "systemd"))]
    #[error("cannot take over a socket")]
    Activation(#[from] ActivationError),
    /// What was given to [`listen_on`](crate::ReaderBuilder::listen_on) is no stream socket that
    /// listens.
    #[error("what was given to listen on is {kind}: it must be a Unix or TCP socket that listens")]
    #[non_exhaustive]
    NotListening {
        /// What it is.
        kind: DescriptorKind,
    },
    /// The descriptor that the address names is neither a socket that listens nor a stream.
    #[error("{address} is {kind}: it must be a stream socket, or a pipe to read from")]
    #[non_exhaustive]
    NotAStream {
        /// Which.
        address: Address,
        /// What it is.
        kind: DescriptorKind,
    },
    /// The address is not one of this machine alone: whoever reaches it over the network could
    /// connect, and over TCP nobody says who it is.
    #[error(
        "{found} can be reached from other machines, and TCP neither tells who is there nor encrypts: listen on a loopback address such as tcp:127.0.0.1:PORT behind ssh, stunnel or WireGuard, or set allow_remote"
    )]
    #[non_exhaustive]
    NotLoopback {
        /// Which address.
        found: IpAddr,
    },
    /// The name of a TCP address has no address.
    #[error("the name in {address} has no address: write an IP address, or another name")]
    #[non_exhaustive]
    NoAddress {
        /// Which.
        address: Address,
    },
    /// What lies at the path is no stream socket. It was left as it is.
    #[error("{address} is {kind}, not a stream socket: remove it or choose another path")]
    #[non_exhaustive]
    NotASocket {
        /// Where.
        address: Address,
        /// What it is, in words.
        kind: &'static str,
    },
    /// The directory of the socket is not there.
    #[error(
        "there is no directory {}: make it, for instance with create_socket_dir, or choose another path",
        directory.display()
    )]
    #[non_exhaustive]
    NoDirectory {
        /// Which directory.
        directory: PathBuf,
    },
    /// Others could replace a socket in this directory: all may write to it and it has no sticky
    /// bit, or (when it was to be made) it is another user's.
    #[error("others can replace a socket in {}: take their right to write away, or choose another directory", directory.display())]
    #[non_exhaustive]
    UnsafeDirectory {
        /// Which directory.
        directory: PathBuf,
    },
    /// The socket's file has another mode than was asked for, and the system does not change it.
    #[error(
        "cannot give {} the mode {wanted:03o}, it has {found:03o}: ask for that with socket_mode, or choose a directory whose file system knows modes (or mount /proc, where that is missing)",
        path.display()
    )]
    #[non_exhaustive]
    Mode {
        /// Which file.
        path: PathBuf,
        /// The mode that was asked for.
        wanted: u32,
        /// The mode that it has.
        found: u32,
        /// The system's word, if it said one.
        source: Option<io::Error>,
    },
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    #[non_exhaustive]
    Io {
        /// What was being done, in words.
        doing: &'static str,
        /// What to.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl BindError {
    /// Why `address` was not bound. Another process may be there, or have been faster without
    /// knowing of the lock.
    pub(crate) fn bind(address: &Address, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::AddrInUse {
            Self::InUse {
                address: address.clone(),
            }
        } else {
            Self::io("bind", Path::new(address), error)
        }
    }

    /// Nobody listens at such an address on this system.
    pub(crate) fn unsupported(address: &Address) -> Self {
        Self::io(
            "bind",
            Path::new(address),
            io::ErrorKind::Unsupported.into(),
        )
    }

    /// What the system refused while `doing` something to what is at `path`.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}
