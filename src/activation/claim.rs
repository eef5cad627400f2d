//! Takes the passed descriptors over from the environment, once, and keeps them until they are
//! wanted.

use std::fs;
use std::os::fd::OwnedFd;
use std::process;

use listenfd::ListenFd;
use nix::libc;
use parking_lot::Mutex;

use super::error::ActivationError;
use super::passed::{Descriptor, Passed};
use super::variables::Variables;
use crate::sys;

/// Where the descriptors begin: after the standard streams. See `sd_listen_fds(3)`.
const FIRST: i32 = 3;

/// What the environment said the first time that it was looked at. An error stays one: the
/// variables are gone after that, and to bind a socket beside systemd's would hide it.
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
    sys::remove_variable("LISTEN_FDS_FIRST_FD");
    let mut descriptors = ListenFd::from_env();
    let passed = names
        .iter()
        .zip(FIRST..)
        .enumerate()
        .map(|(index, (name, number))| {
            let descriptor = match claim_socket(&mut descriptors, index) {
                Some(socket) => match sys::check_listening(&socket) {
                    Ok(family) => Descriptor::Listener(socket, family),
                    Err(kind) => Descriptor::Other(Some(socket), kind),
                },
                None => Descriptor::Other(None, sys::kind_of_number(number)),
            };
            Passed {
                number,
                name: name.clone(),
                descriptor,
            }
        });
    Ok(passed.collect())
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
