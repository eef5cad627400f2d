//! Which file it is that lies at a path, and the bits of its mode. Asks only.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::Mode;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    /// Linux tells of a removal while the path still leads to the file: it has no name left then.
    /// (Some file systems count none: theirs never change.)
    has_name: bool,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            has_name: metadata.nlink() > 0,
        }
    }

    /// The identity of the file at `path` itself, not of what a link points to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::symlink_metadata(path)?))
    }
}

/// The type of a mode differs between platforms, which is why one of the conversions is none.
#[expect(
    clippy::useless_conversion,
    reason = "it is not useless on macOS and FreeBSD"
)]
pub(super) fn mode_bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode.try_into().unwrap_or(0o600))
}
