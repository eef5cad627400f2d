//! Stream sockets of other kinds, such as vsock: what each of them promises.

use socket2::Socket;

use super::socket;
use crate::sys::abilities::{Abilities, PeerEnd};

pub(super) const ABILITIES: Abilities = Abilities {
    answers: true,
    peer_end: PeerEnd::EndsSending,
    tells_unread: false,
    tells_credentials: false,
    passes_memory: false,
};

/// The next read finds the end, once all that has come was read. The peer is not told.
pub(super) fn stop_receiving(socket: &Socket) {
    socket::end_receiving(socket);
}

/// Whether the peer has closed before it had read all, where that is told.
pub(super) fn lost_unread(socket: &Socket) -> bool {
    socket::was_reset(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::libc;
    use socket2::{Domain, Type};

    use super::*;
    use crate::descriptor_kind::DescriptorKind;
    use crate::sys::{AdoptError, Stream};

    #[test]
    fn a_socket_of_another_kind_is_asked_whether_it_is_a_stream_that_is_connected() {
        let vsock = Domain::from(libc::AF_VSOCK);
        // The kernel may have none.
        if let Ok(socket) = Socket::new(vsock, Type::STREAM, None) {
            let refused = Stream::adopt_to_write(socket.into()).unwrap_err();
            assert!(matches!(
                refused,
                AdoptError::Kind(DescriptorKind::NotConnected)
            ));
        }
        let netlink = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None).unwrap();
        let refused = Stream::adopt_to_write(netlink.into()).unwrap_err();
        assert!(matches!(
            refused,
            AdoptError::Kind(DescriptorKind::Other("a socket of another kind"))
        ));
    }
}
