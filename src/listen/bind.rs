//! Makes a socket that listens, or adopts one that listens already.

use std::path::Path;

use super::listener::{Listener, Owner};
use super::options::Options;
#[cfg(unix)]
use super::path;
use super::socket_file::SocketFile;
use crate::address::{Address, Kind, Tcp};
use crate::descriptor_kind::DescriptorKind;
use crate::error::BindError;
use crate::sys::{self, ListeningSocket, OwnedDescriptor};

/// Binds and listens. No peer can connect before the socket has its mode, owner and group.
pub(crate) fn bind(address: &Address, options: &Options) -> Result<Listener, BindError> {
    if let Kind::Tcp(tcp) = address.kind() {
        return bind_tcp(tcp, address, options);
    }
    let socket = ListeningSocket::new(options.recv_buffer_size.or_best(None))
        .map_err(|source| BindError::io("make a socket for", Path::new(address), source))?;
    // So that the file is never open wider than asked. Where that is not possible (FreeBSD before
    // 14.3) no peer can connect before `listen` all the same.
    let _ = socket.set_mode(options.mode);
    match address.kind() {
        #[cfg(unix)]
        Kind::Path(path) => path::bind(socket, address, path, options),
        Kind::Name(_) => bind_name(socket, address),
        #[cfg(not(unix))]
        Kind::Path(_) => Err(BindError::unsupported(address)),
        Kind::Tcp(_) | Kind::Descriptor(_) | Kind::Standard | Kind::Label => {
            Err(BindError::unsupported(address))
        }
    }
}

/// What `SO_RCVBUF` is on a loopback address unless set. Left to itself Linux lets megabytes gather
/// between the two ends, more than a processor's cache holds: that took twice the time.
const LOOPBACK_RECV_BUFFER: usize = 212_992;

/// Listens for TCP. Of several addresses that a name has, the first that can be had is taken.
fn bind_tcp(tcp: &Tcp, address: &Address, options: &Options) -> Result<Listener, BindError> {
    let found =
        sys::resolve(tcp).map_err(|source| BindError::io("look up", Path::new(address), source))?;
    let mut refused = BindError::NoAddress {
        address: address.clone(),
    };
    for at in found {
        if !options.allow_remote && !at.ip().is_loopback() {
            refused = BindError::NotLoopback { found: at.ip() };
            continue;
        }
        // Over a long way it must grow as needed.
        let best = at.ip().is_loopback().then_some(LOOPBACK_RECV_BUFFER);
        match ListeningSocket::listen_tcp(at, options.recv_buffer_size.or_best(best)) {
            Ok(socket) => return Ok(Listener::new(socket, None, Owner::Us)),
            Err(error) => refused = BindError::bind(address, error),
        }
    }
    Err(refused)
}

fn bind_name(socket: ListeningSocket, address: &Address) -> Result<Listener, BindError> {
    let bound = socket.bind(address).and_then(|()| socket.listen());
    bound.map_err(|error| BindError::bind(address, error))?;
    Ok(Listener::new(socket, None, Owner::Us))
}

/// Takes a socket that listens already, and stays its maker's. `Err` when it is something else.
pub(crate) fn adopt(socket: impl Into<OwnedDescriptor>) -> Result<Listener, DescriptorKind> {
    let socket = socket.into();
    let family = sys::check_listening(&socket)?;
    let socket = ListeningSocket::from_listening(socket, family);
    // In a service's own view of the file system it may be somewhere else, or nowhere.
    let address = socket.address();
    let path = address.as_ref().and_then(Address::path);
    let file = path.and_then(|path| SocketFile::at(path).ok());
    Ok(Listener::new(socket, file, Owner::Other))
}
