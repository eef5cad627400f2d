//! Standard streams that somebody else may have made non-blocking: that is a property of the open
//! file, which all have in common that inherited it. Waits where a read or write would fail.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub(crate) struct Patient<S>(pub(crate) S);

impl<S: AsFd> Patient<S> {
    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        let mut streams = [PollFd::new(self.0.as_fd(), wanted)];
        match poll(&mut streams, PollTimeout::NONE) {
            // A fault of the stream ends the wait as well, and the next call says which.
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until nobody is at the other end any more. A file has none, and never ends.
    pub(crate) fn wait_for_end(&self) -> io::Result<()> {
        loop {
            let mut streams = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
            match poll(&mut streams, PollTimeout::NONE) {
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<S: Read + AsFd> Read for Patient<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN)?;
                }
                read => return read,
            }
        }
    }
}

impl<S: Write + AsFd> Write for Patient<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
