//! Memory in a memfd: one process writes it, and whoever has its descriptor can read it, also when
//! that process has died.
//! Unsafe code: `mmap` has no safe form, and `struct flock` has more fields on some processors.

#![expect(unsafe_code, reason = "a mapping has no safe form")]
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
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
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
    pub(crate) file: SharedFile,
    pub(crate) mapping: Mapping,
}

/// What is passed: by it the memory is known, and locked.
#[derive(Debug)]
pub(crate) struct SharedFile {
    descriptor: OwnedFd,
    len: u64,
}

/// Where this process writes it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    home: HomeProcess,
}

// SAFETY: it owns the range, and hands out no more than the pointer to it.
unsafe impl Send for Mapping {}
// SAFETY: likewise.
unsafe impl Sync for Mapping {}

impl SharedMemory {
    /// That many bytes, and what is left of their last page: all 0. A forked child does not have
    /// the range, nor does a core dump.
    pub(crate) fn new(len: usize) -> Result<Self, SharedMemoryError> {
        let len = whole_pages(len, page_size()).ok_or(io::Error::from(ErrorKind::InvalidInput))?;
        let size = u64::try_from(len).map_err(io::Error::other)?;
        check_limit(size)?;
        let descriptor = memfd().map_err(unsupported_if(Errno::NOSYS))?;
        ftruncate(&descriptor, size).map_err(io::Error::from)?;
        let mapping = Mapping::new(&descriptor, len)?;
        // It forbids all writing but by a mapping that is there already. Another seal may be added:
        // by it the memory is claimed. None that there is takes anything from this process.
        let seals = SealFlags::FUTURE_WRITE | SIZE_SEALS;
        fcntl_add_seals(&descriptor, seals).map_err(unsupported_if(Errno::INVAL))?;
        let file = SharedFile {
            descriptor,
            len: size,
        };
        file.lock()?;
        Ok(Self { file, mapping })
    }
}

impl Mapping {
    fn new(descriptor: &OwnedFd, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a range in which nothing is.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                access,
                MapFlags::SHARED,
                descriptor,
                0,
            )
        }?;
        let mapping = Self {
            start: NonNull::new(start.cast()).ok_or(ErrorKind::OutOfMemory)?,
            len,
            home: HomeProcess::this(),
        };
        // SAFETY: the range is ours, and stays as it is in this process.
        unsafe { madvise(start, len, Advice::LinuxDontFork) }?;
        // Without it a core dump is larger, and nothing else.
        // SAFETY: likewise.
        let _ = unsafe { madvise(start, len, Advice::LinuxDontDump) };
        Ok(mapping)
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// From now on the range holds other memory, of this process alone, and zeros. What was there
    /// is given back once nobody has its file any more. Nobody may read what was written.
    pub(crate) fn give_back(&self) -> io::Result<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the range is ours, and only the pointer to it was given out. Whoever still writes
        // there writes to the one memory or to the other.
        unsafe { mmap_anonymous(self.start.as_ptr().cast(), self.len, access, flags) }?;
        Ok(())
    }

    /// Whether this is a child made by `fork`, which did not get the range. Costs nothing.
    pub(crate) fn is_absent(&self) -> bool {
        self.home.is_elsewhere()
    }
}

impl SharedFile {
    /// Takes the lock of this process, also again: it ends when any descriptor of this memory is
    /// closed in this process, and with the process. A forked child does not have it.
    pub(crate) fn lock(&self) -> io::Result<()> {
        let lock = lock(libc::F_WRLCK, 0, self.len)?;
        fcntl(&self.descriptor, FcntlArg::F_SETLK(&lock))?;
        Ok(())
    }
}

