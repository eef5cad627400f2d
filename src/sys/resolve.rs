//! The addresses that a name has now. It may take seconds, and cannot be interrupted.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::address::{Host, Tcp};

pub(crate) fn resolve(tcp: &Tcp) -> io::Result<Vec<SocketAddr>> {
    match &tcp.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, tcp.port)]),
        Host::Name(name) => Ok((&**name, tcp.port).to_socket_addrs()?.collect()),
    }
}
