//! What a descriptor is: a listening Unix stream socket, or something else. Asks only.

use std::fs::{self, Metadata};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use socket2::{Domain, SockRef, Type};

use crate::descriptor_kind::DescriptorKind;

/// Whether connections can be accepted from `descriptor`, and if not, what it is.
pub(crate) fn check_listening(descriptor: &OwnedFd) -> Result<(), DescriptorKind> {
    let socket = SockRef::from(descriptor);
    match socket.local_addr().map(|address| address.domain()) {
        Ok(Domain::UNIX) => {}
        Ok(Domain::IPV4 | Domain::IPV6) => return Err(DescriptorKind::Internet),
        Ok(_) | Err(_) => return Err(kind_of_number(descriptor.as_raw_fd())),
    }
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(Type::DGRAM) => return Err(DescriptorKind::Datagram),
        Ok(_) | Err(_) => return Err(DescriptorKind::SeqPacket),
    }
    if socket.peer_addr().is_ok() {
        return Err(DescriptorKind::Connection);
    }
    if getsockopt(descriptor, AcceptConn).unwrap_or(false) {
        Ok(())
    } else {
        Err(DescriptorKind::NotListening)
    }
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
