//! Where there is no memory that one process alone can write, and others can read: the names of
//! Linux for it, and nothing that can be made.

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd as OwnedDescriptor};
#[cfg(windows)]
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle as OwnedDescriptor};
use std::ptr::NonNull;

use super::shared_memory_error::SharedMemoryError;

/// There is none.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    pub(crate) file: SharedFile,
    pub(crate) mapping: Mapping,
}

#[derive(Debug)]
pub(crate) enum SharedFile {}

#[derive(Debug)]
pub(crate) enum Mapping {}

impl SharedMemory {
    pub(crate) fn new(_len: usize) -> Result<Self, SharedMemoryError> {
        Err(SharedMemoryError::Unsupported)
    }
}

impl Mapping {
    pub(crate) fn start(&self) -> NonNull<u8> {
        match *self {}
    }

    pub(crate) fn len(&self) -> usize {
        match *self {}
    }

    pub(crate) fn give_back(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_absent(&self) -> bool {
        match *self {}
    }
}

impl SharedFile {
    pub(crate) fn lock(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn number(&self) -> io::Result<u64> {
        match *self {}
    }
}

#[cfg(unix)]
impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[cfg(windows)]
impl AsHandle for SharedFile {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        match *self {}
    }
}

pub(crate) fn sealed_copy(_: &[u8]) -> io::Result<OwnedDescriptor> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none.
#[derive(Debug)]
pub(crate) enum PassedMemory {}

#[cfg(unix)]
impl AsFd for PassedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[cfg(windows)]
impl AsHandle for PassedMemory {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        match *self {}
    }
}

impl PassedMemory {
    pub(crate) fn check(descriptor: OwnedDescriptor) -> Result<Self, OwnedDescriptor> {
        Err(descriptor)
    }

    pub(crate) fn len(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn identity(&self) -> (u64, u64) {
        match *self {}
    }

    pub(crate) fn read_at(&self, _: &mut [u8], _offset: u64) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_locked(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn keep(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_kept(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn claim(&self) -> bool {
        match *self {}
    }
}
