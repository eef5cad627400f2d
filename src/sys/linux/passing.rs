//! `SCM_RIGHTS`: descriptors that go along with bytes over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::PassCred;
use nix::{setsockopt_impl, sockopt_impl};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::sys::standard_streams::moved_above_standard;

/// How many of them are sent or taken at once.
const MOST: usize = 2;

/// Of the first of two the kernel needs no more than this, and has no room for a third.
const SPACE: usize = rustix::cmsg_aligned_space!(ScmRights(MOST));

/// As the kernel wants a header of it to lie.
#[repr(align(8))]
struct Control([MaybeUninit<u8>; SPACE]);

pub(in crate::sys) fn send(
    socket: &impl AsFd,
    slices: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = Control([MaybeUninit::uninit(); SPACE]);
    let mut control = SendAncillaryBuffer::new(&mut space.0);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, slices, &mut control, SendFlags::NOSIGNAL)?)
}

/// Whether the bytes may go without the descriptors: there are too many under way, since the peers
/// of this user do not read; or one is not open, or may not be passed.
pub(in crate::sys) fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
        || matches!(
            error.raw_os_error(),
            Some(libc::ETOOMANYREFS | libc::EBADF | libc::EPERM | libc::EACCES)
        )
}

/// What came, and up to two descriptors that came with it, each closed on exec. Of more the kernel
/// closes the rest.
pub(in crate::sys) fn receive(
    socket: &impl AsFd,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = Control([MaybeUninit::uninit(); SPACE]);
    let mut control = RecvAncillaryBuffer::new(&mut space.0);
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // Without a number for one of them nobody could tell which the other is. The bytes are there
    // all the same.
    let descriptors = descriptors.into_iter().map(moved_above_standard);
    Ok((
        received.bytes,
        descriptors.collect::<io::Result<_>>().unwrap_or_default(),
    ))
}

sockopt_impl!(
    /// Whether the process of a sender comes along, as a descriptor.
    PassPidfd,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_PASSPIDFD,
    bool
);
sockopt_impl!(
    /// Whether the security label of a sender comes along.
    PassSec,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_PASSSEC,
    bool
);

/// Has nothing else come along, for which there is no room: what listens may be set to it, by its
/// unit, and what it accepts is then as well.
pub(in crate::sys) fn take_descriptors_only(socket: &impl AsFd) {
    // An older kernel does not know all of them, and then none comes.
    let _ = setsockopt(socket, PassCred, &false);
    let _ = setsockopt(socket, PassPidfd, &false);
    let _ = setsockopt(socket, PassSec, &false);
}