impl SharedFile {
    /// The number of its file: no other memory has it while this is there.
    pub(crate) fn number(&self) -> io::Result<u64> {
        Ok(fstat(&self.descriptor)?.st_ino)
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Mapping {
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
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SEAL | SIZE_SEALS)?;
    Ok(file.into())
}

/// It keeps its size.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A lock of so many bytes from `start` on.
fn lock(kind: libc::c_int, start: u64, len: u64) -> io::Result<libc::flock> {
    // SAFETY: it has numbers only, for which 0 will do.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = kind.try_into().map_err(io::Error::other)?;
    lock.l_whence = libc::SEEK_SET.try_into().map_err(io::Error::other)?;
    lock.l_start = start.try_into().map_err(io::Error::other)?;
    lock.l_len = len.try_into().map_err(io::Error::other)?;
    Ok(lock)
}

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
        self.is_range_locked(0, self.len)
    }

    /// Whether another process keeps it.
    pub(crate) fn is_kept(&self) -> io::Result<bool> {
        self.is_range_locked(self.len, 1)
    }

    fn is_range_locked(&self, start: u64, len: u64) -> io::Result<bool> {
        // Not by rustix: with debug assertions it panics at the process number -1, which a lock
        // has that is of the open file.
        let mut lock = lock(libc::F_WRLCK, start, len)?;
        fcntl(&self.file, FcntlArg::F_GETLK(&mut lock))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }

    /// From now on other processes see that this one keeps it: until it closes any descriptor of
    /// this memory, or ends.
    pub(crate) fn keep(&self) -> io::Result<()> {
        // Behind the memory, where the writer has no lock.
        let lock = lock(libc::F_RDLCK, self.len, 1)?;
        fcntl(&self.file, FcntlArg::F_SETLK(&lock))?;
        Ok(())
    }

    /// Whether what is in it is this caller's to be read: of all processes that have it, the first
    /// one to ask gets that, once.
    pub(crate) fn claim(&self) -> bool {
        // The kernel adds no seal where this one is.
        fcntl_add_seals(&self.file, SealFlags::SEAL).is_ok()
    }
}

impl AsFd for PassedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
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

#[cfg(test)]
impl PassedMemory {
    /// Has it kept as by another process, until what is returned is dropped.
    pub(crate) fn keep_elsewhere(&self) -> File {
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.file)
        );
        let other = File::open(path).unwrap();
        let lock = lock(libc::F_RDLCK, self.len, 1).unwrap();
        fcntl(&other, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        other
    }
}

