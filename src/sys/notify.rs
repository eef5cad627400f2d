//! The datagram socket on which a service manager listens to its services. Never waits.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl NotifySocket {
    /// A way to the socket at `name`; `None` where that is neither a path nor `@name`.
    pub(crate) fn new(name: &OsStr) -> io::Result<Option<Self>> {
        let Some(address) = address(name)? else {
            return Ok(None);
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, address }))
    }

    /// Sends one datagram. The error is `WouldBlock` when the manager has too many to read already.
    pub(crate) fn send(&self, text: &str) -> io::Result<()> {
        self.socket
            .send_to_addr(text.as_bytes(), &self.address)
            .map(drop)
    }
}

/// `None` for what is no Unix socket, such as the `vsock:` of a virtual machine's manager.
fn address(name: &OsStr) -> io::Result<Option<SocketAddr>> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name).map(Some),
        [b'@', name @ ..] => abstract_name(name),
        _ => Ok(None),
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<Option<SocketAddr>> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name).map(Some)
}

#[cfg(target_os = "android")]
fn abstract_name(name: &[u8]) -> io::Result<Option<SocketAddr>> {
    use std::os::android::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name).map(Some)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &[u8]) -> io::Result<Option<SocketAddr>> {
    Ok(None)
}
