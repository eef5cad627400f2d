//! A listening socket: when it may be bound, what becomes of its file, how it ends.
//! The calls themselves are in `sys`; what is done with a connection is the reader's.

mod bind;
#[cfg(unix)]
mod directory;
mod listener;
#[cfg(unix)]
mod lock_file;
mod options;
#[cfg(unix)]
mod path;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod stale;

#[cfg(not(unix))]
mod no_file;
#[cfg(not(unix))]
use no_file as socket_file;

pub(crate) use bind::{adopt, bind};
#[cfg(unix)]
pub use directory::create_socket_dir;
pub(crate) use listener::{Accepted, Listener};
pub(crate) use options::Options;
#[cfg(unix)]
pub use stale::remove_stale_socket;
