//! What stream sockets have in common.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;

use nix::libc;
use socket2::Socket;

use crate::sys::platform::SEND_FLAGS;

pub(super) fn send(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.send_vectored_with_flags(slices, SEND_FLAGS)
}

pub(super) fn receive(mut socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    socket.read(buffer)
}

pub(super) fn is_short_of_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

/// These fail only when the peer is gone already, or it is no socket.
pub(super) fn end_sending(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Write);
}

pub(super) fn end_receiving(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Read);
}

pub(super) fn cut(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Both);
}

pub(super) fn was_reset(socket: &Socket) -> bool {
    matches!(socket.take_error(), Ok(Some(error)) if error.kind() == io::ErrorKind::ConnectionReset)
}