/// Sealed memory of this length, that begins with these words.
#[cfg(test)]
pub(crate) fn sealed_memory(words: &[u64], len: usize) -> OwnedFd {
    let file = File::from(memfd().unwrap());
    file.set_len(len.try_into().unwrap()).unwrap();
    let words: Vec<_> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    file.write_all_at(&words, 0).unwrap();
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SIZE_SEALS).unwrap();
    file.into()
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::FdFlag;
    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;
    use crate::sys::{Received, Sent, Stream};

    fn put(memory: &SharedMemory, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= memory.mapping.len());
        // SAFETY: it is within the range, and nobody else writes.
        unsafe {
            let to = memory.mapping.start().as_ptr().add(at);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    fn size(len: usize) -> u64 {
        len.try_into().unwrap()
    }

    /// The descriptor as it comes out of a socket.
    fn passed(descriptor: BorrowedFd<'_>) -> OwnedFd {
        let (near, far) = UnixStream::pair().unwrap();
        let near = Stream::adopt_to_write(near.into()).unwrap();
        let far = Stream::adopt_to_read(far.into()).unwrap();
        let sent = near.send_with(&[IoSlice::new(b"ab")], &[descriptor]);
        assert!(matches!(sent.unwrap(), (Sent::Some(2), true)));
        let (received, descriptors) = far.receive_with(&mut [0; 9]).unwrap();
        assert!(matches!(received, Received::Some(2)));
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
        descriptor
    }

    #[test]
    fn whoever_has_the_descriptor_of_shared_memory_reads_what_is_written() {
        let memory = SharedMemory::new(10).unwrap();
        assert_eq!(memory.mapping.len(), page_size());
        put(&memory, 3, b"before");
        let descriptor = passed(memory.file.as_fd());
        assert!(descriptor.as_raw_fd() > 2);
        let flags = fcntl(&descriptor, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        let other = SharedMemory::new(page_size() + 1).unwrap();
        let other = PassedMemory::check(passed(other.file.as_fd())).unwrap();
        let passed = PassedMemory::check(descriptor).unwrap();
        let sizes = [passed.len(), other.len()];
        assert_eq!(sizes, [1, 2].map(|pages| size(pages * page_size())));
        assert_ne!(passed.identity(), other.identity());
        let mut buffer = [9; 12];
        passed.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"\0\0\0before\0\0\0");
        put(&memory, 3, b"behind");
        put(&memory, memory.mapping.len() - 1, b"x");
        passed.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer[3..9], b"behind");
        let end = passed.len();
        passed.read_at(&mut buffer[..1], end - 1).unwrap();
        assert_eq!(buffer[0], b'x');
        for (len, offset) in [(2, end - 1), (1, end), (1, u64::MAX)] {
            passed.read_at(&mut buffer[..len], offset).unwrap_err();
        }
        passed.read_at(&mut [], end).unwrap();
        // What was mapped stays there for who has the descriptor.
        drop(memory);
        passed.read_at(&mut buffer[..6], 3).unwrap();
        assert_eq!(&buffer[..6], b"behind");
    }

    #[test]
    fn whoever_has_the_descriptor_of_shared_memory_can_neither_change_nor_resize_it() {
        let memory = SharedMemory::new(2 * page_size()).unwrap();
        let copy = sealed_copy(b"a copy").unwrap();
        for (descriptor, len) in [
            (memory.file.as_fd(), size(memory.mapping.len())),
            (copy.as_fd(), 6),
        ] {
            let file = File::from(passed(descriptor));
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let again = File::options().read(true).write(true).open(path).unwrap();
            for file in [&file, &again] {
                let refused = |error: io::Error| error.kind() == ErrorKind::PermissionDenied;
                assert!(refused(file.write_at(b"x", 0).unwrap_err()));
                assert!(refused(file.set_len(len - 1).unwrap_err()));
                assert!(refused(file.set_len(len + 1).unwrap_err()));
                // Memory that is mapped to be written can get other seals, the copy none.
                let added = fcntl_add_seals(file, SealFlags::WRITE).unwrap_err();
                assert!([Errno::BUSY, Errno::PERM].contains(&added), "{added}");
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                assert_eq!(fallocate(file, hole, 0, len), Err(Errno::PERM));
                for access in [ProtFlags::WRITE, ProtFlags::READ | ProtFlags::WRITE] {
                    // SAFETY: it is refused.
                    let mapped =
                        unsafe { mmap(ptr::null_mut(), 1, access, MapFlags::SHARED, file, 0) };
                    assert_eq!(mapped, Err(Errno::PERM));
                }
            }
            let passed = PassedMemory::check(file.into()).unwrap();
            assert_eq!(passed.len(), len);
        }
        put(&memory, 0, b"whose it is can write all the same");
    }

    #[test]
    fn shared_memory_is_claimed_once_and_its_owner_goes_on() {
        let memory = SharedMemory::new(1).unwrap();
        let [one, other] = [(); 2].map(|()| {
            let passed = passed(memory.file.as_fd());
            PassedMemory::check(passed).unwrap()
        });
        assert!(one.claim());
        assert!(!other.claim() && !one.claim());
        put(&memory, 0, b"whose it is writes on");
        memory.file.lock().unwrap();
        assert!(memory.file.descriptor.try_clone().is_ok());
        let mut buffer = [0; 5];
        other.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"whose");
        // The other seals that anybody may add take nothing from it either.
        let memory = SharedMemory::new(1).unwrap();
        let _ = fcntl_add_seals(&memory.file.descriptor, SealFlags::WRITE);
        // F_SEAL_EXEC, of Linux 6.3.
        let _ = fcntl_add_seals(&memory.file.descriptor, SealFlags::from_bits_retain(0x20));
        put(&memory, 0, b"likewise");
    }

    #[test]
    fn a_sealed_copy_has_the_bytes() {
        for bytes in ["", "a", &"long".repeat(10_000)] {
            let copy = PassedMemory::check(sealed_copy(bytes.as_bytes()).unwrap()).unwrap();
            let mut read = vec![0; bytes.len()];
            copy.read_at(&mut read, 0).unwrap();
            assert_eq!((read, copy.len()), (bytes.into(), size(bytes.len())));
            assert!(!copy.is_locked().unwrap());
        }
    }

    /// Whether any process has a lock of it, this one included.
    fn has_lock(memory: &SharedMemory) -> bool {
        let copy = fs::metadata(format!("/proc/self/fd/{}", memory.file.as_fd().as_raw_fd()));
        let (copy, end) = (copy.unwrap(), memory.file.len - 1);
        let file = format!(":{} 0 {end}", copy.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let is_of_it = |lock: &str| lock.contains(" POSIX ") && lock.ends_with(&file);
        locks.lines().any(is_of_it)
    }

    /// What another process sees of it is shown by tests of two processes.
    #[test]
    fn the_lock_of_shared_memory_is_there_until_a_descriptor_is_closed() {
        let memory = SharedMemory::new(1).unwrap();
        assert!(has_lock(&memory));
        memory.file.lock().unwrap();
        assert!(has_lock(&memory), "it has it already");
        let passed = PassedMemory::check(passed(memory.file.as_fd())).unwrap();
        assert!(has_lock(&memory), "what went over a socket closed nothing");
        assert!(!passed.is_locked().unwrap(), "no other process has one");
        drop(passed);
        assert!(!has_lock(&memory));
        memory.file.lock().unwrap();
        assert!(has_lock(&memory));
    }

    #[test]
    fn what_is_no_sealed_memory_is_given_back() {
        let seals = SIZE_SEALS | SealFlags::FUTURE_WRITE;
        let memory = |flags, seals| -> io::Result<OwnedFd> {
            let descriptor = memfd_create(NAME, flags | MemfdFlags::ALLOW_SEALING)?;
            fcntl_add_seals(&descriptor, seals)?;
            Ok(descriptor)
        };
        let sealed = |seals| memory(MemfdFlags::CLOEXEC, seals).unwrap();
        let (read_end, write_end) = nix::unistd::pipe().unwrap();
        let mut refused = vec![
            tempfile::tempfile().unwrap().into(),
            File::open("/dev/null").unwrap().into(),
            File::open("/proc/self").unwrap().into(),
            UnixStream::pair().unwrap().0.into(),
            read_end,
            write_end,
            sealed(SealFlags::empty()),
            sealed(SIZE_SEALS),
        ];
        let each = [SealFlags::SHRINK, SealFlags::GROW, SealFlags::FUTURE_WRITE];
        refused.extend(each.map(|seal| sealed(seals - seal)));
        // The kernel may have no huge pages.
        refused.extend(memory(MemfdFlags::HUGETLB, seals));
        for descriptor in refused {
            let number = descriptor.as_raw_fd();
            let back = PassedMemory::check(descriptor).unwrap_err();
            assert_eq!(back.as_raw_fd(), number);
            fcntl(&back, FcntlArg::F_GETFD).unwrap();
        }
        for more in [SealFlags::empty(), SealFlags::WRITE, SealFlags::SEAL] {
            PassedMemory::check(sealed(seals | more)).unwrap();
        }
    }

    #[test]
    fn memory_is_refused_that_the_kernel_would_end_the_process_for() {
        for (len, limit, below) in [
            (0, Some(0), None),
            (1, Some(0), Some(0)),
            (4096, Some(4096), None),
            (4097, Some(4096), Some(4096)),
            (u64::MAX, None, None),
        ] {
            assert_eq!(limit_below(len, limit), below, "{len} {limit:?}");
        }
        let said = SharedMemoryError::TooLarge { limit: 4096 }.to_string();
        assert!(
            said.contains("4096") && said.contains("RLIMIT_FSIZE"),
            "{said}"
        );
    }

    #[test]
    fn shared_memory_has_whole_pages_and_at_least_one() {
        for (len, rounded) in [
            (0, None),
            (1, Some(4096)),
            (4096, Some(4096)),
            (4097, Some(8192)),
            (usize::MAX / 2, None),
            (usize::MAX, None),
        ] {
            assert_eq!(whole_pages(len, 4096), rounded, "{len}");
        }
        for len in [0, usize::MAX] {
            let error = SharedMemory::new(len).unwrap_err();
            assert!(
                matches!(error, SharedMemoryError::Io(error) if error.kind() == ErrorKind::InvalidInput)
            );
        }
    }

    #[test]
    fn what_the_kernel_does_not_know_is_unsupported() {
        let told = unsupported_if(Errno::NOSYS);
        assert!(matches!(told(Errno::NOSYS), SharedMemoryError::Unsupported));
        assert!(matches!(told(Errno::PERM), SharedMemoryError::Io(_)));
    }
}
