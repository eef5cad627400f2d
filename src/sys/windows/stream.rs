//! One connection: a stub.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::windows::io::{BorrowedHandle, OwnedHandle};

use super::unsupported::unsupported;
use crate::address::Address;
use crate::peer::Identity;
use crate::sys::abilities::{Abilities, PeerEnd};
use crate::sys::tcp_options::TcpOptions;
use crate::sys::transfer::{AdoptError, Received, Sent};

impl From<io::Error> for AdoptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(crate) struct Stream(());

impl Stream {
    pub(crate) fn connect(_: &Address, _send_buffer_size: Option<usize>) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn begin_tcp(_: SocketAddr, _: &TcpOptions) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        unsupported()
    }

    pub(crate) fn adopt_to_write(_: OwnedHandle) -> Result<Self, AdoptError> {
        Ok(unsupported()?)
    }

    pub(crate) fn adopt_to_read(_: OwnedHandle) -> Result<Self, AdoptError> {
        Ok(unsupported()?)
    }

    pub(crate) fn set_tcp(&self, _: &TcpOptions) {}

    pub(crate) const MOST_ABILITIES: Abilities = Abilities {
        answers: true,
        peer_end: PeerEnd::Closes,
        tells_unread: false,
        tells_credentials: true,
        passes_memory: false,
    };

    pub(crate) fn abilities_at(_: &Address) -> Abilities {
        Self::MOST_ABILITIES
    }

    pub(crate) fn abilities(&self) -> Abilities {
        Self::MOST_ABILITIES
    }

    pub(crate) fn send(&self, _: &[IoSlice<'_>]) -> io::Result<Sent> {
        unsupported()
    }

    pub(crate) fn send_with(
        &self,
        _: &[IoSlice<'_>],
        _descriptors: &[BorrowedHandle<'_>],
    ) -> io::Result<(Sent, bool)> {
        unsupported()
    }

    pub(crate) fn receive(&self, _: &mut [u8]) -> io::Result<Received> {
        unsupported()
    }

    pub(crate) fn receive_with(&self, _: &mut [u8]) -> io::Result<(Received, Vec<OwnedHandle>)> {
        unsupported()
    }

    pub(crate) fn stop_receiving(&self) {}

    pub(crate) fn end_sending(&self) {}

    pub(crate) fn cut(&self) {}

    pub(crate) fn lost_unread(&self, _has_ended: bool) -> bool {
        false
    }

    pub(crate) fn unread(&self) -> Option<u64> {
        None
    }

    pub(crate) fn peer(&self) -> io::Result<Identity> {
        unsupported()
    }

    pub(crate) fn number(&self) -> i32 {
        -1
    }
}
