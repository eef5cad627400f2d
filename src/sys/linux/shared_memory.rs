//! Memory in a memfd: one process writes it, and whoever has its descriptor can read it, also when
//! that process has died.
//! Unsafe code: `mmap` has no safe form, and `struct flock` has more fields on some processors.

#![expect(unsafe_code, reason = "a mapping has no safe form")]
#![allow(
    dead_code,
    reason = "the writer and the reader are to use it, the tests do already"
)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::ptr::{self, NonNull};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use rustix::fs::{
    FlockOperation, MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fcntl_lock, ftruncate,
    memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use crate::sys::fork::HomeProcess;
use crate::sys::shared_memory_error::SharedMemoryError;
use crate::sys::standard_streams::above_standard;

/// What `/proc` shows as its name.
const NAME: &str = "uds-ipc";

/// Memory that this process alone can write, and whoever has its descriptor can read: it keeps its
/// size, and is locked as long as the process lives.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    descriptor: OwnedFd,
    start: NonNull<u8>,
    len: usize,
    home: HomeProcess,
}

// SAFETY: it owns the range, and hands out no more than the pointer to it.
unsafe impl Send for SharedMemory {}
// SAFETY: likewise.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// That many bytes, and what is left of their last page: all 0. A forked child does not have
    /// the range, nor does a core dump.
    pub(crate) fn new(len: usize) -> Result<Self, SharedMemoryError> {
        let len = whole_pages(len, page_size()).ok_or(io::Error::from(ErrorKind::InvalidInput))?;
        let size = u64::try_from(len).map_err(io::Error::other)?;
        check_limit(size)?;
        let descriptor = memfd().map_err(unsupported_if(Errno::NOSYS))?;
        ftruncate(&descriptor, size).map_err(io::Error::from)?;
        let memory = Self::map(descriptor, len)?;
        // It forbids all writing but by a mapping that is there already.
        let seals = SealFlags::FUTURE_WRITE | SIZE_SEALS;
        fcntl_add_seals(&memory.descriptor, seals).map_err(unsupported_if(Errno::INVAL))?;
        memory.lock()?;
        Ok(memory)
    }

    fn map(descriptor: OwnedFd, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a range in which nothing is.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                access,
                MapFlags::SHARED,
                &descriptor,
                0,
            )
        }?;
        let memory = Self {
            descriptor,
            start: NonNull::new(start.cast()).ok_or(ErrorKind::OutOfMemory)?,
            len,
            home: HomeProcess::this(),
        };
        // SAFETY: the range is ours, and stays as it is in this process.
        unsafe { madvise(start, len, Advice::LinuxDontFork) }?;
        // SAFETY: likewise.
        // It is no harm but to the size of a core dump.
        let _ = unsafe { madvise(start, len, Advice::LinuxDontDump) };
        Ok(memory)
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes the lock of this process, also again: it ends when any descriptor of this memory is
    /// closed in this process, and with the process. A forked child does not have it.
    pub(crate) fn lock(&self) -> io::Result<()> {
        let operation = FlockOperation::NonBlockingLockExclusive;
        Ok(fcntl_lock(&self.descriptor, operation)?)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // A forked child did not get the range, and may have something else there by now.
        if !self.home.is_elsewhere_for_certain() {
            // SAFETY: the range is ours, and who uses the pointer does so no longer than this.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// A few bytes that nobody can change any more.
pub(crate) fn sealed_copy(bytes: &[u8]) -> io::Result<OwnedFd> {
    let len = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    check_limit(len).map_err(|_| ErrorKind::FileTooLarge)?;
    let file = File::from(memfd()?);
    file.write_all_at(bytes, 0)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SIZE_SEALS)?;
    Ok(file.into())
}

/// It keeps its size, and its seals.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

fn memfd() -> io::Result<OwnedFd> {
    // The filter of system calls of an Android may end a process for one that it does not know.
    if !cfg!(target_os = "linux") {
        return Err(Errno::NOSYS.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    above_standard(
        || match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3.
            Err(Errno::INVAL) => Ok(memfd_create(NAME, flags)?),
            made => Ok(made?),
        },
    )
}

/// An error that says that the kernel has no such thing.
fn unsupported_if<E: Into<io::Error>>(errno: Errno) -> impl Fn(E) -> SharedMemoryError {
    move |error| {
        let error = error.into();
        if error.raw_os_error() == Some(errno.raw_os_error()) {
            SharedMemoryError::Unsupported
        } else {
            SharedMemoryError::Io(error)
        }
    }
}

/// Refuses what the kernel would end the process for.
fn check_limit(len: u64) -> Result<(), SharedMemoryError> {
    match limit_below(len, getrlimit(Resource::Fsize).current) {
        Some(limit) => Err(SharedMemoryError::TooLarge { limit }),
        None => Ok(()),
    }
}

/// The limit, if it is less than `len`.
fn limit_below(len: u64, limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| *limit < len)
}

/// `len`, rounded up. `None` for nothing, and for more than a pointer may be moved by.
fn whole_pages(len: usize, page: usize) -> Option<usize> {
    let rounded = len.checked_next_multiple_of(page)?;
    (rounded > 0 && isize::try_from(rounded).is_ok()).then_some(rounded)
}

/// Memory that a peer has passed: of its size for good, and to be read without waiting for anybody.
#[derive(Debug)]
pub(crate) struct PassedMemory {
    file: File,
    len: u64,
    identity: (u64, u64),
}

impl PassedMemory {
    /// Gives back what is anything else. To close that may take time, as with a file of the
    /// network.
    pub(crate) fn check(descriptor: OwnedFd) -> Result<Self, OwnedFd> {
        if !is_sealed_memory(&descriptor) {
            return Err(descriptor);
        }
        let file = File::from(descriptor);
        match file.metadata() {
            Ok(metadata) => Ok(Self {
                len: metadata.len(),
                identity: (metadata.dev(), metadata.ino()),
                file,
            }),
            Err(_) => Err(file.into()),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The numbers of its device and of its file: no other memory has both while it is open.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Fills the buffer from `offset` on. An error where less is there.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Whether another process holds the lock. That of this process is not seen.
    pub(crate) fn is_locked(&self) -> io::Result<bool> {
        // Not by rustix: with debug assertions it panics at the process number -1, which a lock
        // has that is of the open file.
        // SAFETY: it has numbers only, for which 0 will do: from the start, to the end.
        let mut lock: libc::flock = unsafe { mem::zeroed() };
        lock.l_type = libc::F_WRLCK.try_into().map_err(io::Error::other)?;
        lock.l_whence = libc::SEEK_SET.try_into().map_err(io::Error::other)?;
        fcntl(&self.file, FcntlArg::F_GETLK(&mut lock))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }
}

/// The seals come first: asked of anything else, which may be a file of a network that does not
/// answer, the kernel refuses at once. Huge pages are sealed in the same way, and are no `tmpfs`.
fn is_sealed_memory(descriptor: &OwnedFd) -> bool {
    let Ok(seals) = fcntl_get_seals(descriptor) else {
        return false;
    };
    // There may be more of them.
    seals.contains(SIZE_SEALS)
        && seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
        && fstatfs(descriptor).is_ok_and(|of| of.filesystem_type() == TMPFS_MAGIC)
}
