//! Socket activation: the sockets that systemd opened and passed to this process.
//! The notifications to systemd are in the module `systemd`.

mod claim;
mod error;
mod passed;
mod variables;

use std::os::fd::OwnedFd;

pub(crate) use claim::take_stored;
pub use error::ActivationError;
pub use passed::Activation;

use crate::sys::Family;

/// Takes the socket of that family that is `wanted`. `None` where none was passed, or (without a
/// name) none is left.
pub(crate) fn take(
    wanted: &Activation,
    family: Family,
) -> Result<Option<OwnedFd>, ActivationError> {
    claim::with_passed(|passed| passed::choose(passed, wanted, family))?
}

/// Takes a socket that systemd passed to this process and no reader has taken: one of another kind,
/// say, such as the network socket of the same service. `None` when no socket of this name is left;
/// a pipe or a file that was passed is not given out.
///
/// ```
/// let http = uds_ipc::systemd::take_socket("http")?;
/// assert!(http.is_none(), "no socket unit has started this program");
/// # Ok::<(), uds_ipc::systemd::ActivationError>(())
/// ```
///
/// Call it early, as [`ReaderBuilder::bind`](crate::ReaderBuilder::bind) says of itself.
///
/// # Errors
/// When systemd's variables are wrong.
pub fn take_socket(name: &str) -> Result<Option<OwnedFd>, ActivationError> {
    claim::with_passed(|passed| {
        passed
            .iter_mut()
            .filter(|passed| passed.name == name)
            .find_map(passed::Passed::take)
    })
}
