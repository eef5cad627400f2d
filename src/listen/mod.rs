//! A listening socket: when it may be bound, what becomes of its file, how it ends.
//! The calls themselves are in `sys`; what is done with a connection is the reader's.

mod bind;
mod directory;
mod listener;
mod lock_file;
mod socket_file;
mod stale;

pub(crate) use bind::{Options, adopt, bind};
pub use directory::create_socket_dir;
pub(crate) use listener::{Accepted, Listener};
pub use stale::remove_stale_socket;
