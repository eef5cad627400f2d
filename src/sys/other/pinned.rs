//! A file by its path: nothing here holds a socket's file itself. Links are not followed.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, fchmodat};

use crate::sys::file::mode_bits;

/// A file to have its owner and mode changed.
#[derive(Debug)]
pub(crate) struct PinnedFile(PathBuf);

impl PinnedFile {
    /// The file at `path` itself, not what a link there leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(path.into()))
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        fs::symlink_metadata(&self.0)
    }

    pub(crate) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        std::os::unix::fs::lchown(&self.0, owner, group)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmodat(
            AT_FDCWD,
            &self.0,
            mode_bits(mode),
            FchmodatFlags::NoFollowSymlink,
        )?)
    }

    /// Another way is not needed here.
    pub(crate) fn set_mode_in(&self, _: &File, _: &Path, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
