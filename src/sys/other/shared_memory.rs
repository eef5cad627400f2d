//! No memory that one process alone can write, and others can read.

#![allow(dead_code, reason = "the writer and the reader are to use it")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::sys::shared_memory_error::SharedMemoryError;

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

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

pub(crate) fn sealed_copy(_: &[u8]) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none.
#[derive(Debug)]
pub(crate) enum PassedMemory {}

impl AsFd for PassedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl PassedMemory {
    pub(crate) fn check(descriptor: OwnedFd) -> Result<Self, OwnedFd> {
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
