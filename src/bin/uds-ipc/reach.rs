//! Whether somebody listens at an address, as far as the system says it.
//! Connects only; what is said there is decided elsewhere.

use std::error::Error;
use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use nix::libc::EPROTOTYPE;
use socket2::{Domain, SockAddr, Socket, Type};
use uds_ipc::Address;

use crate::say::WrongUsage;

/// How soon to look again where nobody is yet.
pub(crate) const RETRY: Duration = Duration::from_millis(20);

/// What an address names, which may be several; or why its name could not be looked up.
pub(crate) fn places(address: &Address) -> Result<io::Result<Vec<SockAddr>>, Box<dyn Error>> {
    let text = address.to_string();
    if let Some(path) = address.path() {
        return Ok(Ok(vec![SockAddr::unix(path)?]));
    }
    if let Some(name) = text.strip_prefix('@') {
        let path = PathBuf::from(format!("\0{name}"));
        return Ok(Ok(vec![SockAddr::unix(path)?]));
    }
    if let Some(host) = text.strip_prefix("tcp:") {
        let found = host.to_socket_addrs();
        return Ok(found.map(|places| places.map(SockAddr::from).collect()));
    }
    let name = if text == "-" {
        "- (standard input)"
    } else {
        &*text
    };
    let why = "nobody listens there: give the address that the listener has, PATH, @NAME or tcp:HOST:PORT";
    Err(WrongUsage(format!(
        "{name} is a stream that is open already, and {why}"
    ))
    .into())
}

/// Connects; over TCP for up to `timeout`.
pub(crate) fn dial(place: &SockAddr, timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(place.domain(), Type::STREAM, None)?;
    if place.domain() == Domain::UNIX {
        // It would wait for as long as the backlog is full.
        socket.set_nonblocking(true)?;
        socket.connect(place)?;
        socket.set_nonblocking(false)?;
    } else {
        socket.connect_timeout(place, timeout)?;
    }
    Ok(socket)
}

/// Whether somebody listens there. Who does sees nothing of it, where the system tells a socket of
/// another type apart from none; elsewhere it gets a connection without a byte.
pub(crate) fn look(place: &SockAddr, timeout: Duration) -> io::Result<()> {
    if place.domain() == Domain::UNIX {
        let found = Socket::new(Domain::UNIX, Type::DGRAM, None)?.connect(place);
        if found.is_err_and(|error| error.raw_os_error() == Some(EPROTOTYPE)) {
            return Ok(());
        }
    }
    dial(place, timeout).map(drop)
}
