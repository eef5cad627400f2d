//! Asks the kernel who is at the other end of a socket.
//! Only asks; what is allowed is decided elsewhere.

use std::io;
use std::os::fd::AsFd;

use crate::peer::Credentials;

/// `SO_PEERCRED`. The pid is 0 for a process outside our pid namespace.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn of_peer(socket: &impl AsFd) -> io::Result<Credentials> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

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

/// `getpeereid`, which knows no process id.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn of_peer(socket: &impl AsFd) -> io::Result<Credentials> {
    let (uid, gid) = nix::unistd::getpeereid(socket)?;
    Ok(Credentials {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        pid: None,
    })
}
