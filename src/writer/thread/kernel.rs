//! What the thread needs of the system, so that a simulated one can stand in its place.
//! Decides nothing.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::clock;
use crate::peer::Credentials;
use crate::sys::{self, Readiness, Received, Sent, Stream, Waker, Wanted};

/// The clock, and the ways to connect and to wait.
pub(crate) trait Kernel {
    type Socket: Socket;

    fn now(&self) -> Instant;

    fn connect(
        &self,
        address: &Address,
        send_buffer_size: Option<usize>,
    ) -> io::Result<Self::Socket>;

    fn wait(
        &self,
        waker: &Waker,
        socket: Option<&Self::Socket>,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness;
}

/// One connection.
pub(crate) trait Socket {
    fn peer(&self) -> io::Result<Credentials>;

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent>;

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received>;

    /// How many bytes at most the peer has not read.
    fn unread(&self) -> Option<u64>;

    /// After the connection was lost: whether the peer left bytes unread.
    fn lost_unread(&self) -> bool;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct System;

impl Kernel for System {
    type Socket = Stream;

    fn now(&self) -> Instant {
        clock::now()
    }

    fn connect(&self, address: &Address, send_buffer_size: Option<usize>) -> io::Result<Stream> {
        Stream::connect(address, send_buffer_size)
    }

    fn wait(
        &self,
        waker: &Waker,
        socket: Option<&Stream>,
        wanted: Wanted,
        timeout: Option<Duration>,
    ) -> Readiness {
        sys::wait(waker, socket, wanted, timeout)
    }
}

impl Socket for Stream {
    fn peer(&self) -> io::Result<Credentials> {
        self.peer()
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        self.send(slices)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    fn unread(&self) -> Option<u64> {
        self.unread()
    }

    fn lost_unread(&self) -> bool {
        self.lost_unread()
    }
}
