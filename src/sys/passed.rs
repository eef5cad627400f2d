//! The descriptors that a service manager passed to this process: taken from it once, and kept
//! until somebody wants them.

use std::fs;
use std::os::fd::AsRawFd;
use std::process;

use listenfd::ListenFd;
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

use super::environment;
use super::file::kind_of;
use crate::activation::{ActivationError, Passed, PassedKind, Variables, What};

/// Where the descriptors begin: after the standard streams. See `sd_listen_fds(3)`.
const FIRST: i32 = 3;

/// What the environment said the first time that somebody asked. An error stays one: the variables
/// are gone after that, and to make a socket of one's own beside systemd's would hide it.
static PASSED: Mutex<Option<Result<Vec<Passed>, ActivationError>>> = Mutex::new(None);

/// Lets `choose` look at the descriptors, and take some.
pub(crate) fn with_passed<T>(
    choose: impl FnOnce(&mut [Passed]) -> T,
) -> Result<T, ActivationError> {
    match PASSED.lock().get_or_insert_with(claim) {
        Ok(passed) => Ok(choose(passed)),
        Err(error) => Err(error.clone()),
    }
}

/// Takes over what the environment says is for us.
fn claim() -> Result<Vec<Passed>, ActivationError> {
    let names = Variables::read()
        .names(process::id(), pidfd_id)
        .inspect_err(|_| {
            // They are not inherited, even where they have no good names.
            let _ = sd_notify::listen_fds();
        });
    let claimed = names.and_then(|names| claim_named(&names));
    for name in Variables::NAMES {
        environment::remove(name);
    }
    claimed
}

fn claim_named(names: &[String]) -> Result<Vec<Passed>, ActivationError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Each is closed on exec from now on. It fails where one is not open at all, before anything is
    // taken over.
    if sd_notify::listen_fds().is_err() {
        let is_open = |number: &i32| fs::symlink_metadata(format!("/dev/fd/{number}")).is_ok();
        let number = (FIRST..)
            .take(names.len())
            .find(|number| !is_open(number))
            .unwrap_or(FIRST);
        return Err(ActivationError::NotOpen { number });
    }
    // Its own idea, which systemd does not share.
    environment::remove("LISTEN_FDS_FIRST_FD");
    let mut descriptors = ListenFd::from_env();
    let passed = names
        .iter()
        .zip(FIRST..)
        .enumerate()
        .map(|(index, (name, number))| {
            let what = match claim_socket(&mut descriptors, index) {
                Some(socket) => match fitness(&socket) {
                    Ok(()) => What::Listener(socket.into()),
                    Err(kind) => What::Else(Some(socket.into()), kind),
                },
                None => What::Else(None, file_kind(number)),
            };
            Passed {
                number,
                name: name.clone(),
                what,
            }
        });
    Ok(passed.collect())
}

/// Takes a socket over, whatever its kind; they differ in what `listenfd` wants to hear.
fn claim_socket(descriptors: &mut ListenFd, index: usize) -> Option<Socket> {
    let families = [libc::AF_UNIX, libc::AF_INET];
    let types = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    let kinds = families
        .into_iter()
        .flat_map(|family| types.map(|kind| (family, kind)));
    kinds.into_iter().find_map(|(family, kind)| {
        descriptors
            .take_custom::<Socket>(index, family, kind, "socket")
            .ok()
            .flatten()
    })
}

/// What a descriptor is that is no socket of the usual kinds.
fn file_kind(number: i32) -> PassedKind {
    // Follows the link to the file itself.
    let kind = fs::metadata(format!("/dev/fd/{number}"))
        .map_or("something else", |metadata| kind_of(&metadata));
    PassedKind::Other(kind)
}

/// Whether connections can be accepted from `socket`, and if not, what it is.
pub(crate) fn fitness(socket: &Socket) -> Result<(), PassedKind> {
    match socket.local_addr().map(|address| address.domain()) {
        Ok(Domain::UNIX) => {}
        Ok(Domain::IPV4 | Domain::IPV6) => return Err(PassedKind::Internet),
        Ok(_) | Err(_) => return Err(file_kind(socket.as_raw_fd())),
    }
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(Type::DGRAM) => return Err(PassedKind::Datagram),
        Ok(_) | Err(_) => return Err(PassedKind::SeqPacket),
    }
    if socket.peer_addr().is_ok() {
        return Err(PassedKind::Connection);
    }
    if getsockopt(socket, AcceptConn).unwrap_or(false) {
        Ok(())
    } else {
        Err(PassedKind::NotListening)
    }
}

/// The number that tells this process from one that had the same process id before. `None` where
/// the kernel has none (Linux before 6.9).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn pidfd_id() -> Option<u64> {
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

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pidfd_id() -> Option<u64> {
    None
}
