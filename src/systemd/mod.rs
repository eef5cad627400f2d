//! For services of systemd: the sockets that it passes, and how it is notified.
//!
//! A [`Reader`](crate::Reader) takes the socket that systemd passes to its process, as
//! its [`activation`](crate::ReaderBuilder::activation) says, and binds its path where there is
//! none. A [`Service`] notifies systemd when its readers are ready, how they are, and that they
//! stop. [`guide::systemd`](crate::guide::systemd) shows units, and what to do when something does
//! not work.

mod notify;
mod schedule;
mod service;

pub use service::Service;

pub use crate::activation::{Activation, ActivationError, take_socket};
pub use crate::runtime_directory::runtime_path;
