//! For services of systemd: sockets that it passes, and what it is told.
//!
//! A [`Reader`](crate::Reader) takes the socket that systemd passes to its process by itself, as
//! its [`activation`](crate::ReaderBuilder::activation) says, and binds its path where there is
//! none. A [`Service`] tells systemd when its readers are ready, how they are, and that they stop.
//! [`guide::systemd`](crate::guide::systemd) shows units, and what to do when something does not
//! work.

mod notify;
mod pulse;
mod service;

use std::os::fd::OwnedFd;

pub use service::Service;

pub use crate::activation::{Activation, ActivationError, PassedKind};

use crate::activation::Passed;
use crate::sys;

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
    sys::with_passed(|passed| {
        passed
            .iter_mut()
            .filter(|passed| passed.name == name)
            .find_map(Passed::take)
    })
}
