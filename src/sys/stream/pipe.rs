//! Pipes: bytes go one way, and nobody is known.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use socket2::Socket;

use super::calls::look;
use crate::sys::abilities::{Abilities, PeerEnd};
use crate::sys::platform;

pub(super) const ABILITIES: Abilities = Abilities {
    answers: false,
    peer_end: PeerEnd::Closes,
    tells_unread: platform::TELLS_UNREAD,
    tells_credentials: false,
    passes_memory: false,
};

/// For what it is open: `O_RDONLY`, `O_WRONLY` or both.
pub(super) fn access(pipe: &impl AsFd) -> io::Result<OFlag> {
    let flags = fcntl(pipe, FcntlArg::F_GETFL)?;
    Ok(OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE)
}

/// A write to a pipe raises SIGPIPE when nobody reads any more: the threads that call this block
/// it.
pub(super) fn send(pipe: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(nix::sys::uio::writev(pipe, slices)?)
}

pub(super) fn receive(pipe: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(pipe, buffer)?)
}

/// What lies in the pipe.
pub(super) fn unread(pipe: &Socket) -> Option<u64> {
    platform::unread::in_pipe(pipe)
}

/// Whether nobody reads any more, and something lies in it.
pub(super) fn lost_unread(pipe: &Socket) -> bool {
    let has_reader = !look(pipe, PollFlags::empty()).contains(PollFlags::POLLERR);
    !has_reader && unread(pipe).is_some_and(|len| len > 0)
}
