//! A file held by `O_PATH`: the same file, whatever else is put at its path meanwhile.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};
use rustix::fs::{AtFlags as StatFlags, fstat, statat};

use crate::sys::file::mode_bits;

/// A file to have its owner and mode changed. A process that may write to the directory could put
/// a link or another file in its place, to have that changed.
#[derive(Debug)]
pub(crate) struct PinnedFile(File);

impl PinnedFile {
    /// The file at `path` itself, not what a link there leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        // Not by std: with musl it takes `O_PATH` away, which is among the modes of access there.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        loop {
            match open(path, flags, Mode::empty()) {
                Err(Errno::EINTR) => {}
                opened => return Ok(Self(opened?.into())),
            }
        }
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    pub(crate) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(&self.0, "", owner, group, AtFlags::AT_EMPTY_PATH)?)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        // No call takes such a descriptor itself.
        fs::set_permissions(
            format!("/proc/self/fd/{}", self.0.as_raw_fd()),
            Permissions::from_mode(mode),
        )
    }

    /// Likewise by its name in a directory in which nobody puts another file in its place.
    pub(crate) fn set_mode_in(&self, directory: &File, path: &Path, mode: u32) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let there = statat(directory, name, StatFlags::SYMLINK_NOFOLLOW)?;
        let ours = fstat(&self.0)?;
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = FchmodatFlags::FollowSymlink;
        Ok(fchmodat(directory, name, mode_bits(mode), flags)?)
    }
}
