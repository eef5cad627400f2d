//! `getpeereid`: the user at the other end of a socket. It knows no process id.

use std::io;
use std::os::fd::AsFd;

use crate::peer::Credentials;

pub(in crate::sys) fn of_peer(socket: &impl AsFd) -> io::Result<Credentials> {
    let (uid, gid) = nix::unistd::getpeereid(socket)?;
    Ok(Credentials {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        pid: None,
    })
}
