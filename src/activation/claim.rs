//! Takes the passed descriptors over from the environment, once, and keeps them until they are
//! wanted.

use std::fs;
use std::mem;
use std::os::fd::OwnedFd;
use std::process;

use listenfd::ListenFd;
use nix::libc;
use parking_lot::Mutex;

use super::error::ActivationError;
use super::passed::{Descriptor, Passed};
use super::variables::Variables;
use crate::sys::{self, AdoptError};

/// Where the descriptors begin: after the standard streams. See `sd_listen_fds(3)`.
const FIRST: i32 = 3;

/// What the environment said the first time that it was looked at. An error stays one: the
/// variables are gone after that, and to bind a socket beside systemd's would hide it.
static PASSED: Mutex<Option<Result<Claimed, ActivationError>>> = Mutex::new(None);

/// What was passed.
#[derive(Debug, Default)]
struct Claimed {
    passed: Vec<Passed>,
    /// What this crate has had stored, with its names: nobody's socket.
    stored: Vec<(String, OwnedFd)>,
}

/// What the names of that begin with.
const STORED: [&str; 2] = ["uds-ipc-reader-", "uds-ipc-writer-"];

/// Lets `choose` look at the descriptors, and take some.
pub(crate) fn with_passed<T>(
    choose: impl FnOnce(&mut [Passed]) -> T,
) -> Result<T, ActivationError> {
    match PASSED.lock().get_or_insert_with(claim) {
        Ok(claimed) => Ok(choose(&mut claimed.passed)),
        Err(error) => Err(error.clone()),
    }
}

/// Takes what was stored under names with this beginning, and the rests of the names.
pub(crate) fn take_stored(prefix: &str) -> Vec<(String, OwnedFd)> {
    let mut claimed = PASSED.lock();
    let Ok(claimed) = claimed.get_or_insert_with(claim) else {
        return Vec::new();
    };
    let all = mem::take(&mut claimed.stored);
    let is_meant = |(name, _): &(String, OwnedFd)| name.starts_with(prefix);
    let (taken, left) = all.into_iter().partition(is_meant);
    claimed.stored = left;
    let rest = |(name, descriptor): (String, OwnedFd)| {
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        (rest.to_owned(), descriptor)
    };
    Vec::into_iter(taken).map(rest).collect()
}

/// Takes over what the environment says is for us.
fn claim() -> Result<Claimed, ActivationError> {
    let names = Variables::read()
        .names(process::id(), sys::pidfd_id)
        .inspect_err(|_| {
            // They are not inherited, even where they have no good names.
            let _ = sd_notify::listen_fds();
        });
    let claimed = names.and_then(|names| claim_named(&names));
    for name in Variables::NAMES {
        sys::remove_variable(name);
    }
    claimed
}

fn claim_named(names: &[String]) -> Result<Claimed, ActivationError> {
    if names.is_empty() {
        return Ok(Claimed::default());
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
    sys::remove_variable("LISTEN_FDS_FIRST_FD");
    let mut descriptors = ListenFd::from_env();
    let mut claimed = Claimed::default();
    for (index, (name, number)) in names.iter().zip(FIRST..).enumerate() {
        let is_ours = STORED.iter().any(|prefix| name.starts_with(prefix));
        let descriptor = match claim_socket(&mut descriptors, index) {
            Some(socket) => match sys::check_listening(&socket) {
                Ok(family) => Descriptor::Listener(socket, family),
                Err(kind) => Descriptor::Other(Some(socket), kind),
            },
            // A socket is none, whatever its unit is called.
            None if is_ours => {
                let stored = sys::inherited::take::<_, AdoptError>(number, Ok);
                let named = stored.map(|descriptor| (name.clone(), descriptor));
                claimed.stored.extend(named);
                continue;
            }
            None => Descriptor::Other(None, sys::kind_of_number(number)),
        };
        claimed.passed.push(Passed {
            number,
            name: name.clone(),
            descriptor,
        });
    }
    Ok(claimed)
}

/// Takes a socket over, whatever its kind; they differ in what `listenfd` wants to hear.
fn claim_socket(descriptors: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    let families = [libc::AF_UNIX, libc::AF_INET];
    let types = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    let kinds = families
        .into_iter()
        .flat_map(|family| types.map(|kind| (family, kind)));
    kinds.into_iter().find_map(|(family, kind)| {
        descriptors
            .take_custom::<OwnedFd>(index, family, kind, "socket")
            .ok()
            .flatten()
    })
}
