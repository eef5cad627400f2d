//! Standard output for `uds-ipc send -` where that is a Unix socket and no receipts are asked for.
//! Copies only: what is sent, and for how long, is decided elsewhere.
//!
//! What comes back on such a socket need not be receipts. Sshd and inetd give a command one socket
//! for standard input and output: a writer that looked for receipts there would take the input.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use socket2::{Domain, SockRef};

use crate::patient::Patient;

/// A thread that copies to standard output.
pub(crate) struct Outlet(Receiver<io::Result<u64>>);

impl Outlet {
    pub(crate) fn is_needed() -> bool {
        let output = io::stdout();
        let address = SockRef::from(&output).local_addr();
        address.is_ok_and(|address| address.domain() == Domain::UNIX)
    }

    /// What is written to the stream goes to standard output. When that fails the stream ends.
    pub(crate) fn open() -> io::Result<(UnixStream, Self)> {
        let (near, mut far) = UnixStream::pair()?;
        let mut output = Patient(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        let (done, is_done) = bounded(1);
        let copy = move || {
            let _ = done.send(io::copy(&mut far, &mut output));
        };
        thread::Builder::new()
            .name("uds-ipc-outlet".into())
            .spawn(copy)?;
        Ok((near, Self(is_done)))
    }

    /// Waits until all is copied, once the other end of the stream is closed.
    pub(crate) fn finish(&self, timeout: Duration) -> io::Result<()> {
        let copied = self.0.recv_timeout(timeout);
        copied.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
        Ok(())
    }
}
