//! pidfd: distinguishes this process from an earlier one with the same process id.
//! Not on Android, where no systemd passes such a number.

/// The number of this process's pidfd. `None` where the kernel has none (Linux before 6.9).
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_id() -> Option<u64> {
    use rustix::fs::{fstat, fstatfs};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    /// `PID_FS_MAGIC` of linux/magic.h.
    const PIDFS: u64 = 0x5049_4446;

    let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    // Its type differs between platforms.
    #[expect(
        clippy::useless_conversion,
        reason = "it is none where the field is narrower"
    )]
    let file_system = i64::try_from(fstatfs(&this).ok()?.f_type).ok()?;
    let id = fstat(&this).ok()?.st_ino;
    (u64::try_from(file_system) == Ok(PIDFS)).then_some(id)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pidfd_id() -> Option<u64> {
    None
}
