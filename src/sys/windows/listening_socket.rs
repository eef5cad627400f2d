//! What listens: a stub.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::windows::io::OwnedHandle;

use super::stream::Stream;
use super::unsupported::unsupported;
use crate::address::Address;
use crate::descriptor_kind::DescriptorKind;
use crate::sys::family::Family;
use crate::sys::not_accepted::NotAccepted;

#[derive(Debug)]
pub(crate) struct ListeningSocket(());

/// None can be listened on.
pub(crate) fn check_listening(_: &OwnedHandle) -> Result<Family, DescriptorKind> {
    Err(DescriptorKind::Other(
        "of no kind that is known on this system",
    ))
}

impl ListeningSocket {
    pub(crate) fn new(_recv_buffer_size: Option<usize>) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn listen_tcp(_: SocketAddr, _recv_buffer_size: Option<usize>) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn from_listening(_: OwnedHandle, _: Family) -> Self {
        Self(())
    }

    pub(crate) fn family(&self) -> Family {
        Family::Tcp
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        None
    }

    pub(crate) fn set_mode(&self, _mode: u32) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn bind(&self, _: &Address) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn listen(&self) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        false
    }

    pub(crate) fn accept(&self) -> io::Result<Stream> {
        unsupported()
    }

    pub(crate) fn why_not_accepted(_: &io::Error) -> NotAccepted {
        NotAccepted::Short
    }

    pub(crate) fn shut_error() -> io::Error {
        io::ErrorKind::Unsupported.into()
    }

    pub(crate) fn shut(&self) -> bool {
        false
    }

    pub(crate) fn is_shut(&self) -> bool {
        false
    }

    pub(crate) fn address(&self) -> Option<Address> {
        None
    }
}
