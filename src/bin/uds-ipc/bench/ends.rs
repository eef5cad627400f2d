//! The two bare ends of a stream: where they meet, and how each is opened. All contenders have the
//! same settings.
//! What goes over them is not its business.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socket2::SockRef;

use super::answers::Answer;
use super::cases::{PATIENCE, Stream};
use super::failure::Failure;

// The buffers that were found best for each kind of stream, in bytes; all contenders have the same.

/// `SO_SNDBUF` over a Unix socket: the default of the crate. Over TCP it is the system's own.
pub(super) const SEND_BUFFER_SIZE: usize = 212_992;

/// `SO_RCVBUF` over TCP: the default of the crate.
pub(super) const RECV_BUFFER_SIZE: usize = 212_992;

/// What a pipe holds, where it can be set: the most that a user may have unless the system says
/// otherwise.
pub(super) const PIPE_SIZE: Option<i32> = if cfg!(target_os = "linux") {
    Some(1024 * 1024)
} else {
    None
};

/// Where a reader is found.
#[derive(Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
    Pipe(PathBuf),
}

impl Place {
    /// The end that sends. A file stands for whatever can be written.
    pub(super) fn connect(&self) -> Result<File, Failure> {
        let doing = || Failure::at("connect to the reader's process");
        let socket: OwnedFd = match self {
            Self::Pipe(path) => return open_to_write(path).map_err(doing()),
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(doing())?;
                SockRef::from(&stream)
                    .set_send_buffer_size(SEND_BUFFER_SIZE)
                    .map_err(doing())?;
                stream.into()
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).map_err(doing())?;
                stream.set_nodelay(true).map_err(doing())?;
                stream.into()
            }
        };
        SockRef::from(&socket)
            .set_write_timeout(Some(PATIENCE))
            .map_err(doing())?;
        Ok(socket.into())
    }
}

/// The end that receives, of the one connection of a turn. Says when it can be connected to.
pub(super) fn accept(stream: Stream, path: &Path) -> io::Result<File> {
    Ok(match stream {
        Stream::Unix => {
            let listener = UnixListener::bind(path)?;
            Answer::Ready(None).say()?;
            OwnedFd::from(listener.accept()?.0).into()
        }
        Stream::Tcp => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            SockRef::from(&listener).set_recv_buffer_size(RECV_BUFFER_SIZE)?;
            Answer::Ready(Some(listener.local_addr()?)).say()?;
            OwnedFd::from(listener.accept()?.0).into()
        }
        Stream::Pipe => {
            let pipe = open_pipe(path)?;
            Answer::Ready(None).say()?;
            pipe
        }
    })
}

/// Fails where nobody reads. A write has no timeout, and needs none: the end of a reader that is
/// killed ends it.
fn open_to_write(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let pipe = options.open(path)?;
    SockRef::from(&pipe).set_nonblocking(false)?;
    Ok(pipe)
}

/// Makes a FIFO, and opens it to read and to write, so that opening waits for nobody.
pub(super) fn open_pipe(path: &Path) -> io::Result<File> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let pipe = File::options().read(true).write(true).open(path)?;
    #[cfg(target_os = "linux")]
    if let Some(size) = PIPE_SIZE {
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(size))?;
    }
    Ok(pipe)
}
