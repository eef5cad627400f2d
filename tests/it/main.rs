//! The promises of the crate, over real sockets. One file a subject.

mod connecting;
mod delivery;
mod framing;
mod life_cycle;
mod receipts;
mod receiving;
mod sending;
mod socket_file;
mod support;
