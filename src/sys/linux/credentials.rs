//! `SO_PEERCRED`: the process at the other end of a socket.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::peer::Credentials;

/// The pid is 0 for a process outside our pid namespace.
pub(in crate::sys) fn of_peer(socket: &impl AsFd) -> io::Result<Credentials> {
    let credentials = getsockopt(socket, PeerCredentials)?;
    let pid = u32::try_from(credentials.pid())
        .ok()
        .filter(|pid| *pid != 0);
    Ok(Credentials {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid,
    })
}
