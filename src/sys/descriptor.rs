//! What a descriptor is: a listening stream socket, or something else. Asks only.

use std::fs::{self, Metadata};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use socket2::{Domain, SockRef, Type};

use super::family::Family;
use crate::descriptor_kind::DescriptorKind;

/// Of which family the connections are that can be accepted from `descriptor`; if none can, what it
/// is.
pub(crate) fn check_listening(descriptor: &OwnedFd) -> Result<Family, DescriptorKind> {
    let socket = SockRef::from(descriptor);
    let family = match socket.local_addr().map(|address| address.domain()) {
        Ok(Domain::UNIX) => Family::Unix,
        Ok(Domain::IPV4 | Domain::IPV6) => Family::Tcp,
        Ok(_) | Err(_) => return Err(kind_of_number(descriptor.as_raw_fd())),
    };
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(_) | Err(_) if family == Family::Tcp => return Err(DescriptorKind::Internet),
        Ok(Type::DGRAM) => return Err(DescriptorKind::Datagram),
        Ok(_) | Err(_) => return Err(DescriptorKind::SeqPacket),
    }
    if socket.peer_addr().is_ok() {
        return Err(DescriptorKind::Connection);
    }
    if is_listening(descriptor) {
        Ok(family)
    } else {
        Err(DescriptorKind::NotListening)
    }
}

pub(super) fn is_listening(descriptor: &OwnedFd) -> bool {
    getsockopt(descriptor, AcceptConn).unwrap_or(false)
}

/// What the descriptor with this number is, where it is no socket of the usual kinds.
pub(crate) fn kind_of_number(number: i32) -> DescriptorKind {
    // Follows the link to the file itself.
    let kind = fs::metadata(format!("/dev/fd/{number}"))
        .map_or("something else", |metadata| kind_of_file(&metadata));
    DescriptorKind::Other(kind)
}

/// What kind of file it is, in words; of a socket that it is of another kind than those looked for.
pub(crate) fn kind_of_file(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket of another kind"
    } else {
        "a regular file"
    }
}
