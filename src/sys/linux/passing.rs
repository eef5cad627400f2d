//! `SCM_RIGHTS`: descriptors that go along with bytes over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
#[cfg(target_os = "linux")]
use nix::{
    setsockopt_impl, sockopt_impl,
    sys::socket::{setsockopt, sockopt::PassCred},
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::sys::standard_streams::moved_above_standard;

/// How many of them are sent or taken at once.
const MOST: usize = 2;

/// Room for that many exactly: a third one finds none.
const SPACE: usize = rustix::cmsg_aligned_space!(ScmRights(MOST));

/// Aligned as a header of the kernel's, so that no part of it is left out.
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

/// Has nothing else come along, for which there is no room: what listens may be set to it, by its
/// unit, and what it accepts is then as well.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn take_descriptors_only(socket: &impl AsFd) {
    // An older kernel does not know all of them, and then none comes.
    let _ = setsockopt(socket, PassCred, &false);
    let _ = setsockopt(socket, PassPidfd, &false);
    let _ = setsockopt(socket, PassSec, &false);
}

/// Nothing is taken there.
#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn take_descriptors_only(_: &impl AsFd) {}

#[cfg(target_os = "linux")]
sockopt_impl!(
    /// Whether the process of a sender comes along, as a descriptor.
    PassPidfd,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_PASSPIDFD,
    bool
);
#[cfg(target_os = "linux")]
sockopt_impl!(
    /// Whether the security label of a sender comes along.
    PassSec,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_PASSSEC,
    bool
);

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::getsockopt;
    use nix::unistd::pipe;

    use super::*;
    use crate::sys::{Received, Sent, Stream};

    fn streams() -> [Stream; 2] {
        let (near, far) = UnixStream::pair().unwrap();
        [
            Stream::adopt_to_write(near.into()).unwrap(),
            Stream::adopt_to_read(far.into()).unwrap(),
        ]
    }

    /// Whether nobody has the other end of a pipe open, at last: another thread may be about to
    /// start a process, which has it for a moment.
    fn is_closed(read_end: &OwnedFd, patience: u16) -> bool {
        let mut fds = [PollFd::new(read_end.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(patience)).unwrap() > 0
    }

    /// Milliseconds.
    const LONG: u16 = 10_000;

    #[test]
    fn of_more_descriptors_than_two_the_first_two_come_and_none_stays_open() {
        for count in 1..6 {
            let [near, far] = streams();
            let (read_ends, write_ends): (Vec<_>, Vec<_>) =
                (0..count).map(|_| pipe().unwrap()).unzip();
            {
                let lent: Vec<_> = write_ends.iter().map(AsFd::as_fd).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&lent)));
                let bytes = [IoSlice::new(b"abc")];
                sendmsg(&near, &bytes, &mut control, SendFlags::empty()).unwrap();
            }
            drop(write_ends);
            let (received, descriptors) = far.receive_with(&mut [0; 2]).unwrap();
            assert!(matches!(received, Received::Some(2)));
            assert_eq!(descriptors.len(), count.min(MOST));
            let (come, gone) = read_ends.split_at(descriptors.len());
            assert!(come.iter().all(|end| !is_closed(end, 0)));
            // An emulator takes those from the kernel for which its program has no room.
            let is_emulated = std::env::var_os("UDS_IPC_EMULATED").is_some();
            assert!(is_emulated || gone.iter().all(|end| is_closed(end, LONG)));
            for (read_end, descriptor) in come.iter().zip(descriptors) {
                assert!(!is_closed(read_end, 0));
                drop(descriptor);
                assert!(is_closed(read_end, LONG), "in their order");
            }
            let (received, descriptors) = far.receive_with(&mut [0; 9]).unwrap();
            assert!(matches!(received, Received::Some(1)) && descriptors.is_empty());
        }
    }

    #[test]
    fn bytes_go_without_what_cannot_be_passed() {
        let [near, far] = streams();
        let memory = near.as_fd();
        let send = |stream: &Stream, descriptors: &[_]| {
            let bytes = [IoSlice::new(b""), IoSlice::new(b"abc")];
            stream.send_with(&bytes, descriptors).unwrap()
        };
        for (descriptors, all_go) in [
            (vec![], false),
            (vec![memory; 2], true),
            (vec![memory; 3], false),
        ] {
            let (sent, went) = send(&near, &descriptors);
            assert!(matches!(sent, Sent::Some(3)));
            assert_eq!(went, all_go);
            let (received, come) = far.receive_with(&mut [0; 9]).unwrap();
            assert!(matches!(received, Received::Some(3)));
            assert_eq!(come.len(), if all_go { descriptors.len() } else { 0 });
        }
        let (read_end, write_end) = pipe().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for (near, far) in [
            (write_end, read_end),
            (tcp.into(), listener.accept().unwrap().0.into()),
        ] {
            let near = Stream::adopt_to_write(near).unwrap();
            let far = Stream::adopt_to_read(far).unwrap();
            assert!(!near.abilities().passes_memory);
            assert!(matches!(send(&near, &[memory]), (Sent::Some(3), false)));
            let mut fds = [PollFd::new(far.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(LONG)).unwrap();
            let (received, come) = far.receive_with(&mut [0; 9]).unwrap();
            assert!(matches!(received, Received::Some(3)) && come.is_empty());
        }
    }

    #[test]
    fn only_what_concerns_the_descriptors_has_the_bytes_sent_again() {
        for (number, refused) in [
            (libc::ETOOMANYREFS, true),
            (libc::EBADF, true),
            (libc::EPERM, true),
            (libc::EINVAL, true),
            (libc::EAGAIN, false),
            (libc::ENOBUFS, false),
            (libc::ENOMEM, false),
            (libc::EPIPE, false),
            (libc::ECONNRESET, false),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_refused(&error), refused, "{error}");
        }
    }

    #[test]
    fn with_descriptors_a_stream_is_full_empty_and_at_its_end_as_without() {
        let [near, far] = streams();
        let receive = |buffer: &mut [u8]| far.receive_with(buffer).unwrap();
        let (received, come) = receive(&mut [0; 9]);
        assert!(matches!(received, Received::Nothing) && come.is_empty());
        let bytes = vec![0; 100_000];
        while !matches!(near.send(&[IoSlice::new(&bytes)]).unwrap(), Sent::Blocked) {}
        let sent = near.send_with(&[IoSlice::new(&bytes)], &[far.as_fd()]);
        assert!(matches!(sent.unwrap(), (Sent::Blocked, false)));
        drop(near);
        let mut buffer = bytes;
        while let (Received::Some(_), come) = receive(&mut buffer) {
            assert!(come.is_empty());
        }
        assert!(matches!(receive(&mut buffer), (Received::End, _)));
        let [near, far] = streams();
        drop(far);
        let error = near.send_with(&[IoSlice::new(b"a")], &[near.as_fd()]);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_else_could_come_along_takes_no_room() {
        let (near, far) = UnixStream::pair().unwrap();
        setsockopt(&far, PassCred, &true).unwrap();
        // Not every kernel has these.
        let _ = setsockopt(&far, PassPidfd, &true);
        let _ = setsockopt(&far, PassSec, &true);
        let far = Stream::adopt_to_read(far.into()).unwrap();
        assert!(!getsockopt(&far, PassCred).unwrap());
        let near = Stream::adopt_to_write(near.into()).unwrap();
        let lent = [near.as_fd(), far.as_fd()];
        near.send_with(&[IoSlice::new(b"a")], &lent).unwrap();
        assert_eq!(far.receive_with(&mut [0; 9]).unwrap().1.len(), 2);
    }
}
